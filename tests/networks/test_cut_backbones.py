"""A backbone cut off early: its name, its map, its weights, its Grad-CAM."""

import pytest
import torch
from safetensors.torch import save_file

from eosin.errors import ModelError
from eosin.networks.backbones import resolve_backbone
from eosin.networks.cam import class_maps
from eosin.networks.classifier import build_classifier
from eosin.networks.weights import initialise


def test_a_cut_backbone_is_named_by_alias_or_timm_name_with_the_stride_of_its_last_map():
    spec = resolve_backbone("EfficientNetV2-B0@stride8")
    assert (spec.name, spec.timm_name) == ("tf_efficientnetv2_b0@stride8", "tf_efficientnetv2_b0")
    assert (spec.stride, spec.size, spec.family) == (8, 224, "EfficientNetV2")
    assert resolve_backbone(spec.name) == spec


@pytest.mark.parametrize(("stride", "channels", "side"), [(4, 24, 16), (8, 32, 8), (32, 64, 2)])
def test_the_map_has_the_stride_and_channels_of_its_stage(stride, channels, side):
    network = build_classifier(f"test_efficientnet@stride{stride}", classes=3).eval()
    with torch.no_grad():
        found = network.feature_map(torch.zeros(1, 3, 64, 64))
    assert network.feature_count == channels
    assert tuple(found.shape) == (1, channels, side, side)


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_resnet", "test_convnext"])
def test_the_cut_map_is_the_one_inside_the_whole_network(backbone):
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    whole = build_classifier(backbone, classes=2, seed=1).eval()
    cut = build_classifier(f"{backbone}@stride8", classes=2, seed=1).eval()
    kept = {k: v for k, v in whole.backbone.state_dict().items() if k in cut.backbone.state_dict()}
    cut.backbone.load_state_dict(kept, strict=True)
    strides = [stage["reduction"] for stage in whole.backbone.feature_info]
    with torch.no_grad():
        inside = whole.backbone.forward_intermediates(
            pixels, indices=[strides.index(8)], intermediates_only=True
        )
        torch.testing.assert_close(cut.feature_map(pixels), inside[0])
        torch.testing.assert_close(cut.features(pixels), inside[0].mean(dim=(2, 3)))


def test_weights_of_the_whole_network_fill_the_part_that_is_left(tmp_path, monkeypatch):
    whole = build_classifier("test_efficientnet", classes=2, seed=3)
    save_file(whole.backbone.state_dict(), tmp_path / "test_efficientnet.safetensors")
    monkeypatch.setenv("EOSIN_WEIGHTS", str(tmp_path))
    cut = build_classifier("test_efficientnet@stride8", classes=2)
    report = initialise(cut, "imagenet")
    assert report.loaded == len(cut.backbone.state_dict())
    assert not report.missing
    assert any(name.startswith("blocks.") for name in report.unexpected)
    for name, tensor in cut.backbone.state_dict().items():
        torch.testing.assert_close(tensor, whole.backbone.state_dict()[name])


def test_its_grad_cam_has_a_closed_form_on_the_finer_map():
    network = build_classifier("test_efficientnet@stride8", classes=2).eval()
    logits, maps = class_maps(network, torch.randn(2, 3, 64, 64))
    assert logits.shape == (2, 2)
    assert maps.shape == (2, 2, 8, 8)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test_efficientnet@stride7", r"no map of stride 7; it has \[2, 4, 8, 16, 32\]"),
        ("inception_her2@stride8", "trained whole"),
        ("efficientnetv2-b9@stride8", "unknown backbone 'efficientnetv2-b9'"),
    ],
)
def test_a_cut_that_cannot_be_is_refused_with_what_there_is(name, message):
    with pytest.raises(ModelError, match=message):
        build_classifier(name, classes=2)


def test_several_maps_from_one_pass_are_those_of_the_networks_cut_there() -> None:
    several = build_classifier("efficientnet_b0@stride16+4+8", classes=2, seed=5).eval()
    assert several.spec.name == "efficientnet_b0@stride4+8+16"
    assert several.widths == [24, 40, 112]
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    state = several.backbone.state_dict()
    with torch.no_grad():
        parts = several.features(pixels).split(several.widths, dim=1)
        for stride, part in zip((4, 8, 16), parts, strict=True):
            cut = build_classifier(f"efficientnet_b0@stride{stride}", classes=2).eval()
            own = cut.backbone.state_dict()
            cut.backbone.load_state_dict({name: state[name] for name in own})
            torch.testing.assert_close(part, cut.features(pixels), rtol=1e-4, atol=1e-5)
        last = several.feature_map(pixels)
        assert last.shape == (2, 176, 16, 16)
        torch.testing.assert_close(several.pool(last), several.features(pixels))
    with pytest.raises(ModelError, match="has no map of stride 5; it has"):
        build_classifier("efficientnet_b0@stride5+8", classes=2)
