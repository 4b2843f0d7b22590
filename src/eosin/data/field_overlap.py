"""Whether two pictures show the same tissue, looked at closely: aligned, by their detail."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from eosin.arrays import Floats32
    from eosin.pixels.reading import UInt8Image

LONG_SIDE = 160
_LEAST_SHARE = 1 / 12  # of the picture: with less, tissue of two patients may agree by chance
_DETAIL = 1 / 32  # of the long side: blur that separates detail from light and shade


@dataclass(frozen=True, slots=True)
class FieldOverlap:
    """How far one picture's tissue is the other's."""

    agreement: float  # correlation of the fine detail where they overlap, -1 to 1
    share: float  # part of the picture that lies in both, 0 to 1


def field_overlap(first: UInt8Image, second: UInt8Image) -> FieldOverlap:
    """Shift one picture (RGB, or grey) onto the other by phase correlation; compare their detail.

    Both are brought to the size of the smaller, at most 160 pixels long. Brightness, contrast
    and slow shading do not count. The correlation knows a shift up to whole pictures, so that it
    is tried to either side: where a twelfth of the picture or more is in common, it is found.
    """
    import cv2

    size = _common_size(first, second)
    one, two = _detail(first, size), _detail(second, size)
    (right, down), _ = cv2.phaseCorrelate(one, two)
    shifts = [
        (x, y)
        for x in (right, right - math.copysign(size[0], right))
        for y in (down, down - math.copysign(size[1], down))
    ]
    return max((_shifted(one, two, shift) for shift in shifts), key=lambda found: found.agreement)


def _shifted(one: Floats32, two: Floats32, shift: tuple[float, float]) -> FieldOverlap:
    """How far two details of one shape agree where one, moved by ``shift``, lies on the other."""
    import cv2

    height, width = one.shape
    columns, rows = (
        slice(math.ceil(max(0.0, -by)), math.floor(min(side - 1.0, side - 1.0 - by)) + 1)
        for by, side in zip(shift, (width, height), strict=True)
    )
    mine = one[rows, columns]
    share = mine.size / one.size
    if share < _LEAST_SHARE:
        return FieldOverlap(agreement=0.0, share=0.0)
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    back = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    theirs = cv2.warpAffine(two, move, (width, height), flags=back)[rows, columns]
    return FieldOverlap(_correlation(mine, theirs.astype(np.float32)), share)


def _common_size(first: UInt8Image, second: UInt8Image) -> tuple[int, int]:
    """Width and height, in pixels, that both pictures are brought to."""
    smaller = min((first.shape[:2], second.shape[:2]), key=max)
    scale = min(1.0, LONG_SIDE / max(smaller))
    height, width = (max(8, round(side * scale)) for side in smaller)
    return width, height


def _detail(image: UInt8Image, size: tuple[int, int]) -> Floats32:
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    slow = cv2.GaussianBlur(small, (0, 0), max(size) * _DETAIL)
    return (small - slow).astype(np.float32)


def _correlation(first: Floats32, second: Floats32) -> float:
    one, two = first - first.mean(), second - second.mean()
    norm = float(np.sqrt(np.square(one).sum() * np.square(two).sum()))
    return float((one * two).sum()) / norm if norm > 0 else 0.0
