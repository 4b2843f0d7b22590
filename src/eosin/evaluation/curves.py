"""ROC and precision-recall curves with pointwise bands from resampled patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import DataError
from eosin.evaluation.intervals import Bootstrap
from eosin.evaluation.sample import image_sample
from eosin.evaluation.weights import Weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eosin.arrays import Bools, Floats
    from eosin.artefacts.predictions import Predictions

    _Height = Callable[[Floats, Floats, Floats], Floats]

_ROWS_AT_ONCE = 32  # resamples in flight: what a core's cache holds of 8,000 images
_ROUNDING = 1e-12


@dataclass(frozen=True)
class CurveBand:
    """A curve on a grid and its pointwise percentile band.

    Attributes:
        x: grid in [0, 1], shape (points,).
        y: the curve, shape (points,).
        low, high: the band, shape (points,); None where there is no interval.
        note: plain sentences, or empty.
    """

    x: Floats
    y: Floats
    low: Floats | None
    high: Floats | None
    note: str = ""


def roc_band(
    predictions: Predictions,
    class_index: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    points: int = 201,
) -> CurveBand:
    """Sensitivity (y) against 1 - specificity (x) of one class against the rest.

    At each x the highest sensitivity reached at or before it; across tied scores a straight line.
    The band is pointwise: it promises each point of the true curve, not the whole of it (vertical
    averaging, Fawcett 2006).

    Raises:
        DataError: the class, or every other, has no image.
    """
    bootstrap = Bootstrap(resamples, seed, confidence)
    return _band(predictions, class_index, _sensitivity, bootstrap=bootstrap, points=points)


def precision_recall_band(
    predictions: Predictions,
    class_index: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    points: int = 201,
) -> CurveBand:
    """Precision (y) against recall (x) of one class against the rest.

    At each x the precision at the highest threshold whose recall reaches x, so that the curve is
    a staircase: straight lines would promise what no threshold gives (Davis & Goadrich 2006).
    Arguments and errors as in ``roc_band``.
    """
    bootstrap = Bootstrap(resamples, seed, confidence)
    return _band(predictions, class_index, _precision, bootstrap=bootstrap, points=points)


def micro_curve(
    predictions: Predictions, *, precision: bool = False, points: int = 201
) -> CurveBand:
    """The ROC or precision-recall curve of all (image, class) pairs pooled, without a band."""
    sample = image_sample(predictions)
    classes = sample.probabilities.shape[1]
    truth = (sample.labels[:, None] == np.arange(classes)).ravel()
    scores, grid = sample.probabilities.ravel(), np.linspace(0, 1, points)
    height = _precision if precision else _sensitivity
    (y,) = _heights(scores, truth, Weights.plain(len(truth)), height=height, grid=grid)
    return CurveBand(grid, y, None, None)


def macro_curve(curves: Sequence[CurveBand]) -> CurveBand:
    """The mean of the classes' curves at each point of their grid, without a band."""
    return CurveBand(curves[0].x, np.mean([curve.y for curve in curves], axis=0), None, None)


def _band(
    predictions: Predictions,
    class_index: int,
    height: _Height,
    *,
    bootstrap: Bootstrap,
    points: int,
) -> CurveBand:
    """A curve and its band; ``height`` reads y on a grid from what each threshold finds."""
    sample = image_sample(predictions)
    positive = sample.labels == class_index
    name = predictions.task.classes[class_index]
    if positive.all() or not positive.any():
        raise DataError(
            f"a curve of class {name!r} needs images of it and of others; {positive.sum()} of "
            f"{len(positive)} images are of it"
        )
    scores, grid = sample.probabilities[:, class_index], np.linspace(0, 1, points)
    once = Weights(sample.patient, np.ones((1, len(sample.patients))))
    (y,) = _heights(scores, positive, once, height=height, grid=grid)
    sides = [len(np.unique(sample.patient[side])) for side in (positive, ~positive)]
    if min(sides) == 1:
        what = f"class {name!r}" if sides[0] == 1 else f"classes other than {name!r}"
        return CurveBand(grid, y, None, None, f"one patient of {what}: no band")
    drawn = Weights(sample.patient, bootstrap.weights(sample.patients))
    curves = _heights(scores, positive, drawn, height=height, grid=grid)
    if len(curves) < len(drawn) / 2:
        why = f"{name!r} or every other class is absent from most resamples: no band"
        return CurveBand(grid, y, None, None, why)
    low, high = np.quantile(curves, bootstrap.tails, axis=0)
    return CurveBand(grid, y, low, high)


def _heights(
    scores: Floats, positive: Bools, weights: Weights, *, height: _Height, grid: Floats
) -> Floats:
    """A curve for each row of weights that holds both sides, shape (rows, points)."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    curves = []
    for start in range(0, len(weights), _ROWS_AT_ONCE):
        rows = Weights(weights.patient, weights.rows[start : start + _ROWS_AT_ONCE]).of(order)
        found = np.cumsum(rows * positive[order], axis=1)[:, ends]
        alarms = np.cumsum(rows * ~positive[order], axis=1)[:, ends]
        both = (found[:, -1] > 0) & (alarms[:, -1] > 0)
        curves += [height(f, a, grid) for f, a in zip(found[both], alarms[both], strict=True)]
    return np.array(curves).reshape(-1, len(grid))


def _sensitivity(found: Floats, alarms: Floats, grid: Floats) -> Floats:
    """ROC height from the weight of positives and negatives at or above each threshold."""
    x, y = np.append(0.0, alarms / alarms[-1]), np.append(0.0, found / found[-1])
    return np.asarray(np.interp(grid, x, y))


def _precision(found: Floats, alarms: Floats, grid: Floats) -> Floats:
    """Precision-recall height from the same; at x = 0 that of the first positive found."""
    reached = np.maximum(grid - _ROUNDING, np.finfo(np.float64).tiny)
    at = np.searchsorted(found / found[-1], reached, "left")
    return np.asarray(found[at] / (found[at] + alarms[at]))
