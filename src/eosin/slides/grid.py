"""The regular grid that the tiles of a slide lie on: its step, and the column and row of a tile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from eosin.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

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
            step: None to find it: ``width`` where it fits, else what the corners agree on.

        Raises:
            DataError: no tile, one that is there twice, or tiles that lie on no such grid.
        """
        if not (len(x) and len(x) == len(y) and width > 0):
            raise DataError(f"{len(x)} x, {len(y)} y, width {width}: tiles want as many x as y")
        axes = [np.unique(np.asarray(axis, np.int64)) for axis in (x, y)]
        if step is None:
            step = width if _off(axes, width) <= _TOLERANCE else _common_step(axes)
        if not step > 0 or (off := _off(axes, step)) > _TOLERANCE:
            raise DataError(
                f"tiles lie up to {off if step > 0 else math.inf:.1f} px beside a grid of step "
                f"{step:.3f} px that begins at (0, 0); cut them on one grid, or state its step"
            )
        columns, rows = (np.rint(np.asarray(axis) / step).astype(np.int64) for axis in (x, y))
        cells, counts = np.unique(np.column_stack([columns, rows]), axis=0, return_counts=True)
        if len(cells) < len(columns):
            column, row = cells[counts.argmax()] * step
            raise DataError(
                f"the tile at ({column:.0f}, {row:.0f}) is there {counts.max()} times; keep one"
            )
        return cls(x, y, width, step, columns, rows)


def _off(axes: Sequence[Ints], step: float) -> float:
    """How far the corner that fits worst lies beside a multiple of ``step``, pixels."""
    return max(float(np.abs(axis - np.rint(axis / step) * step).max()) for axis in axes)


def _common_step(axes: Sequence[Ints]) -> float:
    """The step that whole corners agree on: the least distance, then least squares ever further.

    A step that is wrong by e puts the k-th corner beside its place by k e, so the reach doubles
    only after the step was fitted to what is within reach.
    """
    gaps = np.concatenate([np.diff(axis) for axis in axes])
    step = float(gaps.min()) if len(gaps) else 0.0
    for places in ([axis - axis[0] for axis in axes], axes):
        flat, reach = np.concatenate(list(places)), 1.0
        while step > 0 and reach < 2 * flat.max() / step:
            order = np.rint(flat / step)
            near = (order > 0) & (order <= reach)
            if near.any():
                step = float(flat[near] @ order[near] / (order[near] @ order[near]))
            reach *= 2
    return step
