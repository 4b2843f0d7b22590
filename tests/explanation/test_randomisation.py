"""Networks with re-initialised weights, and the maps that change or do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from eosin.arrays import Floats
from eosin.explanation.randomisation import mean_similarity, random_twins, surviving
from eosin.networks.cam import class_maps
from eosin.networks.classifier import Classifier, build_classifier


@pytest.fixture(scope="module")
def network() -> Classifier:
    return build_classifier("test_efficientnet", classes=2, seed=11).eval()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn((1, 3, 96, 96), generator=torch.Generator().manual_seed(0))


def grad_cam(network: Classifier, pixels: torch.Tensor) -> Floats:
    return class_maps(network, pixels)[1][0, 1].double().numpy()


def activity(network: Classifier, pixels: torch.Tensor) -> Floats:
    """A map that never looks at the head, as Eigen-CAM does not."""
    with torch.no_grad():
        return network.feature_map(pixels).mean(dim=1)[0].double().numpy()


def test_head_twins_keep_the_backbone_and_come_with_their_negatives(
    network: Classifier, pixels: torch.Tensor
) -> None:
    twins = random_twins(network, classes=2, draws=2)
    assert len(twins.heads) == 4
    with torch.no_grad():
        assert torch.equal(twins.heads[0].features(pixels), network.features(pixels))
        assert torch.allclose(twins.heads[0](pixels), -twins.heads[1](pixels))
        assert not torch.allclose(twins.heads[0](pixels), twins.heads[2](pixels))


def test_whole_twins_share_no_weight_with_the_network(network: Classifier) -> None:
    twins = random_twins(network, classes=2, draws=1)
    for name, weights in network.named_parameters():
        if weights.std() > 0:  # normalisation starts at ones and zeros everywhere
            assert not torch.equal(weights, twins.whole[0].get_parameter(name)), name


def test_the_network_itself_is_left_as_it_was(network: Classifier) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random_twins(network, classes=2, draws=1)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_map_that_ignores_the_head_survives_a_random_head_and_grad_cam_does_not(
    network: Classifier, pixels: torch.Tensor
) -> None:
    twins = random_twins(network, classes=2, draws=2)

    def survival(draw: Callable[[Classifier, torch.Tensor], Floats]) -> float:
        heads = [draw(twin, pixels) for twin in twins.heads]
        whole = [draw(twin, pixels) for twin in twins.whole]
        first = draw(network, pixels)
        return surviving(first, head_maps=heads, whole_maps=whole, cells=6).head

    assert survival(activity) == pytest.approx(1.0)
    assert survival(grad_cam) < 0.5


def test_similarity_is_the_mean_over_the_draws() -> None:
    ramp = np.arange(36.0).reshape(6, 6)
    assert mean_similarity(ramp, [ramp, -ramp, ramp], cells=6) == pytest.approx(1 / 3)


def test_the_negative_of_a_head_of_several_layers_is_its_negative() -> None:
    inception = build_classifier("inception_her2", classes=4, seed=1).eval()
    twins = random_twins(inception, classes=4, draws=1)
    features = torch.rand((2, 1024), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(twins.heads[0].head(features), -twins.heads[1].head(features))
