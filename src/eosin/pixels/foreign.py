"""Black and ink: what of an image is neither tissue nor glass, and no stain step may touch."""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from eosin.arrays import Bools
from eosin.pixels.optical_density import LIGHT, as_bytes
from eosin.pixels.reading import UInt8Image

DARK_VALUE: Final = 24  # nuclei are brighter in blue; few pixels of the darkest are not
LOOK_PIXELS: Final = 4_096  # enough to tell what an image is

# How much of the light of its own colour an ink lets pass, over that of another.
_GREEN_OVER_RED: Final = 1.5
_BLUE_OVER_BOTH: Final = 2.5
_RED_OVER_BOTH: Final = 4.5
_LEAST_CHROMA: Final = 16  # bytes; less is noise in the dark
_BLACK_INK: Final = 56  # no channel of it is brighter ...
_GREYEST: Final = 20  # ... nor two further apart, as those of nuclei are

_LEAST_SHARE: Final = 0.0005  # of an image
_LINE: Final = 32  # lines of black are no shorter than the image's shorter side over this
_REACH: Final = 100  # an edge has run into what is nearer than the shorter side over this
_EDGE_VALUE: Final = 56  # what compression and scaling leave in black beside tissue
_ASKEW: Final = 0.1  # of a side
_ROWS: Final = 512  # looked at together


def foreign_pixels(image: UInt8Image) -> Bools | None:
    """Where an image shows black or ink, (height, width); None where it shows neither.

    Black is padding or what lies beyond a scanner's field: below 24 in all channels, in lines.
    Ink is what haematoxylin, eosin and blood give in no mixture, by optical density: red absorbed
    more than green by 0.4 (green, teal and most blue ink), red and green more than blue by 0.9,
    green and blue more than red by 1.5, or all three alike and nearly wholly (black ink). Pale or
    dull red ink is not told from blood, violet not from nuclei, brown and yellow not from pigment:
    they count as tissue, as does all ink of an image at less than half the light, whose nuclei are
    as dark, and what is a speck or covers less than 0.05 % of the image.

    Args:
        image: (height, width, 3) RGB bytes.
    """
    look = spread_pixels(image, most=LOOK_PIXELS)
    top = brightest(look)
    if not ((top < DARK_VALUE) | _like_ink(look)).any() or np.percentile(top, 99) < LIGHT / 2:
        return None
    top, inky = np.empty(image.shape[:2], np.uint8), np.empty(image.shape[:2], np.bool_)
    for start in range(0, len(image), _ROWS):  # of a large image a whole plane takes much memory
        rows = slice(start, start + _ROWS)
        pixels = as_bytes(np.stack(cv2.split(image[rows])))
        top[rows], inky[rows] = brightest(pixels), _like_ink(pixels)
    foreign = _black(top) | _ink(inky)
    return foreign if foreign.any() else None


def with_edges(foreign: Bools) -> Bools:
    """What is foreign, and what lies so near that it may hold some of both.

    Where a side of the image is black in part, the black may lie askew and fade over the rest.
    """
    near, depth = _grown(foreign), min(foreign.shape) // _REACH
    for side in (near, near[::-1], near.T, near.T[::-1]):
        if depth and np.count_nonzero(side[0]) > _ASKEW * len(side[0]):
            side[:depth] = True
    return near


def put_back(image: UInt8Image, foreign: Bools | None, painted: UInt8Image) -> UInt8Image:
    """``painted``, but ``image`` where that is foreign; written into ``painted``."""
    if foreign is not None:
        cv2.copyTo(image, foreign.view(np.uint8), painted)
    return painted


def spread_pixels(image: UInt8Image, *, most: int) -> UInt8Image:
    """About ``most`` pixels at an even stride through the image, (3, n); the same every time."""
    return np.ascontiguousarray(image.reshape(-1, 3).T[:, :: even_stride(image, most=most)])


def even_stride(image: UInt8Image, *, most: int) -> int:
    """Every how many pixels, row by row, one must be taken to have about ``most`` of them."""
    height, width = image.shape[:2]
    stride: int = max(1, round(height * width / most))
    # A stride that shares a factor with the width would see the same few columns only.
    while math.gcd(stride, width) > 1:
        stride += 1
    return stride


def brightest(pixels: UInt8Image) -> UInt8Image:
    """The largest of red, green and blue, along the first axis."""
    return as_bytes(np.maximum(np.maximum(pixels[0], pixels[1]), pixels[2]))


def darkest(pixels: UInt8Image) -> UInt8Image:
    """The smallest of red, green and blue, along the first axis."""
    return as_bytes(np.minimum(np.minimum(pixels[0], pixels[1]), pixels[2]))


def _black(top: UInt8Image) -> Bools:
    length = max(3, min(top.shape) // _LINE | 1)  # an even kernel would shift what it opens
    dark = top < DARK_VALUE
    black = _enough(_opened(dark, (1, length)) | _opened(dark, (length, 1)))
    return black | (_grown(black) & (top < _EDGE_VALUE))


def _ink(inky: Bools) -> Bools:
    ink = _enough(_opened(inky, (3, 3)))
    ink |= _grown(ink) & inky
    return _closed(ink)


def _enough(mask: Bools) -> Bools:
    """The mask, or an empty one where it covers too little to matter."""
    return mask if np.count_nonzero(mask) >= _LEAST_SHARE * mask.size else np.zeros_like(mask)


def _opened(mask: Bools, size: tuple[int, int]) -> Bools:
    """The mask without what does not hold a rectangle of ``size``, (height, width)."""
    kernel = np.ones(size, dtype=np.uint8)
    return _as_mask(cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_OPEN, kernel))


def _closed(mask: Bools) -> Bools:
    """The mask with gaps of less than three pixels filled."""
    kernel = np.ones((3, 3), dtype=np.uint8)
    return _as_mask(cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_CLOSE, kernel))


def _grown(mask: Bools) -> Bools:
    side = 2 * _reach(mask) + 1
    return _as_mask(cv2.dilate(mask.view(np.uint8), np.ones((side, side), dtype=np.uint8)))


def _reach(mask: Bools) -> int:
    height, width = mask.shape
    return int(max(2, min(height, width) // _REACH))


def _as_mask(zeros_and_ones: npt.NDArray[np.generic]) -> Bools:
    return zeros_and_ones.view(np.bool_)


def _like_ink(pixels: UInt8Image) -> Bools:
    """Which pixels have the colour of an ink, (3, ...) to (...)."""
    red, green, blue = pixels
    warm, cold = np.maximum(red, green), np.maximum(green, blue)
    top = np.maximum(red, cold)
    inky: Bools = green > cv2.LUT(red, _outshone(_GREEN_OVER_RED))
    inky |= blue > cv2.LUT(warm, _outshone(_BLUE_OVER_BOTH))
    inky |= red > cv2.LUT(cold, _outshone(_RED_OVER_BOTH))
    inky |= (top < _BLACK_INK) & (top - darkest(pixels) <= _GREYEST)
    return inky


@cache
def _outshone(ratio: float) -> UInt8Image:
    """Of each byte, the greatest one that lets pass less than ``ratio`` times its light; (256,)."""
    light = np.arange(1.0, 257.0)
    most = np.maximum(np.ceil(ratio * light) - 2, light + _LEAST_CHROMA - 2)
    return as_bytes(most.clip(0, 255))
