"""Stability: the same tissue mirrored, or a little paler, should light up in the same places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from eosin.arrays import MapValues
from eosin.explanation.perturbation import on_grid
from eosin.explanation.ranks import rank_correlation
from eosin.pixels.reading import UInt8Image
from eosin.pixels.stain_jitter import scale_stains

_MIRRORS: Final = ((1,), (0,), (0, 1))  # axes turned round: left-right, top-bottom, both
_STAIN_SHIFT: Final = 0.1  # share of a dye added or taken: less than slides of one batch differ


@dataclass(frozen=True, slots=True)
class Stability:
    """Spearman's correlation of a map with those of altered images, in [-1, 1].

    Attributes:
        flips: mean over three mirrorings, each map mirrored back.
        stains: mean over 10 % more and less haematoxylin and eosin.
    """

    flips: float
    stains: float


def altered_images(image: UInt8Image) -> list[UInt8Image]:
    """The three mirrorings of an image (H, W, 3), then its four stain shifts."""
    flipped = [np.ascontiguousarray(np.flip(image, axes)) for axes in _MIRRORS]
    less, more = 1 - _STAIN_SHIFT, 1 + _STAIN_SHIFT
    factors = ((more, 1.0), (less, 1.0), (1.0, more), (1.0, less))
    return flipped + [scale_stains(image, pair) for pair in factors]


def stability(
    image: UInt8Image,
    heatmap: MapValues,
    remap: Callable[[Sequence[UInt8Image]], Sequence[MapValues]],
    *,
    cells: int,
) -> Stability:
    """Map altered copies of an image and compare, on a grid of ``cells`` a side.

    Args:
        image: (H, W, 3) RGB bytes.
        heatmap: its map.
        remap: maps of other images for the same class.
        cells: side of the grid.
    """
    grid = on_grid(heatmap, cells)
    maps = [on_grid(other, cells) for other in remap(altered_images(image))]
    turned = [np.flip(other, axes) for other, axes in zip(maps, _MIRRORS, strict=False)]
    return Stability(
        flips=float(np.mean([rank_correlation(grid, other) for other in turned])),
        stains=float(np.mean([rank_correlation(grid, other) for other in maps[len(_MIRRORS) :]])),
    )
