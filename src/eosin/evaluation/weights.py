"""Weight vectors over images that share patients: a resample is one row of weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from eosin.arrays import Floats, Ints
from eosin.errors import DataError


@dataclass(frozen=True)
class Weights:
    """R weight vectors over n images, held per patient: image i weighs ``rows[:, patient[i]]``.

    Every metric of this package takes one and gives one value a row, so that a point estimate,
    sample weights and two thousand bootstrap resamples are the same computation.
    """

    patient: Ints  # the column of ``rows`` that each image follows, shape (n,)
    rows: Floats  # non-negative weights, shape (R, patients)

    def __post_init__(self) -> None:
        if self.rows.ndim != 2:
            raise DataError(f"weights need the shape (R, patients), got {self.rows.shape}")
        columns = self.rows.shape[1]
        if len(self.patient) and not 0 <= self.patient.min() <= self.patient.max() < columns:
            raise DataError(f"patient columns must lie in 0..{columns - 1}, the columns of weights")

    @classmethod
    def plain(cls, images: int) -> Self:
        """One row that counts each of ``images`` images once."""
        return cls(np.zeros(images, dtype=np.int64), np.ones((1, 1)))

    @classmethod
    def per_image(cls, weights: npt.ArrayLike) -> Self:
        """Weights given image by image: shape (n,) for one vector or (R, n) for R of them."""
        rows = np.atleast_2d(np.asarray(weights, dtype=np.float64))
        return cls(np.arange(rows.shape[1]), rows)

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, images: Ints) -> Floats:
        """The weights of some images, shape (R, len(images))."""
        return np.take(self.rows, self.patient[images], axis=1)

    def per_patient(self, values: Floats) -> Floats:
        """Sums of ``values``, shape (n, k), within each patient, shape (patients, k)."""
        patients = self.rows.shape[1]
        columns = [np.bincount(self.patient, column, patients) for column in values.T]
        return np.stack(columns, axis=1) if columns else np.zeros((patients, 0))

    def sums(self, values: Floats) -> Floats:
        """Weighted sums of ``values``, shape (n,) or (n, k): shape (R,) or (R, k)."""
        if values.ndim == 1:
            return self.sums(values[:, None])[:, 0]
        return self.rows @ self.per_patient(values)

    def mean(self, values: Floats) -> Floats:
        """Weighted means of ``values``, shape (n,), in each row; NaN where a row weighs nothing."""
        return ratio(self.sums(values), self.sums(np.ones(len(values))))


def ratio(top: Floats, bottom: Floats, *, empty: float = np.nan) -> Floats:
    """``top / bottom``, and ``empty`` where ``bottom`` is zero."""
    top, bottom = np.broadcast_arrays(top, bottom)
    quotient: Floats = np.full(top.shape, empty)
    return np.divide(top, bottom, out=quotient, where=bottom != 0)
