"""Optical density: from bytes to what the dyes absorb, and back, fast and without loss of white."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from eosin.errors import DataError
from eosin.pixels.reading import UInt8Image

FloatArray: TypeAlias = npt.NDArray[np.float32]
Matrix: TypeAlias = npt.NDArray[np.float64]

LIGHT: Final = 240.0  # transmitted light behind no tissue (Macenko et al. 2009)
TISSUE_DENSITY: Final = 0.15  # below this a pixel is glass, not tissue (Macenko et al. 2009)

# Four values: what OpenCV subtracts from up to four channels.
_BRIGHTEST_UNLIT: Final = np.full(4, LIGHT - 1)  # density 0: (239 + 1) / 240 = 1
_ONE: Final = np.ones(4)
_LOG_WHITE: Final = math.log(256.0)
_STRIP_PIXELS: Final = 1 << 15  # a strip and its floats stay in the processor's cache


def require_rgb_bytes(image: UInt8Image) -> UInt8Image:
    """The same image, contiguous; DataError unless it is (height, width, 3) of bytes."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, "dtype", type(image).__name__)
        raise DataError(f"stain steps take an RGB image of bytes (uint8), got {kind}")
    if image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"stain steps take (height, width, 3) images, got shape {image.shape}")
    return np.ascontiguousarray(image)


@cache
def density_table() -> FloatArray:
    """Optical density of each byte, shape (256,), natural log; read-only.

    ``-ln((value + 1) / 240)`` (Beer-Lambert; Ruifrok & Johnston 2001): 5.5 for black, 0 for 239,
    and slightly negative for what is brighter than the light behind the slide.
    """
    table = -np.log((np.arange(256, dtype=np.float64) + 1.0) / LIGHT)
    table = table.astype(np.float32)
    table.setflags(write=False)
    return table


def optical_density(pixels: UInt8Image) -> FloatArray:
    """Optical density of bytes, (height, width) or (height, width, 3); same shape, natural log."""
    return as_floats(cv2.LUT(pixels, density_table()))


def change_density(image: UInt8Image, change: Callable[[FloatArray], FloatArray]) -> UInt8Image:
    """Replace an image's optical densities and give the image back as bytes, same shape.

    Args:
        image: (height, width, 3) RGB bytes.
        change: takes the densities of some pixels, (1, n, 3), and returns the new ones as log
            light, ``ln(240) - density``, in the same shape.

    What is brighter than the light in all three channels is glare, no stain: it is taken off
    before the change and put back after it, so white stays exactly white.
    """
    return in_strips(image, lambda strip: _change_strip(strip, change))


def in_strips(image: UInt8Image, paint: Callable[[UInt8Image], UInt8Image]) -> UInt8Image:
    """Apply ``paint``, (1, n, 3) to the same shape, to some pixels at a time; a new image.

    One row each: OpenCV takes an array of four rows and one column for four scalars.
    """
    row = image.reshape(1, -1, 3)
    painted = np.empty_like(row)
    for first in range(0, row.shape[1], _STRIP_PIXELS):
        painted[:, first : first + _STRIP_PIXELS] = paint(row[:, first : first + _STRIP_PIXELS])
    return painted.reshape(image.shape)


def density_map(gain: Matrix) -> FloatArray:
    """The (3, 4) affine map from densities to log light for ``new = density @ gain``."""
    return np.column_stack([-gain.T, np.full(3, math.log(LIGHT))]).astype(np.float32)


def along_each(rows: Matrix, density: FloatArray) -> FloatArray:
    """``rows @ density`` for few rows (k, 3) and many pixels (3, n); (k, n).

    Written out: a matrix product this flat would wake the threads of the linear algebra library,
    which takes longer than the product.
    """
    red, green, blue = density
    return np.stack([r * red + g * green + b * blue for r, g, b in rows.astype(np.float32)])


def darkest_channel(image: UInt8Image) -> UInt8Image:
    """The smallest of red, green and blue at each pixel, shape (height, width)."""
    red, green, blue = cv2.split(image)
    return np.minimum(np.minimum(red, green), blue)


def _change_strip(strip: UInt8Image, change: Callable[[FloatArray], FloatArray]) -> UInt8Image:
    excess = cv2.subtract(darkest_channel(strip), _BRIGHTEST_UNLIT)
    glare = as_bytes(cv2.cvtColor(excess, cv2.COLOR_GRAY2RGB))
    log_light = change(optical_density(strip - glare))
    # Clipped before the exponential: what overflows a byte by far would wrap round to black.
    cv2.threshold(log_light, _LOG_WHITE, 0, cv2.THRESH_TRUNC, dst=log_light)
    unlit = cv2.subtract(cv2.exp(log_light), _ONE, dtype=cv2.CV_8U)
    return as_bytes(cv2.add(unlit, glare))


def as_bytes(array: npt.NDArray[np.generic]) -> UInt8Image:
    """The same array, known to hold bytes: OpenCV's own types say less."""
    return np.asarray(array, dtype=np.uint8)


def as_floats(array: npt.NDArray[np.generic]) -> FloatArray:
    """The same array, known to hold float32."""
    return np.asarray(array, dtype=np.float32)
