"""Which tiles of a slide are worth reading: those of a grid that show tissue."""

from __future__ import annotations

from typing import Final

import numpy as np

from eosin.arrays import Ints
from eosin.errors import ConfigError
from eosin.pixels.tissue_mask import TissueMask

# Half would drop the rim of every piece, where a tumour often grows, and much of what thin cores
# of a biopsy show; far less would add tiles that show a shred of tissue on glass.
LEAST_TISSUE: Final = 0.25


def tissue_tiles(
    slide_width: int,
    slide_height: int,
    mask: TissueMask,
    *,
    slide_mpp: float,
    size: int,
    mpp: float,
    overlap: int = 0,
    least: float = LEAST_TISSUE,
) -> tuple[Ints, Ints, float]:
    """The tiles of the grid that show tissue: their x, their y, (n,) each, and their side.

    Args:
        slide_width: pixels of level 0.
        slide_height: the same.
        mask: the slide's tissue.
        slide_mpp: um a pixel of level 0.
        size: a tile's side as it is read, pixels.
        mpp: um a pixel of a tile.
        overlap: pixels of a tile that the next one shows again.
        least: the share of a tile that must be tissue, 0 to 1; 0 takes every tile.

    The grid is that of ``grid_sides``, row by row. Tiles that overhang the right and lower edge
    belong to it; what they show beyond the slide is white, so counts as glass.

    Raises:
        ConfigError: as ``grid_sides``.
    """
    step, width = grid_sides(size, mpp, slide_mpp=slide_mpp, overlap=overlap)
    columns, rows = (np.arange(0, side, step) for side in (slide_width, slide_height))
    x, y = (each.ravel() for each in np.meshgrid(columns, rows))
    inside = mask.shares(x, y, width, slide_mpp=slide_mpp) >= least
    return x[inside], y[inside], width


def grid_sides(size: int, mpp: float, *, slide_mpp: float, overlap: int = 0) -> tuple[int, float]:
    """The step of the grid of such tiles and their side, pixels of level 0.

    The grid starts at (0, 0), and its step is a whole number of pixels of level 0: the
    um/px of tiles gives way by at most half a pixel of a step, so that tiles abut without a gap and
    a map of them lies on the slide without a drift.

    Raises:
        ConfigError: tiles of no size, or as large as their overlap.
    """
    if min(size, mpp, slide_mpp) <= 0 or not 0 <= overlap < size:
        raise ConfigError(
            f"no grid of tiles of {size} px at {mpp:g} um/px with {overlap} px of overlap on a "
            f"slide of {slide_mpp:g} um/px: want size > overlap >= 0 and um/px above 0"
        )
    exact = (size - overlap) * mpp / slide_mpp
    if exact < 1:
        raise ConfigError(
            f"tiles of {size} px at {mpp:g} um/px, {exact:g} pixels of the slide apart: want 1 or "
            "more, so less overlap or more um/px"
        )
    step = round(exact)
    return step, round(step * size / (size - overlap), 3)
