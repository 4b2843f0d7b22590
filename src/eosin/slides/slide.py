"""What a whole slide is to eosin: squares at any scale, tiles in rows, an overview."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeAlias

import numpy as np

from eosin.arrays import UInt8Image
from eosin.errors import ConfigError, DataError
from eosin.slides.averaging import Grid, box_average

Box: TypeAlias = tuple[int, int, int, int]  # left, top, width, height; pixels of a level
_FINE_ENOUGH: Final = 1.005  # a level whose pixels are this much larger than wanted still serves
_MOST_SIDE: Final = 4096  # of what is decoded at once, pixels


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a slide: its sides in pixels, and how many pixels of level 0 one holds."""

    width: int
    height: int
    downsample: float

    @classmethod
    def below(cls, full: tuple[int, int], width: int, height: int) -> Self:
        """A level of a slide whose level 0 has the sides ``full``.

        Scanners halve and drop what is left over, so a ratio that a whole number explains is that
        number: 2 for 4443 -> 2221, where 2.0005 would lead two pixels astray at the far edge.
        """
        ratio = (full[0] / width + full[1] / height) / 2
        factor = max(1, round(ratio))
        pairs = ((full[0], width), (full[1], height))
        exact = all(part in (whole // factor, -(-whole // factor)) for whole, part in pairs)
        return cls(width, height, float(factor) if exact else ratio)


@dataclass(frozen=True, slots=True)
class Source:
    """What decodes a slide's levels, for any number of threads.

    Attributes:
        reader: who decodes, "eosin" or "OpenSlide".
        levels: from the finest.
        pixels: RGB (height, width, 3), the caller's own, of a box of a level (its index); white
            outside the level; DataError where a tile is corrupt.
        tile_sides: width and height of the tiles that level 0 is stored in; None if not known.
        compression: of level 0, e.g. "JPEG"; None if not known.
        missing: tiles of all levels that the file leaves out, read as white; None if not counted.
    """

    reader: str
    levels: tuple[Level, ...]
    pixels: Callable[[int, Box], UInt8Image]
    tile_sides: tuple[int, int] | None
    compression: str | None = None
    missing: int | None = None


@dataclass(frozen=True, slots=True)
class Slide:
    """An open slide, for any number of threads.

    Coordinates are pixels of level 0; what lies outside the slide is white.

    Attributes:
        path: its file, or its folder of DICOM files.
        vendor: whose format it is, e.g. "aperio".
        mpp: um a pixel of level 0, as the file states it or as it was told; never guessed.
        mpp_fault: why ``mpp`` is None, e.g. "states no um/px"; empty where it is known.
        objective: power, e.g. 20.0.
        source: what decodes it.
    """

    path: Path
    vendor: str
    mpp: float | None
    mpp_fault: str
    objective: float | None
    source: Source

    @property
    def levels(self) -> tuple[Level, ...]:
        """The resolutions, from the finest."""
        return self.source.levels

    def known_mpp(self) -> float:
        """The um/px; DataError where the file states none that can be used."""
        if self.mpp is None:
            raise DataError(f"{self.path}: {self.mpp_fault}; say --slide-mpp X")
        return self.mpp

    def region(self, x: int, y: int, width: float, size: int) -> UInt8Image:
        """The square of side ``width`` at (x, y) as RGB (size, size, 3), by area averaging.

        Pixels are averaged once, from the coarsest level that is at least as fine as what is
        wanted; ``box_average`` says how with ratios that are no whole numbers. What was read
        before makes no difference.

        Raises:
            ConfigError: ``width`` or ``size`` is not above 0.
            DataError: a tile of the file is corrupt; names its position.
        """
        if size < 1 or not 0 < width < math.inf:
            raise ConfigError(f"{self.path}: width {width} and size {size} must be above 0")
        return self._averaged(x, y, width / size, (size, size))

    def read(self, x: int, y: int, size: int, mpp: float) -> UInt8Image:
        """The square at (x, y) as RGB (size, size, 3) at ``mpp`` um/px; DataError as in tiles."""
        return self.region(x, y, size * self._scale(mpp), size)

    def tiles(
        self, size: int, mpp: float, overlap: int = 0
    ) -> Iterator[tuple[int, int, UInt8Image]]:
        """Every tile of the slide at ``mpp`` um/px, row by row: its x, its y and its pixels.

        ``size`` and ``overlap`` (of neighbours) are pixels of a tile.

        Raises:
            ConfigError: ``overlap`` is not below ``size``, or ``mpp`` not above 0.
            DataError: the slide states no um/px that can be used, or a tile of it is corrupt.
        """
        if not 0 <= overlap < size:
            raise ConfigError(f"an overlap of {overlap} px does not fit tiles of {size} px")
        scale = self._scale(mpp)
        full, step = self.levels[0], (size - overlap) * scale
        for row in range(math.ceil(full.height / step)):
            for column in range(math.ceil(full.width / step)):
                x, y = round(column * step), round(row * step)
                yield x, y, self.region(x, y, size * scale, size)

    def overview(self, mpp: float) -> UInt8Image:
        """The whole slide as RGB at ``mpp`` um/px; its last row and column may be part white."""
        scale, full = self._scale(mpp), self.levels[0]
        sides = math.ceil(full.width / scale - 1e-6), math.ceil(full.height / scale - 1e-6)
        return self._averaged(0, 0, scale, sides)

    def _scale(self, mpp: float) -> float:
        """How many pixels of level 0 one pixel at ``mpp`` um/px spans."""
        if not 0 < mpp < math.inf:
            raise ConfigError(f"{mpp} um/px is no resolution; name one above 0")
        return mpp / self.known_mpp()

    def _averaged(self, x: float, y: float, scale: float, sides: tuple[int, int]) -> UInt8Image:
        """Boxes of ``scale`` pixels of level 0 from (x, y) on, ``sides`` columns and rows."""
        fine = [n for n, each in enumerate(self.levels) if each.downsample <= scale * _FINE_ENOUGH]
        level = max(fine, default=0)
        factor = self.levels[level].downsample
        most = max(1, int(_MOST_SIDE * factor / scale))
        if max(sides) <= most:
            grid = Grid.of(x / factor, y / factor, scale / factor, sides)
            return box_average(self.source.pixels(level, grid.cover()), grid)
        out = np.empty((sides[1], sides[0], 3), np.uint8)
        for row in range(0, sides[1], most):
            for column in range(0, sides[0], most):
                part = out[row : row + most, column : column + most]
                height, width, _ = part.shape
                corner = x + column * scale, y + row * scale
                part[:] = self._averaged(*corner, scale, (width, height))
        return out
