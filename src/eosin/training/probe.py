"""The laptop path: a frozen backbone's features and a regularised linear head.

The head is a multinomial logistic regression on standardised features. Its strength is chosen by
cross-validation inside the training patients; standardisation is folded into the head, so that
the Run is an ordinary network with a linear head.

Patients are few and images of one patient are much alike, so by default every patient of a class
counts alike, and the strength is the strongest regularisation whose loss is within one standard
error, over patients, of the least (Breiman et al. 1984, the 1-SE rule).
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from eosin.errors import DataError
from eosin.evaluation.calibration import apply_temperature, fit_temperature, lock_threshold

Rule: TypeAlias = Literal["one-se", "least-loss"]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from eosin.arrays import Floats, Ints, Texts
    from eosin.evaluation.calibration import LockedThreshold


@dataclass(frozen=True)
class LinearHead:
    """Logits are ``features @ weight.T + bias``."""

    weight: Floats  # shape (classes, channels)
    bias: Floats  # shape (classes,)

    def logits(self, features: Floats) -> Floats:
        """Logits (n, classes) of features (n, channels)."""
        result: Floats = features @ self.weight.T + self.bias
        return result


@dataclass(frozen=True)
class Probe:
    """A fitted head with what was decided about it."""

    head: LinearHead  # the linear head
    strength: float  # the chosen inverse regularisation C
    temperature: float  # of the logits
    threshold: LockedThreshold | None  # of the positive class, binary tasks only
    losses: dict[float, float]  # cross-validated log loss of each strength tried


@dataclass(frozen=True, slots=True)
class Weighing:
    """How much images count when a head is fitted and judged."""

    classes: bool = True  # classes count alike, however many images they have
    # within a class its groups, which are patients or what the protocol keeps whole, count alike
    groups: bool = True

    def weights(self, labels: Ints, groups: Texts) -> Floats:
        """One weight an image, shape (n,), with mean 1."""
        weights = np.ones(len(labels))
        for label in np.unique(labels):
            own = labels == label
            if self.groups:
                _, group, images = np.unique(groups[own], return_inverse=True, return_counts=True)
                weights[own] = own.sum() / (len(images) * images[group])
            if self.classes:
                weights[own] *= len(labels) / (len(np.unique(labels)) * own.sum())
        return weights


def fit_head(
    features: Floats, labels: Ints, *, classes: int, strength: float, weights: Floats | None = None
) -> LinearHead:
    """L2-regularised multinomial logistic regression on standardised features.

    Args:
        features: shape (n, channels).
        labels: class indices, shape (n,); a class without images gets probability near 0.
        classes: how many classes the head answers for.
        strength: inverse regularisation C of scikit-learn, positive.
        weights: of the images, shape (n,); each counts once without them.
    """
    from sklearn.linear_model import LogisticRegression

    centre, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    present = np.unique(labels)
    if len(present) < 2:
        raise DataError("the training images hold one class only; a classifier needs two or more")
    model = LogisticRegression(C=strength, max_iter=1000, tol=1e-4)
    model.fit(((features - centre) / scale).astype(np.float32), labels, sample_weight=weights)
    weight = np.zeros((classes, features.shape[1]))
    bias = np.full(classes, -20.0)
    rows, offsets = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    if len(present) == 2:  # scikit-learn keeps one row for two classes: half for each side
        rows, offsets = np.vstack([-rows, rows]) / 2, np.concatenate([-offsets, offsets]) / 2
    weight[present], bias[present] = rows / scale, offsets - (rows / scale) @ centre
    return LinearHead(weight, bias)


def fit_probe(
    features: Floats,
    labels: Ints,
    groups: Sequence[str],
    *,
    classes: int,
    positive: int | None = None,
    strengths: Sequence[float] = (0.001, 0.01, 0.1, 1.0),
    inner_folds: int = 5,
    weighing: Weighing | None = None,
    rule: Rule = "one-se",
    seed: int = 0,
    held: tuple[Floats, Ints, Texts] | None = None,
) -> Probe:
    """Fit a head, its strength, temperature and threshold on training patients only.

    Strengths are judged by the log loss, at its own best temperature, of predictions made in
    cross-validation whose folds keep ``groups`` whole; they are tried from the strongest
    regularisation on, until one does worse than the best before it. Temperature and threshold
    come from the validation images ``held`` where there are any; otherwise from those
    cross-validated predictions, each made by a head that had not met the group it scores.

    Args:
        features: shape (n, channels).
        labels: class indices, shape (n,).
        groups: what must not be cut in two, shape (n,): patients, or images where the protocol
            cuts patients.
        classes: how many classes there are.
        positive: index of the positive class, binary tasks only.
        strengths: inverse regularisations to try, positive.
        inner_folds: folds of the inner cross-validation; fewer where groups or images are few.
        weighing: how much images count; classes alike and groups alike by default.
        rule: ``"one-se"`` takes the strongest regularisation within one standard error of the
            least loss, ``"least-loss"`` that of the least loss.
        seed: of the inner folds.
        held: features, labels and groups of the validation split.

    Raises:
        DataError: fewer than two groups, one class only, or too few groups of each class.
    """
    weighing, names = weighing or Weighing(), np.asarray(groups, dtype=str)
    parts = _inner_folds(labels, groups, folds=inner_folds, seed=seed)
    scored = np.concatenate([outside for _, outside in parts])
    truth, own = labels[scored], names[scored]
    share = weighing.weights(truth, own)
    inner: dict[float, Floats] = {}
    losses: dict[float, float] = {}
    errors: dict[float, float] = {}
    for strength in sorted(strengths):
        fit = partial(fit_head, classes=classes, strength=strength)
        heads = [
            (fit(features[i], labels[i], weights=weighing.weights(labels[i], names[i])), o)
            for i, o in parts
        ]
        inner[strength] = np.concatenate([head.logits(features[o]) for head, o in heads])
        each = _calibrated_losses(inner[strength], truth, share)
        losses[strength] = float(np.average(each, weights=share))
        errors[strength] = _standard_error(each, own, share)
        if losses[strength] > min(losses.values()):
            break  # weaker regularisation fits longer and, past the best, only worse
    best = _choose(losses, errors, rule)
    every = weighing.weights(labels, names)
    head = fit_head(features, labels, classes=classes, strength=best, weights=every)
    logits = inner[best]
    if held is not None:
        logits, truth, own = head.logits(held[0]), held[1], held[2]
        share = np.ones(len(truth))
    temperature = fit_temperature(logits, truth, share)
    threshold = None
    if positive is not None:
        chances = apply_temperature(logits, temperature)[:, positive]
        threshold = lock_threshold(chances, truth == positive, own, share)
    return Probe(head, best, temperature, threshold, losses)


def locked(threshold: LockedThreshold | None) -> dict[str, JsonValue]:
    """What a Run records of its threshold; nothing where the task has none."""
    return {} if threshold is None else {"threshold": {**asdict(threshold)}}


def _inner_folds(
    labels: Ints, groups: Sequence[str], *, folds: int, seed: int
) -> list[tuple[Ints, Ints]]:
    """Row numbers inside and outside of each inner fold that leaves two classes inside."""
    from sklearn.model_selection import StratifiedGroupKFold

    _, codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    n_groups = int(codes.max()) + 1
    if n_groups < 2:
        raise DataError("the training images come from one patient; the probe needs two or more")
    # scikit-learn refuses more folds than the largest class has images, and warns where only
    # another has fewer: such a fold is left out here if it lacks a class that it needs.
    count = min(folds, n_groups, int(np.bincount(labels).max()))
    parts: list[tuple[Ints, Ints]] = []
    if count > 1:
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            parts = list(splitter.split(codes, labels, codes))
    kept = [(i, o) for i, o in parts if len(o) and len(np.unique(labels[i])) > 1]
    if not kept:
        raise DataError(
            f"{len(labels)} training images of {n_groups} patients leave no inner fold with two "
            "classes to choose the probe's strength on; it needs two or more patients in each class"
        )
    return kept


def _calibrated_losses(logits: Floats, labels: Ints, weights: Floats) -> Floats:
    """The log loss of each image (n,) at the temperature that is best for all."""
    chances = apply_temperature(logits, fit_temperature(logits, labels, weights))
    own = chances[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.clip(own, 1e-12, None)), np.float64)


def _standard_error(losses: Floats, groups: Texts, weights: Floats) -> float:
    """Of the weighted mean loss, its groups drawn independently (linearised ratio estimate)."""
    mean = np.average(losses, weights=weights)
    _, group = np.unique(groups, return_inverse=True)
    pulls = np.bincount(group, weights * (losses - mean)) / weights.sum()
    count = len(pulls)
    return float(np.sqrt(count / (count - 1) * np.square(pulls).sum())) if count > 1 else 0.0


def _choose(losses: dict[float, float], errors: dict[float, float], rule: Rule) -> float:
    best = min(losses, key=lambda strength: losses[strength])
    if rule == "least-loss":
        return best
    return min(s for s, loss in losses.items() if loss <= losses[best] + errors[best])
