"""Grad-CAM in closed form is Grad-CAM; other methods and networks answer or say why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eosin.errors import ConfigError, ModelError
from eosin.explanation.heatmap import METHODS, require_method
from eosin.explanation.methods import explain_targets
from eosin.networks.backbones import INCEPTION_HER2
from eosin.networks.cam import class_maps, has_closed_form, respond
from eosin.networks.classifier import Classifier, build_classifier
from eosin.networks.weights import initialise
from eosin.pixels.preprocessing import prepare
from eosin.pixels.reading import read_image


@pytest.fixture(scope="module")
def small() -> Classifier:
    return build_classifier("test_efficientnet", classes=3, seed=5).eval()


def photographs(count: int, size: int) -> Tensor:
    return torch.randn((count, 3, size, size), generator=torch.Generator().manual_seed(1))


def library_grad_cam(classifier: Classifier, layer: nn.Module, pixels: Tensor) -> np.ndarray:
    """The library's maps of every class, as a user of the library gets them."""
    library = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    classes = classifier.head.out_features
    with library.GradCAM(model=classifier, target_layers=[layer]) as cam:
        maps = [
            cam(input_tensor=pixels, targets=[ClassifierOutputTarget(c)] * len(pixels))
            for c in range(classes)
        ]
    return np.stack(maps, axis=1)


def like_the_library(maps: Tensor, size: int) -> np.ndarray:
    """Our raw maps, brought to the input's size and scaled by the library's own function."""
    from pytorch_grad_cam.utils.image import scale_cam_image

    rows = [scale_cam_image(row, (size, size)) for row in maps.numpy()]
    return np.stack([scale_cam_image(row) for row in rows])


def test_the_closed_form_equals_the_gradient_of_the_library(small: Classifier) -> None:
    pixels = photographs(3, 96)
    logits, maps = class_maps(small, pixels)
    torch.testing.assert_close(logits, small(pixels).detach(), atol=1e-5, rtol=0)
    theirs = library_grad_cam(small, small.backbone.bn2, pixels)
    assert maps.shape == (3, 3, 3, 3)
    assert np.ptp(theirs, axis=(2, 3)).max() > 0.9
    np.testing.assert_allclose(like_the_library(maps, 96), theirs, atol=1e-5)


@pytest.mark.parametrize("backbone", ["tf_efficientnetv2_b0", "efficientnet_b0"])
def test_on_real_tissue_and_real_weights_it_equals_the_library(
    backbone: str, real_data: Path, weights_folder: Path
) -> None:
    classifier = build_classifier(backbone, classes=2, seed=2).eval()
    initialise(classifier, str(weights_folder / f"{backbone}.safetensors"))
    spec = classifier.spec.preprocessing(size=128)
    paths = sorted((real_data / "breakhis").glob("*.png"))[:2]
    pixels = torch.from_numpy(np.stack([prepare(read_image(path), spec) for path in paths]))
    _, maps = class_maps(classifier, pixels)
    theirs = library_grad_cam(classifier, classifier.backbone.bn2, pixels)
    np.testing.assert_allclose(like_the_library(maps, spec.size), theirs, atol=1e-5)


def test_convolutions_see_channels_last_however_the_pixels_come(small: Classifier) -> None:
    """The faster order on a CPU; a network works in the order of its input."""
    for order in (torch.contiguous_format, torch.channels_last):
        given = photographs(2, 96).contiguous(memory_format=order)
        found = respond(small, given).feature_map
        assert found.is_contiguous(memory_format=torch.channels_last)


def test_a_map_worked_out_by_hand(small: Classifier) -> None:
    """Two channels, weights 2 and -1: ReLU(2 A_1 - A_2) over the four pixels of each."""

    class TwoChannels(nn.Module):
        def forward_features(self, x: Tensor) -> Tensor:
            return x[:, :2]

        def forward_head(self, x: Tensor, pre_logits: bool) -> Tensor:  # noqa: ARG002
            return x.mean(dim=(2, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.forward_head(self.forward_features(x), pre_logits=True)

    classifier = build_classifier("test_efficientnet", classes=2).eval()
    classifier.backbone, classifier.head = TwoChannels(), nn.Linear(2, 2)
    with torch.no_grad():
        classifier.head.weight.copy_(torch.tensor([[2.0, -1.0], [0.0, 4.0]]))
    pixels = torch.tensor([[[[1.0, 0.0], [3.0, 1.0]], [[1.0, 2.0], [0.0, 4.0]], [[0.0] * 2] * 2]])
    _, maps = class_maps(classifier, pixels)
    expected = [[[0.25, 0.0], [1.5, 0.0]], [[1.0, 2.0], [0.0, 4.0]]]
    np.testing.assert_allclose(maps[0].numpy(), expected, atol=1e-6)


def test_a_size_that_the_network_cannot_take_is_one_sentence() -> None:
    rigid = build_classifier("test_vit3", classes=2).eval()
    with pytest.raises(ConfigError, match=r"'test_vit3' cannot take images of 64 pixels \("):
        respond(rigid, photographs(1, 64))


def test_networks_without_a_plain_average_or_a_linear_head_have_no_closed_form() -> None:
    for backbone in ("test_convnext", INCEPTION_HER2):  # LayerNorm after the average; three layers
        classifier = build_classifier(backbone, classes=2).eval()
        response = respond(classifier, photographs(1, 96))
        assert not has_closed_form(classifier, response.feature_map)
        with pytest.raises(ModelError, match=backbone):
            class_maps(classifier, photographs(1, 96))
        maps = explain_targets(classifier, response, torch.tensor([1]))
        assert maps.shape == (1, 3, 3)
        assert maps.min() >= 0


def test_the_gradient_and_the_closed_form_agree_where_both_exist(
    small: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    response = respond(small, photographs(2, 96))
    targets = torch.tensor([2, 0])
    closed = explain_targets(small, response, targets)
    monkeypatch.setattr("eosin.networks.cam.has_closed_form", lambda *_: False)
    gradient = explain_targets(small, response, targets)
    assert not torch.equal(closed, gradient)  # two ways, and not one of them twice
    torch.testing.assert_close(closed, gradient, atol=1e-7, rtol=1e-4)


def test_hirescam_and_layercam_are_what_their_papers_say(small: Classifier) -> None:
    pytest.importorskip("pytorch_grad_cam")
    response = respond(small, photographs(2, 96))
    targets = torch.tensor([1, 2])
    weights = small.head.weight[targets].detach() / 9  # 3 x 3 pixels
    hires = torch.einsum("nk,nkhw->nhw", weights, response.feature_map).relu()
    layer = torch.einsum("nk,nkhw->nhw", weights.relu(), response.feature_map).relu()
    for method, expected in (("hirescam", hires), ("layercam", layer)):
        maps = explain_targets(small, response, targets, method=require_method(method))
        torch.testing.assert_close(maps, expected, atol=1e-6, rtol=1e-4)


def test_ablation_weighs_a_channel_by_the_drop_when_it_is_silenced(small: Classifier) -> None:
    pytest.importorskip("pytorch_grad_cam")
    response = respond(small, photographs(2, 96))
    targets = response.logits.argmin(dim=1)  # also where the logit is negative
    drops = small.head.weight[targets].detach() * response.feature_map.mean(dim=(2, 3))
    expected = torch.einsum("nk,nkhw->nhw", drops, response.feature_map).relu()
    maps = explain_targets(small, response, targets, method="ablationcam")
    torch.testing.assert_close(maps, expected, atol=1e-5, rtol=1e-2)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_maps_every_kind_of_network(
    method: str, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pytorch_grad_cam")
    classifier = build_classifier("test_convnext", classes=2, seed=1).eval()
    response = respond(classifier, photographs(2, 64))
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    maps = explain_targets(
        classifier, response, torch.tensor([0, 1]), method=require_method(method)
    )
    assert maps.shape == (2, 2, 2)
    assert maps.isfinite().all()
    assert (maps.amax(dim=(1, 2)) > 0).any()
    assert all(torch.equal(before[name], value) for name, value in classifier.state_dict().items())
    assert capfd.readouterr().err == ""  # no progress bars of the library


@pytest.mark.parametrize("method", [m for m in METHODS if m != "scorecam"])
def test_the_from_scratch_inception_is_mapped_too(method: str) -> None:
    """Of 1,024 channels at 75 pixels; Score-CAM would run it 1,024 times."""
    pytest.importorskip("pytorch_grad_cam")
    classifier = build_classifier(INCEPTION_HER2, classes=4, seed=1).eval()
    response = respond(classifier, photographs(1, 75))
    maps = explain_targets(classifier, response, torch.tensor([3]), method=require_method(method))
    assert maps.shape == (1, 2, 2)
    assert maps.isfinite().all()
    assert maps.max() > 0


def test_an_input_of_one_stride_has_no_map_and_the_error_says_what_size_has(
    small: Classifier,
) -> None:
    with pytest.raises(ModelError, match=r"32 px.*at least 64"):
        respond(small, photographs(1, 32))


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'gradcamm'.*'gradcam\+\+'"):
        require_method("gradcamm")
