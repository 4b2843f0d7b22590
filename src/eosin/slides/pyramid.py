"""A slide over whatever decodes its levels: squares at any scale, tiles in rows, an overview."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from eosin.arrays import UInt8Image
from eosin.errors import ConfigError
from eosin.slides.averaging import Grid, box_average
from eosin.slides.slide import Level, known_mpp

_FINE_ENOUGH = 1.005  # a level whose pixels are this much larger than those wanted still serves
_MOST_SIDE = 4096  # of what is decoded at once, pixels


class Source(Protocol):
    """Decodes the pixels of a slide's levels, for any number of threads."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """From the finest."""
        ...

    @property
    def reader(self) -> str:
        """Its name."""
        ...

    @property
    def tile_sides(self) -> tuple[int, int] | None:
        """As ``Slide`` has it."""
        ...

    @property
    def compression(self) -> str | None:
        """As ``Slide`` has it."""
        ...

    @property
    def missing(self) -> int | None:
        """As ``Slide`` has it."""
        ...

    def pixels(self, level: int, box: tuple[int, int, int, int]) -> UInt8Image:
        """RGB (height, width, 3) of the box (left, top, width, height), pixels of ``level``.

        The array is the caller's own; what lies outside the level is white.

        Raises:
            DataError: a tile is corrupt; names its position.
        """
        ...


@dataclass(frozen=True, slots=True)
class PyramidSlide:
    """A ``Slide`` over a ``Source``."""

    path: Path
    vendor: str
    mpp: float | None
    mpp_fault: str
    objective: float | None
    source: Source

    @property
    def levels(self) -> tuple[Level, ...]:
        """From the finest."""
        return self.source.levels

    @property
    def reader(self) -> str:
        """Who decodes the pixels: "eosin" or "OpenSlide"."""
        return self.source.reader

    @property
    def tile_sides(self) -> tuple[int, int] | None:
        """Of the tiles that level 0 is stored in; None where not known."""
        return self.source.tile_sides

    @property
    def compression(self) -> str | None:
        """Of the tiles of level 0; None where not known."""
        return self.source.compression

    @property
    def missing(self) -> int | None:
        """Tiles that the file leaves out; None where not counted."""
        return self.source.missing

    def region(self, x: int, y: int, width: float, size: int) -> UInt8Image:
        """The square at (x, y) as RGB (size, size, 3): level 0 as it is, or box averages.

        Pixels are averaged once, from the coarsest level that is at least as fine as what is
        wanted (see ``box_average`` for ratios that are no whole numbers). The result depends on
        nothing that was read before.

        Args:
            x: of the upper left corner, pixels of level 0.
            y: the same.
            width: of the square, pixels of level 0.
            size: of the result, pixels.

        Raises:
            ConfigError: ``width`` or ``size`` is not above 0.
            DataError: a tile of the file is corrupt; names its position.
        """
        if size < 1 or not 0 < width < math.inf:
            raise ConfigError(f"{self.path}: width {width} and size {size} must be above 0")
        return self._average(x, y, width / size, (size, size))

    def read(self, x: int, y: int, size: int, mpp: float) -> UInt8Image:
        """The square at (x, y) as RGB (size, size, 3) at ``mpp`` um/px; DataError without um/px."""
        return self.region(x, y, size * self._scale(mpp), size)

    def tiles(
        self, size: int, mpp: float, overlap: int = 0
    ) -> Iterator[tuple[int, int, UInt8Image]]:
        """Every tile of the slide, row by row: its x and y (pixels of level 0), and its pixels.

        Args:
            size: of a tile, pixels.
            mpp: um/px to read at.
            overlap: of neighbouring tiles, pixels of the tile.

        Raises:
            ConfigError: ``overlap`` is not below ``size``.
            DataError: the slide states no um/px, or a tile of the file is corrupt.
        """
        if not 0 <= overlap < size:
            raise ConfigError(f"an overlap of {overlap} px does not fit tiles of {size} px")
        scale = self._scale(mpp)
        full = self.levels[0]
        step = (size - overlap) * scale
        for row in range(math.ceil(full.height / step)):
            for column in range(math.ceil(full.width / step)):
                x, y = round(column * step), round(row * step)
                yield x, y, self.region(x, y, size * scale, size)

    def overview(self, mpp: float) -> UInt8Image:
        """The whole slide at ``mpp`` um/px; its last row and column may be white in part."""
        scale, full = self._scale(mpp), self.levels[0]
        sides = (math.ceil(full.width / scale - 1e-6), math.ceil(full.height / scale - 1e-6))
        return self._average(0, 0, scale, sides)

    def _scale(self, mpp: float) -> float:
        """How many pixels of level 0 one pixel at ``mpp`` um/px spans."""
        if not 0 < mpp < math.inf:
            raise ConfigError(f"{mpp} um/px is no resolution; name one above 0")
        return mpp / known_mpp(self)

    def _average(self, x: int, y: int, scale: float, sides: tuple[int, int]) -> UInt8Image:
        """Boxes of ``scale`` pixels of level 0 from (x, y) on, ``sides`` columns and rows."""
        level = max(
            (index for index, each in enumerate(self.levels) if self._serves(each, scale)),
            default=0,
        )
        factor = self.levels[level].downsample
        grid = Grid(x / factor, y / factor, scale / factor, *sides).snapped()
        most = max(1, int(_MOST_SIDE / grid.side))
        if max(sides) <= most:
            return box_average(self.source.pixels(level, grid.cover()), grid)
        out = np.empty((grid.rows, grid.columns, 3), np.uint8)
        for row in range(0, grid.rows, most):
            for column in range(0, grid.columns, most):
                part = grid.part(column, row, most)
                found = box_average(self.source.pixels(level, part.cover()), part)
                out[row : row + part.rows, column : column + part.columns] = found
        return out

    def _serves(self, level: Level, scale: float) -> bool:
        return level.downsample <= scale * _FINE_ENOUGH
