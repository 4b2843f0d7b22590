"""Cross-validation inside the training patients: what heads say of images they had not met."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import DataError
from eosin.evaluation.calibration import apply_temperature, fit_temperature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.arrays import Floats, Ints, Texts
    from eosin.training.heads import SampleWeighting


@dataclass(frozen=True)
class InnerFolds:
    """Images of the training set, each outside of one fold; n of them, fold after fold."""

    parts: list[tuple[Ints, Ints]]  # row numbers inside and outside of each fold
    rows: Ints  # those outside, shape (n,)
    labels: Ints  # of these rows, shape (n,)
    groups: Texts  # what must not be cut in two, shape (n,)
    weights: Floats  # how much each row counts, shape (n,)

    @classmethod
    def of(
        cls, labels: Ints, groups: Texts, weighing: SampleWeighting, *, folds: int, seed: int
    ) -> InnerFolds:
        """At most so many folds, each of which leaves two classes inside; DataError for none."""
        parts = _parts(labels, groups, folds=folds, seed=seed)
        rows = np.concatenate([outside for _, outside in parts])
        own = np.asarray(groups, dtype=str)[rows]
        return cls(parts, rows, labels[rows], own, weighing.weights(labels[rows], own))

    def losses(self, logits: Floats) -> Floats:
        """The log loss of each image (n,) at the temperature that is best for all."""
        chances = apply_temperature(logits, fit_temperature(logits, self.labels, self.weights))
        own = chances[np.arange(len(self.labels)), self.labels]
        return np.asarray(-np.log(np.clip(own, 1e-12, None)), np.float64)

    def loss(self, logits: Floats) -> float:
        """The weighted mean of ``losses``."""
        return float(np.average(self.losses(logits), weights=self.weights))

    def standard_error(self, losses: Floats) -> float:
        """Of their weighted mean, groups drawn independently (linearised ratio estimate)."""
        mean = np.average(losses, weights=self.weights)
        _, group = np.unique(self.groups, return_inverse=True)
        pulls = np.bincount(group, self.weights * (losses - mean)) / self.weights.sum()
        count = len(pulls)
        return float(np.sqrt(count / (count - 1) * np.square(pulls).sum())) if count > 1 else 0.0


def _parts(
    labels: Ints, groups: Sequence[str] | Texts, *, folds: int, seed: int
) -> list[tuple[Ints, Ints]]:
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
