"""Ranks of a map's values, and how far two maps rank alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from eosin.arrays import Floats


def average_ranks(values: npt.ArrayLike) -> Floats:
    """Ranks 1 to n of ``values``, flattened to (n,); equal values share the mean of their ranks."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    _, place, count = np.unique(flat, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks: Floats = (last - (count - 1) / 2)[place]
    return ranks


def rank_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Spearman's correlation of two maps of the same shape, in [-1, 1].

    Ties share their mean rank. A map of one value ranks nothing, so it resembles no other: 0.
    """
    one, other = average_ranks(first), average_ranks(second)
    one, other = one - one.mean(), other - other.mean()
    lengths = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / lengths if lengths > 0 else 0.0
