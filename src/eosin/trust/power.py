"""How many patients a study needs: power by simulation from the predictions at hand."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

import numpy as np

from eosin.errors import ConfigError, DataError
from eosin.evaluation.alignment import align
from eosin.evaluation.all_metrics import MetricKey, less, score_headlines
from eosin.evaluation.evaluate import one_blas_thread, patients_known
from eosin.evaluation.intervals import percentile_interval
from eosin.evaluation.metrics import accuracy, confusion_counts
from eosin.evaluation.sample import image_sample
from eosin.evaluation.weights import Weights
from eosin.progress import SILENT, working

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from eosin.arrays import Floats
    from eosin.artefacts.predictions import Predictions
    from eosin.evaluation.sample import Sample
    from eosin.progress import Progress
    from eosin.tasks import Task

PowerMetric = Literal["accuracy", "roc_auc"]
_FEWEST = 8  # patients, below which their spread is hardly known
_MOST = 10_000  # patients that a curve is drawn for
_SHARES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)  # of the patients a formula asks for
_CONFIDENCE = 0.95
_FLOATS = 1 << 20  # weights in flight at once


@dataclass(frozen=True, slots=True)
class PowerPoint:
    """One planned study.

    Attributes:
        patients: of the study.
        power: share of simulated studies whose 95 % interval excludes no difference, in [0, 1].
        low, high: 95 % interval of that share, given how many studies were simulated (Wilson 1927).
    """

    patients: int
    power: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Power:
    """What studies of several sizes would find.

    Attributes:
        metric: the figure, of one model or the difference of two.
        models: one name, or two whose difference is planned for.
        effect: the true distance from the bound, or between the models, that is to be found.
        observed: the figure, or the difference, at hand, and the ends of its 95 % interval.
        at_hand: patients that the simulation draws from.
        target: the power that is wanted, in (0, 1).
        needed: patients for it; None where more than 10,000.
        low, high: 95 % interval of ``needed``, because few patients at hand show their spread
            only roughly; None where more than 10,000.
        curve: studies of growing size.
    """

    metric: str
    models: tuple[str, ...]
    effect: float
    observed: tuple[float, float, float]
    at_hand: int
    target: float
    needed: int | None
    low: int | None
    high: int | None
    curve: tuple[PowerPoint, ...]

    def frame(self) -> pd.DataFrame:
        """A row a planned study: ``patients, power, low, high``."""
        import pandas as pd

        columns = ["patients", "power", "low", "high"]
        return pd.DataFrame({name: [getattr(p, name) for p in self.curve] for name in columns})


def plan_patients(
    tables: Mapping[str, Predictions],
    *,
    effect: float,
    metric: PowerMetric = "accuracy",
    target: float = 0.8,
    studies: int = 400,
    resamples: int = 200,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Power:
    """Simulate studies of new patients, and count how often they find a true ``effect``.

    Each simulated study draws patients with replacement, with all their images, from those at
    hand, so that what images of one patient share is kept. Its figure is moved so that the truth
    is exactly ``effect`` away from the bound, or from no difference, and it finds the effect where
    its 95 % interval, which resamples its patients, excludes that. Moving takes the spread between
    patients to be the same at the planned figure as at the one at hand.

    Resampling P patients shows (P - 1) / P of their variance, so a study of n patients is
    simulated with n (P - 1) / P of them. Sizes are those about what a formula asks for, and larger
    ones, up to 10,000, where these do not reach the target.

    Args:
        tables: one labelled table, or two of the same images, by the name of their model.
        effect: in the metric's unit, not zero.
        metric: accuracy, or the area under the ROC curve (macro-averaged beyond two classes).
        target: the power wanted, in (0, 1).
        studies: simulated for each size.
        resamples: of each study's interval.
        seed: of every draw.
        progress: is told how many sizes are done.

    Raises:
        ConfigError: an effect, target or number out of range; three tables or more.
        DataError: unlabelled images, unknown patients, fewer than 8 patients at hand, tables
            without a common image, or patients that do not differ at all.
    """
    _require_sensible(len(tables), effect, target, studies, resamples)
    hand = _AtHand.of(tables, metric)
    draw, count = np.random.default_rng(seed), hand.patients
    with one_blas_thread():
        observed = float(hand.figure(np.ones((1, count)))[0])
        again = hand.resampled(draw)
        guess = _by_formula(float(np.nanstd(again)), count, effect, target)
        sizes = _sizes(guess)
        curve = []
        with working(progress, "simulating studies", total=len(sizes)):
            for size in sizes:
                curve.append(hand.point(size, effect - observed, (studies, resamples), draw))
                progress.advance()
            while _reaching(curve, target) is None and (last := curve[-1].patients) < _MOST:
                size = min(_MOST, 2 * last)
                curve.append(hand.point(size, effect - observed, (studies, resamples), draw))
        spreads = hand.spreads_of_others(draw)
    unreached = guess if curve[-1].high >= target else max(guess, _MOST + 1.0)
    needed = _reaching(curve, target) or unreached
    low, high = (
        _by_formula(float(each), count, effect, target) * needed / guess
        for each in np.nanquantile(spreads, [0.025, 0.975])
    )
    return Power(
        metric=hand.key.metric,
        models=tuple(tables),
        effect=effect,
        observed=(observed, *np.nanquantile(again, [0.025, 0.975]).tolist()),
        at_hand=count,
        target=target,
        needed=_bounded(needed),
        low=_bounded(low),
        high=_bounded(high),
        curve=tuple(curve),
    )


def _require_sensible(
    tables: int, effect: float, target: float, studies: int, resamples: int
) -> None:
    if tables not in (1, 2):
        raise ConfigError(f"power is planned for one model or for two, got {tables} tables")
    if not 0 < abs(effect) < 1:
        raise ConfigError(
            f"effect = {effect:g}: want a distance between 0 and 1, such as 0.05 for 5 points"
        )
    if not 0.05 < target < 1:
        raise ConfigError(f"target = {target:g}: want a power between 0.05 and 1, usually 0.8")
    if studies < 50 or resamples < 100:
        raise ConfigError(
            f"{studies} studies with {resamples} resamples each say nothing; "
            "want at least 50 and 100"
        )


@dataclass(frozen=True)
class _AtHand:
    """The patients at hand, and the figure, or the difference of two, that any of them give."""

    samples: tuple[Sample, ...]  # one a model, of the same images in the same order
    task: Task
    key: MetricKey

    @classmethod
    def of(cls, tables: Mapping[str, Predictions], metric: PowerMetric) -> _AtHand:
        aligned = dict(align(tables).tables) if len(tables) == 2 else dict(tables)
        first = next(iter(aligned.values()))
        if not all(patients_known(table) for table in aligned.values()):
            raise DataError(
                "these predictions do not say whose images they are, so there are no patients to "
                "plan with; predict a manifest that names patients"
            )
        several = metric == "roc_auc" and not first.task.binary
        key = MetricKey("macro_roc_auc" if several else metric)
        hand = cls(tuple(image_sample(table) for table in aligned.values()), first.task, key)
        if hand.patients < _FEWEST:
            raise DataError(
                f"{hand.patients} patients at hand; the spread between patients cannot be told "
                f"from fewer than {_FEWEST}"
            )
        if not np.isfinite(hand.figure(np.ones((1, hand.patients)))[0]):
            raise DataError(f"{key.metric} has no value on these images: a class is missing")
        return hand

    @property
    def patients(self) -> int:
        return len(self.samples[0].patients)

    def figure(self, rows: Floats) -> Floats:
        """The figure under weights of patients, shape (R, P): shape (R,)."""
        weights = Weights(self.samples[0].patient, rows)
        values = [self._of_model(each, weights) for each in self.samples]
        return less(*values) if len(values) == 2 else values[0]

    def _of_model(self, sample: Sample, weights: Weights) -> Floats:
        if self.key.metric != "accuracy":
            return score_headlines(sample, self.task, weights)[self.key]
        classes = len(self.task.classes)
        return accuracy(
            confusion_counts(sample.labels, sample.predicted, classes=classes, weights=weights)
        )

    def _studies(self, studies: Floats, resamples: int, draw: np.random.Generator) -> Floats:
        """The figure in resamples of each study, shape (studies, resamples)."""
        at_once = max(1, _FLOATS // (resamples * self.patients))
        found = []
        for start in range(0, len(studies), at_once):
            part = studies[start : start + at_once]
            rows = np.concatenate([_again(draw, study, resamples) for study in part])
            found.append(self.figure(rows).reshape(len(part), resamples))
        return np.concatenate(found)

    def resampled(self, draw: np.random.Generator) -> Floats:
        """The figure over draws of as many patients, shape (1000,)."""
        values = self.figure(self._drawn(draw, self.patients, 1000))
        known = values[np.isfinite(values)]
        if len(known) < len(values) / 2 or np.ptp(known) == 0:
            raise DataError(
                f"{self.key.metric} is the same, or undefined, whoever the patients are: no study "
                "can be planned from these predictions"
            )
        return values

    def spreads_of_others(self, draw: np.random.Generator, times: int = 200) -> Floats:
        """The spread that other patients at hand would have shown, at most ``times`` of them."""
        values = self._studies(self._drawn(draw, self.patients, times), 200, draw)
        return np.asarray(np.nanstd(values[np.isfinite(values).any(axis=1)], axis=1))

    def point(
        self, size: int, moved: float, times: tuple[int, int], draw: np.random.Generator
    ) -> PowerPoint:
        """What simulated studies of one size find: (studies, resamples) = ``times``."""
        studies, resamples = times
        drawn = max(2, round(size * (self.patients - 1) / self.patients))
        found = 0
        for values in self._studies(self._drawn(draw, drawn, studies), resamples, draw):
            interval = percentile_interval(values + moved)
            if interval.low is not None and interval.high is not None:
                found += not interval.low <= 0 <= interval.high
        return _point(size, found, studies)

    def _drawn(self, draw: np.random.Generator, size: int, times: int) -> Floats:
        """How often each patient is met in draws of ``size`` patients, shape (times, P)."""
        even = np.full(self.patients, 1 / self.patients)
        return draw.multinomial(size, even, times).astype(np.float64)


def _again(draw: np.random.Generator, study: Floats, times: int) -> Floats:
    """Resamples of a study that met patients this often, shape (times, P)."""
    size = int(study.sum())
    return draw.multinomial(size, study / size, times).astype(np.float64)


def _by_formula(spread: float, count: int, effect: float, target: float) -> float:
    """Patients for the power wanted if figures were normal: the variance falls as 1 / n.

    n = P s^2 P / (P - 1) ((z_0.975 + z_target) / effect)^2, s the bootstrap's spread over P.
    """
    normal = NormalDist()
    z = normal.inv_cdf(0.5 + _CONFIDENCE / 2) + normal.inv_cdf(target)
    return max(2.0, count * spread**2 * count / (count - 1) * (z / effect) ** 2)


def _sizes(guess: float) -> list[int]:
    return sorted({min(_MOST, max(4, round(guess * share))) for share in _SHARES})


def _point(size: int, found: int, studies: int) -> PowerPoint:
    """The share found, with Wilson's interval."""
    z = NormalDist().inv_cdf(0.5 + _CONFIDENCE / 2)
    share, scale = found / studies, 1 + z**2 / studies
    middle = (share + z**2 / (2 * studies)) / scale
    half = z / scale * np.sqrt(share * (1 - share) / studies + z**2 / (4 * studies**2))
    low, high = min(share, middle - half), max(share, middle + half)
    return PowerPoint(size, share, float(max(0.0, low)), float(min(1.0, high)))


def _reaching(curve: list[PowerPoint], target: float) -> float | None:
    """Where the curve, never falling, first reaches the target; None where it does not."""
    sizes = np.array([point.patients for point in curve], dtype=np.float64)
    power = np.maximum.accumulate([point.power for point in curve])
    if power[-1] < target:
        return None
    at = int(np.argmax(power >= target))
    if at == 0:
        return float(sizes[0])
    share = (target - power[at - 1]) / (power[at] - power[at - 1])
    return float(sizes[at - 1] + share * (sizes[at] - sizes[at - 1]))


def _bounded(patients: float) -> int | None:
    return ceil(patients) if patients <= _MOST else None
