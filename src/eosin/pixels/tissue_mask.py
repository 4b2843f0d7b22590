"""What of a whole slide is tissue: a label map of its overview, and the tissue in any square."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import cv2
import numpy as np

from eosin.arrays import Bools, Floats, Floats32, Ints, UInt8Image
from eosin.errors import DataError
from eosin.pixels.optical_density import (
    as_bytes,
    as_floats,
    darkest_channel,
    density_table,
    require_rgb_bytes,
)
from eosin.pixels.slide_faults import folds, out_of_focus
from eosin.pixels.slide_ink import black_areas, extremes, pen_strokes

FINEST, COARSEST = 4.0, 16.0  # um/px of an overview
HOLE: Final = 20_000.0  # um^2; smaller gaps are lumens, vessels and fat cells, part of the tissue
DUST: Final = 20_000.0  # um^2; smaller pieces are a tile or two: cells adrift, fibres, dirt
_BRIDGE: Final = 24.0  # um; gaps narrower than twice that are closed, as between cells and fibres
_THIN: Final = 24.0  # um, half of the thickest wall
_PALEST, _SURE = 0.05, 0.12  # mean density and its spread over the colours, together
_EDGE: Final = 0.3  # of what the darkest of the pixels around absorb: below, light has spread
_GREYEST: Final = 0.25  # of a piece's density: colours lie nearer only in dirt, hair and shadow
_FLAT, _ROUGH = 2.0, 6.0  # grey levels in 5 x 5 pixels: glass at its best, and under noise
_FLAT_SHARE: Final = 0.2  # of the pixels in the colour of glass; the others lie beside something
_WHITE: Final = 252  # what a scanner writes where it did not scan, and clipped glass
_FEWEST: Final = 0.003  # of the slide's pixels; fewer are no glass to go by
_DARKEST_GLASS: Final = 140


class Area(IntEnum):
    """What lies at a pixel of the overview."""

    GLASS = 0
    TISSUE = 1
    HOLE = 2  # glass enclosed in tissue
    DUST = 3  # specks, and grey pieces
    PEN = 4  # over glass or tissue
    BLACK = 5  # beyond what was scanned
    FOLD = 6  # tissue that lies double
    BLURRED = 7  # tissue out of focus


TISSUE: Final = frozenset({Area.TISSUE, Area.FOLD, Area.BLURRED})


@dataclass(frozen=True, slots=True, eq=False)
class TissueMask:
    """The areas of a slide: ``labels``, (height, width) bytes of ``Area``, at ``mpp`` um/px."""

    labels: UInt8Image
    mpp: float

    def share(self, area: Area) -> float:
        """The share of the slide that is of this kind, 0 to 1."""
        return float(np.count_nonzero(self.labels == area)) / self.labels.size

    def pieces(self, *areas: Area) -> int:
        """How many connected pieces areas of these kinds form together."""
        return int(cv2.connectedComponents(_isin(self.labels, areas).view(np.uint8))[0]) - 1

    def shares(
        self,
        x: Ints,
        y: Ints,
        width: float,
        *,
        slide_mpp: float,
        areas: Collection[Area] = TISSUE,
    ) -> Floats:
        """The share of each square that is tissue (or of ``areas``), 0 to 1; same shape as ``x``.

        Args:
            x: of the squares' upper left corners, pixels of level 0.
            y: the same.
            width: the squares' side, pixels of level 0.
            slide_mpp: um a pixel of level 0.
            areas: what counts; folds and what is out of focus are tissue unless left out.

        Exact to parts of a pixel; what lies outside the slide is glass.
        """
        wanted = _isin(self.labels, areas).view(np.uint8)
        total = np.asarray(cv2.integral(wanted, sdepth=cv2.CV_64F), np.float64)
        scale = slide_mpp / self.mpp
        left, top = (np.asarray(each * scale, np.float64) for each in (x, y))
        side = width * scale
        right, low = left + side, top + side
        inside = _at(total, right, low) - _at(total, left, low)
        inside += _at(total, left, top) - _at(total, right, top)
        return np.asarray((inside / side**2).clip(0, 1), np.float64)


def find_tissue(overview: UInt8Image, mpp: float) -> TissueMask:
    """Label every pixel of a slide's overview.

    Args:
        overview: the whole slide, RGB (height, width, 3) bytes.
        mpp: um a pixel of it, 4 to 16; 8 is what the limits were set at.

    Tissue is what absorbs more than this slide's glass, or colours the light: the mean of the
    three optical densities over those of the glass, and their spread, so that pale eosin counts
    and grey glass does not. A slide has one glass, beside the white that was not scanned: where it
    changes its tint from part to part, a part counts as tissue.

    Raises:
        DataError: not RGB bytes, or another resolution.
    """
    image = require_rgb_bytes(overview)
    if not FINEST <= mpp <= COARSEST:
        raise DataError(f"tissue is found at {FINEST:g} to {COARSEST:g} um/px, not at {mpp:g}")
    black = black_areas(image, mpp)
    density = density_over(image, glass_colour(image, black))
    pen = pen_strokes(density, black, mpp)
    mean = as_floats(cv2.transform(density, np.full((1, 3), 1 / 3, np.float32)))
    least, most = extremes(density)
    labels = _pieces(mean, most - least, black | pen, mpp)
    labels[pen], labels[black] = Area.PEN, Area.BLACK
    tissue = labels == Area.TISSUE
    if tissue.any():
        labels[out_of_focus(image, tissue, mpp)] = Area.BLURRED
        labels[folds(density, tissue, mpp)] = Area.FOLD
    return TissueMask(labels, mpp)


def glass_colour(image: UInt8Image, black: Bools) -> Floats:
    """The colour of a slide's glass, RGB bytes as floats, (3,): the brightest flat one.

    Pure white is what a scanner did not scan, unless nothing else is flat. Tissue is never as
    flat as glass, however pale.
    """
    green = as_floats(image[..., 1])
    spread = cv2.blur(green * green, (5, 5)) - cv2.blur(green, (5, 5)) ** 2
    rough = np.sqrt(np.maximum(spread, 0))
    lit = ~black & (green > _DARKEST_GLASS) & (darkest_channel(image) < _WHITE)
    white = np.full(3, 255.0)
    if np.count_nonzero(lit) < _FEWEST * lit.size:
        return white
    flat = lit & (rough < np.clip(2 * np.percentile(rough[lit], 5), _FLAT, _ROUGH))
    counts = np.convolve(np.bincount(image[..., 1][flat], minlength=256), np.ones(5), "same")
    enough = np.flatnonzero(counts >= max(_FEWEST * lit.size, 1))
    if not enough.size:
        return white
    peak = enough[-1] - 12 + int(np.argmax(counts[enough[-1] - 12 : enough[-1] + 1]))
    alike = lit & (np.abs(green - peak) <= 3)
    if np.count_nonzero(flat & alike) < _FLAT_SHARE * np.count_nonzero(alike):
        return white
    return np.asarray(np.median(image[flat & alike], axis=0), np.float64)


def density_over(image: UInt8Image, glass: Floats) -> Floats32:
    """Optical density over that of the glass, (height, width, 3), natural log, none below 0."""
    offset = np.log(glass + 1.0) - np.log(240.0)
    table = density_table()[:, None] + offset.astype(np.float32)
    return as_floats(cv2.LUT(image, np.maximum(table, 0)[None]))


def _pieces(mean: Floats32, colour: Floats32, foreign: Bools, mpp: float) -> UInt8Image:
    """Glass, tissue, holes and dust, (height, width) of ``Area``."""
    score = cv2.GaussianBlur(mean + colour, (0, 0), 0.8)
    glass = score[(score < _PALEST) & ~foreign]
    noise = 4 * float(np.sqrt(np.mean(glass**2))) if glass.size else 0.0
    edge = _EDGE * cv2.dilate(score, np.ones((5, 5), np.uint8))
    stained = (score > np.maximum(edge, np.clip(noise, _PALEST, _SURE))) & ~foreign
    bridged = as_bytes(_bridged(stained.view(np.uint8), mpp) * ~foreign)
    solid = as_bytes(cv2.morphologyEx(bridged, cv2.MORPH_OPEN, disc(1)))
    count, piece, stats, _ = cv2.connectedComponentsWithStats(solid)
    inside = piece[solid > 0]
    dense, coloured = (
        np.bincount(inside, weights=each[solid > 0], minlength=count) for each in (mean, colour)
    )
    dust = stats[:, cv2.CC_STAT_AREA] * mpp**2 < DUST
    dust |= coloured < _GREYEST * dense
    dust[0] = False
    specks = dust[piece]
    labels = _holes_of(as_bytes(solid * ~specks), mpp)
    labels[specks] = Area.DUST
    return labels


def _bridged(stained: UInt8Image, mpp: float) -> UInt8Image:
    """What is stained, its narrow gaps closed; between thin walls, as those of fat, wider ones."""
    closed = cv2.morphologyEx(stained, cv2.MORPH_CLOSE, disc(_BRIDGE / mpp))
    thin = stained - cv2.morphologyEx(stained, cv2.MORPH_OPEN, disc(_THIN / mpp))
    netted = cv2.morphologyEx(thin, cv2.MORPH_CLOSE, disc(2 * _BRIDGE / mpp))
    return as_bytes(np.maximum(closed, netted))


def _holes_of(solid: UInt8Image, mpp: float) -> UInt8Image:
    """``Area.TISSUE`` where solid or in a small gap, ``HOLE`` in a large one, else ``GLASS``."""
    count, gap, stats, _ = cv2.connectedComponentsWithStats(1 - solid, connectivity=4)
    left, top, width, height, area = stats.T
    enclosed = (left > 0) & (top > 0)
    enclosed &= (left + width < solid.shape[1]) & (top + height < solid.shape[0])
    kind = np.full(count, Area.GLASS, np.uint8)
    kind[enclosed] = np.where(area[enclosed] * mpp**2 < HOLE, Area.TISSUE, Area.HOLE)
    kind[0] = Area.TISSUE
    return as_bytes(kind[gap])


def disc(radius: float) -> UInt8Image:
    """A round kernel of this radius, at least 1 pixel."""
    side = 2 * max(1, round(radius)) + 1
    return as_bytes(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))


def _isin(labels: UInt8Image, areas: Collection[Area]) -> Bools:
    wanted = np.zeros(256, np.bool_)
    wanted[[int(area) for area in areas]] = True
    return wanted[labels]


def _at(total: Floats, x: Floats, y: Floats) -> Floats:
    """An integral image between its pixels, where it is bilinear; (n,)."""
    height, width = total.shape
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    column = np.minimum(x.astype(np.int64), width - 2)
    row = np.minimum(y.astype(np.int64), height - 2)
    right, low = x - column, y - row
    upper = total[row, column] * (1 - right) + total[row, column + 1] * right
    lower = total[row + 1, column] * (1 - right) + total[row + 1, column + 1] * right
    return np.asarray(upper * (1 - low) + lower * low)
