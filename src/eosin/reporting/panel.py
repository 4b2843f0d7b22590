"""Several pictures of one image side by side, each over its caption; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.reporting.overlay import INK, PAPER, QUIET, colour_bar, font, line_height, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image as PillowImage

    from eosin.pixels.reading import UInt8Image

_GAP, _TITLE, _BAR = 14, 18, (110, 12)


@dataclass(frozen=True, eq=False)
class Cell:
    """A picture (H, W, 3), a title and a few lines under it."""

    picture: UInt8Image
    title: str
    lines: tuple[str, ...] = ()


def draw_panel(
    cells: Sequence[Cell], *, title: str, key: str = "", width: int = 340, columns: int = 4
) -> UInt8Image:
    """A grid of cells under a title, RGB.

    Args:
        cells: pictures of one image, all of one shape.
        title: what they show.
        key: what their colours and lines mean; stands beside a colour bar, left out where empty.
        width: of each picture in the grid, in pixels; smaller pictures keep their size.
        columns: at most this many side by side.
    """
    from PIL import Image, ImageDraw

    down = -(-len(cells) // columns)
    columns = -(-len(cells) // down)  # as even as it goes
    wide = max(180, min(width, cells[0].picture.shape[1]))
    texts = [_rows(cell, wide) for cell in cells]
    pictures = [_fitted(cell.picture, width) for cell in cells]
    text_height = max(sum(line_height(font(size)) for _, size, _, _ in rows) for rows in texts)
    tall = pictures[0].height + text_height + 2 * _GAP
    across = columns * (wide + _GAP) + _GAP
    heading = wrap(title, across - 2 * _GAP, font(_TITLE, bold=True))
    top = _GAP + len(heading) * line_height(font(_TITLE)) + _GAP // 2
    below = top
    meaning = wrap(key, across - _BAR[0] - 3 * _GAP, font(12))
    top += (len(meaning) * line_height(font(12)) + _GAP // 2) if key else 0
    page = Image.new("RGB", (across, top + down * tall), PAPER)
    draw = ImageDraw.Draw(page)
    for place, line in enumerate(heading):
        corner = (_GAP, _GAP + place * line_height(font(_TITLE)))
        draw.text(corner, line, fill=INK, font=font(_TITLE, bold=True))
    if key:
        page.paste(Image.fromarray(colour_bar(*_BAR)), (_GAP, below + 2))
        for place, line in enumerate(meaning):
            corner = (_GAP + _BAR[0] + 8, below + place * line_height(font(12)))
            draw.text(corner, line, fill=QUIET, font=font(12))
    for place, (picture, rows) in enumerate(zip(pictures, texts, strict=True)):
        row, column = divmod(place, columns)
        left, y = _GAP + column * (wide + _GAP), top + row * tall
        page.paste(picture, (left, y))
        y += picture.height + 5
        for text, size, bold, ink in rows:
            draw.text((left, y), text, fill=ink, font=font(size, bold=bold))
            y += line_height(font(size))
    return np.asarray(page)


def _rows(cell: Cell, width: int) -> list[tuple[str, int, bool, str]]:
    texts = [(cell.title, 13, True, INK), *((line, 12, False, QUIET) for line in cell.lines)]
    return [
        (line, size, bold, ink)
        for text, size, bold, ink in texts
        for line in wrap(text, width, font(size, bold=bold))
    ]


def _fitted(picture: UInt8Image, width: int) -> PillowImage:
    """The picture as Pillow's, at most ``width`` pixels wide."""
    from PIL import Image

    made = Image.fromarray(picture)
    if made.width <= width:
        return made
    return made.resize(
        (width, max(1, round(made.height * width / made.width))), Image.Resampling.BOX
    )
