"""Maps that know nothing of the network: what a heatmap must beat to say anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from eosin.explanation.ranks import Floats

_BLOB_WIDTH = 0.25  # standard deviation of the blob, of the side


def smooth_random_map(like: Floats, generator: np.random.Generator) -> Floats:
    """A random map (h, w) exactly as smooth as ``like``: its power spectrum, phases of noise.

    A blob removes other tissue than scattered cells do, so a fair random map keeps the other's
    smoothness: a phase-randomised surrogate (Theiler et al., Physica D 58, 1992). A map of one
    value has no smoothness: white noise. The map and its negative are equally likely.
    """
    noise = generator.standard_normal(like.shape)
    if np.ptp(like) == 0:
        return noise
    amplitude = np.abs(np.fft.rfft2(like - like.mean()))
    phase = np.angle(np.fft.rfft2(noise))
    field: Floats = np.fft.irfft2(amplitude * np.exp(1j * phase), s=like.shape)
    return field


def centre_blob(shape: tuple[int, int]) -> Floats:
    """A Gaussian in the middle of a map of this shape (h, w), a quarter of the side wide."""
    rows, columns = (np.linspace(-0.5, 0.5, side) / _BLOB_WIDTH for side in shape)
    blob: Floats = np.exp(-(rows[:, None] ** 2 + columns[None, :] ** 2) / 2)
    return blob
