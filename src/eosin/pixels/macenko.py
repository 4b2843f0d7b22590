"""Macenko's stain vectors: the edges of the cloud of densities, seen in its own plane."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from eosin.arrays import Floats, Floats32
from eosin.pixels.concentration import (
    StainEstimate,
    estimate_from_matrix,
    haematoxylin_first,
    high_percentile,
)
from eosin.pixels.optical_density import along_each
from eosin.pixels.tissue_sample import Reason, TissueSample, UnstainedError

_FEWEST_TISSUE_PIXELS: Final = 32


def macenko_estimate(sample: TissueSample, *, beta: float, alpha: float) -> StainEstimate:
    """The two stains of a sample (Macenko et al., ISBI 2009).

    Args:
        sample: the pixels.
        beta: pixels with any channel below this optical density are left out of the vectors.
        alpha: percentile of the angles, from either end, at which the stains are taken.

    Raises:
        UnstainedError: too few dense pixels, or no two stains among them.
    """
    matrix = macenko_stain_matrix(sample.density, beta=beta, alpha=alpha)
    return estimate_from_matrix(sample.density, matrix)


def macenko_stain_matrix(density: Floats32, *, beta: float, alpha: float) -> Floats:
    """(2, 3) unit stain vectors, haematoxylin first, of densities (3, n)."""
    dense = np.minimum(np.minimum(density[0], density[1]), density[2]) >= beta
    tissue = np.compress(dense, density, axis=1)
    if tissue.shape[1] < _FEWEST_TISSUE_PIXELS:
        raise UnstainedError(Reason.NEARLY_BLANK)
    plane = _principal_plane(tissue)
    along, across = along_each(plane, tissue)
    low, high = _extreme_angles(along, across, alpha)
    edges = np.array([[np.cos(low), np.sin(low)], [np.cos(high), np.sin(high)]])
    return haematoxylin_first(edges @ plane)


def _extreme_angles(along: Floats32, across: Floats32, alpha: float) -> tuple[float, float]:
    if along.min() > 0:  # slopes rank as angles do, and are ten times quicker
        slopes = across / along
        low, high = -high_percentile(-slopes, 100 - alpha), high_percentile(slopes, 100 - alpha)
        return math.atan(low), math.atan(high)
    angles = np.arctan2(across, along)
    return -high_percentile(-angles, 100 - alpha), high_percentile(angles, 100 - alpha)


def _principal_plane(tissue: Floats32) -> Floats:
    """(2, 3) orthonormal axes of the first two principal directions; the mean lies on the first.

    The angles' percentiles are the same from any axis of the plane. From the mean's, hardly a
    pixel is 90 degrees away, so that none wraps round.
    """
    mean = tissue.mean(axis=1, keepdims=True)
    centred = tissue - mean
    scatter = np.einsum("in,jn->ij", centred, centred).astype(np.float64)
    _, directions = np.linalg.eigh(scatter)
    plane: Floats = directions[:, 1:].T
    height, length = (plane @ mean).ravel()
    turn = np.array([[height, length], [-length, height]]) / max(math.hypot(height, length), 1e-12)
    return np.asarray(turn @ plane, dtype=np.float64)
