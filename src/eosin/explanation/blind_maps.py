"""Maps that know nothing of the network: what a heatmap must beat to say anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eosin.explanation.ranks import average_ranks

if TYPE_CHECKING:
    from eosin.arrays import Floats

_BLOB_WIDTH = 0.25  # standard deviation of the blob, of the side


def smooth_random_map(like: Floats, generator: np.random.Generator) -> Floats:
    """A random map (h, w) as smooth as ``like``: the power spectrum of its ranks, random phases.

    A blob removes other tissue than scattered cells do, and hits a large region by luck far more
    often, so a fair random map keeps the other's smoothness: a phase-randomised surrogate (Theiler
    et al., Physica D 58, 1992). Of the ranks, since only the order of cells counts; and of the map
    mirrored at its edges, a quarter of which is kept, so that opposite edges need not match. A map
    of one value has no smoothness: white noise. A random map and its negative are equally likely.
    """
    height, width = like.shape
    if np.ptp(like) == 0:
        return generator.standard_normal(like.shape)
    ranks = average_ranks(like).reshape(like.shape)
    mirrored = np.pad(ranks - ranks.mean(), ((0, height), (0, width)), mode="symmetric")
    amplitude = np.abs(np.fft.rfft2(mirrored))
    phase = np.angle(np.fft.rfft2(generator.standard_normal(mirrored.shape)))
    field: Floats = np.fft.irfft2(amplitude * np.exp(1j * phase), s=mirrored.shape)
    return field[:height, :width]


def centre_blob(shape: tuple[int, int]) -> Floats:
    """A Gaussian in the middle of a map of this shape (h, w), a quarter of the side wide."""
    rows, columns = (np.linspace(-0.5, 0.5, side) / _BLOB_WIDTH for side in shape)
    blob: Floats = np.exp(-(rows[:, None] ** 2 + columns[None, :] ** 2) / 2)
    return blob
