"""Pictures of images in rows, each over its caption, below what they show; no torch."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from eosin.reporting.canvas import CARD, INK, QUIET
from eosin.reporting.overlay import HeatmapStyle, colour_bar, scaled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.offsetbox import OffsetBox, TextArea

    from eosin.pixels.reading import UInt8Image

GOOD, BAD = "#1b7f4b", "#b3261e"
# Pixels: at 72 dots an inch a point is one.
_GAP, _BAR, _NARROWEST, _NARROWEST_PAGE = 16, (150, 14), 240, 496
_ACROSS = 4  # cells of a panel
_LETTER = 0.58  # mean width of a letter over the size of its type; bold ones are wider


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


def draw_panel(
    cells: Sequence[Cell], heading: Heading, style: HeatmapStyle, *, width: int = 0
) -> UInt8Image:
    """Cells in rows of four at most and of about one length, as ``draw_rows`` draws them."""
    across = -(-len(cells) // -(-len(cells) // _ACROSS))
    rows = [cells[start : start + across] for start in range(0, len(cells), across)]
    return draw_rows(rows, heading, style, width=width)


def draw_rows(
    rows: Sequence[Sequence[Cell]],
    heading: Heading,
    style: HeatmapStyle | None = None,
    *,
    width: int = 0,
) -> UInt8Image:
    """Rows of cells under a heading, column below column, RGB.

    Args:
        rows: pictures that are seen together.
        heading: stands above them.
        style: the colours of the maps, where there are any.
        width: of each picture at most, in pixels; 0 for its own.
    """
    from matplotlib.offsetbox import HPacker, VPacker

    widest = max(cell.picture.shape[1] for row in rows for cell in row)
    most, columns = min(widest, width or widest), max(map(len, rows))
    across = max(columns * (max(most, _NARROWEST) + _GAP) - _GAP, _NARROWEST_PAGE)
    wide, size = (across + _GAP) // columns - _GAP, max(14.0, min(across / 130, 19.0))
    bar = colour_bar(*_BAR, style or HeatmapStyle())
    boxes: list[Artist] = [_heading(heading, across, size)]
    pictures = [bar] if heading.key else []
    for row in rows:
        shown = [scaled(cell.picture, min(1, most / cell.picture.shape[1])) for cell in row]
        cells: list[Artist] = [_box(*each, wide, size) for each in zip(row, shown, strict=True)]
        boxes.append(HPacker(children=cells, sep=_GAP, align="top"))
        pictures += shown
    return _drawn(VPacker(children=boxes, pad=_GAP, sep=_GAP, align="left"), pictures)


def _drawn(page: OffsetBox, pictures: Sequence[UInt8Image]) -> UInt8Image:
    """What is laid out, with the pictures in its empty areas, in their order and pixel by pixel."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.offsetbox import DrawingArea

    stream, figure = io.BytesIO(), Figure(dpi=72, facecolor=CARD)
    figure.add_artist(page)
    # With hints it takes twice as long. Of a name in signs that the type lacks, boxes are drawn.
    with rc_context({"text.hinting": "no_hinting"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        extent = page.get_window_extent()
        figure.set_size_inches(*np.ceil(extent.size) / figure.dpi)
        page.set_offset((-extent.x0, -extent.y0))
        figure.savefig(stream, format="rgba", dpi="figure")
    wide, tall = figure.canvas.get_width_height()
    drawn = np.frombuffer(stream.getvalue(), np.uint8).reshape(tall, wide, 4)[:, :, :3].copy()
    for area, picture in zip(page.findobj(DrawingArea), pictures, strict=True):
        left, bottom = map(round, area.get_offset())
        top = tall - bottom - picture.shape[0]
        drawn[top : tall - bottom, left : left + picture.shape[1]] = picture
    return drawn


def _heading(heading: Heading, across: int, size: float) -> OffsetBox:
    """Title and lines, the colour bar with its meaning, and the verdict, one below the other."""
    from matplotlib.offsetbox import DrawingArea, HPacker, PaddedBox, VPacker

    boxes: list[Artist] = [_text(heading.title, across, 1.4 * size, color=INK, fontweight="bold")]
    boxes += [_text(line, across, size) for line in heading.lines]
    if heading.key:
        key = _text(heading.key, across - _BAR[0] - 10, size)
        boxes.append(HPacker(children=[DrawingArea(*_BAR), key], sep=10, align="top"))
    if heading.stamp:
        words = _text(heading.stamp, across - 12, size, color=CARD, fontweight="bold")
        band = VPacker(children=[words], width=across - 12, align="left")
        colour = GOOD if heading.good else BAD
        look = {"facecolor": colour, "linewidth": 0}
        boxes.append(PaddedBox(band, 6, draw_frame=True, patch_attrs=look))
    return VPacker(children=boxes, sep=5, align="left")


def _box(cell: Cell, shown: UInt8Image, wide: int, size: float) -> OffsetBox:
    """Room for a picture as it is shown and its caption, ``wide`` pixels in all."""
    from matplotlib.offsetbox import DrawingArea, VPacker

    room = DrawingArea(shown.shape[1], shown.shape[0])
    words = [_text(cell.title, wide, size, color=INK, fontweight="bold")]
    words += [_text(line, wide, 0.93 * size) for line in cell.lines]
    return VPacker(children=[room, *words], width=wide, sep=4, align="left")


def _text(words: str, width: int, size: float, *, color: str = QUIET, **look: str) -> TextArea:
    """Words in lines of ``width`` pixels at most; no name is taken for mathematics."""
    from matplotlib.offsetbox import TextArea

    props = {"color": color, "fontsize": size, "parse_math": False, **look}
    letter = _LETTER * (1.15 if "fontweight" in look else 1)
    return TextArea(fill(words, int(width / (letter * size))), textprops=props)
