"""Pen and black on a whole slide: what of its overview is neither glass nor tissue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np

from eosin.arrays import Bools, Floats32, UInt8Image
from eosin.pixels.optical_density import as_bytes

_DARK: Final = 40  # no channel of what was not scanned is brighter, but at its edge
_ALONG: Final = 0.2  # of a side of the slide that a black border covers at least
_BLOCK: Final = 500.0  # um; a black rectangle inside the slide has no shorter side
_FILLED: Final = 0.9  # of its bounding box
_THINNEST: Final = 12.0  # um; half of what a stroke is wide at least
_SMALLEST: Final = 30_000.0  # um^2 of a stroke's surest part
_LIKE_SEED: Final = 0.6  # of what the pen absorbs, in each channel, is still the pen
_HALO: Final = 16.0  # um around a stroke that hold some of it


def black_areas(image: UInt8Image, mpp: float) -> Bools:
    """Black borders and black blocks of an overview, (height, width); black pen is neither.

    Below 40 in all channels, and along a fifth of a side, or a rectangle 500 um wide or more.

    Args:
        image: (height, width, 3) RGB bytes.
        mpp: um a pixel.
    """
    dark = (image.max(axis=2) < _DARK).view(np.uint8)
    dark = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, piece, stats, _ = cv2.connectedComponentsWithStats(dark)
    black = np.zeros(count, np.bool_)
    for side in (piece[0], piece[-1], piece[:, 0], piece[:, -1]):
        black |= np.bincount(side, minlength=count) >= _ALONG * len(side)
    width, height, area = stats.T[2:]
    black |= (np.minimum(width, height) * mpp >= _BLOCK) & (area >= _FILLED * width * height)
    black[0] = False
    found = black[piece]
    return np.asarray(found | (_near(found, mpp) & (image.max(axis=2) < 2 * _DARK)))


def pen_strokes(density: Floats32, black: Bools, mpp: float) -> Bools:
    """Where pen was drawn on the slide, on glass or over tissue, (height, width).

    Absorption adds up, so a pen shows by what haematoxylin and eosin cannot give: red absorbed
    more than green (green and teal pens), red and green far more than blue (blue pens), green and
    blue far more than red (red pens), all three alike (black pens). From where that is sure a
    stroke reaches on over tissue, where it is connected and at least as dense as the pen.

    Args:
        density: (height, width, 3) over that of the glass.
        black: what is black border.
        mpp: um a pixel.
    """
    pen = np.zeros_like(black)
    for sure, maybe in _by_colour(density):
        seed = _thick(sure & ~black, mpp)
        if not seed.any():
            continue
        typical = np.median(density[seed], axis=0)
        maybe &= (density >= _LIKE_SEED * typical).all(axis=2)
        pen |= _reached(seed, (maybe | seed) & ~black)
    return (pen | _near(pen, mpp)) & ~black if pen.any() else pen


def _by_colour(density: Floats32) -> Iterator[tuple[Bools, Bools]]:
    """For each colour of pen where it is sure, and where it may be together with tissue."""
    red, green, blue = density[..., 0], density[..., 1], density[..., 2]
    yield red - green >= 0.3, red >= 0.95 * green
    yield (red >= 0.92 * green) & (red - blue >= 0.7), red >= 0.8 * green
    least = np.minimum(green, blue)
    yield (least - red >= 0.9) & (blue >= 0.75 * green), blue >= 0.62 * green
    least, most = density.min(axis=2), density.max(axis=2)
    yield (least >= 1.2) & (most - least <= 0.5), most - least <= 1.0


def _thick(mask: Bools, mpp: float) -> Bools:
    """The mask without what is thinner or smaller than a stroke of a pen."""
    kernel = np.ones((2 * max(1, round(_THINNEST / mpp)) + 1,) * 2, np.uint8)
    opened = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_OPEN, kernel)
    _, piece, stats, _ = cv2.connectedComponentsWithStats(opened)
    large = stats[:, cv2.CC_STAT_AREA] * mpp**2 >= _SMALLEST
    large[0] = False
    return np.asarray(large[piece])


def _reached(seed: Bools, mask: Bools) -> Bools:
    """The connected pieces of ``mask`` that hold some of ``seed``."""
    count, piece = cv2.connectedComponents(mask.view(np.uint8))
    holds = np.zeros(count, np.bool_)
    holds[np.unique(piece[seed])] = True
    holds[0] = False
    return np.asarray(holds[piece])


def _near(mask: Bools, mpp: float) -> Bools:
    side = 2 * max(1, round(_HALO / mpp)) + 1
    return as_bytes(cv2.dilate(mask.view(np.uint8), np.ones((side, side), np.uint8))).view(np.bool_)
