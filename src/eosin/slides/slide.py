"""What a whole slide is to eosin, whoever reads its file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from eosin.arrays import UInt8Image
from eosin.errors import DataError


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a slide: its sides in pixels, and how many pixels of level 0 one holds."""

    width: int
    height: int
    downsample: float

    @classmethod
    def below(cls, sides: tuple[int, int], full: tuple[int, int]) -> Self:
        """A level of these sides of a slide whose level 0 has the sides ``full``.

        Scanners halve a level again and again and drop what is left over, so a ratio that a whole
        number explains is that number: 2 for 4443 -> 2221 and 3567 -> 1783, where the mean of the
        two ratios, 2.0005, would lead two pixels astray at the far edge.
        """
        mean = sum(whole / part for whole, part in zip(full, sides, strict=True)) / 2
        factor = max(1, round(mean))
        exact = all(
            part in (whole // factor, -(-whole // factor))
            for whole, part in zip(full, sides, strict=True)
        )
        return cls(*sides, float(factor) if exact else mean)


class Slide(Protocol):
    """An open slide, for any number of threads.

    Coordinates are pixels of level 0; what lies outside the slide is white.
    """

    @property
    def path(self) -> Path:
        """The slide's file, or its folder of DICOM files."""
        ...

    @property
    def vendor(self) -> str:
        """Whose format it is, e.g. "aperio"."""
        ...

    @property
    def mpp(self) -> float | None:
        """Um a pixel of level 0, as the file states it or as it was told; never guessed."""
        ...

    @property
    def mpp_fault(self) -> str:
        """Why ``mpp`` is None, e.g. "states no um/px"; empty where it is known."""
        ...

    @property
    def objective(self) -> float | None:
        """Power of the objective, e.g. 20.0."""
        ...

    @property
    def levels(self) -> tuple[Level, ...]:
        """The resolutions, from the finest."""
        ...

    @property
    def reader(self) -> str:
        """Who decodes the pixels: "eosin" or "OpenSlide"."""
        ...

    @property
    def tile_sides(self) -> tuple[int, int] | None:
        """Width and height of the tiles that level 0 is stored in; None where not known."""
        ...

    @property
    def compression(self) -> str | None:
        """Of the tiles of level 0, e.g. "JPEG"; None where not known."""
        ...

    @property
    def missing(self) -> int | None:
        """Tiles of all levels that the file leaves out, read as white; None where not counted."""
        ...

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


def known_mpp(slide: Slide) -> float:
    """The slide's um/px; DataError where the file states none that can be used."""
    if slide.mpp is None:
        raise DataError(f"{slide.path}: {slide.mpp_fault}; say --slide-mpp X")
    return slide.mpp
