"""Weights are loaded whole and seen to be loaded, or refused; never silently random."""

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from eosin.errors import ModelError
from eosin.networks import weights
from eosin.networks.classifier import build_classifier
from eosin.networks.weights import initialise

TINY = "test_efficientnet"


@pytest.fixture
def tiny_file(tmp_path):
    """Weights of the tiny network in timm's layout, with the 1000-class head."""
    path = tmp_path / f"{TINY}.safetensors"
    torch.manual_seed(1)
    save_file(timm.create_model(TINY, num_classes=1000).state_dict(), path)
    return path


def test_a_local_file_fills_every_tensor_and_its_1000_class_head_is_ignored(tiny_file):
    network = build_classifier(TINY, classes=2)
    head = network.head.weight.clone()
    report = initialise(network, str(tiny_file))
    state = network.backbone.state_dict()
    assert report.loaded == len(state)
    assert (report.missing, report.unexpected) == ((), ())
    assert 0 < report.changed < report.loaded  # counters of steps and fresh scales are equal
    assert report.source == "file test_efficientnet.safetensors"
    assert torch.equal(network.head.weight, head)
    expected = load_file(tiny_file)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in state.items())


def test_none_leaves_the_network_random_and_says_so():
    network = build_classifier(TINY, classes=2)
    before = network.backbone.conv_stem.weight.clone()
    assert initialise(network, "none").source == "random weights"
    assert torch.equal(network.backbone.conv_stem.weight, before)


def test_imagenet_is_found_in_the_folder_that_the_setting_names(tiny_file, monkeypatch):
    monkeypatch.setenv("EOSIN_WEIGHTS", str(tiny_file.parent))
    report = initialise(build_classifier(TINY, classes=2), "imagenet")
    assert report.source == f"ImageNet weights, file {TINY}.safetensors of EOSIN_WEIGHTS"
    monkeypatch.setenv("EOSIN_WEIGHTS", "/no/such/folder")
    with pytest.raises(ModelError, match="EOSIN_WEIGHTS=/no/such/folder"):
        initialise(build_classifier(TINY, classes=2), "imagenet")


def test_imagenet_without_a_hub_fails_with_the_fix_and_never_goes_on_at_random(monkeypatch):
    real = timm.create_model

    def offline(name, *, pretrained=False, **options):
        if pretrained:
            raise OSError("We couldn't connect to 'https://huggingface.co'")
        return real(name, pretrained=False, **options)

    network = build_classifier(TINY, classes=2)
    monkeypatch.delenv("EOSIN_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "_require_hub", lambda _: None)
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ModelError, match=r"huggingface\.co.*--weights PATH.*EOSIN_WEIGHTS"):
        initialise(network, "imagenet")


def test_imagenet_through_the_hub_names_the_tag(monkeypatch):
    real = timm.create_model

    def hub(name, *, pretrained=False, **options):
        torch.manual_seed(7 if pretrained else 0)
        return real(name, pretrained=False, **options)

    monkeypatch.delenv("EOSIN_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "_require_hub", lambda _: None)
    monkeypatch.setattr(timm, "create_model", hub)
    report = initialise(build_classifier(TINY, classes=2), "imagenet")
    assert report.source == f"ImageNet weights, timm hub, {TINY}.r160_in1k"


def test_weights_of_another_network_are_refused_naming_what_is_missing(tiny_file):
    with pytest.raises(ModelError, match=r"missing .*\.weight.*--backbone belong together"):
        initialise(build_classifier("test_resnet", classes=2), str(tiny_file))


def test_a_file_that_lacks_one_tensor_is_refused(tiny_file):
    tensors = load_file(tiny_file)
    tensors.pop("conv_head.weight")
    save_file(tensors, tiny_file)
    with pytest.raises(ModelError, match=r"missing conv_head\.weight"):
        initialise(build_classifier(TINY, classes=2), str(tiny_file))


def test_a_file_that_changes_nothing_is_refused(tmp_path):
    network = build_classifier(TINY, classes=2)
    save_file(network.backbone.state_dict(), tmp_path / "same.safetensors")
    with pytest.raises(ModelError, match="0 changed"):
        initialise(network, str(tmp_path / "same.safetensors"))


def test_a_pickled_file_is_never_opened_and_a_broken_one_is_named(tmp_path):
    network = build_classifier(TINY, classes=2)
    (tmp_path / "best.pth").write_bytes(b"not even a pickle")
    with pytest.raises(ModelError, match=r"can run code.*best\.safetensors"):
        initialise(network, str(tmp_path / "best.pth"))
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00")
    with pytest.raises(ModelError, match=r"cut\.safetensors: not a whole safetensors file"):
        initialise(network, str(tmp_path / "cut.safetensors"))
    with pytest.raises(ModelError, match="no such weights file"):
        initialise(network, "imagnet")


def test_the_her2_inception_has_no_imagenet_weights():
    with pytest.raises(ModelError, match="--weights none"):
        initialise(build_classifier("inception_her2", classes=4), "imagenet")


@pytest.mark.parametrize(
    ("name", "tensors"), [("efficientnet_b0", 358), ("tf_efficientnetv2_b0", 418)]
)
def test_real_imagenet_weights_give_timms_own_features(weights_folder, name, tensors):
    path = weights_folder / f"{name}.safetensors"
    network = build_classifier(name, classes=2).eval()
    report = initialise(network, str(path))
    assert (report.loaded, report.missing, report.unexpected) == (tensors, (), ())
    own = timm.create_model(name, num_classes=0).eval()
    own.load_state_dict(load_file(path), strict=True)
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(network.features(image), own(image))


def test_where_weights_would_come_from_is_said_before_any_is_fetched(tiny_file, monkeypatch):
    network = build_classifier(TINY, classes=2)
    asked = []
    monkeypatch.delenv("EOSIN_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "_require_hub", asked.append)
    before = network.backbone.conv_stem.weight.clone()
    assert weights.require_weights(network, "none") == "random weights"
    assert weights.require_weights(network, "imagenet") == "timm's hub"
    assert len(asked) == 1
    assert torch.equal(network.backbone.conv_stem.weight, before)
    monkeypatch.setenv("EOSIN_WEIGHTS", str(tiny_file.parent))
    assert "of EOSIN_WEIGHTS" in weights.require_weights(network, "imagenet")
    assert len(asked) == 1  # a file at hand asks nobody

    def silent(_):
        raise ConnectionError("https://huggingface.co does not answer")

    monkeypatch.delenv("EOSIN_WEIGHTS")
    monkeypatch.setattr(weights, "_require_hub", silent)
    with pytest.raises(ModelError, match=r"does not answer\)\. Give a file with --weights PATH"):
        weights.require_weights(network, "imagenet")
