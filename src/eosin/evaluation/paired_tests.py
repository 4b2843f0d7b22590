"""Exact tests of two models on the same images: McNemar's, its patient-level form, Holm's step.

The patient-level test is the same idea with patients in place of images. Were the two models
equally good, then for each patient it would be a coin's toss which of them got more of the images
right; so the sign of each patient's difference is flipped in every possible way, and p is the
share of ways whose total is at least as far from zero as the observed one (Fisher 1935). With one
image a patient it is McNemar's exact test. All ways are counted, so nothing is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from eosin.arrays import Floats, Ints


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided p of McNemar's exact test, from the images that one model alone got right.

    The smaller count is binomial with probability 1/2 where models are equally good (McNemar 1947;
    exact as in Agresti 2002, section 10.1.4). It is 1 where the models never disagree. DataError
    where a count is negative.
    """
    from scipy.stats import binomtest

    if min(only_first, only_second) < 0:
        raise DataError(f"counts cannot be negative, got {only_first} and {only_second}")
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)


def sign_flip_p(differences: npt.ArrayLike) -> float:
    """Two-sided exact p that whole numbers, one a patient, are as likely above 0 as below.

    With m patients whose difference is not 0 it cannot fall below 2^(1 - m). It is 1 where every
    difference is 0.

    Args:
        differences: images that the first model got right minus those of the second, for each
            patient, shape (patients,).

    Raises:
        DataError: a difference is no whole number.
    """
    from scipy.stats import binom

    found: Ints = np.asarray(differences).astype(np.int64)
    if not np.array_equal(found, np.asarray(differences)):
        raise DataError("sign_flip_p counts images: differences must be whole numbers")
    sizes = np.unique(np.abs(found[found != 0]), return_counts=True)
    chances: Floats = np.ones(1)  # of the sum of sizes whose sign came out positive
    for size, patients in zip(*sizes, strict=True):
        step = np.zeros(size * patients + 1)
        step[::size] = binom.pmf(np.arange(patients + 1), patients, 0.5)
        chances = np.convolve(chances, step)
    total = len(chances) - 1
    far = np.abs(2 * np.arange(total + 1) - total) >= abs(int(found.sum()))
    return float(min(1.0, chances[far].sum()))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """P values corrected for being several (Holm 1979), in the order given, at most 1.

    The k-th smallest of m is multiplied by m - k + 1, and none may fall below a smaller one's.
    """
    p: Floats = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return tuple(float(value) for value in corrected)
