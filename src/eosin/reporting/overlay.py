"""A heatmap laid on its image at the image's own scale, with a legend below; no torch.

Colours run along viridis, which is even to the eye and far from the pinks of H&E, and grow opaque
with the map, so that tissue stays visible. A line encloses the strongest fifth of the picture, of
the map smoothed a little: the line of a fine map is a tangle otherwise. Holes have a line as well,
specks of under a thousandth of the picture none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

    from eosin.arrays import Bools, FloatMap
    from eosin.pixels.reading import UInt8Image


TOP_SHARE = 0.2
MOST_OPAQUE = 0.6
_SPECK = 0.001  # of the picture's area
_SMOOTHING = 0.03  # standard deviation, of the shorter side
GOOD, BAD = "#1b7f4b", "#b3261e"
_NARROWEST = 420  # a legend needs this many pixels; a smaller picture keeps its size above it
_MARGIN, _BAR = 10, (150, 12)
_FRAME = 160


@dataclass(frozen=True, slots=True)
class Stamp:
    """A verdict in a band of its colour, right below the picture."""

    text: str
    colour: str


@dataclass(frozen=True, slots=True)
class Legend:
    """What stands below the picture."""

    title: str  # the class and its probability
    lines: tuple[str, ...] = ()  # how the map was made, by what, and what else to know
    scale: str = ""  # what the colour bar measures; the bar is left out where empty
    top: str = "1"  # the value at the bar's right end
    stamp: Stamp | None = None  # a verdict on the map


def blend(image: UInt8Image, values: FloatMap, *, contour: bool = True) -> UInt8Image:
    """The image under its map, same shape.

    Args:
        image: RGB (H, W, 3).
        values: the map (H, W), 0 to 1; where it is 0 the image is left as it is.
        contour: whether to draw the line around ``enclosed``.
    """
    mixed = colour_of(values).astype(np.float32)
    mixed -= image
    mixed *= (MOST_OPAQUE * np.clip(values, 0, 1))[:, :, None]
    mixed += image
    picture = np.rint(mixed, out=mixed).astype(np.uint8)
    return _outlined(picture, enclosed(values)) if contour else picture


def colour_of(values: FloatMap) -> UInt8Image:
    """Viridis of values 0 to 1, RGB, with one more axis of 3 at the end."""
    import cv2

    grey = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    coloured = cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS)
    return np.asarray(coloured[:, :, ::-1], np.uint8)


def strongest(values: FloatMap, *, share: float = TOP_SHARE) -> Bools:
    """The ``share`` of the area with the highest values (H, W); places of value 0 never count."""
    place = min(values.size - 1, int(values.size * (1 - share)))
    limit = np.partition(values, place, axis=None)[place]
    return np.asarray((values >= limit) & (values > 0))


def enclosed(values: FloatMap) -> Bools:
    """What the line runs around (H, W): the strongest fifth of the smoothed map.

    Evidence on no more than a fifth of the picture is enclosed as it is.
    """
    import cv2

    if np.count_nonzero(values > 0) <= TOP_SHARE * values.size:
        return strongest(values)
    smooth = cv2.GaussianBlur(values, (0, 0), _SMOOTHING * min(values.shape))
    return strongest(np.asarray(smooth, np.float32))


def draw_overlay(image: UInt8Image, values: FloatMap, legend: Legend) -> UInt8Image:
    """The blended image with its legend below: its first H rows and W columns are the picture."""
    return with_legend(blend(image, values), legend)


def with_legend(picture: UInt8Image, legend: Legend) -> UInt8Image:
    """A picture (H, W, 3) at its own size with a strip of text, and a colour bar, below."""
    from PIL import Image, ImageDraw

    height, width = picture.shape[:2]
    broad = max(width, _NARROWEST)
    rows = _rows(legend, broad - 2 * _MARGIN - (_BAR[0] + 2 * _MARGIN if legend.scale else 0))
    band = _stamp_lines(legend.stamp, broad)
    below = height + len(band) * line_height(font(13, bold=True)) + (8 if band else 0)
    tall = max(sum(line_height(font(size, bold=bold)) for _, size, bold in rows), 44)
    page = Image.new("RGB", (broad, below + tall + 2 * _MARGIN), PAPER)
    page.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(page)
    if legend.stamp:
        draw.rectangle((0, height, broad, below - 1), fill=legend.stamp.colour)
        _write(draw, (_MARGIN, height + 4), [(line, 13, True) for line in band], PAPER)
    _write(draw, (_MARGIN, below + _MARGIN), rows, INK)
    if legend.scale:
        corner = (broad - _BAR[0] - _MARGIN, below + _MARGIN + 16)
        page.paste(Image.fromarray(colour_bar(*_BAR)), corner)
        _label_bar(draw, corner, legend)
    return np.asarray(page)


def colour_bar(width: int, height: int) -> UInt8Image:
    """From 0 at the left to 1 at the right as it looks over white glass, in a thin frame."""
    ramp = np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))
    bar = blend(np.full((height, width, 3), 255, np.uint8), ramp, contour=False)
    bar[[0, -1]], bar[:, [0, -1]] = _FRAME, _FRAME
    return bar


def _rows(legend: Legend, width: int) -> list[tuple[str, int, bool]]:
    """Lines of text with their size and weight, wrapped to ``width``."""
    texts = [(legend.title, 16, True), *((line, 12, False) for line in legend.lines)]
    return [
        (line, size, bold)
        for text, size, bold in texts
        for line in wrap(text, width, font(size, bold=bold))
    ]


def _stamp_lines(stamp: Stamp | None, width: int) -> list[str]:
    return wrap(stamp.text, width - 2 * _MARGIN, font(13, bold=True)) if stamp else []


def _write(
    draw: ImageDraw, corner: tuple[int, int], rows: Sequence[tuple[str, int, bool]], ink: str
) -> None:
    left, top = corner
    for text, size, bold in rows:
        face = font(size, bold=bold)
        draw.text((left, top), text, fill=ink, font=face)
        top += line_height(face)


def _label_bar(draw: ImageDraw, corner: tuple[int, int], legend: Legend) -> None:
    left, top = corner
    face = font(11)
    draw.text((left, top - 15), legend.scale, fill=QUIET, font=face)
    draw.text((left, top + _BAR[1] + 2), "0", fill=QUIET, font=face)
    draw.text((left + _BAR[0], top + _BAR[1] + 2), legend.top, fill=QUIET, font=face, anchor="ra")


def _outlined(picture: UInt8Image, region: Bools) -> UInt8Image:
    """A white line with a dark core around ``region`` and its holes: it stands out on any tissue.

    Of specks the largest has a line where there is nothing else.
    """
    import cv2

    found, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    areas = [cv2.contourArea(line) for line in found]
    least = min(_SPECK * region.size, max(areas, default=0.0))
    found = [line for line, area in zip(found, areas, strict=True) if area >= least]
    canvas = np.ascontiguousarray(picture)
    for colour, thickness in (((255, 255, 255), 3), ((31, 27, 36), 1)):
        cv2.drawContours(canvas, found, -1, colour, thickness, cv2.LINE_AA)
    return canvas


INK, QUIET, PAPER = "#1f1b24", "#5c5666", "#ffffff"


@cache
def font(size: int, *, bold: bool = False) -> FreeTypeFont:
    """DejaVu Sans at ``size`` pixels."""
    import matplotlib as mpl
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / name), size)


def wrap(text: str, width: int, face: FreeTypeFont) -> list[str]:
    """Lines of whole words, none wider than ``width`` pixels unless it is a single word."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and face.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def line_height(face: FreeTypeFont) -> int:
    """Pixels from one line of text to the next."""
    return round(face.size * 1.35)
