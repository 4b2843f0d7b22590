"""The fusion head as it is fitted: the pooled features of several networks to logits.

At prediction ``fusion_weights`` applies it without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from eosin.networks.tensors import write_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from eosin.arrays import Floats

WIDTHS = (128, 32)
DROPOUT = 0.2


class FusionHead(nn.Module):
    """Features (N, channels) of all members to logits (N, classes).

    The head of the BreakHis study: batch normalisation and dropout before each of three linear
    layers of 128, 32 and ``classes`` outputs, with a rectifier after the first two.

    Attributes:
        channels: how many features all members have together.
        classes: how many classes it scores.
    """

    def __init__(self, channels: int, classes: int, *, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.channels, self.classes = channels, classes
        first, second = WIDTHS
        self.layers = nn.Sequential(
            *(nn.BatchNorm1d(channels), nn.Dropout(dropout), nn.Linear(channels, first)),
            nn.ReLU(),
            *(nn.BatchNorm1d(first), nn.Dropout(dropout), nn.Linear(first, second)),
            nn.ReLU(),
            *(nn.BatchNorm1d(second), nn.Dropout(dropout), nn.Linear(second, classes)),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, classes) of features (N, channels)."""
        logits: Tensor = self.layers(features)
        return logits

    def logits(self, features: Floats) -> Floats:
        """Logits (n, classes) of features (n, channels) at prediction: no dropout, fixed norms."""
        training = self.training
        self.eval()
        with torch.inference_mode():
            scores: Floats = self(torch.from_numpy(features).float()).double().numpy()
        self.train(training)
        return scores


def save_fusion(head: FusionHead, path: Path) -> None:
    """Write every weight and buffer as safetensors; ModelError where one is not finite."""
    write_tensors(head, path, about={"backbone": "fusion"})
