"""Vahadane's stain vectors: sparse non-negative factors of the densities, two of them, exactly."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from eosin.pixels.concentration import StainEstimate, estimate_from_matrix, haematoxylin_first
from eosin.pixels.optical_density import FloatArray, Matrix, as_floats
from eosin.pixels.tissue_sample import Reason, TissueSample, UnstainedError

_FEWEST_TISSUE_PIXELS: Final = 32
_LEARNING_PIXELS: Final = 6_000  # vectors move by 0.1 to 0.3 degrees when all pixels are used
_MOST_CYCLES: Final = 200
_LONGEST_STEP: Final = 64.0
_SETTLED: Final = 1e-4  # largest change of a component between rounds
_START: Final = np.array([[0.65, 0.70, 0.29], [0.27, 0.90, 0.34]])  # blue-purple, pink


def vahadane_estimate(sample: TissueSample, *, penalty: float) -> StainEstimate:
    """The two stains of a sample (Vahadane et al., IEEE TMI 35(8), 2016).

    Args:
        sample: the pixels.
        penalty: lambda of the L1 term on the concentrations.

    Raises:
        UnstainedError: too little tissue, or no two stains in it.
    """
    tissue = np.flatnonzero(sample.tissue())
    if len(tissue) < _FEWEST_TISSUE_PIXELS:
        raise UnstainedError(Reason.NEARLY_BLANK)
    stride = max(1, round(len(tissue) / _LEARNING_PIXELS))
    learning = np.take(sample.density, tissue[::stride], axis=1)
    matrix = vahadane_stain_matrix(learning, penalty=penalty)
    return estimate_from_matrix(sample.density, matrix)


def vahadane_stain_matrix(density: FloatArray, *, penalty: float) -> Matrix:
    """(2, 3) non-negative unit stain vectors, haematoxylin first, of tissue densities (3, n).

    Minimises ``1/2 |density - codes @ stains|^2 + penalty * |codes|_1`` over non-negative codes
    and non-negative unit stains, in turns: the codes in closed form, then
    the stains one by one. Every second round is followed by a squared extrapolation (Varadhan &
    Roland, Scand. J. Stat. 35, 2008), which settles four times sooner. It always starts from the
    same stains, so it ends at the same.
    """
    channels = np.ascontiguousarray(density)
    stains = _unit_rows(_START)
    for _ in range(_MOST_CYCLES):
        first = _better_stains(channels, stains, penalty)
        second = _better_stains(channels, first, penalty)
        if np.abs(second - first).max() < _SETTLED:
            return haematoxylin_first(second)
        stains = _extrapolated(stains, first, second)
    return haematoxylin_first(second)


def sparse_codes(channels: FloatArray, stains: Matrix, penalty: float) -> FloatArray:
    """Non-negative lasso codes, (2, n), of densities ``channels`` (3, n) under unit ``stains``.

    With ``g = w1 . w2 >= 0``, ``alone = w . density - penalty`` and ``together`` the solution of
    the two normal equations, the minimum is ``max(0, min(alone, together))``.
    """
    overlap = float(stains[0] @ stains[1])
    own = 1.0 / (1.0 - overlap * overlap)
    cross, shared = -overlap * own, penalty / (1.0 + overlap)
    mixing = np.array([[1.0, 0.0], [0.0, 1.0], [own, cross], [cross, own]])
    both = (mixing @ stains).astype(np.float32) @ channels
    both -= np.array([[penalty], [penalty], [shared], [shared]], dtype=np.float32)
    codes = np.minimum(both[:2], both[2:])
    return as_floats(cv2.threshold(codes, 0, 0, cv2.THRESH_TOZERO, dst=codes)[1])


def _extrapolated(start: Matrix, first: Matrix, second: Matrix) -> Matrix:
    step = first - start
    bend = (second - first) - step
    ratio = math.sqrt(float(np.vdot(step, step)) / max(float(np.vdot(bend, bend)), 1e-24))
    length = min(max(ratio, 1.0), _LONGEST_STEP)
    return _unit_rows(np.maximum(start + 2 * length * step + length**2 * bend, 1e-9))


def _unit_rows(stains: Matrix) -> Matrix:
    lengths: Matrix = np.sqrt((stains * stains).sum(axis=1, keepdims=True))
    return stains / lengths


def _better_stains(channels: FloatArray, stains: Matrix, penalty: float) -> Matrix:
    if 1.0 - float(stains[0] @ stains[1]) < 1e-6:
        raise UnstainedError(Reason.SINGLE_STAIN)
    codes = sparse_codes(channels, stains, penalty)
    # By einsum: products this flat would wake the threads of the linear algebra library.
    shared = float(np.einsum("n,n->", codes[0], codes[1]))
    target = np.einsum("sn,cn->sc", codes, channels).astype(np.float64)
    better = stains.copy()
    for stain, other in ((0, 1), (1, 0)):
        raised = np.maximum(0.0, target[stain] - shared * better[other])
        length = math.sqrt(raised @ raised)
        if length <= 0:
            raise UnstainedError(Reason.SINGLE_STAIN)
        better[stain] = raised / length
    return better
