"""Averaging pixels over boxes of any size and position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.arrays import UInt8Image

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_EXACT = 1e-3  # of a pixel: what an offset, or the drift over a whole grid, may be rounded by


@dataclass(frozen=True, slots=True)
class Grid:
    """Boxes side by side, one for each pixel wanted, in pixels of the image they are laid on.

    Attributes:
        left: of the first box.
        top: of the first box.
        side: of each box; below 1 the image is enlarged.
        columns: of boxes.
        rows: of boxes.
    """

    left: float
    top: float
    side: float
    columns: int
    rows: int

    def snapped(self) -> Grid:
        """The same with whole numbers where a thousandth of a pixel is all that they lack."""
        side, most = round(self.side), max(self.columns, self.rows)
        kept = side if abs(self.side - side) * most < _EXACT else self.side
        return Grid(_whole(self.left), _whole(self.top), kept, self.columns, self.rows)

    def part(self, column: int, row: int, most: int) -> Grid:
        """The boxes from (column, row) on, ``most`` a side at most."""
        return Grid(
            self.left + column * self.side,
            self.top + row * self.side,
            self.side,
            min(most, self.columns - column),
            min(most, self.rows - row),
        ).snapped()

    def cover(self) -> tuple[int, int, int, int]:
        """Left, top, width and height, whole pixels, of what all boxes together touch."""
        left, top = int(np.floor(self.left)), int(np.floor(self.top))
        right = int(np.ceil(self.left + self.side * self.columns - _EXACT))
        bottom = int(np.ceil(self.top + self.side * self.rows - _EXACT))
        return left, top, max(1, right - left), max(1, bottom - top)


def box_average(pixels: UInt8Image, grid: Grid) -> UInt8Image:
    """The mean colour in each box, (rows, columns, 3), rounded to the nearest grey level.

    A pixel is taken for a square of one colour, so one that a box covers in part counts by the
    part covered, and the result is exact for any ratio and position of the two grids.

    Args:
        pixels: what ``grid.cover()`` names, RGB (height, width, 3).
        grid: in the coordinates of the image that ``pixels`` were cut from.
    """
    left, top, width, height = grid.cover()
    x, y = grid.left - left, grid.top - top
    if x == y == 0 and float(grid.side).is_integer():
        if grid.side == 1:
            return pixels
        import cv2

        size = (grid.columns, grid.rows)
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    rows = _weights(y, grid.side, grid.rows, height)
    columns = _weights(x, grid.side, grid.columns, width)
    down = rows @ pixels.reshape(height, width * 3).astype(np.float32)
    turned = down.reshape(grid.rows, width, 3).transpose(1, 0, 2).reshape(width, grid.rows * 3)
    both = (columns @ turned).reshape(grid.columns, grid.rows, 3).transpose(1, 0, 2)
    return np.ascontiguousarray(np.rint(both), np.uint8)


def _weights(offset: float, side: float, boxes: int, pixels: int) -> csr_array:
    """How much of each pixel lies in each box, (boxes, pixels), as parts of the box."""
    from scipy.sparse import csr_array

    edges = offset + side * np.arange(boxes + 1)
    touched = int(np.ceil(side)) + 1
    index = np.floor(edges[:-1, None]).astype(np.int32) + np.arange(touched, dtype=np.int32)
    inside = np.minimum(index + 1, edges[1:, None]) - np.maximum(index, edges[:-1, None])
    shares = (np.clip(inside, 0, None) / side).astype(np.float32)
    starts = np.arange(0, boxes * touched + 1, touched, dtype=np.int32)
    places = np.minimum(index, pixels - 1).ravel()  # beyond the last, a share is nothing
    return csr_array((shares.ravel(), places, starts), shape=(boxes, pixels))


def _whole(value: float) -> float:
    return float(round(value)) if abs(value - round(value)) < _EXACT else value
