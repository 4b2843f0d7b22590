"""The picture of a slide: its overview with the tiles that would be read, and what lies where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from eosin.arrays import Floats, UInt8Image
from eosin.data.tiles import TileOptions, lay_tiles
from eosin.files import valid_text
from eosin.pixels.tissue_mask import Area, TissueMask
from eosin.reporting.canvas import CARD, INK, QUIET, VIOLET, write_png
from eosin.reporting.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from eosin.slides.slide import Slide

_LOOK: Final[dict[Area, tuple[str, str]]] = {
    Area.TISSUE: ("tissue", "#e58fb0"),
    Area.FOLD: ("fold (tissue)", "#7a1f6b"),
    Area.BLURRED: ("out of focus (tissue)", "#7d6fd0"),
    Area.HOLE: ("hole", "#9fd3ea"),
    Area.DUST: ("dust", "#e0a100"),
    Area.PEN: ("pen", "#1f9d55"),
    Area.BLACK: ("black", "#2b2b2b"),
    Area.GLASS: ("glass", "#f6f4f7"),
}
_PANEL: Final = 6.0  # inches of the longer side of a panel
_SEEN: Final = 1200  # pixels of its longer side, at 200 an inch
_SHADE: Final = 0.35  # of what is seen below the colours


def write_slide_picture(slide: Slide, out: Path, *, size: int = 224, mpp: float = 0.5) -> int:
    """Draw a slide as PNG and return how many tiles of ``size`` pixels at ``mpp`` show tissue.

    Raises:
        DataError: nothing is known of the slide's um/px, or it cannot be read.
        ConfigError: there is no grid of such tiles.
    """
    found = lay_tiles(slide, TileOptions(mpp, size))
    scale, finest, mask = slide.known_mpp(), slide.levels[0], found.mask
    x, y = found.corners
    width = found.tiles[0].width if found.tiles else 0.0
    wide, tall = (side * scale / 1000 for side in (finest.width, finest.height))
    figure, (plain, coloured) = _panels(wide / tall)
    fine = min(mask.mpp, max(scale, 1000 * max(wide, tall) / _SEEN))
    _show(plain, slide.overview(fine), fine, f"{len(x):,} tiles of {size} px at {mpp:g} µm/px")
    _outline(plain, x * scale / 1000, y * scale / 1000, width * scale / 1000)
    _show(coloured, _coloured(found.overview, mask), mask.mpp, _pieces(mask))
    for axes in (plain, coloured):
        axes.set(xlim=(0, wide), ylim=(tall, 0))
    _write_shares(figure, mask)
    name = valid_text(slide.path.name)
    sides = f"{finest.width:,} x {finest.height:,} px at {scale:.4g} µm/px"
    figure.suptitle(f"{name}: {sides}", color=INK, fontsize=11, parse_math=False)
    write_png(figure, out)
    return len(x)


def _panels(aspect: float) -> tuple[Figure, list[Axes]]:
    """Two axes side by side, or one above the other where a slide is wide."""
    from matplotlib.figure import Figure

    wide, tall = _PANEL * min(1, aspect), _PANEL * min(1, 1 / aspect)
    beside = aspect < 1.3
    sides = (2 * max(wide, 2.4), tall + 0.9) if beside else (wide, 2 * max(tall, 1.6) + 1.2)
    figure = Figure(figsize=sides, layout="compressed")
    axes = figure.subplots(1 if beside else 2, 2 if beside else 1, squeeze=False)
    return figure, list(axes.ravel())


def _show(axes: Axes, image: UInt8Image, mpp: float, title: str) -> None:
    height, width = (side * mpp / 1000 for side in image.shape[:2])
    axes.imshow(image, extent=(0, width, height, 0), interpolation="antialiased")
    axes.set_title(title, fontsize=9, color=INK, loc="left")
    axes.set_xlabel("mm", fontsize=8, color=QUIET)
    axes.tick_params(colors=QUIET, labelsize=7, length=2)
    for spine in axes.spines.values():
        spine.set_color(QUIET)


def _outline(axes: Axes, x: Floats, y: Floats, side: float) -> None:
    """The tiles' outlines, all in mm."""
    from matplotlib.collections import PolyCollection

    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * side
    squares = list(np.stack([x, y], axis=1)[:, None] + corners)
    thin = float(np.clip(40 / max(len(x), 1) ** 0.5, 0.15, 0.8))
    outlines = PolyCollection(squares, facecolors="none", edgecolors=VIOLET, linewidths=thin)
    axes.add_collection(outlines, autolim=False)


def _coloured(overview: UInt8Image, mask: TissueMask) -> UInt8Image:
    """The overview in grey under the colours of its areas."""
    from matplotlib.colors import to_rgb

    palette = np.array([to_rgb(_LOOK[area][1]) for area in Area]) * 255
    grey = overview.mean(axis=2, keepdims=True) / 255
    return np.asarray(palette[mask.labels] * (1 - _SHADE + _SHADE * grey), np.uint8)


def _pieces(mask: TissueMask) -> str:
    return f"{counted(mask.pieces(Area.TISSUE, Area.FOLD, Area.BLURRED), 'piece')} of tissue"


def _write_shares(figure: Figure, mask: TissueMask) -> None:
    from matplotlib.patches import Patch

    shares = {area: mask.share(area) for area in _LOOK}
    patches = [
        Patch(facecolor=_LOOK[area][1], edgecolor=QUIET, linewidth=0.4, label=_label(area, share))
        for area, share in shares.items()
        if share
    ]
    columns = 4 if figure.get_figwidth() > _PANEL else 3
    legend = figure.legend(
        handles=patches, loc="outside lower center", ncols=columns, frameon=False, fontsize=8
    )
    for text in legend.get_texts():
        text.set_color(INK)
    figure.set_facecolor(CARD)


def _label(area: Area, share: float) -> str:
    return f"{_LOOK[area][0]} {'< 0.1' if share < 0.001 else f'{100 * share:.1f}'} %"
