"""What a whole slide is to eosin, whoever reads its file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from eosin.arrays import UInt8Image


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a slide: its sides in pixels, and how many pixels of level 0 one holds."""

    width: int
    height: int
    downsample: float


class Slide(Protocol):
    """An open slide. Coordinates are pixels of level 0; what lies outside the slide is white."""

    path: Path
    vendor: str  # e.g. "aperio"
    mpp: float | None  # um a pixel of level 0, as the file states it or as it was told
    objective: float | None  # power, e.g. 20.0
    levels: tuple[Level, ...]  # from the finest

    def region(self, x: int, y: int, width: float, size: int) -> UInt8Image:
        """The square of side ``width`` at (x, y) as RGB (size, size, 3), by area averaging."""
        ...

    def read(self, x: int, y: int, size: int, mpp: float) -> UInt8Image:
        """The square at (x, y) as RGB (size, size, 3) at ``mpp`` um/px."""
        ...

    def tiles(
        self, size: int, mpp: float, overlap: int = 0
    ) -> Iterator[tuple[int, int, UInt8Image]]:
        """Every tile of the slide, row by row: its x, its y and its pixels."""
        ...

    def overview(self, mpp: float) -> UInt8Image:
        """The whole slide as RGB at ``mpp`` um/px."""
        ...
