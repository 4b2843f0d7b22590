"""A head that lets the nearest training images vote, as DINO's features are judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eosin.arrays import Floats

_TEMPERATURE = 0.07  # of the cosine (Wu et al. 2018; Caron et al. 2021)
_AT_A_TIME = 1024  # images, so that their cosines with all of the bank fit into memory


class KnnHead(nn.Module):
    """Features (N, C) to logits: the log of each class's share in the votes of the nearest images.

    A neighbour at cosine s votes with exp(s / 0.07) times its own weight, and one vote more is
    spread over all classes, so that none is impossible: log((k share + 1 / classes) / (k + 1)).

    Args:
        bank: features of the training images, shape (n, C).
        votes: the weight of each in the column of its class, shape (n, classes).
        neighbours: k, how many vote.
    """

    bank: Tensor
    votes: Tensor
    neighbours: Tensor

    def __init__(self, bank: Tensor, votes: Tensor, neighbours: int) -> None:
        super().__init__()
        self._count = min(neighbours, len(bank))  # a number: a graph cannot read it from a tensor
        self.register_buffer("bank", normalize(bank.float()))
        self.register_buffer("votes", votes.float())
        self.register_buffer("neighbours", torch.tensor(self._count))

    @classmethod
    def among(cls, tensors: Mapping[str, Tensor]) -> KnnHead | None:
        """The head among the tensors of a network, by their names there; None where it has none."""
        bank, votes = tensors.get("head.bank"), tensors.get("head.votes")
        neighbours = tensors.get("head.neighbours")
        if bank is None or votes is None or neighbours is None:
            return None
        return cls(bank, votes, int(neighbours))

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, classes)."""
        cosines, rows = (normalize(features) @ self.bank.T).topk(self._count)
        weights = (cosines / _TEMPERATURE).softmax(dim=1)
        votes = (weights[:, :, None] * self.votes[rows]).sum(dim=1)
        shares = votes / votes.sum(dim=1, keepdim=True)
        return ((self._count * shares + 1 / shares.shape[1]) / (self._count + 1)).log()

    def logits(self, features: Floats) -> Floats:
        """The same of an array."""
        parts = torch.split(torch.from_numpy(features.astype(np.float32)), _AT_A_TIME)
        return np.concatenate([self(part).double().numpy() for part in parts])
