"""The OpenSlide reader: MIRAX, NDPI, DICOM and whatever else OpenSlide opens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from eosin.arrays import UInt8Image
from eosin.errors import DataError
from eosin.slides.slide import Box, Level, Source

if TYPE_CHECKING:
    from openslide import OpenSlide

COPY_AGAIN: Final = "copy or download it again"


def open_handle(file: Path, path: Path) -> OpenSlide:
    """OpenSlide's handle on a file; DataError, naming what the user named ``path``, if it fails."""
    from openslide import OpenSlide, OpenSlideError

    try:
        return OpenSlide(file)
    except OpenSlideError as fault:
        raise DataError(
            f"{path}: OpenSlide cannot open it ({fault}); {COPY_AGAIN}, or convert it to a TIFF "
            "with JPEG tiles"
        ) from fault


def openslide_source(handle: OpenSlide, file: Path, path: Path) -> Source:
    """The source over a handle on ``file``, which the user knows as ``path``."""
    full, *_ = sides = handle.level_dimensions
    names = ("openslide.level[0].tile-width", "openslide.level[0].tile-height")
    width, height = (int(handle.properties.get(name, 0)) for name in names)
    levels = tuple(Level.below(full, *each) for each in sides)
    tile_sides = (width, height) if width and height else None
    return Source("OpenSlide", levels, _Drawn(handle, file, path), tile_sides)


class _Drawn:
    """The pixels as OpenSlide draws them."""

    def __init__(self, handle: OpenSlide, file: Path, path: Path) -> None:
        self._handle, self._file, self._path = handle, file, path
        self._sides, self._downsamples = handle.level_dimensions, handle.level_downsamples
        self._background = f"#{handle.properties.get('openslide.background-color', 'ffffff')}"

    def __call__(self, level: int, box: Box) -> UInt8Image:
        """RGB of a box of a level; transparent pixels are laid on the slide's background colour.

        OpenSlide is asked for a pixel of level 0; where the downsample is no whole number, that is
        the nearest, at most half a pixel of level 0 beside the position.
        """
        from openslide import OpenSlideError
        from PIL import Image

        left, top, width, height = box
        x, y, factor = max(left, 0), max(top, 0), self._downsamples[level]
        wide = min(left + width, self._sides[level][0]) - x
        high = min(top + height, self._sides[level][1]) - y
        out = Image.new("RGB", (width, height), "white")
        if wide > 0 and high > 0:
            corner = round(x * factor), round(y * factor)
            try:
                drawn = self._handle.read_region(corner, level, (wide, high))
            except OpenSlideError as fault:  # after which the handle refuses everything
                self._handle = open_handle(self._file, self._path)
                raise DataError(
                    f"{self._path}: the {wide} x {high} pixels at x {x}, y {y} of level {level} "
                    f"cannot be decoded ({fault}); {COPY_AGAIN}"
                ) from fault
            ground = Image.new("RGB", drawn.size, self._background)
            ground.paste(drawn, mask=drawn)
            out.paste(ground, (x - left, y - top))
        return np.array(out)
