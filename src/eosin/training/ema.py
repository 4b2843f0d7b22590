"""Weights averaged along the training, which judge and keep better than the last ones."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from eosin.models.classifier import Classifier


def averaged_copy(network: Classifier) -> Classifier:
    """A copy of ``network`` that no optimiser touches, to be fed to ``average``."""
    twin = copy.deepcopy(network).eval()
    return twin.requires_grad_(False)


@torch.no_grad()
def average(averaged: Classifier, network: Classifier, *, decay: float, step: int) -> None:
    """Move ``averaged`` to ``network`` in place: a <- d a + (1 - d) w (Polyak & Juditsky 1992).

    Early on d is (1 + step) / (10 + step) where that is less than ``decay``, so that the random
    start is soon forgotten. BatchNorm statistics are averaged too; counters are copied.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    moving, towards = [], []
    source = network.state_dict()
    for name, tensor in averaged.state_dict().items():
        if tensor.is_floating_point():
            moving.append(tensor)
            towards.append(source[name])
        else:
            tensor.copy_(source[name])
    # All at once: on a GPU hundreds of small tensors would be hundreds of launches.
    torch._foreach_lerp_(moving, towards, share)
