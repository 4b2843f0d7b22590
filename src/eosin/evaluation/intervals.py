"""Patient-clustered bootstrap: resample weights and percentile intervals.

Images of one patient are not independent, so whole patients are drawn with replacement (Davison &
Hinkley 1997, section 3.8). With few patients, say under 30, percentile intervals are somewhat too
narrow: they cover the truth less often than they promise, though far more often than intervals
that resample images.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import ConfigError, DataError
from eosin.files import valid_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eosin.arrays import Floats, Ints

_AT_ONCE = 1 << 24  # weights in flight: an eighth of a gigabyte


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are drawn.

    Attributes:
        resamples: how many times patients are drawn.
        seed: of the draws.
        confidence: of the percentile interval, in (0, 1).

    Raises:
        ConfigError: the confidence is no share, or so few resamples cannot show its tails.
    """

    resamples: int = 2000
    seed: int = 0
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise ConfigError(f"confidence must lie between 0 and 1, got {self.confidence}")
        least = ceil(round(2 / (1 - self.confidence), 6))
        if self.resamples < least:
            raise ConfigError(
                f"{self.resamples} resamples cannot show the tails of a {self.confidence:.0%} "
                f"interval; ask for at least {least} (2000 is usual)"
            )

    @property
    def tails(self) -> tuple[float, float]:
        """The quantiles at which the interval ends."""
        return (1 - self.confidence) / 2, (1 + self.confidence) / 2

    def weights(self, patients: Sequence[str]) -> Floats:
        """The draws of these distinct patients, shape (resamples, patients)."""
        return resample_weights(patients, resamples=self.resamples, seed=self.seed)

    def rows(self, patients: Sequence[str]) -> Floats:
        """Every patient once, then the draws, shape (1 + resamples, patients)."""
        return np.concatenate([np.ones((1, len(patients))), self.weights(patients)])

    def parts(self, patients: Sequence[str]) -> Iterator[Floats]:
        """``rows`` some at a time, so that a million patients fit in memory."""
        yield np.ones((1, len(patients)))
        step = max(1, _AT_ONCE // len(patients))
        draws = _draws(len(patients), seed=self.seed)
        for start in range(0, self.resamples, step):
            rows = np.empty((min(step, self.resamples - start), len(patients)), order="F")
            for row, drawn in zip(rows, draws, strict=False):
                row[:] = drawn
            yield rows

    def interval(self, values: Floats) -> Interval:
        """The percentile interval of one value a draw."""
        return percentile_interval(values, confidence=self.confidence)


@dataclass(frozen=True, slots=True)
class Interval:
    """A percentile interval.

    Attributes:
        low, high: its ends, in the metric's unit; None where there is no interval.
        defined: share of the resamples in which the metric had a value, in [0, 1].
    """

    low: float | None
    high: float | None
    defined: float


def patient_columns(patients: Sequence[str], images: Sequence[str]) -> tuple[tuple[str, ...], Ints]:
    """The distinct patients, sorted, and the index of each image's patient among them.

    An image without a patient (an empty name) is a patient of its own, named by ``images``.
    """
    from pandas import factorize

    names = [
        patient or f"image {valid_text(image)}"
        for patient, image in zip(patients, images, strict=True)
    ]
    index, distinct = factorize(np.array(names, dtype=object), sort=True)
    return tuple(distinct.tolist()), index.astype(np.int64)


def resample_weights(patients: Sequence[str], *, resamples: int = 2000, seed: int = 0) -> Floats:
    """How often each patient is drawn in each resample, shape (resamples, patients).

    Patients are drawn with replacement, as many as there are; each row sums to their number. The
    draw depends on nothing but the number of patients, ``resamples`` and ``seed``: two tables of
    the same patients get the same resamples, which is what a paired comparison needs.

    Args:
        patients: the distinct patients, in column order.
        resamples: how many draws, at least one.
        seed: of the draw.

    Raises:
        DataError: no patient, or one of them twice.
        ConfigError: no resample asked for.
    """
    count = len(patients)
    if count == 0 or len(set(patients)) != count:
        raise DataError(f"resampling needs distinct patients, got {count} of {len(set(patients))}")
    if resamples < 1:
        raise ConfigError(f"resamples must be at least 1, got {resamples}")
    weights = np.empty((resamples, count))
    for row, drawn in zip(weights, _draws(count, seed=seed), strict=False):
        row[:] = drawn
    return weights


def _draws(count: int, *, seed: int) -> Iterator[Ints]:
    """How often each of ``count`` patients is drawn, resample after resample, without an end."""
    draw = np.random.default_rng(seed)
    while True:
        yield np.bincount(draw.integers(0, count, count), minlength=count)


def percentile_interval(values: Floats, *, confidence: float = 0.95) -> Interval:
    """The central ``confidence`` of bootstrap values, shape (R,); NaN where undefined is left out.

    There is no interval where the metric was undefined in more than half of the resamples.
    """
    known = values[np.isfinite(values)]
    defined = len(known) / len(values)
    if defined < 0.5 or not len(known):
        return Interval(None, None, defined)
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(float(low), float(high), defined)
