"""Whether two pictures show the same tissue, looked at closely: aligned, by their detail."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from eosin.arrays import Floats32
    from eosin.pixels.reading import UInt8Image

_LONG_SIDE = 160
_DETAIL = 1 / 32  # of the long side: blur that separates detail from light and shade


@dataclass(frozen=True, slots=True)
class FieldOverlap:
    """How far one picture's tissue is the other's."""

    agreement: float  # correlation of the fine detail where they overlap, -1 to 1
    share: float  # part of the picture that lies in both, 0 to 1


def close_up(image: UInt8Image) -> UInt8Image:
    """All of an RGB image that is compared: grey (height, width), at most 160 pixels long."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, _LONG_SIDE / max(grey.shape))
    size = (max(8, round(grey.shape[1] * scale)), max(8, round(grey.shape[0] * scale)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def field_overlap(
    first: UInt8Image, second: UInt8Image, *, least_share: float = 1 / 12
) -> FieldOverlap:
    """Shift one close-up onto the other (phase correlation) and compare their detail.

    Brightness, contrast and slow shading do not count. The correlation knows a shift up to whole
    pictures, so that it is tried to either side, and fields that share a border are found.

    Args:
        first: as ``close_up`` gives it.
        second: as well; the larger is brought to the size of the smaller.
        least_share: where less is shared, the agreement is 0 and not looked for.
    """
    import cv2

    height, width = min((first.shape, second.shape), key=max)
    one, two = _detail(first, (width, height)), _detail(second, (width, height))
    (right, down), _ = cv2.phaseCorrelate(one, two)
    shifts = [
        (x, y)
        for x in (right, right - math.copysign(width, right))
        for y in (down, down - math.copysign(height, down))
    ]
    found = (_shifted(one, two, x, y, least_share) for x, y in shifts)
    return max(found, key=lambda each: (each.agreement, each.share))


def _shifted(one: Floats32, two: Floats32, x: float, y: float, least_share: float) -> FieldOverlap:
    """How far two details of one shape agree where the second, moved back, lies on the first."""
    import cv2

    height, width = one.shape
    # Pixels whose position in the other picture lies wholly within it.
    rows = slice(max(0, math.ceil(-y)), max(0, height - max(0, math.ceil(y))))
    columns = slice(max(0, math.ceil(-x)), max(0, width - max(0, math.ceil(x))))
    share = one[rows, columns].size / one.size
    if share < max(least_share, 1 / one.size):
        return FieldOverlap(agreement=0.0, share=share)
    back, move = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, np.array([[1, 0, x], [0, 1, y]])
    aligned = cv2.warpAffine(two, move.astype(np.float32), (width, height), flags=back)
    agreement = _correlation(one[rows, columns], np.asarray(aligned[rows, columns], np.float32))
    return FieldOverlap(agreement=agreement, share=share)


def _detail(grey: UInt8Image, size: tuple[int, int]) -> Floats32:
    import cv2

    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    slow = cv2.GaussianBlur(small, (0, 0), max(size) * _DETAIL)
    return (small - slow).astype(np.float32)


def _correlation(first: Floats32, second: Floats32) -> float:
    one, two = first - first.mean(), second - second.mean()
    norm = float(np.sqrt(np.square(one).sum() * np.square(two).sum()))
    return float((one * two).sum()) / norm if norm > 0 else 0.0
