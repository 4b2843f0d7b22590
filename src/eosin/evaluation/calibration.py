"""Do probabilities mean what they say: temperature, decision threshold, reliability, ECE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from eosin.errors import DataError
from eosin.evaluation.weights import Weights, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from eosin.arrays import Bools, Floats, Ints, Texts

BINS = 15
# Down to 0.005: a strongly regularised head gives logits of a few hundredths.
TEMPERATURES = (0.005, 10.0)
_PARTS = 20  # of the groups, each left out in its turn
_STEPS = 60  # halvings of the bracket: beyond a float's precision


def apply_temperature(logits: npt.ArrayLike, temperature: float) -> Floats:
    """Softmax of ``logits / temperature``, shape (n, C); DataError unless temperature > 0."""
    if not temperature > 0:
        raise DataError(f"a temperature must be above 0, got {temperature}")
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    grown = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class Around:
    """How one image's logits become probabilities, with what stands around it held still."""

    temperature: float
    own: float = 1.0  # what its own logits are multiplied by
    others: Floats | float = 0.0  # what neighbours add, shape (classes,)

    def chances(self, logits: Floats) -> Floats:
        """Probabilities (n, classes) of logits that this image could have."""
        return apply_temperature(self.own * logits + self.others, self.temperature)


def fit_temperature(
    logits: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """The temperature that minimises the log loss of ``softmax(logits / T)`` (Guo et al. 2017).

    The loss is convex in 1 / T, so its slope is bisected. The result stays within
    ``TEMPERATURES``. It is 1 where the data cannot tell: no image, logits that are all equal, or
    no image classified wrong (the loss then falls for ever as T nears 0).

    Args:
        logits: finite, shape (n, C).
        labels: class indices, shape (n,).
        weights: non-negative, shape (n,); each image counts once without them.

    Raises:
        DataError: logits that are not finite, or not as many as labels.
    """
    scores = np.asarray(logits, dtype=np.float64)
    truth = np.asarray(labels, dtype=np.int64)
    if scores.ndim != 2 or len(scores) != len(truth) or not np.isfinite(scores).all():
        raise DataError(
            f"a temperature needs finite logits (n, C) and n labels, got {scores.shape} and "
            f"{truth.shape}"
        )
    own = scores[np.arange(len(truth)), truth]
    if len(truth) == 0 or (own[:, None] >= scores).all():
        return 1.0
    share = None if weights is None else np.asarray(weights, dtype=np.float64)
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    for _ in range(_STEPS):
        sharpness = (low + high) / 2
        expected = (apply_temperature(scores, 1 / sharpness) * scores).sum(axis=1)
        if np.average(expected - own, weights=share) < 0:
            low = sharpness
        else:
            high = sharpness
    return float(2 / (low + high))


def choose_threshold(
    p_positive: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """The probability from which to call positive so that balanced accuracy is highest.

    Balanced accuracy is highest where Youden's J = sensitivity + specificity - 1 is. Candidates
    are 0.5 and the midpoints between neighbouring distinct probabilities; of equally good ones the
    closest to 0.5 wins. It is 0.5 where only one class is present.

    Args:
        p_positive: probability of the positive class, shape (n,).
        labels: true or 1 where positive, shape (n,).
        weights: non-negative, shape (n,); each image counts once without them.
    """
    scores = np.asarray(p_positive, dtype=np.float64)
    positive = np.asarray(labels).astype(bool)
    weight = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64)
    totals = (weight * positive).sum(), (weight * ~positive).sum()
    if min(totals) <= 0:
        return 0.5
    share = np.where(positive, weight / totals[0], -weight / totals[1])
    distinct = np.unique(scores)
    candidates = np.append((distinct[1:] + distinct[:-1]) / 2, 0.5)
    order = np.argsort(scores)
    missed = np.concatenate([[0.0], np.cumsum(share[order])])
    youden = -missed[np.searchsorted(scores[order], candidates, "left")]
    best = candidates[youden >= youden.max() - 1e-12]  # sums of shares carry rounding
    return float(best[np.argmin(np.abs(best - 0.5))])


@dataclass(frozen=True, slots=True)
class LockedThreshold:
    """The probability from which to call positive, and what spoke for it."""

    value: float  # the candidate where its gain exceeds one standard error, else 0.5
    candidate: float  # where balanced accuracy is highest, from ``choose_threshold``
    # balanced accuracy at candidates chosen on the other groups, minus that at 0.5
    gain: float
    standard_error: float  # of the gain, groups drawn independently
    groups: int  # patients, or what else the protocol keeps whole


def lock_threshold(
    p_positive: npt.ArrayLike,
    labels: npt.ArrayLike,
    groups: Sequence[str] | Texts,
    weights: npt.ArrayLike | None = None,
) -> LockedThreshold:
    """A threshold other than 0.5 only where its cross-validated gain exceeds one standard error.

    Groups are left out in turn, up to 20 of them or else in 20 parts, the classes spread alike:
    those left out are judged at the threshold that the others choose. A threshold that rests on
    few patients does not carry over to others: the same rule as for the probe's strength.

    Args:
        p_positive: probability of the positive class, shape (n,).
        labels: true or 1 where positive, shape (n,).
        groups: what must not be cut in two, shape (n,).
        weights: non-negative, shape (n,); each image counts once without them.
    """
    scores, positive = np.asarray(p_positive, np.float64), np.asarray(labels).astype(bool)
    weight = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64)
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    candidate, count = choose_threshold(scores, positive, weight), len(names)
    totals = (weight * positive).sum(), (weight * ~positive).sum()
    if count < 2 or min(totals) <= 0:
        return LockedThreshold(0.5, candidate, 0.0, 0.0, count)
    share = weight / (2 * np.where(positive, *totals))  # of balanced accuracy
    order = np.argsort(np.bincount(group, positive) / np.bincount(group), kind="stable")
    part = np.argsort(order)[group] % min(count, _PARTS)
    chosen = np.empty(len(scores), dtype=bool)
    for held in (part == number for number in range(min(count, _PARTS))):
        chosen[held] = scores[held] >= choose_threshold(
            scores[~held], positive[~held], weight[~held]
        )
    more = (chosen == positive).astype(np.float64) - ((scores >= 0.5) == positive)
    gains = np.bincount(group, share * more)
    error = float(np.sqrt(count / (count - 1) * np.square(gains - gains.mean()).sum()))
    earned = gains.sum() > error
    return LockedThreshold(
        candidate if earned else 0.5, candidate, float(gains.sum()), error, count
    )


def expected_calibration_error(
    probabilities: Floats, labels: Ints, weights: Weights | None = None, *, bins: int = BINS
) -> Floats:
    """Mean gap between confidence and accuracy over equal-width bins, shape (R,), in [0, 1].

    Guo et al. 2017, Eq. 3, on the most probable class; a bin holds (low, high]. Few images bias
    it upwards.
    """
    weights = weights or Weights.plain(len(labels))
    confidence, right, number = _binned(probabilities, labels, bins)
    cells, patients = weights.patient * bins + number, weights.rows.shape[1]
    gaps = np.bincount(cells, right - confidence, patients * bins).reshape(patients, bins)
    return ratio(np.abs(weights.rows @ gaps).sum(axis=1), weights.sums(np.ones(len(labels))))


def reliability(probabilities: Floats, labels: Ints, bins: int = BINS) -> pd.DataFrame:
    """A row for each bin of confidence that holds images, from low to high.

    Columns: ``low``, ``high`` (the bin), ``images``, ``confidence`` (mean probability of the
    most probable class) and ``accuracy`` (share classified right), all in [0, 1] but ``images``.
    """
    import pandas as pd

    confidence, right, number = _binned(probabilities, labels, bins)
    edges = np.linspace(0, 1, bins + 1)
    images = np.bincount(number, minlength=bins)
    held = images > 0
    return pd.DataFrame(
        {
            "low": edges[:-1][held],
            "high": edges[1:][held],
            "images": images[held],
            "confidence": np.bincount(number, confidence, bins)[held] / images[held],
            "accuracy": np.bincount(number, right, bins)[held] / images[held],
        }
    )


def _binned(probabilities: Floats, labels: Ints, bins: int) -> tuple[Floats, Bools, Ints]:
    """Confidence, correctness and bin of each image."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    return confidence, right, np.searchsorted(edges, confidence, "left")
