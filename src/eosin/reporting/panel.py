"""Pictures of one image side by side, each over its caption, below what they show; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eosin.reporting.overlay import HeatmapStyle, colour_bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL.Image import Image as PillowImage
    from PIL.ImageFont import FreeTypeFont

    from eosin.pixels.reading import UInt8Image

INK, QUIET, PAPER = "#1f1b24", "#5c5666", "#ffffff"
GOOD, BAD = "#1b7f4b", "#b3261e"
_GAP, _BAR, _NARROWEST = 16, (150, 14), 420
_TITLE, _TEXT, _SMALL = 20, 14, 13


@dataclass(frozen=True, eq=False)
class Cell:
    """A picture (H, W, 3), a title and a few lines under it."""

    picture: UInt8Image
    title: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands above the pictures."""

    title: str  # what they show
    lines: tuple[str, ...] = ()  # how they were made, and what else to know
    key: str = ""  # what colours and lines mean; beside a colour bar, left out where empty
    stamp: str = ""  # a verdict in a band of its colour
    good: bool = False  # whether that is a good one


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    size: int = _TEXT
    bold: bool = False
    ink: str = QUIET

    @property
    def height(self) -> int:
        return round(self.size * 1.35)


def draw_panel(
    cells: Sequence[Cell],
    heading: Heading,
    style: HeatmapStyle,
    *,
    width: int = 0,
    columns: int = 4,
) -> UInt8Image:
    """A grid of cells under a heading, RGB.

    Args:
        cells: pictures of one image, all of one shape.
        heading: stands above them.
        style: the colours of the maps.
        width: of each picture at most, in pixels; 0 for its own.
        columns: at most this many side by side.
    """
    from PIL import Image

    down = -(-len(cells) // columns)
    columns = -(-len(cells) // down)  # as even as it goes
    pictures = [_fitted(cell.picture, width or cell.picture.shape[1]) for cell in cells]
    wide = max(240, pictures[0].width)
    across = max(columns * (wide + _GAP) + _GAP, _NARROWEST)
    captions = [[*_wrapped(_caption(cell), wide)] for cell in cells]
    top = _heading(heading, style, across)
    tall = pictures[0].height + max(_height(rows) for rows in captions) + 2 * _GAP
    page = Image.new("RGB", (across, top.height + down * tall), PAPER)
    page.paste(top, (0, 0))
    for index, (picture, rows) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(index, columns)
        left, y = _GAP + column * (wide + _GAP), top.height + row * tall
        page.paste(picture, (left, y))
        _write(page, (left, y + picture.height + 6), rows)
    return np.asarray(page)


def _heading(heading: Heading, style: HeatmapStyle, across: int) -> PillowImage:
    """Title and lines, the colour bar with its meaning, and the verdict, one below the other."""
    from PIL import Image

    inner = across - 2 * _GAP
    lines = [_Line(heading.title, _TITLE, bold=True, ink=INK), *map(_Line, heading.lines)]
    said = [*_wrapped(lines, inner)]
    key = [*_wrapped([_Line(heading.key)], inner - _BAR[0] - 10)] if heading.key else []
    stamp = (
        [*_wrapped([_Line(heading.stamp, bold=True, ink=PAPER)], inner)] if heading.stamp else []
    )
    below = _GAP + _height(said) + (6 if key else 0)
    band = below + _height(key) + _GAP // 2
    page = Image.new("RGB", (across, band + (_height(stamp) + _GAP if stamp else 0)), PAPER)
    _write(page, (_GAP, _GAP), said)
    if key:
        page.paste(Image.fromarray(colour_bar(*_BAR, style)), (_GAP, below + 2))
        _write(page, (_GAP + _BAR[0] + 10, below), key)
    if stamp:
        page.paste(GOOD if heading.good else BAD, (0, band, across, band + _height(stamp) + 8))
        _write(page, (_GAP, band + 4), stamp)
    return page


def _caption(cell: Cell) -> list[_Line]:
    return [_Line(cell.title, bold=True, ink=INK), *(_Line(line, _SMALL) for line in cell.lines)]


def _height(lines: Sequence[_Line]) -> int:
    return sum(line.height for line in lines)


def _write(page: PillowImage, corner: tuple[int, int], lines: Sequence[_Line]) -> None:
    from PIL import ImageDraw

    draw, (left, top) = ImageDraw.Draw(page), corner
    for line in lines:
        draw.text((left, top), line.text, fill=line.ink, font=_font(line.size, bold=line.bold))
        top += line.height


def _wrapped(lines: Sequence[_Line], width: int) -> Iterator[_Line]:
    """The lines broken into whole words, none wider than ``width`` unless it is a single word."""
    for line in lines:
        face, broken = _font(line.size, bold=line.bold), ""
        for word in line.text.split():
            longer = f"{broken} {word}".lstrip()
            if broken and face.getlength(longer) > width:
                yield _Line(broken, line.size, line.bold, line.ink)
                longer = word
            broken = longer
        if broken:
            yield _Line(broken, line.size, line.bold, line.ink)


@cache
def _font(size: int, *, bold: bool = False) -> FreeTypeFont:
    """DejaVu Sans at ``size`` pixels."""
    import matplotlib as mpl
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / name), size)


def _fitted(picture: UInt8Image, width: int) -> PillowImage:
    """The picture as Pillow's, at most ``width`` pixels wide."""
    from PIL import Image

    made = Image.fromarray(picture)
    if made.width <= width:
        return made
    return made.resize(
        (width, max(1, round(made.height * width / made.width))), Image.Resampling.BOX
    )
