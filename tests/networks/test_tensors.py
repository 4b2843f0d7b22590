"""Weights on disk: every tensor accounted for, every value a number, tied ones whole again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from eosin.errors import ModelError
from eosin.networks.classifier import Classifier, build_classifier, read_weights, save_classifier
from eosin.networks.tensors import own_tensors
from eosin.networks.weights import initialise

TINY = "test_efficientnet"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Weights of the tiny network as a training keeps them."""
    path = tmp_path / "model.safetensors"
    save_classifier(build_classifier(TINY, classes=2, seed=1), path)
    return path


@pytest.fixture
def tied_file(tmp_path: Path) -> Path:
    path = tmp_path / "tied.safetensors"
    save_classifier(tied_network(seed=1), path)
    return path


def tied_network(*, seed: int) -> Classifier:
    """Two convolutions of one block that are one tensor."""
    network = build_classifier("test_resnet", classes=2, seed=seed).eval()
    block = network.backbone.layer1[0]
    block.conv2.weight = block.conv1.weight
    return network


def image(side: int) -> torch.Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def changed(path: Path, name: str, value: float) -> None:
    tensors = load_file(path)
    tensors[name].view(-1)[-1] = value
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("head.weight", float("nan"), "head.weight holds values that are not finite"),
        ("backbone.conv_stem.weight", float("inf"), "not finite"),
        ("backbone.bn1.bias", float("-inf"), "not finite"),
        ("backbone.bn1.running_mean", float("nan"), "not finite"),
        ("backbone.bn1.running_var", -0.25, r"a variance below 0 \(-0.25\)"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_its_file_and_tensor(
    saved: Path, name: str, value: float, said: str
) -> None:
    changed(saved, name, value)
    network = build_classifier(TINY, classes=2)
    before = network.head.weight.clone()
    with pytest.raises(ModelError, match=rf"{saved}: {name} .*{said.split('holds ')[-1]}"):
        read_weights(network, saved)
    assert torch.equal(network.head.weight, before)


def test_the_same_holds_for_weights_to_start_from_but_not_for_a_head_that_is_left_out(
    saved: Path, tmp_path: Path
) -> None:
    tensors = {
        name.removeprefix("backbone."): tensor
        for name, tensor in load_file(saved).items()
        if name.startswith("backbone.")
    }
    tensors["classifier.weight"] = torch.full((1000, 256), float("nan"))
    start = tmp_path / "start.safetensors"
    save_file(tensors, start)
    assert initialise(build_classifier(TINY, classes=2), str(start)).unexpected == ()
    changed(start, "bn1.running_var", -1.0)
    with pytest.raises(ModelError, match=rf"{start}: bn1\.running_var holds a variance below 0"):
        initialise(build_classifier(TINY, classes=2), str(start))


def test_a_value_beyond_the_networks_own_precision_is_not_finite_either(saved: Path) -> None:
    tensors = load_file(saved)
    tensors["head.bias"] = torch.tensor([0.0, 1e300], dtype=torch.float64)
    save_file(tensors, saved)
    with pytest.raises(ModelError, match=r"head\.bias holds values that are not finite"):
        read_weights(build_classifier(TINY, classes=2), saved)


def test_every_missing_unknown_and_unlike_tensor_is_listed(saved: Path) -> None:
    tensors = load_file(saved)
    tensors["head.waist"] = tensors.pop("head.weight")
    tensors["head.bias"] = torch.zeros(3)
    tensors["backbone.bn1.weight"] = tensors["backbone.bn1.weight"].to(torch.int8)
    save_file(tensors, saved)
    said = (
        r"\(missing head\.weight; unknown head\.waist; unlike backbone\.bn1\.weight "
        r"torch\.int8\[24\] for float\[24\], head\.bias float\[3\] for float\[2\]\)"
    )
    with pytest.raises(ModelError, match=rf"{saved}: not the weights of '{TINY}' {said}"):
        read_weights(build_classifier(TINY, classes=2), saved)


def test_a_lost_step_counter_is_forgiven_in_weights_to_start_from_alone(saved: Path) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(saved).items()}
    counter = "bn1.num_batches_tracked"
    tensors.pop(f"backbone.{counter}")
    save_file(tensors, saved)
    with pytest.raises(ModelError, match=rf"missing backbone\.{counter}"):
        read_weights(build_classifier(TINY, classes=2), saved)
    start = {name.partition(".")[2]: tensors[name] for name in tensors if name[:4] == "back"}
    save_file(start, saved)
    assert initialise(build_classifier(TINY, classes=2), str(saved)).missing == (counter,)


def test_weights_that_are_not_finite_are_never_written(saved: Path) -> None:
    before = saved.read_bytes()
    network = build_classifier(TINY, classes=2)
    network.backbone.bn1.running_var[0] = float("nan")
    with pytest.raises(ModelError, match=r"backbone\.bn1\.running_var .*lower learning rates"):
        save_classifier(network, saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_tied_weights_come_back_tied_with_the_same_logits(tied_file: Path) -> None:
    loaded = tied_network(seed=2)
    read_weights(loaded, tied_file)
    block = loaded.backbone.layer1[0]
    assert block.conv1.weight is block.conv2.weight
    with torch.inference_mode():
        assert torch.equal(loaded(image(32)), tied_network(seed=1)(image(32)))


def test_a_file_whose_tied_weights_contradict_each_other_is_refused(tied_file: Path) -> None:
    changed(tied_file, "backbone.layer1.0.conv1.weight", 5.0)
    with pytest.raises(ModelError, match=r"differs in backbone\.layer1\.0\.conv1\.weight"):
        read_weights(tied_network(seed=1), tied_file)


def test_tied_weights_stand_once_among_a_networks_own() -> None:
    network = tied_network(seed=1)
    own, state = own_tensors(network), network.state_dict()
    assert [name for name in state if name not in own] == ["backbone.layer1.0.conv2.weight"]
    assert list(own) == [name for name in state if name in own]
    assert all(own[name].data_ptr() == state[name].data_ptr() for name in own)


def test_a_network_that_ties_its_weights_and_has_three_maps_is_kept_whole(tmp_path: Path) -> None:
    network = build_classifier("coat_tiny", classes=2, seed=1).eval()
    assert len(own_tensors(network)) < len(network.state_dict())
    save_classifier(network, tmp_path / "model.safetensors")
    loaded = build_classifier("coat_tiny", classes=2, seed=2).eval()
    read_weights(loaded, tmp_path / "model.safetensors")
    with torch.inference_mode():
        assert torch.equal(loaded(image(224)), network(image(224)))
        with pytest.raises(ModelError, match="'coat_tiny' has several feature maps and no single"):
            loaded.feature_map(image(224))
