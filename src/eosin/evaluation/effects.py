"""What a change of recipe does to a model on the same images: differences, paired by patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.evaluation.alignment import align
from eosin.evaluation.all_metrics import MetricKey, less, score_headlines
from eosin.evaluation.evaluate import Resampled, one_blas_thread, patients_known
from eosin.evaluation.intervals import Bootstrap
from eosin.evaluation.sample import Sample, image_sample, patients_of_one_label
from eosin.evaluation.weights import Weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.artefacts.estimate import Estimate
    from eosin.artefacts.predictions import Predictions
    from eosin.tasks import Task


@dataclass(frozen=True, slots=True)
class Effect:
    """One figure of a model with a change, minus the same figure without it."""

    # what is added, in the metric's unit, with its paired, patient-clustered 95 % interval
    change: Estimate
    before: float | None  # the figure without the change; None where it has no meaning here


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
    found = _effects(images, task, ("accuracy", area), bootstrap=bootstrap)
    if all(patients_known(table) for table in pair):
        by_patient = [patients_of_one_label(sample, task) for sample in images]
        patients = [sample for sample in by_patient if sample is not None]
        if patients:
            found += _effects(patients, task, (area,), bootstrap=bootstrap)
    return tuple(found)


def _effects(
    pair: Sequence[Sample], task: Task, metrics: Sequence[str], *, bootstrap: Bootstrap
) -> list[Effect]:
    """The first of the pair minus the second; both are scored under the same rows of weights."""
    sample = pair[1]
    weights = Weights(sample.patient, bootstrap.rows(sample.patients))
    with one_blas_thread():
        changed, baseline = (score_headlines(each, task, weights) for each in pair)
    found, paired = [], Resampled(sample, task, bootstrap)
    for key in map(MetricKey, metrics):
        change = paired.estimate(key, less(changed[key], baseline[key]))
        before = None if change.value is None else float(baseline[key][0])
        found.append(Effect(change, before))
    return found
