"""Votes: the probabilities of several models, combined into one table.

Everywhere ``probabilities`` has shape (members, n, classes) and each row sums to 1; the result has
shape (n, classes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import DataError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.arrays import Floats, Ints


TIE_SHARE = 1e-6  # of a vote; far below 1 / members, far above a CSV's rounding
_FLOOR = 1e-12
_STEPS = 20_000
_GAP = 1e-9
_NEGLIGIBLE = 1e-6


def soft_vote(probabilities: Floats) -> Floats:
    """The mean of the members' probabilities."""
    _require_table(probabilities)
    mean: Floats = probabilities.mean(axis=0)
    return mean


def hard_vote(probabilities: Floats) -> Floats:
    """The share of members whose most probable class is each class.

    A tie for the most votes goes to the class with the higher mean probability among the tied,
    then to the one that comes first in the task. The winner of a tie is given a millionth of a
    vote, so that the most probable class is always the one elected.
    """
    _require_table(probabilities)
    members, images, classes = probabilities.shape
    votes = np.zeros((images, classes))
    for choices in probabilities.argmax(axis=2):
        votes[np.arange(images), choices] += 1
    leading = votes == votes.max(axis=1, keepdims=True)
    winner = np.where(leading, probabilities.mean(axis=0), -1.0).argmax(axis=1)
    shares = votes / members
    tied = leading.sum(axis=1) > 1
    shares[tied] *= 1 - TIE_SHARE
    shares[tied, winner[tied]] += TIE_SHARE
    return np.asarray(shares)


def weighted_vote(probabilities: Floats, weights: Sequence[float]) -> Floats:
    """The weighted mean of the members' probabilities.

    Args:
        probabilities: shape (members, n, classes).
        weights: one a member, not negative, of sum 1.

    Raises:
        ModelError: the weights are not of that kind.
    """
    _require_table(probabilities)
    share = np.asarray(weights, dtype=np.float64)
    if share.shape != (len(probabilities),) or (share < 0).any() or abs(share.sum() - 1) > 1e-6:
        raise ModelError(
            f"weights {list(weights)} will not do for {len(probabilities)} members: want one "
            "each, not negative, of sum 1; make the ensemble again"
        )
    return np.asarray(np.tensordot(share, probabilities, axes=1))


def fit_weights(probabilities: Floats, labels: Ints) -> tuple[float, ...]:
    """Weights of ``weighted_vote`` that minimise its log loss, not negative, of sum 1.

    The loss is convex; expectation maximisation for mixture proportions (Dempster, Laird & Rubin
    1977) lowers it at every step. At the optimum each member's mean of own over mixed probability
    is at most 1, and what it exceeds 1 by bounds the loss still to be gained: that bound ends the
    search. Weights are equal where nothing can be told: no image, or one class only.

    Args:
        probabilities: shape (members, n, classes).
        labels: true class indices, shape (n,).
    """
    _require_table(probabilities)
    members, images, _ = probabilities.shape
    weights: Floats = np.full(members, 1 / members)
    if len(np.unique(labels)) < 2:
        return tuple(weights.tolist())
    own = np.clip(probabilities[:, np.arange(images), labels], _FLOOR, None)
    for _ in range(_STEPS):
        gain = (own / (weights @ own)).mean(axis=1)
        if gain.max() - 1 < _GAP:
            break
        weights = weights * gain
    weights[weights < _NEGLIGIBLE] = 0.0
    return tuple((weights / weights.sum()).tolist())


def _require_table(probabilities: Floats) -> None:
    if probabilities.ndim != 3 or not len(probabilities):
        raise DataError(
            "a vote needs probabilities of shape (members, n, classes) with one member or more, "
            f"got {probabilities.shape}"
        )
