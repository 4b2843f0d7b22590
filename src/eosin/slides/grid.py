"""The regular grid that the tiles of a slide lie on: its step, and the column and row of a tile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from eosin.errors import DataError

if TYPE_CHECKING:
    from eosin.arrays import Ints

# Tile corners are whole pixels and widths have three decimals; a grid may be off by this much.
_TOLERANCE: Final = 1.5


@dataclass(frozen=True, slots=True)
class Extent:
    """A slide's sides, pixels of level 0, and the um that one such pixel spans."""

    width: int
    height: int
    mpp: float


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Square tiles on a grid that begins at the slide's upper left corner; not all need be there.

    Attributes:
        x: of each tile's upper left corner, pixels of level 0, (n,).
        y: the same.
        width: side of a tile, pixels of level 0.
        step: from one tile to the next, pixels of level 0; below ``width`` where tiles overlap.
        columns: of each tile, (n,).
        rows: the same.
    """

    x: Ints
    y: Ints
    width: float
    step: float
    columns: Ints
    rows: Ints

    @classmethod
    def of(cls, x: Ints, y: Ints, width: float, *, step: float | None = None) -> Self:
        """The grid of tiles by their upper left corners.

        Args:
            x: pixels of level 0, (n,).
            y: the same.
            width: of every tile, pixels of level 0.
            step: None where tiles lie side by side: ``width``.

        Raises:
            DataError: no tile, one that is there twice, or tiles that lie on no such grid.
        """
        step = width if step is None else step
        if not (len(x) and len(x) == len(y) and width > 0 and step > 0):
            raise DataError(
                f"{len(x)} x, {len(y)} y, width {width}, step {step}: tiles have each of them, "
                "and as many x as y"
            )
        corners = np.column_stack([x, y])
        cells = np.rint(corners / step).astype(np.int64)
        off = float(np.abs(corners - cells * step).max())
        if off > _TOLERANCE:
            raise DataError(
                f"tiles lie up to {off:.1f} px beside a grid that begins at (0, 0) with a step of "
                f"{step:.3f} px; state the step that they were cut at"
            )
        found, counts = np.unique(cells, axis=0, return_counts=True)
        if len(found) < len(cells):
            left, top = found[counts.argmax()] * step
            raise DataError(f"the tile at ({left:.0f}, {top:.0f}) is there {counts.max()} times")
        return cls(np.asarray(x), np.asarray(y), width, step, cells[:, 0], cells[:, 1])
