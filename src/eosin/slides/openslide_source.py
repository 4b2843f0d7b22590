"""The other reader: whatever OpenSlide opens, MIRAX, NDPI and DICOM among them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eosin.arrays import UInt8Image
from eosin.errors import DataError
from eosin.slides.slide import Level

if TYPE_CHECKING:
    from openslide import OpenSlide

COPY_AGAIN = "copy or download it again"


def open_with_openslide(file: Path, named: Path) -> OpenSlide:
    """OpenSlide's handle on a file; DataError, naming what the user ``named``, where it has none."""
    from openslide import OpenSlide, OpenSlideError

    try:
        return OpenSlide(file)
    except (OpenSlideError, OSError) as fault:
        raise DataError(f"{named}: cannot be opened as a slide ({fault}); {COPY_AGAIN}") from fault


class OpenSlideSource:
    """Levels as OpenSlide draws them; transparent pixels are laid on the slide's background."""

    reader = "OpenSlide"
    compression = None
    missing = None

    def __init__(self, handle: OpenSlide, file: Path, named: Path) -> None:
        self._handle, self._file, self._named = handle, file, named
        sides = handle.level_dimensions
        self._downsamples: tuple[float, ...] = handle.level_downsamples
        self.levels = tuple(Level.below(each, sides[0]) for each in sides)
        properties: Mapping[str, str] = handle.properties
        self._background = f"#{properties.get('openslide.background-color', 'ffffff')}"
        names = (f"openslide.level[0].tile-{side}" for side in ("width", "height"))
        width, height = (int(properties.get(name, 0)) for name in names)
        self.tile_sides = (width, height) if width and height else None

    def pixels(self, level: int, box: tuple[int, int, int, int]) -> UInt8Image:
        """RGB (height, width, 3) of the box (left, top, width, height), white outside the level.

        Where a level's downsample is no whole number, OpenSlide can be asked only for the nearest
        pixel of level 0, so a corner may lie up to half of one beside its place.
        """
        left, top, width, height = box
        out = np.full((height, width, 3), 255, np.uint8)
        x, y = max(left, 0), max(top, 0)
        right = min(left + width, self.levels[level].width)
        bottom = min(top + height, self.levels[level].height)
        if x < right and y < bottom:
            found = self._read(level, x, y, (right - x, bottom - y))
            out[y - top : bottom - top, x - left : right - left] = found
        return out

    def _read(self, level: int, x: int, y: int, sides: tuple[int, int]) -> UInt8Image:
        from openslide import OpenSlideError
        from PIL import Image

        factor, handle = self._downsamples[level], self._handle
        try:
            image = handle.read_region((round(x * factor), round(y * factor)), level, sides)
        except OpenSlideError as fault:
            # The handle refuses everything from now on; whoever reads next has a new one.
            self._handle = open_with_openslide(self._file, self._named)
            raise DataError(
                f"{self._named}: the {sides[0]} x {sides[1]} pixels at x {x}, y {y} of level "
                f"{level} cannot be decoded ({fault}); {COPY_AGAIN}"
            ) from fault
        alpha = image.getchannel("A")
        if alpha.getextrema()[0] < 255:
            ground = Image.new("RGB", image.size, self._background)
            ground.paste(image, mask=alpha)
            return np.asarray(ground)
        return np.asarray(image)[..., :3]
