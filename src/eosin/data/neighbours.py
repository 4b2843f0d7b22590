"""Which images lie next to each other on a slide: the grid that their coordinates make."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import DataError
from eosin.remote import as_path
from eosin.slides.tile import Tile

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

    from eosin.arrays import Bools, Floats, Ints, Texts

_NAMED = re.compile(r"_x(\d+)_y(\d+)(?=[_.])")
_OFF = 0.1  # of a pitch: what coordinates may be off the grid by
_MOST_CELLS = 1 << 20  # of a slide, along a side
_ALONE = "leave the columns x and y out to do without neighbours"


@dataclass(frozen=True, eq=False)
class Neighbours:
    """For each of n images, which of them stand in the square of patches around it."""

    # from one patch to the next, in the unit of x and y, of tiles of slides in tile widths; None
    # where no two are near
    pitch: float | None
    placed: Bools  # whether an image has coordinates, shape (n,)
    inside: csr_matrix  # 1 where a column's image is in a row's square, itself included, (n, n)

    @property
    def count(self) -> Ints:
        """How many images stand in each one's square, itself included, shape (n,)."""
        return np.asarray(np.diff(self.inside.indptr), np.int64)

    def mean(self, values: Floats) -> Floats:
        """The mean of ``values`` (n, k) over each image's square, itself included, (n, k)."""
        mean: Floats = (self.inside @ values) / self.count[:, None]
        return mean

    def of(self, rows: Ints) -> Neighbours:
        """Of these images only, in this order."""
        return Neighbours(self.pitch, self.placed[rows], self.inside[rows][:, rows])


def find_neighbours(
    frame: pd.DataFrame, *, window: int = 3, pitch: float | None = None
) -> Neighbours | None:
    """Neighbours of the rows of a manifest on each slide; None where none names x and y.

    Gaps and edges make fewer neighbours; an image without coordinates has none.

    Args:
        frame: rows with ``patient``, ``x``, ``y`` and, where it is known, ``slide``.
        window: patches along the square's side, odd.
        pitch: of the grid that is expected; taken where all coordinates fit it. Otherwise it is
            the most common step from a patch to the next in its row or column, or the shortest.

    Raises:
        DataError: a coordinate is no number, lies off the grid, or two images have the same ones.
    """
    if not has_coordinates(frame):
        return None
    if pitch is not None and (pitch <= 1) != is_of_tiles(frame):  # in the other unit
        pitch = None
    xy, slide = _coordinates(frame), _slides(frame)
    placed = np.isfinite(xy).all(axis=1)
    rows = np.flatnonzero(placed)
    paths = frame["path"].to_numpy()[rows]
    step, cells = _grid(xy[rows], slide[rows], paths, pitch)
    first, second = _pairs(cells, slide[rows], paths, reach=window // 2)
    return Neighbours(step, np.asarray(placed), _square(rows[first], rows[second], len(frame)))


def named_coordinates(name: str) -> dict[str, str]:
    """X and y that a patch's file name gives, as in ``8863_idx5_x1001_y951_class0.png``."""
    found = _NAMED.search(name)
    return {"x": found[1], "y": found[2]} if found else {}


def has_coordinates(frame: pd.DataFrame) -> bool:
    """Whether any row names x and y."""
    return {"x", "y"} <= set(frame) and bool(((frame["x"] != "") & (frame["y"] != "")).any())


def is_of_tiles(frame: pd.DataFrame) -> bool:
    """Whether the rows are tiles of slides, whose coordinates count in tile widths."""
    return Tile.of(Path(frame["path"].iloc[0])) is not None


def _coordinates(frame: pd.DataFrame) -> Floats:
    """Of each row x and y, (n, 2); NaN where either is empty. Of tiles of slides in tile widths.

    So tiles that show as much lie as far apart on a slide of any um/px.
    """
    import pandas as pd

    found = np.stack([pd.to_numeric(frame[c], errors="coerce") for c in "xy"], 1).astype(float)
    written = np.stack([frame[c].astype(str).str.strip() != "" for c in "xy"], axis=1)
    wrong = np.flatnonzero((written & ~np.isfinite(found)).any(axis=1))
    if len(wrong):
        row = frame.iloc[wrong[0]]
        raise DataError(
            f"{row['path']}: x = {row['x']!r}, y = {row['y']!r} are no coordinates; want numbers, "
            "or nothing"
        )
    if is_of_tiles(frame):
        tiles = [Tile.of(as_path(path)) for path in frame["path"]]
        found /= np.array([1.0 if tile is None else tile.width for tile in tiles])[:, None]
    return np.where(written.all(axis=1, keepdims=True), found, np.nan)


def _slides(frame: pd.DataFrame) -> Ints:
    """The number of each row's slide; a patient's images are of one where no slide is named."""
    named = ["patient", *(["slide"] if "slide" in frame else [])]
    return np.asarray(frame.groupby(named, sort=False).ngroup(), np.int64)


def _grid(xy: Floats, slide: Ints, paths: Texts, pitch: float | None) -> tuple[float | None, Ints]:
    """The pitch and the cell of each image on its slide, (n, 2)."""
    origin = np.full((slide.max() + 1, 2), np.inf)
    np.minimum.at(origin, slide, xy)
    away = xy - origin[slide]
    steps = _steps(xy, slide)
    tried = [*([pitch] if pitch else []), *steps]
    fitting = [step for step in tried if _off(away, step).max() <= _OFF]
    if not (fitting or steps):
        return None, np.stack([_apart(column) for column in away.T], axis=1)
    step = fitting[0] if fitting else steps[0]
    off = _off(away, step).max(axis=1)
    if not fitting:
        row = int(off.argmax())
        raise DataError(
            f"{paths[row]}: x = {xy[row, 0]:g}, y = {xy[row, 1]:g} lies off the grid of "
            f"its slide, whose patches are {step:g} apart; correct it, or {_ALONE}"
        )
    if away.max() / step >= _MOST_CELLS:
        raise DataError(
            f"coordinates span {away.max():g} at {step:g} from a patch to the next: more than "
            f"{_MOST_CELLS:,} patches; correct them, or {_ALONE}"
        )
    return step, np.rint(away / step).astype(np.int64)


def _apart(values: Floats) -> Ints:
    """A number for each distinct value, too far from the next for a neighbour."""
    return np.asarray(np.unique(values, return_inverse=True)[1], np.int64) * 8


def _steps(xy: Floats, slide: Ints) -> list[float]:
    """The most common step to the next patch in a row or column, then the shortest; or nothing."""
    found = []
    for along, across in ((0, 1), (1, 0)):
        order = np.lexsort((xy[:, along], xy[:, across], slide))
        step = np.diff(xy[order, along])
        level = (np.diff(xy[order, across]) == 0) & (np.diff(slide[order]) == 0)
        found.append(step[level & (step > 0)])
    steps, times = np.unique(np.concatenate(found), return_counts=True)
    return [float(steps[times.argmax()]), float(steps[0])] if len(steps) else []


def _off(away: Floats, step: float) -> Floats:
    return np.abs(away / step - np.rint(away / step))


def _pairs(cells: Ints, slide: Ints, paths: Texts, *, reach: int) -> tuple[Ints, Ints]:
    """Every image with each that stands in the square around it, itself included."""
    high, wide = (int(cells[:, k].max()) + 1 + 2 * reach for k in (1, 0))
    code = (slide * high + cells[:, 1] + reach) * wide + cells[:, 0] + reach
    order = np.argsort(code, kind="stable")
    ranked = code[order]
    same = np.flatnonzero(ranked[1:] == ranked[:-1])
    if len(same):
        one, two = paths[order[same[0]]], paths[order[same[0] + 1]]
        raise DataError(
            f"{two}: has the coordinates of {one} on the same slide; keep one, name their slides "
            f"in a column slide, or {_ALONE}"
        )
    found: list[tuple[Ints, Ints]] = []
    around = range(-reach, reach + 1)
    for shift in (dy * wide + dx for dy in around for dx in around):
        at = np.searchsorted(ranked, code + shift).clip(max=len(code) - 1)
        there = ranked[at] == code + shift
        found.append((np.flatnonzero(there), order[at[there]]))
    return np.concatenate([pair[0] for pair in found]), np.concatenate([p[1] for p in found])


def _square(first: Ints, second: Ints, count: int) -> csr_matrix:
    """The matrix of pairs; an image that is in none counts itself."""
    from scipy.sparse import csr_matrix

    alone = np.setdiff1d(np.arange(count), first)
    rows, columns = np.r_[first, alone], np.r_[second, alone]
    square: csr_matrix = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    square.sort_indices()
    return square
