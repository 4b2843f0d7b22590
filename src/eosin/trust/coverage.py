"""Trust, measured: coverage of sets, the risk left after abstaining, and accuracy by flag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from eosin.artefacts.estimate import ALL, Estimate, Scope
from eosin.evaluation.intervals import Bootstrap
from eosin.evaluation.sample import image_sample
from eosin.evaluation.weights import Weights
from eosin.trust.columns import calibration_of
from eosin.trust.conformal import Calibration, SetOptions, conformal_sets
from eosin.trust.familiarity import patient_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.arrays import Bools, Floats, Ints
    from eosin.artefacts.predictions import Predictions
    from eosin.evaluation.sample import Sample
    from eosin.networks.run import Run

LEVELS: Final = (0.80, 0.90, 0.95)
_FEWEST: Final = 2  # patients for an interval
_ROWS_AT_ONCE: Final = 64
_POINTS: Final = 201


@dataclass(frozen=True)
class SetCoverage:
    """What sets of one level did."""

    coverage: float  # what they promise
    calibration_patients: int  # of folds the fewest
    patients_needed: int
    covered: tuple[Estimate, ...]  # share whose set holds the truth: all, each class, magnification
    sizes: tuple[int, ...]  # images whose set holds 1, 2, ... classes

    @property
    def everything(self) -> bool:
        """Whether every set holds every class, since too few patients calibrate."""
        return self.too_few and not any(self.sizes[:-1])

    @property
    def too_few(self) -> bool:
        """Whether fewer patients calibrate, in any fold, than the level needs."""
        return self.calibration_patients < self.patients_needed


@dataclass(frozen=True)
class RiskCoverage:
    """What is wrong among the images that are answered, the surest first."""

    answered: Floats  # share of the images, shape (points,), ascending
    risk: Floats  # share of these that are wrong, shape (points,)
    area: Estimate  # below the curve
    allowed: float  # the risk that the confidence was chosen for, on calibration patients
    abstained: Estimate | None  # share below that confidence; None where no risk was that low
    risk_left: Estimate | None  # share wrong among the others


def set_coverages(
    run: Run, predictions: Predictions, *, bootstrap: Bootstrap, levels: Sequence[float] = LEVELS
) -> tuple[SetCoverage, ...]:
    """Coverage at several levels, of labelled predictions of ``run`` with its method of sets."""
    trust, sample = predictions.trust, image_sample(predictions)
    method, by_class = (trust.sets, trust.by_class) if trust else ("lac", False)
    parts, found = _calibrations(run, predictions), []
    rows = np.arange(len(sample))
    for level in sorted({*levels, *([trust.coverage] if trust else [])}):
        options = SetOptions(level, method, by_class)
        sets = np.ones_like(predictions.probabilities, dtype=bool)
        for mask, known in parts:
            sets[mask] = conformal_sets(
                predictions.probabilities[mask], known, options, ordinal=predictions.task.ordinal
            )
        held = sets[rows, sample.labels]
        found.append(
            SetCoverage(
                level,
                min(known.patients for _, known in parts),
                options.patients_needed,
                tuple(_scopes(held, sample, predictions, bootstrap)),
                tuple(np.bincount(sets.sum(axis=1), minlength=sets.shape[1] + 1)[1:].tolist()),
            )
        )
    return tuple(found)


def risk_coverage(
    run: Run, predictions: Predictions, *, bootstrap: Bootstrap, allowed: float = 0.10
) -> RiskCoverage:
    """The risk-coverage curve (El-Yaniv & Wiener 2010) by the probability of the predicted class.

    Images of equal probability are answered all or none, so their order does not count.

    Args:
        run: whose calibration patients choose the confidence; of folds each its own.
        predictions: of it, labelled.
        bootstrap: of the intervals, by patient.
        allowed: the share wrong, among what is answered of these patients, to choose it for.
    """
    sample = image_sample(predictions)
    sure, wrong = predictions.probabilities.max(axis=1), sample.predicted != sample.labels
    order = np.argsort(-sure, kind="stable")
    ones = Weights(sample.patient, np.ones((1, len(sample.patients))))
    ends = _ends(sure[order])
    answered, risk = (rows[0] for rows in _curves(ones, order, ends, wrong))
    keep = np.unique(np.linspace(0, len(ends) - 1, _POINTS).round().astype(np.int64))
    weights = Weights(sample.patient, bootstrap.rows(sample.patients))
    limits = np.full(len(sure), np.inf)
    for mask, known in _calibrations(run, predictions):
        limits[mask] = confidence_at_risk(known, allowed)
    left = sure >= limits
    abstained = risk_left = None
    if np.isfinite(limits).any():
        shares = weights.mean((~left).astype(np.float64))
        abstained = _estimate("abstention", shares, sample, bootstrap)
    if left.any():
        risk_left = _share("risk", wrong, sample, among=left, bootstrap=bootstrap)
    areas = _areas(weights, order, ends, wrong)
    area = _estimate("risk_coverage_area", areas, sample, bootstrap)
    return RiskCoverage(answered[keep], risk[keep], area, allowed, abstained, risk_left)


def confidence_at_risk(calibration: Calibration, allowed: float) -> float:
    """The least confidence from which on at most ``allowed`` of the answers are wrong; or infinity.

    Each patient has one weight.
    """
    if not len(calibration.labels):
        return float("inf")
    sure = calibration.probabilities.max(axis=1)
    wrong = calibration.probabilities.argmax(axis=1) != calibration.labels
    order = np.argsort(-sure, kind="stable")
    weights = patient_weights(calibration.patient)[order]
    risk = np.cumsum(weights * wrong[order]) / np.cumsum(weights)
    ends = _ends(sure[order])
    fine = ends[risk[ends] <= allowed]
    return float(sure[order][fine[-1]]) if len(fine) else float("inf")


def _ends(scores: Floats) -> Ints:
    """The last index of each run of equal ``scores``: of equal confidence all or none."""
    return np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)


def accuracy_by_flag(
    predictions: Predictions, *, bootstrap: Bootstrap
) -> dict[str, tuple[Estimate | None, int]]:
    """Accuracy and number of the images without a flag, with any, and with each one."""
    sample = image_sample(predictions)
    right = sample.predicted == sample.labels
    flags = predictions.frame["flags"].str.split()
    masks = {"nothing flagged": ~predictions.flagged, "flagged": predictions.flagged}
    names = sorted({name for row in flags for name in row})
    masks |= {name: np.array([name in row for row in flags]) for name in names}
    found: dict[str, tuple[Estimate | None, int]] = {}
    for name, mask in masks.items():
        estimate = None
        if mask.any():
            estimate = _share("accuracy", right, sample, among=mask, bootstrap=bootstrap)
        found[name] = estimate, int(mask.sum())
    return found


def _calibrations(run: Run, predictions: Predictions) -> list[tuple[Bools, Calibration]]:
    """Which rows each calibration is for: out-of-fold rows have that of their own fold's Run."""
    folds = {member.record.fold: member for member in run.open_members()}
    if predictions.provenance.split != "out-of-fold" or None in folds:
        return [(np.ones(len(predictions), dtype=bool), calibration_of(run))]
    own = predictions.frame["fold"].to_numpy(dtype=str)
    parts = [(own == str(fold), calibration_of(member)) for fold, member in folds.items()]
    return [(mask, known) for mask, known in parts if mask.any()]


def _scopes(
    held: Bools, sample: Sample, predictions: Predictions, bootstrap: Bootstrap
) -> list[Estimate]:
    names = predictions.task.classes
    parts = {ALL: np.ones(len(held), dtype=bool)}
    parts |= {Scope(name): sample.labels == index for index, name in enumerate(names)}
    steps = np.array(sample.magnification)
    parts |= {Scope(magnification=step): steps == step for step in sample.magnifications()}
    return [
        _share("coverage", held, sample, among=mask, bootstrap=bootstrap, scope=scope)
        for scope, mask in parts.items()
        if mask.any()
    ]


def _share(
    metric: str,
    true: Bools,
    sample: Sample,
    *,
    among: Bools,
    bootstrap: Bootstrap,
    scope: Scope = ALL,
) -> Estimate:
    """The share of the images ``among`` which it is ``true``, with its interval."""
    part = sample.where(among)
    weights = Weights(part.patient, bootstrap.rows(part.patients))
    rows = weights.mean(true[among].astype(np.float64))
    return _estimate(metric, rows, part, bootstrap, scope=scope)


def _estimate(
    metric: str, rows: Floats, sample: Sample, bootstrap: Bootstrap, *, scope: Scope = ALL
) -> Estimate:
    """The first of ``rows`` is the value, the others are resamples'."""
    count, low, high, note = len(sample.patients), None, None, ""
    if count < _FEWEST:
        note = "one patient: no interval"
    else:
        interval = bootstrap.interval(rows[1:])
        low, high = interval.low, interval.high
        note = "" if low is not None else "undefined in most resamples: no interval"
    return Estimate(float(rows[0]), low, high, len(sample), count, metric, scope, note=note)


def _curves(weights: Weights, order: Ints, ends: Ints, wrong: Bools) -> tuple[Floats, Floats]:
    """Share answered and risk at each of ``ends`` in the ``order``, shape (R, ends) each."""
    rows = weights.of(order)
    answered = np.cumsum(rows, axis=1)[:, ends]
    risk = np.cumsum(rows * wrong[order], axis=1)[:, ends] / np.maximum(answered, 1e-12)
    return answered / answered[:, -1:], risk


def _areas(weights: Weights, order: Ints, ends: Ints, wrong: Bools) -> Floats:
    """The mean risk over the share answered, of each row of weights, shape (R,)."""
    found = []
    for start in range(0, len(weights), _ROWS_AT_ONCE):
        part = Weights(weights.patient, weights.rows[start : start + _ROWS_AT_ONCE])
        answered, risk = _curves(part, order, ends, wrong)
        found.append((np.diff(answered, axis=1, prepend=0.0) * risk).sum(axis=1))
    return np.concatenate(found)
