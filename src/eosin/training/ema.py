"""Weights averaged along the training, which judge and keep better than the last ones."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from eosin.networks.tensors import own_tensors

if TYPE_CHECKING:
    from eosin.networks.classifier import Classifier


class MovingAverage:
    """The running average of a network's weights: a <- d a + (1 - d) w (Polyak & Juditsky 1992).

    BatchNorm statistics are averaged too; counters are copied.

    Attributes:
        network: the averaged one, a copy that no optimiser touches.
    """

    def __init__(self, followed: Classifier) -> None:
        """Begin with the weights of ``followed``, which must stay where they are in memory."""
        self.network = copy.deepcopy(followed).eval().requires_grad_(False)
        # Collected once, and moved all at once: a network has hundreds of small tensors, and on a
        # GPU each would be a launch of its own.
        # Tied weights stand there once: moved under each of their names they would run ahead.
        own, towards = own_tensors(self.network), own_tensors(followed)
        moving = [name for name, tensor in own.items() if tensor.is_floating_point()]
        counters = [name for name in own if name not in set(moving)]
        self._moving, self._towards = [own[n] for n in moving], [towards[n] for n in moving]
        self._counters, self._counts = [own[n] for n in counters], [towards[n] for n in counters]

    @torch.no_grad()
    def update(self, *, decay: float, step: int) -> None:
        """Move to the followed network's weights as they are now.

        Early on d is (1 + step) / (10 + step) where that is less than ``decay``, so that the
        random start is soon forgotten.
        """
        share = 1 - min(decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._moving, self._towards, share)
        if self._counters:
            torch._foreach_copy_(self._counters, self._counts)
