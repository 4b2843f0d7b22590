"""A tile of a slide, named by a path that points into the slide's file; no file of it exists.

``a.svs/tile_x1024_y2048_w448.9_s224`` is the square of ``a.svs`` whose upper left corner is the
pixel (1024, 2048) of level 0 and whose side is 448.9 such pixels, read as 224 x 224 pixels. So a
manifest of tiles is a manifest of images, and whatever takes images takes tiles.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_NAME = re.compile(r"tile_x(\d{1,9})_y(\d{1,9})_w(\d{1,9}(?:\.\d{1,3})?)_s([1-9]\d{0,4})")


@dataclass(frozen=True, slots=True)
class Tile:
    """A square of a slide.

    Attributes:
        slide: the slide's file.
        x: of its upper left corner, pixels of level 0.
        y: the same.
        width: its side, pixels of level 0; kept to three decimals.
        size: its side as it is read, pixels.
    """

    slide: Path
    x: int
    y: int
    width: float
    size: int

    @property
    def path(self) -> Path:
        """The path that names it."""
        width = f"{self.width:.3f}".rstrip("0").rstrip(".")
        return self.slide / f"tile_x{self.x}_y{self.y}_w{width}_s{self.size}"

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """The tile that ``path`` names; None where it is a path of another kind."""
        found = _NAME.fullmatch(path.name)
        if found is None:
            return None
        return cls(path.parent, int(found[1]), int(found[2]), float(found[3]), int(found[4]))


def file_of(path: Path) -> Path:
    """The file that holds an image: of a tile its slide's, else ``path`` itself."""
    tile = Tile.of(path)
    return path if tile is None else tile.slide
