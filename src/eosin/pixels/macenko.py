"""Macenko's stain vectors: the edges of the cloud of densities, seen in its own plane."""

from __future__ import annotations

import numpy as np

from eosin.pixels.concentration import (
    StainEstimate,
    estimate_from_matrix,
    haematoxylin_first,
    high_percentile,
)
from eosin.pixels.optical_density import FloatArray, Matrix
from eosin.pixels.tissue_sample import Reason, TissueSample, UnstainedError

_FEWEST_TISSUE_PIXELS = 32


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


def macenko_stain_matrix(density: FloatArray, *, beta: float, alpha: float) -> Matrix:
    """(2, 3) unit stain vectors, haematoxylin first, of densities (3, n)."""
    dense = np.minimum(np.minimum(density[0], density[1]), density[2]) >= beta
    tissue = np.compress(dense, density, axis=1)
    if tissue.shape[1] < _FEWEST_TISSUE_PIXELS:
        raise UnstainedError(Reason.NEARLY_BLANK)
    plane = _principal_plane(tissue)
    along, across = plane.astype(np.float32) @ tissue
    angles = np.arctan2(across, along)
    low, high = -high_percentile(-angles, 100 - alpha), high_percentile(angles, 100 - alpha)
    edges = np.array([[np.cos(low), np.sin(low)], [np.cos(high), np.sin(high)]])
    return haematoxylin_first(edges @ plane)


def _principal_plane(tissue: FloatArray) -> Matrix:
    """(2, 3): the first two principal directions, signs set so that their sums are positive."""
    centred = tissue - tissue.mean(axis=1, keepdims=True)
    _, directions = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    plane: Matrix = directions[:, :0:-1].T
    return plane * np.where(plane.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
