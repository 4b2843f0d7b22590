"""How much of each stain a pixel holds, and how to repaint one stain estimate as another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from eosin.arrays import Floats, Floats32
from eosin.artefacts.preprocessing import FEWEST_DEGREES, LEAST_CONCENTRATION
from eosin.pixels.optical_density import (
    along_each,
    as_floats,
    change_density,
    change_density_linearly,
    density_map,
    strip_of_floats,
)
from eosin.pixels.reading import UInt8Image
from eosin.pixels.tissue_sample import Reason, UnstainedError

_PSEUDO_MAXIMUM: Final = 99.0  # percentile (Macenko et al. 2009)
_LOOK_STRIDE: Final = 16
_LOOK_MARGIN: Final = 3.0  # percent


@dataclass(frozen=True, slots=True, eq=False)
class StainEstimate:
    """The two stains of an image, a patient or a target.

    Attributes:
        stain_matrix: (2, 3) unit optical density of haematoxylin, then eosin, in red, green, blue.
        max_concentration: (2,) pseudo-maximum of each stain, the 99th percentile of all pixels that
            are neither black nor ink.
    """

    stain_matrix: Floats
    max_concentration: Floats


def estimate_from_matrix(density: Floats32, stain_matrix: Floats) -> StainEstimate:
    """Complete a stain matrix with its pseudo-maximal concentrations over ``density`` (3, n).

    Raises:
        UnstainedError: the two stains cannot be told apart, or one of them is not there.
    """
    if not _is_separable(stain_matrix):
        raise UnstainedError(Reason.SINGLE_STAIN)
    concentration = along_each(least_squares(stain_matrix).T, density)
    most = np.array([high_percentile(each, _PSEUDO_MAXIMUM) for each in concentration])
    if not (most >= LEAST_CONCENTRATION).all():
        raise UnstainedError(Reason.SINGLE_STAIN)
    return StainEstimate(stain_matrix=stain_matrix, max_concentration=most)


def haematoxylin_first(stains: Floats) -> Floats:
    """The two rows in order: haematoxylin absorbs the larger share of red."""
    return stains if stains[0, 0] > stains[1, 0] else stains[::-1].copy()


def least_squares(stain_matrix: Floats) -> Floats:
    """The (3, 2) matrix from densities to concentrations, ``concentration = density @ matrix``."""
    return np.asarray(np.linalg.solve(stain_matrix @ stain_matrix.T, stain_matrix).T)


def high_percentile(values: Floats32, percent: float) -> float:
    """``np.percentile(values, percent)`` for a high percentile, four times faster.

    A look at few values bounds the tail; only the tail is put in order.
    """
    look = values[::_LOOK_STRIDE]
    low = int(max(0.0, percent - _LOOK_MARGIN) / 100 * len(look))
    bound = np.partition(look, low)[low]
    tail = np.compress(values >= bound, values)
    rank = percent / 100 * (len(values) - 1) - (len(values) - len(tail))
    if rank < 0:
        return float(np.percentile(values, percent))
    below, above = math.floor(rank), math.ceil(rank)
    tail.partition([below, above])
    return float(tail[below] + (tail[above] - tail[below]) * (rank - below))


def median_estimate(estimates: Sequence[StainEstimate]) -> StainEstimate:
    """The stain by stain, channel by channel median, its stains brought back to unit length."""
    matrix = np.median([estimate.stain_matrix for estimate in estimates], axis=0)
    return StainEstimate(
        stain_matrix=matrix / np.linalg.norm(matrix, axis=1, keepdims=True),
        max_concentration=np.median([estimate.max_concentration for estimate in estimates], axis=0),
    )


def repaint_linear(image: UInt8Image, source: StainEstimate, target: StainEstimate) -> UInt8Image:
    """Concentrations by least squares, scaled and mixed with the target's stains; same shape.

    One 3 x 3 matrix does all of it (Macenko et al. 2009).
    """
    gain = least_squares(source.stain_matrix) @ _scaled_target(source, target)
    return change_density_linearly(image, gain)


def repaint_nonnegative(
    image: UInt8Image, source: StainEstimate, target: StainEstimate
) -> UInt8Image:
    """The same with non-negative concentrations (Vahadane et al. 2016), in closed form.

    For two stains of unit length with ``g = w1 . w2 >= 0``, the non-negative least squares
    concentration is ``max(0, min(alone, together))``: ``alone = w . density`` when the other stain
    is absent, ``together`` the unconstrained solution. No penalty: it would bleach pale
    tissue.
    """
    nothing = np.zeros((1, 3))
    alone = np.vstack([source.stain_matrix, nothing]).astype(np.float32)
    together = np.vstack([least_squares(source.stain_matrix).T, nothing]).astype(np.float32)
    affine = density_map(np.vstack([_scaled_target(source, target), nothing]))
    first, second = strip_of_floats(image), strip_of_floats(image)

    def change(density: Floats32) -> Floats32:
        concentration = cv2.transform(density, together, dst=first)
        single = cv2.transform(density, alone, dst=second)
        cv2.min(concentration, single, dst=concentration)
        cv2.threshold(concentration, 0, 0, cv2.THRESH_TOZERO, dst=concentration)
        return as_floats(cv2.transform(concentration, affine, dst=density))

    return change_density(image, change)


def _scaled_target(source: StainEstimate, target: StainEstimate) -> Floats:
    scale = target.max_concentration / source.max_concentration
    return scale[:, None] * target.stain_matrix


def _is_separable(stain_matrix: Floats) -> bool:
    lengths = np.linalg.norm(stain_matrix, axis=1)
    if not (np.abs(lengths - 1.0) <= 1e-3).all():
        return False
    cosine = float(stain_matrix[0] @ stain_matrix[1])
    return cosine < math.cos(math.radians(FEWEST_DEGREES))
