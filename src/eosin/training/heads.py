"""Heads on frozen features: how they are fitted, put on a network and read back from a Run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from eosin.errors import DataError, ModelError
from eosin.networks.knn_head import KnnHead
from eosin.networks.tensors import read_tensors, require_sound

if TYPE_CHECKING:
    from eosin.arrays import Floats, Ints, Texts
    from eosin.networks.classifier import Classifier
    from eosin.networks.run import Run


@dataclass(frozen=True)
class LinearHead:
    """Logits are ``features @ weight.T + bias``."""

    weight: Floats  # shape (classes, channels)
    bias: Floats  # shape (classes,)

    def logits(self, features: Floats) -> Floats:
        """Logits (n, classes) of features (n, channels)."""
        result: Floats = features @ self.weight.T + self.bias
        return result


@dataclass(frozen=True, slots=True)
class SampleWeighting:
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

    Raises:
        DataError: the images are of one class only.
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


def fit_knn(
    features: Floats, labels: Ints, *, classes: int, strength: float, weights: Floats
) -> KnnHead:
    """A head in which 1 / ``strength`` nearest images vote, each with its weight."""
    votes = np.eye(classes)[labels] * weights[:, None]
    return KnnHead(torch.from_numpy(features), torch.from_numpy(votes), round(1 / strength))


def install_head(classifier: Classifier, head: LinearHead | KnnHead) -> None:
    """Set a classifier's head in place; ModelError where it is no linear one."""
    if isinstance(head, KnnHead):
        classifier.head = head
        return
    linear = classifier.head
    if not isinstance(linear, torch.nn.Linear):
        raise ModelError(
            f"{classifier.spec.name} has no linear head to fit; train it without freeze"
        )
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(head.weight))
        linear.bias.copy_(torch.from_numpy(head.bias))


def read_head(run: Run) -> LinearHead | KnnHead:
    """The head of a frozen Run, read without building its network; ModelError where it has none."""
    run.require_intact()
    tensors = read_tensors(run.weights_path)
    require_sound(tensors, run.weights_path, fix="train the Run again")
    if voting := KnnHead.among(tensors):
        return voting
    try:
        weight, bias = (tensors[f"head.{name}"].double().numpy() for name in ("weight", "bias"))
    except KeyError as error:
        raise ModelError(f"{run.weights_path}: {error} missing; train the Run again") from error
    return LinearHead(weight, bias)
