"""Optical density: from bytes to what the dyes absorb, and back, fast and without loss of white."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from eosin.arrays import Floats, Floats32
from eosin.errors import DataError
from eosin.pixels.reading import UInt8Image

LIGHT: Final = 240.0  # transmitted light behind no tissue (Macenko et al. 2009)
TISSUE_DENSITY: Final = 0.15  # below this a pixel is glass, not tissue (Macenko et al. 2009)

# Four values: what OpenCV subtracts from up to four channels.
_BRIGHTEST_UNLIT: Final = np.full(4, LIGHT - 1)  # density 0: (239 + 1) / 240 = 1
_LOG_WHITE: Final = math.log(256.0)
_STRIP_PIXELS: Final = 1 << 16  # few enough for the processor's cache, enough to keep it busy


def require_rgb_bytes(image: UInt8Image) -> UInt8Image:
    """The same image, contiguous; DataError unless it is (height, width, 3) of bytes."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, "dtype", type(image).__name__)
        raise DataError(f"stain steps take an RGB image of bytes (uint8), got {kind}")
    if image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"stain steps take (height, width, 3) images, got shape {image.shape}")
    return np.ascontiguousarray(image)


@cache
def density_table() -> Floats32:
    """Optical density of each byte, shape (256,), natural log; read-only.

    ``-ln((value + 1) / 240)`` (Beer-Lambert; Ruifrok & Johnston 2001): 5.5 for black, 0 for 239,
    and slightly negative for what is brighter than the light behind the slide.
    """
    table = -np.log((np.arange(256, dtype=np.float64) + 1.0) / LIGHT)
    table = table.astype(np.float32)
    table.setflags(write=False)
    return table


def optical_density(pixels: UInt8Image) -> Floats32:
    """Optical density of bytes, (height, width) or (height, width, 3); same shape, natural log."""
    return as_floats(cv2.LUT(pixels, density_table()))


def change_density(image: UInt8Image, change: Callable[[Floats32], Floats32]) -> UInt8Image:
    """Replace an image's optical densities and give the image back as bytes, same shape.

    Args:
        image: (height, width, 3) RGB bytes.
        change: takes the densities of some pixels, (1, n, 3), and returns the new ones as log
            light, ``ln(240) - density``, at most ``ln(256)``, in the same shape, in memory that
            is written over.

    What is brighter than the light in all three channels is glare, no stain: it is taken off
    before the change and put back after it, so white stays exactly white.
    """
    density = strip_of_floats(image)
    return in_strips(image, lambda strip: _change_strip(strip, change, density))


def in_strips(image: UInt8Image, paint: Callable[[UInt8Image], UInt8Image]) -> UInt8Image:
    """Apply ``paint``, (1, n, 3) to the same shape, to some pixels at a time; a new image.

    One row each: OpenCV takes an array of four rows and one column for four scalars.
    """
    row = image.reshape(1, -1, 3)
    painted = np.empty_like(row)
    for start in range(0, row.shape[1], _STRIP_PIXELS):
        strip = slice(start, start + _STRIP_PIXELS)
        painted[:, strip] = paint(row[:, strip])
    return painted.reshape(image.shape)


def strip_of_floats(image: UInt8Image) -> Floats32:
    """Memory for what is computed of one strip, (1, n, 3); to be had once for all of an image.

    OpenCV's ``dst``: where the last strip is shorter, OpenCV takes new memory, so only what it
    returns counts. Memory asked for anew at each step would take as long as the steps.
    """
    pixels = min(image.shape[0] * image.shape[1], _STRIP_PIXELS)
    return np.empty((1, pixels, 3), dtype=np.float32)


def change_density_linearly(image: UInt8Image, gain: Floats) -> UInt8Image:
    """``change_density`` with ``new = density @ gain``, a (3, 3) matrix.

    Clipped, for what overflows a byte by far would wrap round to black.
    """
    affine, memory = density_map(gain), strip_of_floats(image)

    def change(density: Floats32) -> Floats32:
        log_light = cv2.transform(density, affine, dst=memory)
        cv2.threshold(log_light, _LOG_WHITE, 0, cv2.THRESH_TRUNC, dst=log_light)
        return as_floats(log_light)

    return change_density(image, change)


def density_map(gain: Floats) -> Floats32:
    """The (3, 4) affine map from densities to log light for ``new = density @ gain``."""
    return np.column_stack([-gain.T, np.full(3, math.log(LIGHT))]).astype(np.float32)


def along_each(rows: Floats, density: Floats32) -> Floats32:
    """``rows @ density`` for few rows (k, 3) and many pixels (3, n); (k, n).

    Summed by einsum: a matrix product this flat would wake the threads of the linear algebra
    library, which takes longer than the product.
    """
    return as_floats(np.einsum("kc,cn->kn", rows.astype(np.float32), density))


def darkest_channel(image: UInt8Image) -> UInt8Image:
    """The smallest of red, green and blue at each pixel of a contiguous image; (height, width)."""
    row = image.reshape(-1)
    least = np.minimum(row[:-2], row[1:-1])  # of neighbours: every third is of one pixel
    np.minimum(least, row[2:], out=least)
    return np.ascontiguousarray(least[::3]).reshape(image.shape[:2])


def _change_strip(
    strip: UInt8Image, change: Callable[[Floats32], Floats32], density: Floats32
) -> UInt8Image:
    darkest = darkest_channel(strip)
    if darkest.max() < LIGHT:
        return _light_to_bytes(change(as_floats(cv2.LUT(strip, density_table(), dst=density))))
    glare = as_bytes(cv2.cvtColor(cv2.subtract(darkest, _BRIGHTEST_UNLIT), cv2.COLOR_GRAY2RGB))
    lit = cv2.LUT(cv2.subtract(strip, glare), density_table(), dst=density)
    return as_bytes(cv2.add(_light_to_bytes(change(as_floats(lit))), glare))


def _light_to_bytes(log_light: Floats32) -> UInt8Image:
    """``exp(log_light) - 1``, rounded to the nearest byte; uses up its argument.

    No less than one is left by the exponential, so that the absolute value, which OpenCV takes, is
    the value.
    """
    cv2.threshold(log_light, 0, 0, cv2.THRESH_TOZERO, dst=log_light)
    light = cv2.exp(log_light, dst=log_light)
    return as_bytes(cv2.convertScaleAbs(light, alpha=1, beta=-1))


def as_bytes(array: npt.NDArray[np.generic]) -> UInt8Image:
    """The same array, known to hold bytes: OpenCV's own types say less."""
    return np.asarray(array, dtype=np.uint8)


def as_floats(array: npt.NDArray[np.generic]) -> Floats32:
    """The same array, known to hold float32."""
    return np.asarray(array, dtype=np.float32)
