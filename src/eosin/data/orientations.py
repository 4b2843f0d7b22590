"""The eight ways to lay a picture down, flipped or turned: on pixels and on cosine waves."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from eosin.arrays import Floats32

Pixel = TypeVar("Pixel", bound=np.generic)

# An orientation's bits: 1 mirrors left and right, 2 mirrors top and bottom, 4 then transposes.
NAMES = (
    "",
    "flipped horizontally",
    "flipped vertically",
    "rotated 180°",
    "flipped along the diagonal",
    "rotated 90° left",
    "rotated 90° right",
    "flipped along the other diagonal",
)


def turn_image(image: npt.NDArray[Pixel], orientation: int) -> npt.NDArray[Pixel]:
    """An image (height, width, ...) laid down in one of the eight orientations, 0 to 7."""
    if orientation & 1:
        image = image[:, ::-1]
    if orientation & 2:
        image = image[::-1]
    if orientation & 4:
        image = image.swapaxes(0, 1)
    return np.ascontiguousarray(image)


def turn_waves(waves: Floats32, orientation: int) -> Floats32:
    """Cosine coefficients (..., k, k) of the image that ``turn_image`` gives.

    Mirroring an axis changes the sign of its odd cosines; transposing swaps the axes.
    """
    sign = np.where(np.arange(waves.shape[-1]) % 2, -1, 1).astype(np.float32)
    if orientation & 1:
        waves = waves * sign
    if orientation & 2:
        waves = waves * sign[:, None]
    return waves.swapaxes(-1, -2) if orientation & 4 else waves
