"""A fusion head in NumPy is the fusion head in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eosin.errors import ModelError
from eosin.networks.fusion import FusionHead
from eosin.networks.fusion_weights import FusionWeights


def test_logits_are_those_of_the_head_that_was_fitted() -> None:
    torch.manual_seed(0)
    head = FusionHead(40, 3)
    features = np.random.default_rng(1).normal(2.0, 3.0, (64, 40))
    head.train()
    for _ in range(20):  # batch statistics that are not 0 and 1
        head(torch.from_numpy(features).float())
    for tensor in head.parameters():
        tensor.data += 0.1 * torch.randn_like(tensor)
    head.eval()
    weights = FusionWeights.of({name: value.numpy() for name, value in head.state_dict().items()})
    with torch.inference_mode():
        exact = head.double()(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(weights.logits(features), exact, rtol=1e-6)
    assert (weights.channels, weights.classes) == (40, 3)


def state(channels: int = 6) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in FusionHead(channels, 2).state_dict().items()}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("layers.0.weight", np.full(6, np.nan, np.float32), "layers.0.weight holds values"),
        ("layers.4.running_var", np.full(128, -1.0, np.float32), "layers.4.running_var holds"),
        ("layers.8.running_mean", np.zeros(1, np.float32), "layers.8 and layers.10 do not fit"),
        ("layers.2.bias", np.zeros(1, np.float32), "layers.0 and layers.2 do not fit"),
        ("layers.12.bias", np.zeros(2, np.float32), "missing or unknown: layers.12.bias"),
        ("layers.2.weight", None, "missing or unknown: layers.2.weight"),
    ],
)
def test_a_tensor_that_will_not_do_is_named(name: str, value: np.ndarray | None, said: str) -> None:
    tensors = {**state(), name: value}
    kept = {key: tensor for key, tensor in tensors.items() if tensor is not None}
    with pytest.raises(ValueError, match=said):
        FusionWeights.of(kept)


def test_layers_of_different_heads_do_not_make_one() -> None:
    narrow = {name: value[:64] for name, value in state().items() if name.startswith("layers.2.")}
    with pytest.raises(ValueError, match="do not fit together"):
        FusionWeights.of({**state(), **narrow})


def test_members_that_give_another_number_of_features_are_refused() -> None:
    head = FusionWeights.of(state(channels=6))
    with pytest.raises(ModelError, match="takes 6 features and its members give 7"):
        head.logits(np.zeros((2, 7)))
