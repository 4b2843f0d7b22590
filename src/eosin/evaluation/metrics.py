"""Metrics of decisions and of probabilities: pure functions, one value a weight vector.

Decisions are judged by confusion counts of shape (R, C, C), rows the truth and columns the
choice, made by ``confusion_counts``. Where a figure has no meaning (the recall of a class that no
image has) it is NaN here; what a reader of an Evaluation sees instead is a plain sentence.
"""

from __future__ import annotations

import numpy as np

from eosin.arrays import Bools, Floats, Ints
from eosin.evaluation.weights import Weights, ratio


def confusion_counts(
    labels: Ints, chosen: Ints, *, classes: int, weights: Weights | None = None
) -> Floats:
    """Weighted counts of (true class, chosen class), shape (R, C, C)."""
    weights = weights or Weights.plain(len(labels))
    patients, cells = weights.rows.shape[1], classes * classes
    flat = (weights.patient * classes + labels) * classes + chosen
    per_patient = np.bincount(flat, minlength=patients * cells).reshape(patients, cells)
    totals = weights.rows @ per_patient.astype(np.float64)
    return totals.reshape(len(weights), classes, classes)


def accuracy(confusion: Floats) -> Floats:
    """Share of images classified right, shape (R,), in [0, 1]."""
    right = np.trace(confusion, axis1=1, axis2=2)
    return ratio(right, confusion.sum(axis=(1, 2)))


def recall(confusion: Floats) -> Floats:
    """Share of each class that was found, shape (R, C); NaN where no image has the class."""
    return ratio(_right(confusion), confusion.sum(axis=2))


def precision(confusion: Floats) -> Floats:
    """Share of each choice that was right, shape (R, C); 0 where a class was never chosen.

    NaN where no image has the class.
    """
    value = ratio(_right(confusion), confusion.sum(axis=1), empty=0.0)
    return np.where(confusion.sum(axis=2) > 0, value, np.nan)


def f1(confusion: Floats) -> Floats:
    """Harmonic mean of precision and recall of each class, 2TP / (2TP + FP + FN), shape (R, C).

    NaN where no image has the class.
    """
    truth, chosen = confusion.sum(axis=2), confusion.sum(axis=1)
    return np.where(truth > 0, ratio(2 * _right(confusion), truth + chosen), np.nan)


def specificity(confusion: Floats) -> Floats:
    """Share of the other classes' images not taken for each class, shape (R, C).

    NaN where no image has another class.
    """
    others = confusion.sum(axis=(1, 2))[:, None] - confusion.sum(axis=2)
    false_alarms = confusion.sum(axis=1) - _right(confusion)
    return ratio(others - false_alarms, others)


def macro(per_class: Floats, present: Bools) -> Floats:
    """Unweighted mean over the classes ``present``, shape (R,), from shape (R, C).

    NaN where one of them is undefined: a mean over fewer classes would be another quantity.
    """
    if not present.any():
        return np.full(len(per_class), np.nan)
    return np.asarray(per_class[:, present].mean(axis=1))


def matthews(confusion: Floats) -> Floats:
    """Matthews correlation for any number of classes, shape (R,), in [-1, 1].

    Gorodkin 2004, Eq. 8. Zero where all labels or all choices are of one class.
    """
    total = confusion.sum(axis=(1, 2))
    truth, chosen = confusion.sum(axis=2), confusion.sum(axis=1)
    shared = np.trace(confusion, axis1=1, axis2=2) * total - (truth * chosen).sum(axis=1)
    spread = (total**2 - (truth**2).sum(axis=1)) * (total**2 - (chosen**2).sum(axis=1))
    return ratio(shared, np.sqrt(np.maximum(spread, 0.0)), empty=0.0)


def quadratic_kappa(confusion: Floats) -> Floats:
    """Cohen's kappa with weights (i - j)^2, shape (R,); chance is 0 and agreement 1 (Cohen 1968).

    NaN where labels and choices all are the same one class.
    """
    grades = np.arange(confusion.shape[1])
    penalty = (grades[:, None] - grades[None, :]) ** 2.0
    total = confusion.sum(axis=(1, 2))
    truth, chosen = confusion.sum(axis=2), confusion.sum(axis=1)
    observed = np.einsum("rij,ij->r", confusion, penalty)
    expected = np.einsum("ri,ij,rj->r", truth, penalty, chosen)
    return 1.0 - ratio(observed * total, expected)


def adjacent_error(confusion: Floats) -> Floats:
    """Share of images put exactly one grade off, shape (R,)."""
    distance = _grade_distance(confusion.shape[1])
    return ratio(confusion[:, distance == 1].sum(axis=1), confusion.sum(axis=(1, 2)))


def distant_error(confusion: Floats) -> Floats:
    """Share of images put two or more grades off, shape (R,)."""
    distance = _grade_distance(confusion.shape[1])
    return ratio(confusion[:, distance > 1].sum(axis=1), confusion.sum(axis=(1, 2)))


def log_loss(probabilities: Floats, labels: Ints, weights: Weights | None = None) -> Floats:
    """Mean negative natural log of the true class' probability, shape (R,).

    Probabilities are kept at least one float epsilon away from 0 and 1, as scikit-learn does.
    """
    weights = weights or Weights.plain(len(labels))
    least = np.finfo(np.float64).eps
    own = probabilities[np.arange(len(labels)), labels]
    return weights.mean(-np.log(np.clip(own, least, 1 - least)))


def brier_score(probabilities: Floats, labels: Ints, weights: Weights | None = None) -> Floats:
    """Mean squared distance to the truth, summed over classes, shape (R,), in [0, 2].

    This is Brier's own definition (1950); for two classes it is twice the one-column form.
    """
    weights = weights or Weights.plain(len(labels))
    truth = np.eye(probabilities.shape[1])[labels]
    return weights.mean(((probabilities - truth) ** 2).sum(axis=1))


def patient_recognition_rate(right: Bools, weights: Weights) -> Floats:
    """Mean over patients of the share of their images classified right, shape (R,).

    Spanhol et al. 2016, Eqs. 1 and 2. ``right`` has the shape (n,).
    """
    images = weights.per_patient(np.ones((len(right), 1)))[:, 0]
    share = ratio(weights.per_patient(right[:, None].astype(np.float64))[:, 0], images, empty=0.0)
    return ratio(weights.rows @ share, weights.rows @ (images > 0).astype(np.float64))


def _right(confusion: Floats) -> Floats:
    return np.diagonal(confusion, axis1=1, axis2=2)


def _grade_distance(classes: int) -> Ints:
    grades = np.arange(classes)
    return np.asarray(np.abs(grades[:, None] - grades[None, :]))
