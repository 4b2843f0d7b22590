"""Pen and black on a whole slide: what of its overview is neither glass nor tissue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np

from eosin.arrays import Bools, Floats32, UInt8Image
from eosin.pixels.foreign import brightest
from eosin.pixels.optical_density import as_bytes, as_floats

_DARK: Final = 40  # no channel of what was not scanned is brighter, but at its edge
_ALONG: Final = 0.2  # of a side of the slide, that a line of black covers at least
_BLACK_EDGE: Final = 40.0  # um over which black fades, or runs askew
_THINNEST: Final = 12.0  # um; half of what a stroke is wide at least
_SMALLEST: Final = 30_000.0  # um^2 of a stroke's surest part
_LIKE_SEED: Final = 0.7  # of what the palest of the pen absorbs, in each channel, is still pen
_GAP: Final = 32.0  # um; half of the widest gap within a stroke
_HALO: Final = 16.0  # um around a stroke that hold some of it


def black_areas(image: UInt8Image, mpp: float) -> Bools:
    """The black along the sides of an overview, (height, width); black pen is none.

    Below 40 in all channels, from a side inwards, as deep as over a fifth of the side at least, so
    that a stroke of black pen that runs into it is left out.

    Args:
        image: (height, width, 3) RGB bytes.
        mpp: um a pixel.
    """
    top = brightest(image.transpose(2, 0, 1))
    dark = (top < _DARK).view(np.uint8)
    dark = as_bytes(cv2.morphologyEx(dark, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))
    black = np.zeros(dark.shape, np.bool_)
    for turn in range(4):
        _border(np.rot90(dark, turn), np.rot90(black, turn))
    return np.asarray(black | (_near(black, _BLACK_EDGE / mpp) & (top < 2 * _DARK)))


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
        palest = np.percentile(density[seed], 10, axis=0)
        for plane, least in zip(cv2.split(density), palest, strict=True):
            maybe &= plane >= _LIKE_SEED * least
        pen |= _reached(seed, (maybe | seed) & ~black)
    if not pen.any():
        return pen
    kernel = square(_GAP / mpp)
    closed = cv2.morphologyEx(pen.view(np.uint8), cv2.MORPH_CLOSE, kernel).view(np.bool_)
    return np.asarray(_near(closed, _HALO / mpp) & ~black)


def extremes(density: Floats32) -> tuple[Floats32, Floats32]:
    """The least and the most of the three colours, (height, width) each."""
    red, green, blue = cv2.split(density)  # five times faster than along the last axis
    least, most = (each(each(red, green), blue) for each in (np.minimum, np.maximum))
    return as_floats(least), as_floats(most)


def square(reach: float) -> UInt8Image:
    """A square kernel that extends this many pixels, at least 1, to every side of its middle."""
    return np.ones((2 * max(1, round(reach)) + 1,) * 2, np.uint8)


def large_pieces(mask: UInt8Image, mpp: float, *, least: float) -> Bools:
    """The connected pieces of a mask, at ``mpp`` um a pixel, that cover at least ``least`` um^2."""
    _, piece, stats, _ = cv2.connectedComponentsWithStats(mask)
    large = stats[:, cv2.CC_STAT_AREA] * mpp**2 >= least
    large[0] = False
    return np.asarray(large[piece])


def _border(dark: UInt8Image, black: Bools) -> None:
    """Mark in ``black``, a view, what lies dark along the upper side."""
    depth = np.where(dark.all(axis=0), len(dark), dark.argmin(axis=0)).astype(np.float32)
    along = np.ones((1, max(1, round(_ALONG * len(depth)))), np.uint8)
    opened = cv2.morphologyEx(depth[None], cv2.MORPH_OPEN, along)
    black |= np.arange(len(dark))[:, None] < opened


def _by_colour(density: Floats32) -> Iterator[tuple[Bools, Bools]]:
    """For each colour of pen where it is sure, and where it may be together with tissue."""
    red, green, blue = cv2.split(density)
    yield red - green >= 0.3, red >= 0.95 * green
    yield (red >= 0.92 * green) & (red - blue >= 0.7), red >= 0.72 * green
    least = np.minimum(green, blue)
    yield (least - red >= 0.9) & (blue >= 0.75 * green), blue >= 0.62 * green
    least, most = extremes(density)
    yield (least >= 1.2) & (most - least <= 0.5), most - least <= 1.0


def _thick(mask: Bools, mpp: float) -> Bools:
    """The mask without what is thinner or smaller than a stroke of a pen."""
    opened = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_OPEN, square(_THINNEST / mpp))
    return large_pieces(as_bytes(opened), mpp, least=_SMALLEST)


def _reached(seed: Bools, mask: Bools) -> Bools:
    """The connected pieces of ``mask`` that hold some of ``seed``."""
    count, piece = cv2.connectedComponents(mask.view(np.uint8))
    holds = np.zeros(count, np.bool_)
    holds[np.unique(piece[seed])] = True
    holds[0] = False
    return np.asarray(holds[piece])


def _near(mask: Bools, reach: float) -> Bools:
    return as_bytes(cv2.dilate(mask.view(np.uint8), square(reach))).view(np.bool_)
