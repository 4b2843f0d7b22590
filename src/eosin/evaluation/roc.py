"""How well scores rank positives before negatives: ROC AUC and average precision, ties included.

Both need only how much weight of positives and of negatives stands at each level of score. That is
linear in the weights of patients, so images are counted once, by level and patient, and every
resample is a column of a matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from eosin.evaluation.weights import Weights, ratio

if TYPE_CHECKING:
    from collections.abc import Callable

    from scipy.sparse import csr_matrix

    from eosin.arrays import Bools, Floats, Ints

# Resamples see no more levels than this, of equal size; it moves an area by some millionths, a
# thousandth of what the draw of the resamples does. Weights of one are always exact.
LEVELS = 1 << 12
_FEW_PATIENTS = 256  # pairs of patients cost less than levels up to here, measured on one core
_CHUNK = 1 << 17  # floats in flight at once: one megabyte, which a core's cache holds


def roc_auc(scores: Floats, positive: Bools, weights: Weights | None = None) -> Floats:
    """Probability that a positive scores above a negative, ties counting half, shape (R,).

    Hanley & McNeil 1982. NaN where a row of weights has no positive or no negative.

    Args:
        scores: shape (n,), higher is more positive.
        positive: shape (n,).
        weights: R rows over the n images; each counts once without them.
    """
    weights = weights or Weights.plain(len(scores))
    return RankedScores(scores, positive, weights.patient).roc_auc(weights.rows)


def average_precision(scores: Floats, positive: Bools, weights: Weights | None = None) -> Floats:
    """Mean over positives of the precision at their own score, shape (R,).

    The step-wise area below the precision-recall curve, without interpolation; tied images enter
    together. NaN where a row of weights has no positive. Arguments as in ``roc_auc``.
    """
    weights = weights or Weights.plain(len(scores))
    return RankedScores(scores, positive, weights.patient).average_precision(weights.rows)


def within_roc_auc(scores: Floats, positive: Bools, weights: Weights) -> Floats:
    """Mean over patients with images of both classes of the ROC AUC inside each, shape (R,).

    What tells patients apart and nothing else gets 0.5. NaN where a row of weights has no such
    patient. Arguments as in ``roc_auc``.
    """
    import pandas as pd

    patient, patients = weights.patient, weights.rows.shape[1]
    ranks = pd.Series(scores).groupby(patient).rank().to_numpy()
    found = np.bincount(patient, positive, patients)
    pairs = found * (np.bincount(patient, minlength=patients) - found)
    above = np.bincount(patient, ranks * positive, patients) - found * (found + 1) / 2
    both = (pairs > 0).astype(np.float64)
    return ratio(weights.rows @ ratio(above, pairs, empty=0.0), weights.rows @ both)


def pooled_ranks(probabilities: Floats, labels: Ints, patient: Ints) -> RankedScores:
    """The ranks of all (image, class) pairs together; their ROC AUC is the micro average."""
    classes = probabilities.shape[1]
    truth = labels[:, None] == np.arange(classes)
    return RankedScores(probabilities.ravel(), truth.ravel(), np.repeat(patient, classes))


@dataclass(frozen=True)
class RankedScores:
    """Images by score, counted once for any weights of their patients."""

    scores: Floats  # shape (n,), higher is more positive
    positive: Bools  # shape (n,)
    patient: Ints  # the column of the weights that each image follows, shape (n,)

    def areas(self, rows: Floats) -> tuple[Floats, Floats]:
        """``roc_auc`` and ``average_precision``; of many patients with the counts taken once."""
        if len(rows) == 1 or rows.shape[1] <= _FEW_PATIENTS or self._exact_first(rows):
            return self.roc_auc(rows), self.average_precision(rows)
        roc, precision = _for_each((_roc_auc, _average_precision), self._counted, rows)
        return roc, precision

    def roc_auc(self, rows: Floats) -> Floats:
        """The area under the ROC for each row of weights over patients, shape (R, patients)."""
        if self._exact_first(rows):
            return np.concatenate([self.roc_auc(rows[:1]), self.roc_auc(rows[1:])])
        if len(rows) == 1:
            return _for_each((_roc_auc,), self._count(self._level), rows)[0]
        if rows.shape[1] > _FEW_PATIENTS:
            return _for_each((_roc_auc,), self._counted, rows)[0]
        found, alarms = (_widened(part.toarray(), rows.shape[1]) for part in self._counted)
        lost = found.T @ (alarms.cumsum(axis=0) - alarms / 2)  # between pairs of patients
        pairs = (rows @ found.sum(axis=0)) * (rows @ alarms.sum(axis=0))
        return 1.0 - ratio(np.einsum("rp,rp->r", rows @ lost, rows), pairs)

    def average_precision(self, rows: Floats) -> Floats:
        """The area under the steps of precision and recall for each row of weights."""
        if self._exact_first(rows):
            parts = [self.average_precision(part) for part in (rows[:1], rows[1:])]
            return np.concatenate(parts)
        exact = len(rows) == 1
        counted = self._count(self._up_to_positives(self._level)) if exact else self._found
        return _for_each((_average_precision,), counted, rows)[0]

    def _exact_first(self, rows: Floats) -> bool:
        """Whether the first row is the sample itself, and resamples see fewer levels than it."""
        fewer = len(rows) > 1 and self._level.max(initial=0) >= LEVELS
        return fewer and bool((rows[0] == 1).all())

    @cached_property
    def _level(self) -> Ints:
        """The rank of each image's score among the distinct ones, the highest 0."""
        order = np.argsort(-self.scores, kind="stable")
        level = np.zeros(len(self.scores), dtype=np.int64)
        level[order[1:]] = np.cumsum(np.diff(self.scores[order]) != 0)
        return level

    @cached_property
    def _coarse_level(self) -> Ints:
        """No more than ``LEVELS`` of them; images of one score stay together."""
        level = self._level
        if level.max(initial=0) < LEVELS:
            return level
        ahead = np.cumsum(np.bincount(level)) - np.bincount(level)
        return np.asarray(ahead[level] * LEVELS // len(level))

    def _up_to_positives(self, level: Ints) -> Ints:
        """Levels with the negatives between two positives counted at the lower one."""
        return np.searchsorted(np.unique(level[self.positive]), level)

    @cached_property
    def _counted(self) -> tuple[csr_matrix, csr_matrix]:
        return self._count(self._coarse_level)

    @cached_property
    def _found(self) -> tuple[csr_matrix, csr_matrix]:
        return self._count(self._up_to_positives(self._coarse_level))

    def _count(self, level: Ints) -> tuple[csr_matrix, csr_matrix]:
        """Positives and negatives by level and patient, shape (levels, patients) each."""
        from scipy.sparse import csr_matrix

        shape = int(level.max(initial=0)) + 1, int(self.patient.max(initial=0)) + 1
        found, alarms = (
            csr_matrix((np.ones(int(own.sum())), (level[own], self.patient[own])), shape=shape)
            for own in (self.positive, ~self.positive)
        )
        return found, alarms


def _for_each(
    areas: tuple[Callable[[Floats, Floats], Floats], ...],
    counted: tuple[csr_matrix, csr_matrix],
    rows: Floats,
) -> list[Floats]:
    """Each of ``areas``, shape (R,), from the weights of positives and negatives at each level."""
    levels, patients = counted[0].shape
    step = max(1, _CHUNK // levels)
    parts = []
    for start in range(0, len(rows), step):
        columns = np.ascontiguousarray(rows.T[:patients, start : start + step])
        found, alarms = (part @ columns for part in counted)
        parts.append([area(found, alarms) for area in areas])
    return [np.concatenate(of_area) for of_area in zip(*parts, strict=True)]


def _widened(counts: Floats, patients: int) -> Floats:
    """With columns of zeros for patients that come last and have no image."""
    return np.pad(counts, ((0, 0), (0, patients - counts.shape[1])))


def _roc_auc(found: Floats, alarms: Floats) -> Floats:
    """From the weight of positives and of negatives at each level, shape (levels, R)."""
    alarmed = alarms.cumsum(axis=0)
    lost = np.einsum("lr,lr->r", found, alarmed - alarms / 2)
    return 1.0 - ratio(lost, found.sum(axis=0) * alarmed[-1])


def _average_precision(found: Floats, alarms: Floats) -> Floats:
    """From the weight of positives and of negatives at each level, shape (levels, R)."""
    before = found.cumsum(axis=0)
    precision = ratio(before, before + alarms.cumsum(axis=0), empty=0.0)
    return ratio(np.einsum("lr,lr->r", found, precision), before[-1])
