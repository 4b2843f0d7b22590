"""Predictions to Evaluation: every metric, its patient-clustered interval, and its sentences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from eosin.errors import ConfigError, DataError
from eosin.evaluation import sentences
from eosin.evaluation.evaluation import Counts, Estimate, Evaluation, PatientRow
from eosin.evaluation.intervals import Bootstrap
from eosin.evaluation.metrics import confusion_counts
from eosin.evaluation.sample import Level, Sample, image_sample, mixed_patients, patient_sample
from eosin.evaluation.scoring import MetricKey, score_sample
from eosin.evaluation.weights import Floats, Ints, Weights

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from eosin.artefacts.predictions import Predictions
    from eosin.tasks import Task

AT_THRESHOLD = (MetricKey("sensitivity"), MetricKey("specificity"))


def evaluate_predictions(
    predictions: Predictions,
    *,
    level: Level = "image",
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Evaluation:
    """Score a predictions table, overall and per magnification, with patient-clustered intervals.

    At the patient level, probabilities are averaged over each patient's images and the patient's
    label is judged; patients whose images carry several labels are left out, and a note names
    them. The decision is positive where the mean probability reaches the locked threshold.

    Args:
        predictions: a labelled table.
        level: score images or patients.
        resamples: bootstrap draws of patients.
        seed: of the draws.
        confidence: of the percentile intervals, in (0, 1).

    Raises:
        DataError: an image has no label, or at the patient level no patient is left.
        ConfigError: the level is unknown, or resamples are too few for the confidence.
    """
    if level not in get_args(Level):
        raise ConfigError(f"level {level!r} is not one of {list(get_args(Level))}")
    task, bootstrap = predictions.task, Bootstrap(resamples, seed, confidence)
    known = patients_known(predictions)
    images, notes = _scored_images(predictions, level=level, known=known)
    samples = _samples_by_scope(images, predictions, level=level)
    at = sentences.of_threshold(predictions, by_patient=level == "patient")
    recognition = known and level == "image"
    with one_blas_thread():
        scored = {
            scope: _estimates(part, task, bootstrap=bootstrap, recognition=recognition, at=at)
            for scope, part in samples.items()
        }
    decided = samples if task.binary else {}
    return Evaluation(
        task=task,
        provenance=predictions.provenance,
        level=level,
        resamples=resamples,
        seed=seed,
        confidence=confidence,
        images=len(images),
        patients=len(images.patients),
        estimates=_in_reading_order(scored, task),
        confusion={scope: _counts(s, s.predicted) for scope, s in samples.items()},
        decision_confusion={scope: _counts(s, s.decided) for scope, s in decided.items()},
        patient_table=_patient_table(images, task) if known else (),
        notes=notes,
    )


def one_blas_thread() -> AbstractContextManager[object]:
    """One thread for many small products: on a busy machine several wait longer than they work."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits


def _scored_images(
    predictions: Predictions, *, level: Level, known: bool
) -> tuple[Sample, tuple[str, ...]]:
    """The images that are scored, and what a reader must know of the whole."""
    images = image_sample(predictions)
    notes = list(predictions.provenance.notes)
    if level == "patient":
        mixed = mixed_patients(images)
        images = _without(images, mixed)
        notes += [sentences.on_left_out(mixed)] if mixed else []
    notes += sentences.on_patients(predictions, images, known=known)
    return images, tuple(dict.fromkeys(notes))


def _samples_by_scope(
    images: Sample, predictions: Predictions, *, level: Level
) -> dict[str, Sample]:
    """What each scope scores, from the whole to each magnification."""
    parts = {"all": images}
    for magnification in images.magnifications():
        parts[f"magnification {magnification}"] = images.magnified(magnification)
    if level == "image":
        return parts
    task = predictions.task
    positive = task.positive_index if task.binary else None
    threshold = predictions.provenance.threshold
    return {
        scope: patient_sample(part, positive=positive, threshold=threshold)
        for scope, part in parts.items()
    }


def _estimates(
    sample: Sample, task: Task, *, bootstrap: Bootstrap, recognition: bool, at: str
) -> dict[MetricKey, Estimate]:
    """Every figure of one scope; ``at`` says which threshold decisions were made at."""
    weights = Weights(sample.patient, bootstrap.rows(sample.patients))
    values = score_sample(sample, task, weights, recognition=recognition)
    estimates = {}
    for key, rows in values.items():
        estimate = estimate_of(key, rows, sample, task, bootstrap=bootstrap)
        if key in AT_THRESHOLD:
            estimate = replace(estimate, note="; ".join(filter(None, [at, estimate.note])))
        estimates[key] = estimate
    return estimates


def estimate_of(
    key: MetricKey, rows: Floats, sample: Sample, task: Task, *, bootstrap: Bootstrap
) -> Estimate:
    """One figure from its values: the first row is the sample itself, the rest are resamples."""
    images, patients = int(sample.images.sum()), len(sample.patients)
    if key.class_index is not None:
        images = int(sample.class_images[key.class_index])
        patients = int(sample.class_patients[key.class_index])
    value, low, high, notes = interval_around(key, rows, sample, task, bootstrap=bootstrap)
    if value is not None:
        notes = [*sentences.caveats(key, sample, task), *notes]
    return Estimate(value, low, high, images, patients, "; ".join(notes))


def interval_around(
    key: MetricKey, rows: Floats, sample: Sample, task: Task, *, bootstrap: Bootstrap
) -> tuple[float | None, float | None, float | None, list[str]]:
    """A figure, or a difference of two, and its interval; rows are as in ``estimate_of``.

    Returns:
        the value and the ends of its interval, None where there are none, and the reasons why or
        what must be known of the interval.
    """
    if not np.isfinite(rows[0]):
        return None, None, None, [sentences.undefined_because(key, sample, task)]
    value, without = float(rows[0]), sentences.no_interval_because(key, sample, task)
    if without:
        return value, None, None, [without]
    interval = bootstrap.interval(rows[1:])
    return value, interval.low, interval.high, sentences.about_interval(interval, value)


def _in_reading_order(
    scored: dict[str, dict[MetricKey, Estimate]], task: Task
) -> dict[tuple[str, str], Estimate]:
    """Figures by (metric, scope): the whole of a scope before its classes."""
    ordered: dict[tuple[str, str], Estimate] = {}
    for scope, estimates in scored.items():
        for key, estimate in estimates.items():
            if key.class_index is None:
                ordered[key.metric, scope] = estimate
        for place, name in enumerate(task.classes):
            title = f"class {name}" if scope == "all" else f"{scope}, class {name}"
            for key, estimate in estimates.items():
                if key.class_index == place:
                    ordered[key.metric, title] = estimate
    return ordered


def patients_known(predictions: Predictions) -> bool:
    """Whether the table names patients: each image its own under an unknown protocol is not one."""
    patients = predictions.frame["patient"]
    named = patients[patients != ""]
    if not len(named):
        return False
    return predictions.provenance.protocol.patients_known or bool(named.duplicated().any())


def _without(sample: Sample, patients: tuple[str, ...]) -> Sample:
    """The sample without some patients; DataError where nobody is left."""
    gone = set(patients)
    keep = np.array([name not in gone for name in sample.patients])[sample.patient]
    if not keep.any():
        raise DataError(
            "every patient has images of several labels, so none has a label of its own to "
            "score at the patient level; evaluate with level 'image'"
        )
    return sample.where(keep)


def _counts(sample: Sample, chosen: Ints) -> Counts:
    classes = sample.probabilities.shape[1]
    counts = confusion_counts(sample.labels, chosen, classes=classes)[0]
    return tuple(tuple(int(count) for count in row) for row in counts)


def _patient_table(images: Sample, task: Task) -> tuple[PatientRow, ...]:
    """How each patient fared, from its images."""
    one = Weights(images.patient, np.ones((1, len(images.patients))))
    n = np.bincount(images.patient, minlength=len(images.patients))
    right = np.bincount(images.patient, images.labels == images.predicted, len(images.patients))
    means = one.per_patient(images.probabilities) / n[:, None]
    return tuple(
        PatientRow(
            patient=name,
            labels=tuple(task.classes[label] for label in labels),
            images=int(n[place]),
            recognition_rate=float(right[place] / n[place]),
            probabilities=tuple(float(mean) for mean in means[place]),
        )
        for place, (name, labels) in enumerate(
            zip(images.patients, images.labels_of_patients(), strict=True)
        )
    )
