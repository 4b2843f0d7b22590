"""A regularised linear head on features, and how much each image counts for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import DataError

if TYPE_CHECKING:
    from eosin.arrays import Floats, Ints, Texts


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
