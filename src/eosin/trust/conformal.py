"""Conformal sets: the classes that cannot be ruled out at a level, calibrated by patient.

Split-conformal sets (Vovk, Gammerman & Shafer 2005) whose calibration gives every patient one
weight, since a new image is one of a new patient. Images of a patient are alike, so that they count
for fewer than they are: the level is raised as if there were as many independent ones as the spread
between patients tells (Kish 1965, the design effect).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

import numpy as np

from eosin.errors import ConfigError

if TYPE_CHECKING:
    from eosin.arrays import Bools, Floats, Ints

Method: TypeAlias = Literal["lac", "aps"]
_ROUNDING = 1e-9  # of sums of shares


@dataclass(frozen=True, slots=True)
class SetOptions:
    """How sets are made; ConfigError where the coverage is no level or the method unknown."""

    coverage: float = 0.90  # the share of new patients' images whose set holds the truth
    method: Method = "lac"  # by the class' own probability, or by the mass ranked before it
    by_class: bool = False  # whether each class is to be covered so

    def __post_init__(self) -> None:
        if not 0.5 <= self.coverage < 1:
            raise ConfigError(
                f"coverage {self.coverage} must be at least 0.5 and below 1, e.g. 0.9"
            )
        named_method(self.method)

    @property
    def patients_needed(self) -> int:
        """The fewest calibration patients that can promise the coverage: 1 / alpha - 1."""
        return ceil(round(1 / (1 - self.coverage) - 1, 6))


@dataclass(frozen=True)
class Calibration:
    """What was said of images of patients that were not fitted, and what was true.

    Attributes:
        probabilities: shape (n, classes).
        labels: true class indices, shape (n,).
        patient: the number of each image's patient, shape (n,).
    """

    probabilities: Floats
    labels: Ints
    patient: Ints

    @property
    def patients(self) -> int:
        """How many there are."""
        return len(np.unique(self.patient))


def named_method(name: str) -> Method:
    """The method of this name; ConfigError where there is none."""
    if name not in get_args(Method):
        raise ConfigError(f"sets {name!r} are unknown; want lac or aps")
    return cast("Method", name)


def conformal_sets(
    probabilities: Floats, calibration: Calibration, options: SetOptions, *, ordinal: bool
) -> Bools:
    """Which classes each image's set holds, shape (n, classes); the most probable one always.

    Where too few patients calibrate, of all or, by class, of a class, nothing is ruled out. Sets of
    ordinal tasks skip no grade.

    Args:
        probabilities: shape (n, classes).
        calibration: of the same model.
        options: level and method.
        ordinal: whether the order of the classes is a grade.
    """
    truths = np.arange(len(calibration.labels))
    known = nonconformity(calibration.probabilities, options.method, ordinal=ordinal)
    own = known[truths, calibration.labels]
    limits = np.full(probabilities.shape[1], np.inf)
    for index in range(len(limits)):
        of = calibration.labels == index if options.by_class else np.ones(len(own), bool)
        limits[index] = patient_quantile(own[of], calibration.patient[of], options)
    sets = nonconformity(probabilities, options.method, ordinal=ordinal) <= limits + _ROUNDING
    top = probabilities.argmax(axis=1)
    sets[np.arange(len(sets)), top] = True
    return _filled(sets) if ordinal else sets


def nonconformity(probabilities: Floats, method: Method, *, ordinal: bool) -> Floats:
    """How badly each class fits each image, shape (n, classes), in [0, 1].

    LAC: one minus the probability of the class (Sadinle, Lei & Wasserman 2019). APS: the mass of
    the classes before it, ranked by probability (Romano, Sesia & Candes 2020, without the draw).
    For grades LAC takes the least probability on the way from the most probable grade, APS ranks
    grades as an interval grows from there to the more probable side (Lu, Angelopoulos & Pomerantz
    2022): what is at most as bad as any level is then an interval.
    """
    if method == "lac":
        return 1 - (_downhill(probabilities) if ordinal else probabilities)
    ranks = _grown(probabilities) if ordinal else np.argsort(-probabilities, 1, kind="stable")
    mass = np.take_along_axis(probabilities, ranks, axis=1)
    before = np.zeros_like(mass)
    np.put_along_axis(before, ranks, np.cumsum(mass, axis=1) - mass, axis=1)
    return np.clip(before, 0, 1)


def patient_quantile(scores: Floats, patient: Ints, options: SetOptions) -> float:
    """The score that the share ``coverage`` of a new patient's images stays at or below.

    Infinite where there are fewer patients than the level needs.
    """
    _, inverse, images = np.unique(patient, return_inverse=True, return_counts=True)
    count, level = len(images), options.coverage
    if count < options.patients_needed:
        return float("inf")
    weights = 1 / (count * images[inverse])
    plain = _quantile(scores, weights, level)
    shares = np.bincount(inverse, scores <= plain) / images
    spread = max(float(shares.var(ddof=1)), 1e-12) if count > 1 else 1.0
    independent = min(max(count * level * (1 - level) / spread, count), len(scores))
    return _quantile(scores, weights, level * (1 + 1 / independent))


def _quantile(scores: Floats, weights: Floats, level: float) -> float:
    if level > 1 + _ROUNDING:
        return float("inf")
    order = np.argsort(scores, kind="stable")
    reached = np.searchsorted(np.cumsum(weights[order]), min(level, 1) - _ROUNDING)
    return float(scores[order][min(int(reached), len(scores) - 1)])


def _downhill(probabilities: Floats) -> Floats:
    """The least probability from the most probable grade to each, shape (n, classes)."""
    grades = np.arange(probabilities.shape[1])
    top = probabilities.argmax(axis=1)[:, None]
    right = np.where(grades >= top, probabilities, np.inf)
    left = np.where(grades <= top, probabilities, np.inf)[:, ::-1]
    up, down = (np.minimum.accumulate(side, axis=1) for side in (right, left))
    return np.where(grades >= top, up, down[:, ::-1])


def _grown(probabilities: Floats) -> Ints:
    """The grades of each image in the order in which an interval takes them, (n, classes)."""
    images, classes = probabilities.shape
    rows = np.arange(images)
    edged = np.pad(probabilities, ((0, 0), (1, 1)), constant_values=-1.0)
    low = probabilities.argmax(axis=1)
    high, order = low.copy(), [low.copy()]
    for _ in range(classes - 1):
        up = edged[rows, high + 2] > edged[rows, low]
        high, low = high + up, low - ~up
        order.append(np.where(up, high, low))
    return np.stack(order, axis=1)


def _filled(sets: Bools) -> Bools:
    """Sets without gaps: class by class, limits differ and could leave one."""
    after = np.logical_or.accumulate(sets, axis=1)
    return after & np.logical_or.accumulate(sets[:, ::-1], axis=1)[:, ::-1]
