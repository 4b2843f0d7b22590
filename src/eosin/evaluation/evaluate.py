"""Predictions to Evaluation: every metric, its patient-clustered interval, and its sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from eosin.artefacts.estimate import Estimate, Level, Scope
from eosin.artefacts.evaluation import Confusion, Counts, Evaluation, PatientRow
from eosin.errors import ConfigError, DataError
from eosin.evaluation import sentences
from eosin.evaluation.all_metrics import MetricKey, score_parts
from eosin.evaluation.intervals import Bootstrap
from eosin.evaluation.metrics import confusion_counts
from eosin.evaluation.sample import Sample, image_sample, mixed_patients, patient_sample
from eosin.evaluation.weights import Weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from eosin.arrays import Floats, Ints
    from eosin.artefacts.predictions import Predictions
    from eosin.tasks import Task

AT_THRESHOLD = tuple(
    map(MetricKey, ("sensitivity", "specificity", "decided_balanced_accuracy", "decided_accuracy"))
)


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
    parts = _parts(images, predictions, level=level)
    at = sentences.of_threshold(predictions, by_patient=level == "patient")
    recognition = known and level == "image"
    estimates: list[Estimate] = []
    with one_blas_thread():
        for step, sample in parts.items():
            rows = bootstrap.parts(sample.patients)
            scores = score_parts(sample, task, rows, recognition=recognition)
            estimates += Resampled(sample, task, bootstrap, step, at).estimates(scores)
    return Evaluation(
        task=task,
        provenance=predictions.provenance.in_valid_text(),
        level=level,
        resamples=resamples,
        seed=seed,
        confidence=confidence,
        images=len(images),
        patients=len(images.patients),
        notes=notes,
        estimates=tuple(estimates),
        confusion=tuple(_confusion(sample, step, task) for step, sample in parts.items()),
        patient_table=_patient_table(images, task) if known else (),
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
        images = images.without(mixed)
        if not len(images):
            raise DataError(
                "every patient has images of several labels, so none has a label of its own to "
                "score at the patient level; evaluate with level 'image'"
            )
        notes += [sentences.on_left_out(mixed)] if mixed else []
    notes += sentences.on_patients(predictions, images, known=known)
    return images, tuple(dict.fromkeys(notes))


def _parts(images: Sample, predictions: Predictions, *, level: Level) -> dict[str | None, Sample]:
    """What is scored: the whole, by None, then each magnification."""
    parts: dict[str | None, Sample] = {None: images}
    parts |= {step: images.magnified(step) for step in images.magnifications()}
    if level == "image":
        return parts
    task = predictions.task
    positive = task.positive_index if task.binary else None
    threshold = predictions.provenance.threshold
    return {
        step: patient_sample(part, positive=positive, threshold=threshold)
        for step, part in parts.items()
    }


@dataclass(frozen=True, slots=True)
class Resampled:
    """Makes Estimates of values, of which the first is the sample's and the rest are resamples'."""

    sample: Sample  # what was scored
    task: Task  # the classes
    bootstrap: Bootstrap  # the resamples
    magnification: str | None = None  # of the sample, where it is a part of the whole
    at: str = ""  # which threshold decisions were made at
    caveats: bool = True  # whether to note what must be known of the sample's own figures

    def estimates(self, scores: Mapping[MetricKey, Floats]) -> tuple[Estimate, ...]:
        """The figures of the whole, then those of each class."""
        order = [None, *range(len(self.task.classes))]
        keys = sorted(scores, key=lambda key: order.index(key.class_index))
        return tuple(self.estimate(key, scores[key]) for key in keys)

    def estimate(self, key: MetricKey, rows: Floats) -> Estimate:
        """One figure, or a difference."""
        sample = self.sample
        units = sample.behind(key.metric, sentences.class_of(key, self.task))
        value = float(rows[0]) if np.isfinite(rows[0]) else None
        notes = [self.at] if self.at and key in AT_THRESHOLD else []
        low = high = None
        if value is None:
            notes.append(sentences.undefined_because(key, sample, self.task))
        else:
            notes += sentences.caveats(key, sample, self.task) if self.caveats else []
            if without := sentences.no_interval_because(key, sample, self.task):
                notes.append(without)
            else:
                interval = self.bootstrap.interval(rows[1:])
                low, high = interval.low, interval.high
                notes += sentences.about_interval(interval, value)
        return Estimate(
            value,
            low,
            high,
            images=int(sample.images[units].sum()),
            patients=len(np.unique(sample.patient[units])),
            metric=key.metric,
            scope=Scope(
                None if key.class_index is None else self.task.classes[key.class_index],
                self.magnification,
            ),
            level=sample.level,
            note="; ".join(notes),
        )


def patients_known(predictions: Predictions) -> bool:
    """Whether the table names patients: each image its own under an unknown protocol is not one."""
    patients = predictions.frame["patient"]
    named = patients[patients != ""]
    if not len(named):
        return False
    return predictions.provenance.protocol.patients_known or bool(named.duplicated().any())


def _confusion(sample: Sample, magnification: str | None, task: Task) -> Confusion:
    decided = _counts(sample, sample.decided) if task.binary else None
    return Confusion(
        scope=Scope(magnification=magnification),
        predicted=_counts(sample, sample.predicted),
        decided=decided,
    )


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
            images=int(n[index]),
            recognition_rate=float(right[index] / n[index]),
            probabilities=tuple(float(mean) for mean in means[index]),
        )
        for index, (name, labels) in enumerate(
            zip(images.patients, images.labels_of_patients(), strict=True)
        )
    )
