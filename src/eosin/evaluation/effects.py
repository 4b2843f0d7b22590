"""What a change of recipe does to a model on the same images: differences, paired by patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.evaluation.alignment import align
from eosin.evaluation.evaluate import estimate_of, one_blas_thread, patients_known
from eosin.evaluation.intervals import Bootstrap
from eosin.evaluation.sample import Level, Sample, image_sample, patients_of_one_label
from eosin.evaluation.scoring import MetricKey, score_headlines
from eosin.evaluation.weights import Floats, Weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.artefacts.predictions import Predictions
    from eosin.tasks import Task


@dataclass(frozen=True, slots=True)
class Effect:
    """One figure of a model with a change, minus the same figure without it.

    Attributes:
        metric: its name.
        level: whether images or patients were scored.
        before: the figure without the change; None where it has no meaning here.
        value: what the change adds, in the metric's unit; None likewise.
        low, high: its paired, patient-clustered 95 % interval; None where there is none.
        images, patients: how many were scored; patients are what was resampled.
        note: what must be known of the interval, or why there is none.
    """

    metric: str
    level: Level
    before: float | None
    value: float | None
    low: float | None
    high: float | None
    images: int
    patients: int
    note: str = ""

    @property
    def beyond_chance(self) -> bool:
        """Whether there is an interval, and zero lies outside it at the three decimals printed.

        Two thousand resamples do not place the end of an interval any closer than that.
        """
        if self.low is None or self.high is None:
            return False
        return not round(self.low, 3) <= 0 <= round(self.high, 3)


def measure_effects(
    changed: Predictions, baseline: Predictions, *, resamples: int = 2000, seed: int = 0
) -> tuple[Effect, ...]:
    """Accuracy and ROC AUC by image, and ROC AUC by patient, of ``changed`` minus ``baseline``.

    Both tables are scored on the images that both have, under the same draws of patients, so the
    interval keeps what they have in common. At the patient level probabilities are averaged over
    each patient's images; patients with images of several labels are left out there, and the level
    is left out where patients are not known or none has one label.

    Args:
        changed: labelled predictions of the model with the change.
        baseline: of the same model without it.
        resamples: bootstrap draws of patients.
        seed: of the draws.

    Raises:
        DataError: the tables have other classes, labels or patients, or no image in common.
        ConfigError: resamples are too few for the interval.
    """
    pair = tuple(align({"changed": changed, "baseline": baseline}).tables.values())
    task, bootstrap = baseline.task, Bootstrap(resamples, seed)
    images = [image_sample(table) for table in pair]
    area = "roc_auc" if task.binary else "macro_roc_auc"
    found = _differences(images, task, ("accuracy", area), level="image", bootstrap=bootstrap)
    if all(patients_known(table) for table in pair):
        by_patient = [patients_of_one_label(sample, task) for sample in images]
        patients = [sample for sample in by_patient if sample is not None]
        if patients:
            found += _differences(patients, task, (area,), level="patient", bootstrap=bootstrap)
    return tuple(found)


def _differences(
    pair: Sequence[Sample],
    task: Task,
    metrics: Sequence[str],
    *,
    level: Level,
    bootstrap: Bootstrap,
) -> list[Effect]:
    """The first of the pair minus the second; both are scored under the same rows of weights."""
    sample = pair[1]
    weights = Weights(sample.patient, bootstrap.rows(sample.patients))
    with one_blas_thread():
        scores = [score_headlines(each, task, weights) for each in pair]
    return [
        _effect(
            MetricKey(metric),
            [each[MetricKey(metric)] for each in scores],
            sample,
            task,
            level=level,
            bootstrap=bootstrap,
        )
        for metric in metrics
    ]


def _effect(
    key: MetricKey,
    rows: Sequence[Floats],
    sample: Sample,
    task: Task,
    *,
    level: Level,
    bootstrap: Bootstrap,
) -> Effect:
    """One figure; the first of the rows is the sample itself, the rest are resamples."""
    found = estimate_of(key, rows[0] - rows[1], sample, task, bootstrap=bootstrap)
    return Effect(
        metric=key.metric,
        level=level,
        before=None if found.value is None else float(rows[1][0]),
        value=found.value,
        low=found.low,
        high=found.high,
        images=found.images,
        patients=found.patients,
        note=found.note,
    )
