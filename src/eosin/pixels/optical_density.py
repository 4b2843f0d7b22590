"""Optical density: from bytes to what the dyes absorb, and back, fast and without loss of white."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
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
_LOG_WHITE: Final = math.log(256.0)
_STRIP_PIXELS: Final = 1 << 15  # a strip and its floats stay in the processor's cache
_FEWEST_STRIPS: Final = 2  # of a thread: fewer take less time than the thread's start


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

    Large images are shared among as many threads as OpenCV may use (``cv2.setNumThreads``). The
    strips are the same for any number of threads, and so are the bytes.

    One row each: OpenCV takes an array of four rows and one column for four scalars.
    """
    row = image.reshape(1, -1, 3)
    painted = np.empty_like(row)

    def paint_strips(starts: Iterable[int]) -> None:
        for start in starts:
            strip = slice(start, start + _STRIP_PIXELS)
            painted[:, strip] = paint(row[:, strip])

    _share_among_threads(range(0, row.shape[1], _STRIP_PIXELS), paint_strips)
    return painted.reshape(image.shape)


def _share_among_threads(starts: range, work: Callable[[Iterable[int]], None]) -> None:
    """Do all the work; its threads end with it, so that a forked process never waits for them."""
    threads = min(cv2.getNumThreads(), len(starts) // _FEWEST_STRIPS)
    if threads < 2:
        work(starts)
        return
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(work, starts[first::threads]) for first in range(1, threads)]
        work(starts[::threads])
    for other in others:
        other.result()


def density_map(gain: Matrix) -> FloatArray:
    """The (3, 4) affine map from densities to log light for ``new = density @ gain``."""
    return np.column_stack([-gain.T, np.full(3, math.log(LIGHT))]).astype(np.float32)


def along_each(rows: Matrix, density: FloatArray) -> FloatArray:
    """``rows @ density`` for few rows (k, 3) and many pixels (3, n); (k, n).

    Summed by einsum: a matrix product this flat would wake the threads of the linear algebra
    library, which takes longer than the product.
    """
    return as_floats(np.einsum("kc,cn->kn", rows.astype(np.float32), density))


def darkest_channel(image: UInt8Image) -> UInt8Image:
    """The smallest of red, green and blue at each pixel, shape (height, width)."""
    red, green, blue = cv2.split(image)
    return np.minimum(np.minimum(red, green), blue)


def _change_strip(strip: UInt8Image, change: Callable[[FloatArray], FloatArray]) -> UInt8Image:
    if not _has_glare(strip):
        return _light_to_bytes(change(optical_density(strip)))
    excess = cv2.subtract(darkest_channel(strip), _BRIGHTEST_UNLIT)
    glare = as_bytes(cv2.cvtColor(excess, cv2.COLOR_GRAY2RGB))
    return as_bytes(cv2.add(_light_to_bytes(change(optical_density(strip - glare))), glare))


def _has_glare(strip: UInt8Image) -> bool:
    """Whether any pixel is brighter than the light; the look at single bytes is the quicker."""
    return bool(strip.max() >= LIGHT and darkest_channel(strip).max() >= LIGHT)


def _light_to_bytes(log_light: FloatArray) -> UInt8Image:
    """``exp(log_light) - 1``, rounded to the nearest byte.

    Clipped before the exponential: what overflows a byte by far would wrap round to black. No
    less than one is left after it, so that the absolute value, which OpenCV takes, is the value.
    """
    light = cv2.threshold(log_light, 0, 0, cv2.THRESH_TOZERO)[1]
    cv2.threshold(light, _LOG_WHITE, 0, cv2.THRESH_TRUNC, dst=light)
    return as_bytes(cv2.convertScaleAbs(cv2.exp(light, dst=light), alpha=1, beta=-1))


def as_bytes(array: npt.NDArray[np.generic]) -> UInt8Image:
    """The same array, known to hold bytes: OpenCV's own types say less."""
    return np.asarray(array, dtype=np.uint8)


def as_floats(array: npt.NDArray[np.generic]) -> FloatArray:
    """The same array, known to hold float32."""
    return np.asarray(array, dtype=np.float32)
