"""Which images each model gets wrong, and how far their mistakes are the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.evaluation.weights import Bools, Floats, Ints, ratio

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from eosin.artefacts.predictions import Predictions


@dataclass(frozen=True)
class Mistakes:
    """The mistakes of M models on the same n images, by the most probable class.

    Attributes:
        models: their names.
        images: ``path``, ``patient``, ``magnification`` and ``label`` of each image.
        predicted: the class each model chose, shape (n, M), text.
        wrong: whether it was wrong, shape (n, M).
    """

    models: tuple[str, ...]
    images: pd.DataFrame
    predicted: np.ndarray[tuple[int, int], np.dtype[np.object_]]
    wrong: Bools

    @property
    def counts(self) -> Ints:
        """How many images each model gets wrong, shape (M,)."""
        return np.asarray(self.wrong.sum(axis=0), dtype=np.int64)

    @property
    def shared(self) -> Ints:
        """How many images both of two models get wrong, shape (M, M); their own on the diagonal."""
        wrong = self.wrong.astype(np.int64)
        return np.asarray(wrong.T @ wrong)

    @property
    def jaccard(self) -> Floats:
        """Images that both get wrong, as a share of those that either does (Jaccard 1901).

        Shape (M, M), in [0, 1], 1 on the diagonal; NaN where neither of two models errs.
        """
        shared = self.shared
        either = self.counts[:, None] + self.counts[None, :] - shared
        return ratio(shared.astype(np.float64), either.astype(np.float64))

    @property
    def all_wrong(self) -> tuple[str, ...]:
        """The images (paths) that every model gets wrong."""
        return tuple(self.images["path"][self.wrong.all(axis=1)])

    @property
    def any_wrong(self) -> tuple[str, ...]:
        """The images (paths) that at least one model gets wrong."""
        return tuple(self.images["path"][self.wrong.any(axis=1)])

    def alone(self) -> Ints:
        """How many images each model gets wrong that all others get right, shape (M,)."""
        lonely = self.wrong[self.wrong.sum(axis=1) == 1]
        return np.asarray(lonely.sum(axis=0), dtype=np.int64)

    def frame(self) -> pd.DataFrame:
        """A row an image that some model gets wrong; those that most models do come first.

        Columns: ``path, patient, magnification, label, models_wrong`` and ``predicted_<model>`` for
        each model: the class that it chose.
        """
        columns = {f"predicted_{name}": self.predicted[:, n] for n, name in enumerate(self.models)}
        table = self.images.assign(models_wrong=self.wrong.sum(axis=1), **columns)
        table = table[self.wrong.any(axis=1)]
        order = table.sort_values(["models_wrong", "path"], ascending=[False, True], kind="stable")
        return order.reset_index(drop=True)

    def to_dict(self) -> dict[str, object]:
        """Counts and overlaps as plain JSON values; None where a share has no meaning."""
        shares = [[None if np.isnan(x) else float(x) for x in row] for row in self.jaccard]
        return {
            "models": list(self.models),
            "wrong": self.counts.tolist(),
            "wrong_alone": self.alone().tolist(),
            "wrong_shared": self.shared.tolist(),
            "jaccard": shares,
            "images_all_get_wrong": len(self.all_wrong),
            "images_any_gets_wrong": len(self.any_wrong),
        }


def find_mistakes(tables: Mapping[str, Predictions]) -> Mistakes:
    """The mistakes of aligned predictions tables (``eosin.evaluation.alignment``)."""
    frames = [table.frame for table in tables.values()]
    images = frames[0][["path", "patient", "magnification", "label"]].reset_index(drop=True)
    predicted = np.stack([np.asarray(frame["predicted"], dtype=object) for frame in frames], 1)
    wrong = predicted != np.asarray(images["label"], dtype=object)[:, None]
    return Mistakes(tuple(tables), images, predicted, wrong.astype(bool))
