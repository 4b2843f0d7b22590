"""Every metric of a sample under every row of weights, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eosin.artefacts.glossary import GLOSSARY
from eosin.evaluation import metrics
from eosin.evaluation.calibration import expected_calibration_error
from eosin.evaluation.roc import within_roc_auc
from eosin.evaluation.weights import Weights

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eosin.arrays import Floats
    from eosin.evaluation.sample import Sample
    from eosin.tasks import Task

_ROUNDING = 1e-12


class MetricKey(NamedTuple):
    """A metric of the whole sample, or of one class."""

    metric: str
    class_index: int | None = None


def score_sample(
    sample: Sample, task: Task, weights: Weights, *, recognition: bool = True
) -> dict[MetricKey, Floats]:
    """Every metric that fits the task, shape (R,) each; NaN where a row leaves it undefined.

    Args:
        sample: what to score.
        task: its classes; binary and ordinal tasks have metrics of their own.
        weights: R rows over the sample's units.
        recognition: whether patients are known, so that their recognition rate has a meaning.
    """
    sample = _following(sample, weights)
    counts = metrics.confusion_counts(
        sample.labels, sample.predicted, classes=len(task.classes), weights=weights
    )
    values = {
        MetricKey("accuracy"): metrics.accuracy(counts),
        MetricKey("mcc"): metrics.matthews(counts),
    }
    values |= _per_class(sample, counts, weights)
    values |= _of_probabilities(sample, weights)
    values |= _averages(values, sample)
    if task.binary:
        values |= _of_positive(sample, task, weights, values)
        values |= _within(sample, task, weights)
    if task.ordinal:
        values |= _of_grades(counts)
    if recognition:
        right = sample.labels == sample.predicted
        rate = metrics.patient_recognition_rate(right, weights)
        values[MetricKey("patient_recognition_rate")] = rate
    order = {name: index for index, name in enumerate(GLOSSARY)}
    return dict(sorted(values.items(), key=lambda item: order[item[0].metric]))


def score_parts(
    sample: Sample, task: Task, parts: Iterable[Floats], *, recognition: bool = True
) -> dict[MetricKey, Floats]:
    """``score_sample`` for rows of weights that come a part at a time: ``Bootstrap.parts``."""
    found = [
        score_sample(sample, task, Weights(sample.patient, rows), recognition=recognition)
        for rows in parts
    ]
    return {key: np.concatenate([scores[key] for scores in found]) for key in found[0]}


def score_headlines(sample: Sample, task: Task, weights: Weights) -> dict[MetricKey, Floats]:
    """Accuracy and the area under the ROC, macro-averaged beyond two classes, shape (R,) each.

    Of two classes also the area within patients, of more also balanced accuracy. What
    ``score_sample`` gives for them, without the cost of every other metric.
    """
    sample = _following(sample, weights)
    counts = metrics.confusion_counts(
        sample.labels, sample.predicted, classes=len(task.classes), weights=weights
    )
    accuracy = {MetricKey("accuracy"): metrics.accuracy(counts)}
    classes = [task.positive_index] if task.binary else range(len(task.classes))
    areas = [sample.ranks[index].roc_auc(weights.rows) for index in classes]
    if task.binary:
        return accuracy | {MetricKey("roc_auc"): areas[0]} | _within(sample, task, weights)
    return accuracy | {
        MetricKey("balanced_accuracy"): metrics.macro(metrics.recall(counts), sample.present),
        MetricKey("macro_roc_auc"): metrics.macro(np.stack(areas, 1), sample.present),
    }


def _following(sample: Sample, weights: Weights) -> Sample:
    """The sample in the columns of the weights, which may be those of more patients."""
    same = weights.patient is sample.patient
    return sample if same else replace(sample, patient=weights.patient)


def less(one: Floats, other: Floats) -> Floats:
    """The first minus the second; what rounding leaves of equal figures is nothing.

    So that an interval which ends at zero does not exclude it by the last bit of a sum.
    """
    rows = one - other
    return np.where(np.abs(rows) < _ROUNDING, 0.0, rows)


def _per_class(sample: Sample, counts: Floats, weights: Weights) -> dict[MetricKey, Floats]:
    columns = {
        "precision": metrics.precision(counts),
        "recall": metrics.recall(counts),
        "specificity": metrics.specificity(counts),
        "f1": metrics.f1(counts),
    }
    values: dict[MetricKey, Floats] = {}
    for index in range(sample.probabilities.shape[1]):
        for name, column in columns.items():
            values[MetricKey(name, index)] = column[:, index]
        area, precision = sample.ranks[index].areas(weights.rows)
        values[MetricKey("roc_auc", index)] = area
        values[MetricKey("average_precision", index)] = precision
    return values


def _of_probabilities(sample: Sample, weights: Weights) -> dict[MetricKey, Floats]:
    probabilities, labels = sample.probabilities, sample.labels
    return {
        MetricKey("micro_roc_auc"): sample.pooled_ranks.roc_auc(weights.rows),
        MetricKey("log_loss"): metrics.log_loss(probabilities, labels, weights),
        MetricKey("brier"): metrics.brier_score(probabilities, labels, weights),
        MetricKey("ece"): expected_calibration_error(probabilities, labels, weights),
    }


def _averages(values: dict[MetricKey, Floats], sample: Sample) -> dict[MetricKey, Floats]:
    """Macro averages over the classes that the sample has."""
    macro: dict[MetricKey, Floats] = {}
    for name in ("precision", "recall", "f1", "roc_auc", "average_precision"):
        columns = [values[MetricKey(name, index)] for index in range(len(sample.present))]
        macro[MetricKey(f"macro_{name}")] = metrics.macro(np.stack(columns, 1), sample.present)
    return {MetricKey("balanced_accuracy"): macro[MetricKey("macro_recall")], **macro}


def _of_positive(
    sample: Sample, task: Task, weights: Weights, values: dict[MetricKey, Floats]
) -> dict[MetricKey, Floats]:
    """What was decided at the locked threshold; ranking of the positive class."""
    positive = task.positive_index
    counts = metrics.confusion_counts(sample.labels, sample.decided, classes=2, weights=weights)
    recall = metrics.recall(counts)
    return {
        MetricKey("sensitivity"): recall[:, positive],
        MetricKey("specificity"): recall[:, 1 - positive],
        MetricKey("decided_balanced_accuracy"): recall.mean(axis=1),
        MetricKey("decided_accuracy"): metrics.accuracy(counts),
        MetricKey("roc_auc"): values[MetricKey("roc_auc", positive)],
        MetricKey("average_precision"): values[MetricKey("average_precision", positive)],
    }


def _within(sample: Sample, task: Task, weights: Weights) -> dict[MetricKey, Floats]:
    """The area inside patients, where one has images of both classes."""
    if not sample.both_classes.any():
        return {}
    positive = task.positive_index
    chances = sample.probabilities[:, positive]
    inside = within_roc_auc(chances, sample.labels == positive, weights)
    return {MetricKey("within_roc_auc"): inside}


def _of_grades(counts: Floats) -> dict[MetricKey, Floats]:
    return {
        MetricKey("quadratic_kappa"): metrics.quadratic_kappa(counts),
        MetricKey("adjacent_error"): metrics.adjacent_error(counts),
        MetricKey("distant_error"): metrics.distant_error(counts),
    }
