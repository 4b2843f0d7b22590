"""Whether two pictures show the same tissue, looked at closely: aligned, by their detail."""

from __future__ import annotations

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


def field_overlap(first: UInt8Image, second: UInt8Image) -> FieldOverlap:
    """Shift one RGB image onto the other (phase correlation) and compare their detail.

    Both are brought to the size of the smaller, at most 160 pixels long. Brightness, contrast
    and slow shading do not count; a shift of up to about half the picture is found.
    """
    import cv2

    size = _common_size(first, second)
    one, two = _detail(first, size), _detail(second, size)
    shift, _ = cv2.phaseCorrelate(one, two, cv2.createHanningWindow(size, cv2.CV_32F))
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    back = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    aligned = cv2.warpAffine(two, move, size, flags=back)
    shared = cv2.warpAffine(np.ones_like(two), move, size, flags=back) > 0.999
    if shared.mean() < 0.05:
        return FieldOverlap(agreement=0.0, share=0.0)
    agreement = _correlation(one[shared], aligned[shared].astype(np.float32))
    return FieldOverlap(agreement=agreement, share=float(shared.mean()))


def _common_size(first: UInt8Image, second: UInt8Image) -> tuple[int, int]:
    """Width and height, in pixels, that both pictures are brought to."""
    smaller = min((first.shape[:2], second.shape[:2]), key=max)
    scale = min(1.0, _LONG_SIDE / max(smaller))
    height, width = (max(8, round(side * scale)) for side in smaller)
    return width, height


def _detail(image: UInt8Image, size: tuple[int, int]) -> Floats32:
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    slow = cv2.GaussianBlur(small, (0, 0), max(size) * _DETAIL)
    return (small - slow).astype(np.float32)


def _correlation(first: Floats32, second: Floats32) -> float:
    one, two = first - first.mean(), second - second.mean()
    norm = float(np.sqrt(np.square(one).sum() * np.square(two).sum()))
    return float((one * two).sum()) / norm if norm > 0 else 0.0
