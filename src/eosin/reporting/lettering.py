"""Text in pictures: the font that comes with matplotlib, lines that fit a width, colours."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

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
