"""Where the epithelium of a drawn tissue lies: the architecture of eight tumour types as masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from eosin.arrays import Floats, Floats32, UInt8Image

Points = Floats


@dataclass(frozen=True, slots=True)
class Plan:
    """Masks of one drawn field, each (side, side) uint8 with 255 inside.

    ``cavity`` is lined by epithelium from its wall inwards, ``solid`` is filled with it, and
    ``mucin`` is a pale lake that surrounds floating nests.
    """

    cavity: UInt8Image
    solid: UInt8Image
    mucin: UInt8Image


@dataclass(frozen=True, slots=True)
class Sheet:
    """The empty sheet that an architecture is drawn on: its side in pixels and its scale."""

    side: int
    pixels_per_micron: float
    rng: np.random.Generator

    def blank(self) -> UInt8Image:
        """A mask of this sheet with nothing in it."""
        return np.zeros((self.side, self.side), np.uint8)

    def anywhere(self, count: int, margin: float = 0.0) -> Points:
        """``count`` points in pixels, at most ``margin`` microns outside of the sheet."""
        reach = margin * self.pixels_per_micron
        return self.rng.uniform(-reach, self.side + reach, (count, 2))

    def microns(self, low: float, high: float) -> float:
        """One length between ``low`` and ``high`` microns, in pixels."""
        return float(self.rng.uniform(low, high)) * self.pixels_per_micron

    def number(self, per_square: float) -> int:
        """A count for this field, when ``per_square`` is the mean in 200 x 200 microns."""
        area = (self.side / self.pixels_per_micron / 200.0) ** 2
        return max(1, int(self.rng.poisson(per_square * area)))


def lattice(sheet: Sheet, spacing: float, *, jitter: float) -> Points:
    """Points of a turned hexagonal lattice over the sheet, each moved by ``jitter`` spacings."""
    rng, reach = sheet.rng, sheet.side * 0.75
    steps = np.arange(-reach, reach, spacing)
    x, y = np.meshgrid(steps, np.arange(-reach, reach, spacing * np.sqrt(0.75)))
    x[1::2] += spacing / 2
    flat = np.stack([x.ravel(), y.ravel()], axis=1)
    turn = rng.uniform(0, np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = flat @ rotation + sheet.side / 2 + rng.uniform(-0.5, 0.5, 2) * spacing
    moved += rng.normal(0, jitter * spacing, moved.shape)
    inside = ((moved > -spacing) & (moved < sheet.side + spacing)).all(axis=1)
    return np.asarray(moved[inside])


def _blob(
    sheet: Sheet, centre: Points, radius: float, *, stretch: float = 1.0, rough: float = 0.1
) -> NDArray[np.int32]:
    """A closed wavy outline (polygon for OpenCV) of mean ``radius`` pixels around ``centre``."""
    rng = sheet.rng
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    order = np.arange(2, 8)
    waves = np.cos(order[:, None] * angle + rng.uniform(0, 2 * np.pi, (6, 1)))
    wave = rng.normal(0, rough / order**0.6) @ waves
    reach = radius * np.maximum(1.0 + wave, 0.3)
    x, y = reach * np.cos(angle) * np.sqrt(stretch), reach * np.sin(angle) / np.sqrt(stretch)
    turn = rng.uniform(0, np.pi)
    cosine, sine = np.cos(turn), np.sin(turn)
    outline = np.column_stack([x * cosine - y * sine, x * sine + y * cosine])
    return np.rint(outline + centre).astype(np.int32)


def _fill(mask: UInt8Image, outline: NDArray[np.int32], value: int = 255) -> None:
    cv2.fillPoly(mask, [outline], value)


def _tube(
    sheet: Sheet, mask: UInt8Image, width: float, *, bend: float, value: int = 255, length: int = 14
) -> None:
    """Draw a winding tube of ``width`` pixels on ``mask``, the sheet being drawn."""
    rng = sheet.rng
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, bend, length))
    step = max(width * 0.6, sheet.side / 40)
    path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], axis=1) * step, axis=0)
    path += sheet.anywhere(1)[0] - path[length // 2]
    widths = width * (1 + 0.25 * np.cumsum(rng.normal(0, 0.35, length)).clip(-1.6, 1.6))
    points = np.rint(path).astype(int)
    for start, end, wide in zip(points[:-1], points[1:], widths[1:], strict=True):
        cv2.line(mask, start.tolist(), end.tolist(), value, max(2, int(wide)))


def _acini(sheet: Sheet, *, spacing: float, radius: float, kept: float) -> Plan:
    """Round ducts side by side, as in adenosis and tubular adenoma."""
    cavity = sheet.blank()
    apart = spacing * sheet.pixels_per_micron
    centres = lattice(sheet, apart, jitter=0.13)
    lobule = sheet.anywhere(2)
    near = np.min(np.linalg.norm(centres[:, None] - lobule[None], axis=2), axis=1)
    order = np.argsort(near)[: max(2, int(kept * len(centres)))]
    for centre in centres[order]:
        size = sheet.microns(radius * 0.75, radius * 1.25)
        outline = _blob(sheet, centre, size, stretch=sheet.rng.uniform(1, 1.8), rough=0.09)
        # A dark line around each duct keeps two neighbours from melting into one.
        cv2.polylines(cavity, [outline], True, 0, max(2, int(3 * sheet.pixels_per_micron)))
        _fill(cavity, outline)
    return Plan(cavity, sheet.blank(), sheet.blank())


def _adenosis(sheet: Sheet) -> Plan:
    return _acini(sheet, spacing=54, radius=20, kept=sheet.rng.uniform(0.35, 0.65))


def _tubular_adenoma(sheet: Sheet) -> Plan:
    return _acini(sheet, spacing=46, radius=19.5, kept=sheet.rng.uniform(0.5, 0.9))


def _fibroadenoma(sheet: Sheet) -> Plan:
    """Long winding ducts in much stroma."""
    cavity = sheet.blank()
    for _ in range(1 + sheet.number(1.6)):
        _tube(sheet, cavity, sheet.microns(26, 48), bend=0.35)
    return Plan(cavity, sheet.blank(), sheet.blank())


def _phyllodes(sheet: Sheet) -> Plan:
    """A wide cleft into which broad leaves of stroma grow."""
    cavity = sheet.blank()
    for centre in sheet.anywhere(1 + sheet.number(0.5)):
        _fill(cavity, _blob(sheet, centre, sheet.microns(60, 100), stretch=1.6, rough=0.25))
    for centre in sheet.anywhere(2 + sheet.number(1.5)):
        _fill(cavity, _blob(sheet, centre, sheet.microns(25, 48), stretch=1.5, rough=0.12), 0)
    return Plan(cavity, sheet.blank(), sheet.blank())


def _ductal(sheet: Sheet) -> Plan:
    """Irregular nests, some with a lumen, and cords between them."""
    solid = sheet.blank()
    for centre in sheet.anywhere(2 + sheet.number(4.5), 15):
        nest = _blob(sheet, centre, sheet.microns(16, 44), stretch=1.5, rough=0.24)
        _fill(solid, nest)
        if sheet.rng.random() < 0.45:
            hole = centre + sheet.rng.normal(0, 6, 2) * sheet.pixels_per_micron
            _fill(solid, _blob(sheet, hole, sheet.microns(5, 14), stretch=1.5, rough=0.2), 0)
    for _ in range(sheet.number(2.5)):
        _tube(sheet, solid, sheet.microns(10, 18), bend=0.4, length=9)
    return Plan(sheet.blank(), solid, sheet.blank())


def _lobular(sheet: Sheet) -> Plan:
    """Single files of cells through the stroma, and a few looser nests."""
    solid = sheet.blank()
    for _ in range(7 + sheet.number(6)):
        _tube(sheet, solid, sheet.microns(9, 14), bend=0.22, length=11)
    for centre in sheet.anywhere(sheet.number(2.0), 10):
        _fill(solid, _blob(sheet, centre, sheet.microns(14, 28), stretch=1.7, rough=0.25))
    return Plan(sheet.blank(), solid, sheet.blank())


def _mucinous(sheet: Sheet) -> Plan:
    """Islands of cells that float in lakes of mucin."""
    mucin, solid = sheet.blank(), sheet.blank()
    for centre in sheet.anywhere(1 + sheet.number(0.7)):
        _fill(mucin, _blob(sheet, centre, sheet.microns(70, 115), stretch=1.5, rough=0.16))
    for centre in sheet.anywhere(3 + sheet.number(4.0), 10):
        _fill(solid, _blob(sheet, centre, sheet.microns(14, 38), stretch=1.6, rough=0.22))
        if sheet.rng.random() < 0.3:
            _fill(solid, _blob(sheet, centre, sheet.microns(5, 11), rough=0.2), 0)
    return Plan(sheet.blank(), solid, mucin)


def _papillary(sheet: Sheet) -> Plan:
    """A cavity full of thin fronds; each frond has a core of stroma and a coat of epithelium."""
    cavity = sheet.blank()
    for centre in sheet.anywhere(1 + sheet.number(0.8)):
        _fill(cavity, _blob(sheet, centre, sheet.microns(75, 115), stretch=1.4, rough=0.16))
    for _ in range(3 + sheet.number(3.0)):
        _tube(sheet, cavity, sheet.microns(7, 15), bend=0.4, value=0, length=12)
    return Plan(cavity, sheet.blank(), sheet.blank())


ARCHITECTURES: dict[str, Callable[[Sheet], Plan]] = {
    "A": _adenosis,
    "F": _fibroadenoma,
    "PT": _phyllodes,
    "TA": _tubular_adenoma,
    "DC": _ductal,
    "LC": _lobular,
    "MC": _mucinous,
    "PC": _papillary,
}


def lining(
    sheet: Sheet, depth: Floats32, levels: list[float], *, spacing: float, jitter: float
) -> tuple[Points, Floats]:
    """Points in rows at given depths below a wall, and the direction (radians) away from it.

    ``depth`` is the distance to the wall in pixels; rows start where it crosses each level.
    ``spacing`` is in pixels, ``jitter`` in spacings.
    """
    rows: list[Points] = [np.empty((0, 2))]
    normals: list[Floats] = [np.empty(0)]
    for level in levels:
        inside = (depth > level).astype(np.uint8)
        outlines, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        for outline in outlines:
            row, normal = _along(outline[:, 0].astype(np.float64), spacing, sheet.rng)
            rows.append(row)
            normals.append(normal)
    points, angles = np.concatenate(rows), np.concatenate(normals)
    points = points + sheet.rng.normal(0, jitter * spacing, points.shape)
    kept = ((points > 2) & (points < sheet.side - 3)).all(axis=1)
    return points[kept], angles[kept]


def _along(outline: Points, spacing: float, rng: np.random.Generator) -> tuple[Points, Floats]:
    """Evenly spaced points on a closed outline and the direction of its normal there."""
    closed = np.vstack([outline, outline[:1]])
    steps = np.hypot(*np.diff(closed, axis=0).T)
    length = np.concatenate([[0.0], np.cumsum(steps)])
    count = int(length[-1] / spacing)
    if count < 2:
        return np.empty((0, 2)), np.empty(0)
    at = (np.arange(count) + rng.uniform()) * length[-1] / count
    ends = np.concatenate([at - spacing / 2, at + spacing / 2]) % length[-1]
    x, y = (np.interp(ends, length, closed[:, axis]).reshape(2, count) for axis in (0, 1))
    return np.column_stack([x.mean(0), y.mean(0)]), np.arctan2(y[1] - y[0], x[1] - x[0]) + np.pi / 2


def territories(side: int, centres: Points) -> tuple[NDArray[np.int32], Floats32]:
    """The nearest centre of each pixel (label image), and 1 where two territories meet.

    Both are half as large as a sheet of ``side`` pixels, which is fine enough for cell borders.
    """
    half = side // 2
    at = np.rint(centres / 2).astype(int)
    at = at[((at >= 0) & (at < half)).all(axis=1)]
    edge = np.zeros((half, half), np.float32)
    if len(at) == 0:
        return np.zeros((half, half), np.int32), edge
    seeds = np.full((half, half), 255, np.uint8)
    seeds[at[:, 1], at[:, 0]] = 0
    _, label = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    edge[:-1] = label[:-1] != label[1:]
    edge[:, :-1] += label[:, :-1] != label[:, 1:]
    return np.asarray(label, np.int32), np.minimum(edge, 1.0)
