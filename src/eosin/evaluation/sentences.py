"""The plain sentences that stand beside a figure: what it cannot say, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from eosin.artefacts.predictions import Predictions
    from eosin.evaluation.all_metrics import MetricKey
    from eosin.evaluation.intervals import Interval
    from eosin.evaluation.sample import Sample
    from eosin.tasks import Task

NEEDS_EVERY_CLASS = ("balanced_accuracy", "macro_")
FEW_PATIENTS = 30
NEEDS_OTHERS = ("roc_auc", "specificity")


def undefined_because(key: MetricKey, sample: Sample, task: Task) -> str:
    """Why a figure has no value on this sample."""
    present = [name for name, has in zip(task.classes, sample.present, strict=True) if has]
    index = class_of(key, task)
    if index is not None and not sample.present[index] and key.metric != "specificity":
        return f"undefined: no image of class {task.classes[index]} here"
    if len(present) == 1:
        return f"undefined: all images here are of class {present[0]}"
    return "undefined on this sample"


def caveats(key: MetricKey, sample: Sample, task: Task) -> list[str]:
    """What a reader must know of a figure that has a value."""
    found = []
    index = key.class_index
    if key.metric == "precision" and index is not None and index not in sample.predicted:
        found.append(f"no image was predicted as {task.classes[index]}: counts as 0")
    if key.metric.startswith(NEEDS_EVERY_CLASS) and not sample.present.all():
        absent = [c for c, has in zip(task.classes, sample.present, strict=True) if not has]
        found.append(f"mean over the classes that have images here; without {', '.join(absent)}")
    if key.metric == "mcc" and min(len(set(sample.labels)), len(set(sample.predicted))) < 2:
        found.append("all labels or all choices are of one class: counts as 0")
    if key.metric.startswith(NEEDS_EVERY_CLASS):
        alone = np.flatnonzero(sample.class_patients == 1)
        if len(alone):
            names = ", ".join(task.classes[index] for index in alone)
            found.append(f"one patient only for {names}: the interval does not show that spread")
    return found


def no_interval_because(key: MetricKey, sample: Sample, task: Task) -> str | None:
    """Why resampling patients says nothing about a figure, or None where it does."""
    if len(sample.patients) == 1:
        return "one patient: no interval"
    if key.metric == "within_roc_auc" and len(set(sample.patient[sample.both_classes])) == 1:
        return "one patient with images of both classes: no interval"
    index = class_of(key, task)
    if index is None:
        return None
    if key.metric != "specificity" and sample.class_patients[index] == 1:
        return f"one patient of class {task.classes[index]}: no interval"
    if key.metric in NEEDS_OTHERS and _patients_of_others(sample, index) == 1:
        return f"one patient of a class other than {task.classes[index]}: no interval"
    return None


def about_interval(interval: Interval, value: float) -> list[str]:
    """What a reader must know of the interval from resamples around ``value``."""
    found = []
    if interval.defined < 1:
        share = f"{_share(1 - interval.defined)} of resamples"
        then = ": no interval" if interval.low is None else ", left out"
        found.append(f"undefined in {share} (a class is absent there){then}")
    if interval.low is None or interval.high is None:
        return found
    if interval.low == interval.high:
        found.append("every resample gives the same value: the interval shows no uncertainty")
    if not interval.low <= value <= interval.high:
        found.append("resampling biases this metric, so that its value lies outside its interval")
    return found


def of_threshold(predictions: Predictions, *, by_patient: bool) -> str:
    """Which threshold sensitivity and specificity speak of."""
    threshold = predictions.provenance.threshold
    if threshold is not None:
        return f"at the locked threshold {threshold:.4g}"
    if by_patient or bool((predictions.frame["decision"] == predictions.frame["predicted"]).all()):
        return "at the threshold 0.5: no single locked one is known"
    return "at each fold's own locked threshold"


def on_patients(predictions: Predictions, sample: Sample, *, known: bool) -> list[str]:
    """Sentences on the whole evaluation: patients unknown, partly unknown, or few."""
    if not known:
        return [
            "Patients are unknown: each image counts as its own patient, so intervals are too "
            "narrow and there is no patient recognition rate."
        ]
    found = []
    nameless = int((predictions.frame["patient"] == "").sum())
    if nameless:
        found.append(f"{nameless} images name no patient: each counts as its own.")
    if len(sample.patients) < FEW_PATIENTS:
        found.append(
            f"With {len(sample.patients)} patients, percentile intervals are somewhat too narrow: "
            "the true uncertainty is larger than they show."
        )
    return found


def on_left_out(names: tuple[str, ...]) -> str:
    """Which patients a patient-level evaluation leaves out."""
    return (
        f"Left out, because their images carry several labels and so they have none of their own: "
        f"{len(names)} patients ({', '.join(names)})."
    )


def _share(share: float) -> str:
    """A share above 0 in per cent, never rounded to none."""
    return f"{share:.1%}" if share >= 0.0005 else "fewer than 0.1%"


def class_of(key: MetricKey, task: Task) -> int | None:
    """The class whose images a figure is about, or None where it is about all."""
    if key.class_index is not None:
        return key.class_index
    if key.metric in ("sensitivity", "specificity", "roc_auc", "average_precision"):
        return task.positive_index
    return None


def _patients_of_others(sample: Sample, index: int) -> int:
    return len(set(sample.patient[sample.labels != index].tolist()))
