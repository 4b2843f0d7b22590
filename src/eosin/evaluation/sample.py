"""What is scored: the rows of a predictions table as arrays, by image or averaged by patient."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import DataError
from eosin.evaluation.intervals import patient_columns
from eosin.evaluation.roc import RankedScores, pooled_ranks
from eosin.evaluation.weights import Weights

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eosin.arrays import Bools, Floats, Ints
    from eosin.artefacts.estimate import Level
    from eosin.artefacts.predictions import Predictions
    from eosin.tasks import Task


@dataclass(frozen=True)
class Sample:
    """Scored units, n of them: images, or patients with their probabilities averaged.

    Attributes:
        labels, predicted, decided: class indices, shape (n,): the truth, the most probable class,
            and the class chosen at the locked threshold.
        probabilities: shape (n, C).
        images: how many images each unit stands for, shape (n,).
        patients: the distinct patients, sorted.
        patient: the index of each unit's patient in ``patients``, shape (n,).
        magnification: of each unit, shape (n,); empty text where unknown or mixed.
        level: whether units are images or patients.
    """

    labels: Ints
    predicted: Ints
    decided: Ints
    probabilities: Floats
    images: Ints
    patients: tuple[str, ...]
    patient: Ints
    magnification: tuple[str, ...]
    level: Level = "image"

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def class_images(self) -> Ints:
        """Images of each class, shape (C,)."""
        classes = self.probabilities.shape[1]
        return np.bincount(self.labels, self.images, classes).astype(np.int64)

    @property
    def class_patients(self) -> Ints:
        """Patients with at least one image of each class, shape (C,)."""
        classes = self.probabilities.shape[1]
        pairs = np.unique(self.patient * classes + self.labels)
        return np.bincount(pairs % classes, minlength=classes)

    @property
    def present(self) -> Bools:
        """Which classes have an image, shape (C,)."""
        return self.class_images > 0

    @cached_property
    def ranks(self) -> tuple[RankedScores, ...]:
        """Each class' units ranked before all others by its probability."""
        return tuple(
            RankedScores(chances, self.labels == index, self.patient)
            for index, chances in enumerate(self.probabilities.T)
        )

    @cached_property
    def pooled_ranks(self) -> RankedScores:
        """All pairs of a unit and a class ranked together."""
        return pooled_ranks(self.probabilities, self.labels, self.patient)

    @cached_property
    def both_classes(self) -> Bools:
        """Whether a unit's patient has units of several classes, shape (n,)."""
        classes = self.probabilities.shape[1]
        pairs = np.unique(self.patient * classes + self.labels)
        return np.asarray((np.bincount(pairs // classes) > 1)[self.patient])

    def behind(self, metric: str, index: int | None) -> Bools:
        """The units that a figure of the class ``index`` stands on, shape (n,)."""
        if metric == "within_roc_auc":
            return self.both_classes
        every: Bools = np.ones(len(self), dtype=bool)
        if index is None:
            return every
        own: Bools = self.labels == index
        chosen: Bools = self.predicted == index
        behind = {"recall": own, "sensitivity": own, "specificity": ~own, "precision": chosen}
        behind["f1"] = own | chosen
        return behind.get(metric, every)

    def where(self, mask: Bools) -> Sample:
        """The units where ``mask`` is true, and their patients only."""
        kept, patient = np.unique(self.patient[mask], return_inverse=True)
        return replace(
            self,
            labels=self.labels[mask],
            predicted=self.predicted[mask],
            decided=self.decided[mask],
            probabilities=self.probabilities[mask],
            images=self.images[mask],
            patients=tuple(self.patients[index] for index in kept),
            patient=patient.astype(np.int64),
            magnification=tuple(
                m for m, keep in zip(self.magnification, mask, strict=True) if keep
            ),
        )

    def without(self, patients: Iterable[str]) -> Sample:
        """The units of all other patients."""
        gone = set(patients)
        return self.where(np.array([name not in gone for name in self.patients])[self.patient])

    def magnified(self, magnification: str) -> Sample:
        """The units of one magnification."""
        return self.where(np.asarray(self.magnification, dtype=object) == magnification)

    def magnifications(self) -> tuple[str, ...]:
        """The known magnifications, from low to high; none where all units share one."""
        distinct = set(self.magnification)
        if len(distinct) < 2:
            return ()
        return tuple(sorted(distinct - {""}, key=_by_number))

    def labels_of_patients(self) -> list[list[int]]:
        """The distinct labels of each patient, sorted, in the order of ``patients``."""
        classes = self.probabilities.shape[1]
        found: list[list[int]] = [[] for _ in self.patients]
        for pair in np.unique(self.patient * classes + self.labels).tolist():
            found[pair // classes].append(pair % classes)
        return found


def image_sample(predictions: Predictions) -> Sample:
    """Every image of a predictions table; DataError where one has no label."""
    frame = predictions.frame
    patients, patient = patient_columns(list(frame["patient"]), list(frame["path"]))
    return Sample(
        labels=predictions.label_index,
        predicted=predictions.predicted_index,
        decided=predictions.decision_index,
        probabilities=predictions.probabilities,
        images=np.ones(len(frame), dtype=np.int64),
        patients=patients,
        patient=patient,
        magnification=tuple(frame["magnification"]),
    )


def patient_sample(sample: Sample, *, positive: int | None, threshold: float | None) -> Sample:
    """One unit a patient: probabilities averaged over the patient's images, the patient's label.

    The decision compares the mean probability of the ``positive`` class with ``threshold``, 0.5
    where None. Patients with images of several labels have no label of their own; leave them out
    before (``mixed_patients``).

    Raises:
        DataError: a patient has several labels.
    """
    labels = sample.labels_of_patients()
    mixed = mixed_patients(sample)
    if mixed:
        raise DataError(f"patient {mixed[0]} has images of several labels, so no label of its own")
    weights = Weights(sample.patient, np.ones((1, len(sample.patients))))
    images = np.bincount(sample.patient, sample.images, len(sample.patients))
    probabilities = weights.per_patient(sample.probabilities) / images[:, None]
    predicted = probabilities.argmax(axis=1)
    decided = predicted
    if positive is not None:
        chosen = probabilities[:, positive] >= (0.5 if threshold is None else threshold)
        decided = np.where(chosen, positive, 1 - positive)
    return Sample(
        labels=np.array([own[0] for own in labels], dtype=np.int64),
        predicted=predicted,
        decided=decided,
        probabilities=probabilities,
        images=images.astype(np.int64),
        patients=sample.patients,
        patient=np.arange(len(sample.patients)),
        magnification=("",) * len(sample.patients),
        level="patient",
    )


def mixed_patients(sample: Sample) -> tuple[str, ...]:
    """Patients with images of more than one label."""
    labels = sample.labels_of_patients()
    return tuple(name for name, own in zip(sample.patients, labels, strict=True) if len(own) > 1)


def _by_number(magnification: str) -> tuple[float, str]:
    number = magnification.replace(".", "", 1).isdecimal()  # 2.5 too
    return float(magnification) if number else float("inf"), magnification


def patients_of_one_label(sample: Sample, task: Task) -> Sample | None:
    """One unit for each patient whose images have one label; None where there is none such."""
    kept = sample.without(mixed_patients(sample))
    if not len(kept):
        return None
    positive = task.positive_index if task.binary else None
    return patient_sample(kept, positive=positive, threshold=None)
