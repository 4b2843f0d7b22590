"""Folds of the tissue and parts out of focus, as far as a slide's overview shows them."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from eosin.arrays import Bools, Floats32, UInt8Image
from eosin.pixels.optical_density import as_bytes, as_floats
from eosin.pixels.slide_ink import extremes, large_pieces, square

_FOLD, _PART = 1.4, 1.2  # times what the tissue around absorbs, where a fold is sure and at its rim
_SURE: Final = 0.15  # of a fold
_AROUND: Final = 250.0  # um to either side
_STAINED: Final = 0.15  # density in green; lumens and clefts are left out of what lies around
_GRAIN: Final = 20.0  # um; cells and fibres are smoothed over
_LONGEST: Final = 300.0  # um; a fold is no shorter, ...
_STREAK: Final = 0.17  # ... and its area over its squared length no more: a sixth as wide as long
_THINNEST: Final = 16.0  # um, half of a fold's width
_FIELD: Final = 150.0  # um to either side that sharpness is judged over
_LOSS: Final = 2.0  # of the logarithm of fine over coarse detail: a seventh is left
_SMALLEST: Final = 100_000.0  # um^2 of what is out of focus


def folds(density: Floats32, tissue: Bools, mpp: float) -> Bools:
    """Thick dark streaks in tissue, (height, width): longer than 300 um, wider than 32 um.

    Dark is 1.4 times the tissue 250 um around, in every colour: in a fold both stains double,
    where nuclei crowd mostly one grows. Rims that dried or curled up look the same, and so can a
    strand of dense epithelium; short and broad folds, and those of a slide's pale tissue, are
    missed.

    Args:
        density: over that of the glass, (height, width, 3).
        tissue: where there is any.
        mpp: um a pixel.
    """
    inside = (tissue & (density[..., 1] > _STAINED)).astype(np.float32)
    smooth = cv2.GaussianBlur(density, (0, 0), max(_GRAIN / mpp, 0.5))
    around = _averaged(density * inside[..., None], inside, _AROUND / mpp)
    times, _ = extremes(as_floats(smooth / np.maximum(around, 1e-3)))
    dark = tissue & (times > _PART)
    green = smooth[..., 1]
    dark &= green > np.median(green[tissue])
    thick = cv2.morphologyEx(dark.view(np.uint8), cv2.MORPH_OPEN, square(_THINNEST / mpp))
    _, piece, stats, _ = cv2.connectedComponentsWithStats(thick)
    _, _, width, height, area = stats.T.astype(np.float64)
    squared = width**2 + height**2
    sure = np.bincount(piece[times > _FOLD], minlength=len(stats))
    streak = (sure >= _SURE * area) & (area <= _STREAK * squared)
    streak &= np.sqrt(squared) * mpp >= _LONGEST
    streak[0] = False
    return np.asarray(streak[piece])


def out_of_focus(image: UInt8Image, tissue: Bools, mpp: float) -> Bools:
    """Tissue with far less fine detail than the slide's own tissue shows, (height, width).

    Fine detail (a pixel or two) is set against coarse (some pixels), so that even tissue, with
    little of both, is not taken for blurred. What is out of focus by less than a pixel of the
    overview, 4 to 16 um, cannot be seen here, nor can a slide that is blurred all over.

    Args:
        image: RGB (height, width, 3) bytes.
        tissue: where there is any.
        mpp: um a pixel.
    """
    green = as_floats(image[..., 1])
    inner = cv2.erode(tissue.view(np.uint8), square(3)).astype(np.float32)
    if np.count_nonzero(inner) * mpp**2 < 10 * _SMALLEST:
        return np.zeros_like(tissue)
    soft, softer = (cv2.GaussianBlur(green, (0, 0), sigma) for sigma in (1, 3))
    reach = _FIELD / mpp
    fine = _averaged((green - soft) ** 2 * inner, inner, reach)
    coarse = _averaged((soft - softer) ** 2 * inner, inner, reach)
    detail = np.log((fine + 0.1) / (coarse + 1.0))
    sharp = np.percentile(detail[inner > 0], 75)  # the median of a slide half of which is blurred
    dull = tissue & (detail < sharp - _LOSS)
    opened = cv2.morphologyEx(dull.view(np.uint8), cv2.MORPH_OPEN, square(reach / 3))
    return large_pieces(as_bytes(opened), mpp, least=_SMALLEST)


def _averaged(values: Floats32, weights: Floats32, reach: float) -> Floats32:
    """The mean over a square around each pixel of ``values`` that are weighted already."""
    size = (2 * max(1, round(reach)) + 1,) * 2
    share = np.maximum(cv2.blur(weights, size), 1e-3)
    return as_floats(cv2.blur(values, size) / (share[..., None] if values.ndim == 3 else share))
