"""Nuclei of a drawn tissue: where each stands, what it looks like, and the paint that shows it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from eosin.arrays import Bools, Floats, Floats32, UInt8Image
from eosin.data.glands import Plan, Points, Sheet, lattice, lining

INK = 90.0  # grey levels per unit of haematoxylin while nuclei are painted on 8 bits


@dataclass(frozen=True, slots=True)
class Nuclei:
    """What the epithelial nuclei of one patient look like; lengths in microns.

    ``spread`` is the coefficient of variation of the diameter, ``irregularity`` the roughness of
    the outline, ``density`` the haematoxylin (optical density), ``spacing`` the distance of
    centres in diameters, ``disorder`` (0 to 1) how far they leave their rows, ``vesicular`` (0 to
    1) how much paler the centre is, and ``nucleoli`` the share with a nucleolus.
    """

    diameter: float
    spread: float
    elongation: float
    irregularity: float
    density: float
    spacing: float
    disorder: float
    vesicular: float
    nucleoli: float


@dataclass(frozen=True, slots=True)
class Cells:
    """Ellipses to paint: centres (n, 2) and half axes (n, 2) in pixels, angles, haematoxylin."""

    centres: Points
    axes: Floats
    angles: Floats
    density: Floats


# Fibroblasts and lymphocytes: their sizes are drawn one by one, their surface is plain.
STROMAL = Nuclei(5.0, 0.1, 1.0, 0.10, 1.0, 1.0, 0.0, 0.15, 0.0)


def epithelial_cells(
    sheet: Sheet, nuclei: Nuclei, plan: Plan, *, layers: int
) -> tuple[Cells, Bools]:
    """The nuclei that carry the label, and the epithelium that they stand in."""
    depth = np.asarray(cv2.distanceTransform(plan.cavity, cv2.DIST_L2, 3), np.float32)
    spacing = nuclei.spacing * nuclei.diameter * sheet.pixels_per_micron
    row = 0.85 * spacing
    levels = [(0.55 + number) * row for number in range(layers)]
    coat = (depth > 0) & (depth < levels[-1] + 0.95 * row)
    jitter = 0.05 + 0.2 * nuclei.disorder
    lined, normals = lining(sheet, depth, levels, spacing=spacing, jitter=jitter)
    loose = lattice(sheet, spacing, jitter=0.10 + 0.12 * nuclei.disorder)
    inner = np.asarray(cv2.distanceTransform(plan.solid, cv2.DIST_L2, 3), np.float32)
    loose = loose[_sample(inner, loose) > 0.16 * spacing]
    centres = np.concatenate([lined, loose])
    angles = np.concatenate([normals, sheet.rng.uniform(0, np.pi, len(loose))])
    return _individuals(sheet, nuclei, centres, angles), coat | (plan.solid > 0)


def _individuals(sheet: Sheet, nuclei: Nuclei, centres: Points, angles: Floats) -> Cells:
    """Give each nucleus its own size, shape, tilt and density around the patient's."""
    rng, count = sheet.rng, len(centres)
    tilted = angles + rng.normal(0, 0.15 + 1.3 * nuclei.disorder, count)
    width = nuclei.diameter * sheet.pixels_per_micron
    size = width * np.exp(rng.normal(0, nuclei.spread, count))
    stretch = np.sqrt(nuclei.elongation * np.exp(rng.normal(0, 0.1, count)))
    axes = np.stack([size * stretch, size / stretch], axis=1) / 2
    density = nuclei.density * np.exp(rng.normal(0, 0.13 + 0.5 * nuclei.spread, count))
    return Cells(centres, axes, tilted, density)


def _sample(field: Floats32, points: Points) -> Floats32:
    """Values of a field at points (x, y); zero outside of it."""
    at = np.rint(points).astype(int)
    height, width = field.shape
    inside = (at[:, 0] >= 0) & (at[:, 0] < width) & (at[:, 1] >= 0) & (at[:, 1] < height)
    at = np.where(inside[:, None], at, 0)
    return np.asarray(np.where(inside, field[at[:, 1], at[:, 0]], 0), np.float32)


def stromal_cells(
    sheet: Sheet, counts: tuple[float, float], *, across: Floats32, free: Floats32
) -> Cells:
    """Spindle nuclei of fibroblasts along the fibres, and round dark lymphocytes in clusters.

    ``counts`` are the means of both in 100 x 100 microns; ``across`` is the coordinate across the
    fibres on a coarse grid; ``free`` is the distance in pixels to what is not stroma.
    """
    rng, scale = sheet.rng, sheet.pixels_per_micron
    area = (sheet.side / scale / 100.0) ** 2
    thin_ones, round_ones = (int(rng.poisson(count * area)) for count in counts)
    spindles, clusters = sheet.anywhere(thin_ones), sheet.anywhere(2)
    crowd = clusters[rng.integers(0, 2, round_ones)]
    crowd = crowd + rng.standard_t(2.5, (round_ones, 2)) * 17 * scale
    centres = np.concatenate([spindles, crowd])
    slope_y = np.asarray(np.gradient(across, axis=0), np.float32)
    slope_x = np.asarray(np.gradient(across, axis=1), np.float32)
    coarse = centres * (len(across) / sheet.side)
    angles = np.arctan2(_sample(slope_y, coarse), _sample(slope_x, coarse)) + np.pi / 2
    angles = angles + rng.normal(0, 0.18, len(centres))
    long = np.concatenate([rng.uniform(7, 13, thin_ones), rng.uniform(4.6, 6.2, round_ones)])
    short = np.concatenate([rng.uniform(1.8, 3.6, thin_ones), 0.95 * long[thin_ones:]])
    density = np.concatenate(
        [rng.uniform(0.65, 1.15, thin_ones), rng.uniform(1.2, 1.5, round_ones)]
    )
    kept = _sample(free, centres) > 1.2 * scale
    axes = np.stack([long, short], axis=1) * scale / 2
    return Cells(centres[kept], axes[kept], angles[kept], density[kept])


def _outlines(cells: Cells, rough: float, rng: np.random.Generator) -> Floats:
    """Closed outlines (n, 16, 2) around the origin."""
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    reach = np.ones((len(cells.angles), len(angle)))
    for order in (2, 3, 4):
        phase = rng.uniform(0, 2 * np.pi, (len(reach), 1))
        reach += rng.normal(0, rough / order, (len(reach), 1)) * np.cos(order * angle + phase)
    x = reach * np.cos(angle) * cells.axes[:, :1]
    y = reach * np.sin(angle) * cells.axes[:, 1:]
    cosine, sine = np.cos(cells.angles)[:, None], np.sin(cells.angles)[:, None]
    return np.stack([x * cosine - y * sine, x * sine + y * cosine], axis=2)


def paint(sheet: Sheet, cells: Cells, *, look: Nuclei) -> UInt8Image:
    """Haematoxylin (times INK) of nuclei: a dark rim, a paler centre, sometimes a nucleolus."""
    canvas, rng = sheet.blank(), sheet.rng
    outlines = _outlines(cells, look.irregularity, rng)
    centres = cells.centres[:, None]
    whole = np.rint((outlines + centres) * 8).astype(np.int32)
    core = np.rint((outlines * 0.70 + centres) * 8).astype(np.int32)
    ink = np.clip(cells.density * INK, 0, 255)
    pale = ink * (1.0 - 0.45 * look.vesicular)
    dots = rng.random(len(ink)) < look.nucleoli
    spot = cells.axes.min(axis=1)
    offset = rng.normal(0, 0.22, (len(ink), 2)) * spot[:, None]
    for index in range(len(ink)):
        cv2.fillConvexPoly(canvas, whole[index], ink[index], cv2.LINE_8, 3)
        cv2.fillConvexPoly(canvas, core[index], pale[index], cv2.LINE_8, 3)
        if dots[index]:
            at = np.rint((cells.centres[index] + offset[index]) * 8).astype(int).tolist()
            dark = min(255.0, 1.15 * ink[index])
            cv2.circle(canvas, at, int(spot[index] * 0.24 * 8), dark, -1, cv2.LINE_8, 3)
    return canvas
