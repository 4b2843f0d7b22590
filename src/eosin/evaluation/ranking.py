"""How well scores rank positives before negatives: ROC AUC and average precision, exact with ties.

Both need, for each positive image, the weight of what is ranked before it. That is linear in the
weights, so with few patients it is counted once per patient and every resample is a matrix
product; with many patients each resample is one cumulative sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.evaluation.weights import Weights, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eosin.arrays import Bools, Floats, Ints

# Where a matrix product costs less than cumulative sums, by measurement on one core:
_FEW_PATIENTS = 256  # for pairs of patients
_FEW_COUNTS = 40  # for counts per patient and positive, in multiples of the images
_CHUNK = 1 << 18  # floats in flight at once: two megabytes, about what a core's cache holds


def roc_auc(scores: Floats, positive: Bools, weights: Weights | None = None) -> Floats:
    """Probability that a positive scores above a negative, ties counting half, shape (R,).

    Hanley & McNeil 1982. NaN where a row of weights has no positive or no negative.

    Args:
        scores: shape (n,), higher is more positive.
        positive: shape (n,).
        weights: R rows over the n images; each counts once without them.
    """
    weights = weights or Weights.plain(len(scores))
    ranks = _Ranks.of(scores, positive)
    if weights.rows.shape[1] <= _FEW_PATIENTS:
        lost = _pairs_lost_between_patients(ranks, weights)
    else:
        lost = np.concatenate([_pairs_lost(ranks, part) for part in _parts(weights, len(scores))])
    pairs = weights.sums(positive.astype(np.float64)) * weights.sums((~positive).astype(np.float64))
    return 1.0 - ratio(lost, pairs)


def micro_roc_auc(probabilities: Floats, labels: Ints, weights: Weights | None = None) -> Floats:
    """ROC AUC over all (image, class) pairs pooled, shape (R,)."""
    weights = weights or Weights.plain(len(labels))
    classes = probabilities.shape[1]
    truth = labels[:, None] == np.arange(classes)
    return roc_auc(probabilities.ravel(), truth.ravel(), weights.repeated(classes))


def average_precision(scores: Floats, positive: Bools, weights: Weights | None = None) -> Floats:
    """Mean over positives of the precision at their own score, shape (R,).

    The step-wise area below the precision-recall curve, without interpolation; tied images enter
    together. NaN where a row of weights has no positive. Arguments as in ``roc_auc``.
    """
    weights = weights or Weights.plain(len(scores))
    ranks = _Ranks.of(scores, positive)
    parts, patients = _parts(weights, len(scores)), weights.rows.shape[1]
    if patients * len(ranks.positives) <= _FEW_COUNTS * len(scores):
        alarms = _counts_before(ranks, ranks.negatives, ranks.tied, weights)
        sums = [_precision_sum(ranks, part, part.rows @ alarms) for part in parts]
    else:
        reaches = (ranks.reach,)
        sums = [
            _precision_sum(ranks, part, *_weight_before(part, ranks.negatives, reaches))
            for part in parts
        ]
    return ratio(np.concatenate(sums), weights.sums(positive.astype(np.float64)))


@dataclass(frozen=True)
class _Ranks:
    """Where positives and negatives stand to each other, both sorted from the highest score.

    Attributes:
        positives, negatives: image indices, best first.
        ahead: for each positive, how many negatives score strictly higher.
        reach: for each positive, how many negatives score at least as high.
        own_reach: for each positive, how many positives score at least as high, itself included.
        beaten: for each negative, the first positive that it is strictly ahead of.
        tied: for each negative, the first positive that it is ahead of or tied with.
    """

    positives: Ints
    negatives: Ints
    ahead: Ints
    reach: Ints
    own_reach: Ints
    beaten: Ints
    tied: Ints

    @classmethod
    def of(cls, scores: Floats, positive: Bools) -> _Ranks:
        order = np.argsort(-scores, kind="stable")
        positives, negatives = order[positive[order]], order[~positive[order]]
        up, down = -scores[positives], -scores[negatives]  # ascending
        return cls(
            positives=positives,
            negatives=negatives,
            ahead=np.searchsorted(down, up, "left"),
            reach=np.searchsorted(down, up, "right"),
            own_reach=np.searchsorted(up, up, "right"),
            beaten=np.searchsorted(up, down, "right"),
            tied=np.searchsorted(up, down, "left"),
        )


def _pairs_lost_between_patients(ranks: _Ranks, weights: Weights) -> Floats:
    """Weighted (negative, positive) pairs in the wrong order: a quadratic form in each row."""
    counts = _counts_before(ranks, ranks.negatives, ranks.beaten, weights)
    counts += _counts_before(ranks, ranks.negatives, ranks.tied, weights)
    own = Weights(weights.patient[ranks.positives], weights.rows)
    lost = own.per_patient(counts.T / 2)  # (patients of positives, patients of negatives)
    return _row_dots(weights.rows @ lost, weights.rows)


def _pairs_lost(ranks: _Ranks, weights: Weights) -> Floats:
    """The same for a few rows, by cumulative sums."""
    before = _weight_before(weights, ranks.negatives, (ranks.ahead, ranks.reach))
    return _row_dots(weights.of(ranks.positives), (before[0] + before[1]) / 2)


def _precision_sum(ranks: _Ranks, weights: Weights, alarms: Floats) -> Floats:
    """Weighted sum over positives of the precision at each, given the negatives before it."""
    (found,) = _weight_before(weights, ranks.positives, (ranks.own_reach,))
    return _row_dots(weights.of(ranks.positives), ratio(found, found + alarms, empty=0.0))


def _counts_before(ranks: _Ranks, images: Ints, first: Ints, weights: Weights) -> Floats:
    """Per patient, how many of ``images`` come before each positive, (patients, positives).

    Image i comes before the positives from ``first[i]`` on.
    """
    patients, slots = weights.rows.shape[1], len(ranks.positives) + 1
    cells = weights.patient[images] * slots + first
    counts = np.bincount(cells, minlength=patients * slots).reshape(patients, slots)
    return counts[:, :-1].astype(np.float64).cumsum(axis=1)


def _weight_before(weights: Weights, images: Ints, reaches: tuple[Ints, ...]) -> list[Floats]:
    """Total weight of the first ``reach`` of ``images``, (R, positives) for each of ``reaches``."""
    total = np.zeros((len(weights), len(images) + 1))
    np.cumsum(weights.of(images), axis=1, out=total[:, 1:])
    return [np.take(total, reach, axis=1) for reach in reaches]


def _parts(weights: Weights, width: int) -> Iterator[Weights]:
    """The rows of ``weights`` a few at a time, ``width`` floats each, to stay in the cache."""
    step = max(1, _CHUNK // max(width, 1))
    for start in range(0, len(weights), step):
        yield Weights(weights.patient, weights.rows[start : start + step])


def _row_dots(left: Floats, right: Floats) -> Floats:
    return np.asarray(np.einsum("rp,rp->r", left, right))
