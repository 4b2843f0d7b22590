"""A fusion head in NumPy is the fusion head in PyTorch."""

from __future__ import annotations

import numpy as np
import torch

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
