"""Averaging pixels over boxes of any size and position."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from eosin.arrays import UInt8Image

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_EXACT = 1e-3  # of a pixel: what an offset, or the drift over a whole grid, is rounded by


@dataclass(frozen=True, slots=True)
class Grid:
    """Boxes side by side, one for each pixel wanted, in pixels of the image they are laid on.

    ``left`` and ``top`` are the first box's, ``side`` is each box's; below 1 the image is enlarged.
    """

    left: float
    top: float
    side: float
    columns: int
    rows: int

    @classmethod
    def of(cls, left: float, top: float, side: float, sides: tuple[int, int]) -> Self:
        """A grid of ``sides`` columns and rows; a thousandth of a pixel is rounded away."""
        whole = _whole(side, _EXACT / max(sides)) or side
        return cls(_whole(left), _whole(top), whole, *sides)

    def cover(self) -> tuple[int, int, int, int]:
        """Left, top, width and height, whole pixels, of what all boxes together touch."""
        left, top = math.floor(self.left), math.floor(self.top)
        right = math.ceil(self.left + self.side * self.columns - _EXACT)
        bottom = math.ceil(self.top + self.side * self.rows - _EXACT)
        return left, top, max(1, right - left), max(1, bottom - top)


def box_average(pixels: UInt8Image, grid: Grid) -> UInt8Image:
    """The mean colour in each box, (rows, columns, 3), rounded to the nearest grey level.

    A pixel is taken for a square of one colour: one that a box covers in part counts by that part.
    So the mean is exact for any ratio and position, and equals cv2's INTER_AREA where that has it.

    Args:
        pixels: RGB (height, width, 3), the box that ``grid.cover()`` names.
        grid: in the coordinates of the image that ``pixels`` were cut from.
    """
    import cv2

    left, top, width, height = grid.cover()
    x, y = grid.left - left, grid.top - top
    if x == y == 0 and float(grid.side).is_integer():
        size = (grid.columns, grid.rows)
        found = pixels if grid.side == 1 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        return np.asarray(found, np.uint8)
    down = _weights(y, grid.side, grid.rows, height) @ pixels.reshape(height, -1).astype(np.float32)
    turned = cv2.transpose(down.reshape(grid.rows, width, 3)).reshape(width, -1)
    both = _weights(x, grid.side, grid.columns, width) @ turned
    mean = np.rint(both, out=both).astype(np.uint8).reshape(grid.columns, grid.rows, 3)
    return np.asarray(cv2.transpose(mean), np.uint8)


def _weights(offset: float, side: float, boxes: int, pixels: int) -> csr_array:
    """Which part of each box lies in each pixel, (boxes, pixels)."""
    from scipy.sparse import csr_array

    edges = offset + side * np.arange(boxes + 1)
    touched = math.ceil(side) + 1
    index = np.floor(edges[:-1, None]).astype(np.int32) + np.arange(touched, dtype=np.int32)
    inside = np.minimum(index + 1, edges[1:, None]) - np.maximum(index, edges[:-1, None])
    shares = (np.clip(inside, 0, None) / side).astype(np.float32)
    starts = np.arange(0, boxes * touched + 1, touched, dtype=np.int32)
    index = np.minimum(index, pixels - 1)  # beyond the last pixel a share is nothing
    return csr_array((shares.ravel(), index.ravel(), starts), shape=(boxes, pixels))


def _whole(value: float, by: float = _EXACT) -> float:
    return float(round(value)) if abs(value - round(value)) < by else value
