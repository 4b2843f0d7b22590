"""Overviews of slides drawn at 8 um/px with known areas: what a tissue mask is measured on.

Tissue of usual, dark and hardly any stain, fat that is mostly empty, and thin cores; holes, dust
and hairs, pen over glass and tissue, black borders, folds, a part out of focus; glass that is grey,
yellow, cyan or clipped, with shading, noise and JPEG artefacts. Everything absorbs what it would.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from eosin.arrays import Bools, Floats32, UInt8Image
from eosin.pixels.tissue_mask import Area

MPP = 8.0
HEIGHT, WIDTH = 640, 900
GLASS = {
    "clear": (244, 244, 245),
    "grey": (204, 205, 208),
    "yellow": (245, 240, 206),
    "cyan": (212, 236, 242),
    "pink": (246, 236, 241),
    "clipped": (255, 255, 255),
}
PENS = {  # what it absorbs of red, green and blue
    "green": (1.9, 0.7, 1.3),
    "teal": (1.3, 0.35, 0.55),
    "blue": (1.75, 1.35, 0.4),
    "light blue": (1.15, 0.75, 0.2),
    "red": (0.15, 1.9, 1.65),
    "light red": (0.05, 1.15, 1.1),
    "black": (2.3, 2.3, 2.2),
    "light black": (1.5, 1.5, 1.45),
}
KINDS = ("usual", "dark", "pale", "fat", "core")
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.14, 0.90, 0.41])


class DrawnSlide(NamedTuple):
    """An overview, what lies where (bytes of Area), and what it was drawn with."""

    image: UInt8Image
    areas: UInt8Image
    glass: str
    pens: tuple[str, ...]
    kinds: tuple[str, ...]


class _Canvas(NamedTuple):
    rng: np.random.Generator
    density: Floats32  # (height, width, 3)
    areas: UInt8Image


def drawn_slide(seed: int) -> DrawnSlide:
    """The same slide for the same seed."""
    rng = np.random.default_rng(seed)
    canvas = _Canvas(
        rng, np.zeros((HEIGHT, WIDTH, 3), np.float32), np.zeros((HEIGHT, WIDTH), np.uint8)
    )
    kinds = tuple(np.array(KINDS)[(seed + np.arange(4)) % len(KINDS)].tolist())
    for column, kind in enumerate(kinds):
        _island(canvas, kind, (WIDTH * (column + 0.5) / len(kinds), HEIGHT * rng.uniform(0.4, 0.6)))
    _dust(canvas)
    pens = tuple(rng.choice(list(PENS), 2, replace=False).tolist()) if seed % 5 else ()
    for pen in pens:
        _stroke(canvas, np.array(PENS[pen]))
    glass = list(GLASS)[seed % len(GLASS)]
    light = _develop(canvas, np.array(GLASS[glass], np.float64))
    _borders(canvas, light, black=bool(rng.random() < 0.5))
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 95))]
    image = cv2.imdecode(cv2.imencode(".jpg", light, quality)[1], cv2.IMREAD_COLOR)
    return DrawnSlide(np.asarray(image, np.uint8), canvas.areas, glass, pens, kinds)


def noise(rng: np.random.Generator, sigma: float) -> Floats32:
    """Smooth noise of mean 0 and deviation 1, (height, width)."""
    zoom = max(1.0, sigma / 2)  # smooth noise enlarged is smooth noise, at less cost
    shape = (round(HEIGHT / zoom), round(WIDTH / zoom))
    field = cv2.GaussianBlur(rng.normal(size=shape).astype(np.float32), (0, 0), sigma / zoom)
    field = cv2.resize(field, (WIDTH, HEIGHT))
    return np.asarray((field - field.mean()) / field.std(), np.float32)


def _shape(canvas: _Canvas, kind: str, middle: tuple[float, float]) -> Bools:
    rng = canvas.rng
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    wide = 28 if kind == "core" else rng.uniform(70, 100)
    tall = 270 if kind == "core" else rng.uniform(130, 260)
    turn = rng.uniform(-0.15, 0.15)
    u = (x - middle[0]) * np.cos(turn) + (y - middle[1]) * np.sin(turn)
    v = (y - middle[1]) * np.cos(turn) - (x - middle[0]) * np.sin(turn)
    ragged = 0.12 * noise(rng, 40) + 0.04 * noise(rng, 6) + 0.02 * noise(rng, 2)
    inside = (u / wide) ** 4 + (v / tall) ** 4 < 1 + 4 * ragged.clip(-0.22, 0.3)
    opened = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    _, piece, stats, _ = cv2.connectedComponentsWithStats(opened)
    return piece == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))


def _island(canvas: _Canvas, kind: str, middle: tuple[float, float]) -> None:
    rng, inside = canvas.rng, _shape(canvas, kind, middle)
    fine, coarse, patches = noise(rng, 0.7), noise(rng, 2.5), noise(rng, 15)
    amount = {"dark": rng.uniform(1.0, 1.5), "pale": rng.uniform(0.1, 0.16)}.get(
        kind, rng.uniform(0.35, 0.7)
    )
    eosin = amount * np.maximum(0.1, 1 + 0.22 * fine + 0.2 * coarse + 0.15 * patches)
    cells = 0.0 if kind == "pale" else rng.uniform(0.4, 0.9) * amount
    nuclei = cells * np.exp(0.5 * fine + 0.5 * noise(rng, 10) - 0.4)
    lumens = noise(rng, 3) > 2.2
    eosin[lumens] *= 0.05
    nuclei = np.where(lumens, 0, nuclei)
    if kind == "fat":
        walls = _fat(rng)
        eosin, nuclei = eosin * walls, nuclei * walls
    density = eosin[..., None] * EOSIN + nuclei[..., None] * HAEMATOXYLIN
    canvas.areas[inside] = Area.TISSUE
    if kind in ("usual", "dark"):
        density, fold = _folded(rng, density, inside)
        canvas.areas[fold] = Area.FOLD
    if kind == "usual" and rng.random() < 0.5:
        half = inside & (np.arange(HEIGHT)[:, None] > middle[1] + rng.uniform(0, 60))
        density[half] = cv2.GaussianBlur(density, (0, 0), rng.uniform(3, 5))[half]
        canvas.areas[half & inside & (canvas.areas == Area.TISSUE)] = Area.BLURRED
    canvas.density[inside] = density[inside]
    for _ in range(int(rng.integers(0, 3)) if kind != "core" else 0):
        _hole(canvas, inside)


def _fat(rng: np.random.Generator) -> Floats32:
    """Walls of cells 50 to 100 um wide, thin enough that most of the light passes; 0.02 to 1."""
    step = rng.uniform(7, 11)
    rows, columns = (np.arange(0, side, step) for side in (HEIGHT, WIDTH))
    centres = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
    centres = np.rint(centres + rng.normal(0, step / 6, centres.shape)).astype(int)
    seeds = np.ones((HEIGHT, WIDTH), np.uint8)
    seeds[centres[:, 0].clip(0, HEIGHT - 1), centres[:, 1].clip(0, WIDTH - 1)] = 0
    _, cell = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5)
    cell = cell.astype(np.float32)
    wall = cv2.dilate(cell, np.ones((2, 2))) != cv2.erode(cell, np.ones((2, 2)))
    thin = cv2.GaussianBlur(wall.astype(np.float32), (0, 0), 0.5) * rng.uniform(0.3, 0.5)
    return np.asarray(np.maximum(thin, 0.02), np.float32)


def _folded(rng: np.random.Generator, density: Floats32, inside: Bools) -> tuple[Floats32, Bools]:
    rows, columns = np.nonzero(cv2.erode(inside.astype(np.uint8), np.ones((41, 41), np.uint8)))
    line = np.zeros((HEIGHT, WIDTH), np.uint8)
    if not len(rows):
        return density, line > 0
    start = int(rng.integers(len(rows)))
    turn, length = rng.uniform(0, np.pi), rng.uniform(80, 220)
    bend = [(t, rng.uniform(-8, 8)) for t in np.linspace(-0.5, 0.5, 5) * length]
    points = [
        (
            columns[start] + along * np.cos(turn) - off * np.sin(turn),
            rows[start] + along * np.sin(turn) + off * np.cos(turn),
        )
        for along, off in bend
    ]
    cv2.polylines(line, [np.array(points, np.int32)], False, 1, int(rng.integers(8, 20)))
    fold = (line > 0) & inside
    return np.where(fold[..., None], density + np.roll(density, 30, 0), density), fold


def _hole(canvas: _Canvas, inside: Bools) -> None:
    radius = float(canvas.rng.uniform(16, 40))
    reach = 2 * int(radius * 1.6) + 1
    rows, columns = np.nonzero(cv2.erode(inside.astype(np.uint8), np.ones((reach, reach))))
    if not len(rows):
        return
    at = int(canvas.rng.integers(len(rows)))
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    ragged = 1 + 0.08 * noise(canvas.rng, 5)
    hole = np.hypot(y - rows[at], (x - columns[at]) * 1.2) < radius * ragged
    canvas.density[hole] = 0
    canvas.areas[hole] = Area.HOLE


def _dust(canvas: _Canvas) -> None:
    rng = canvas.rng
    for _ in range(40):
        speck = np.zeros((HEIGHT, WIDTH), np.uint8)
        at = (int(rng.integers(WIDTH)), int(rng.integers(HEIGHT)))
        cv2.circle(speck, at, int(rng.integers(1, 7)), 1, -1)
        stain = rng.choice([0.3, 0.6, 1.2]) * (EOSIN if rng.random() < 0.3 else np.full(3, 0.7))
        _lay(canvas, speck > 0, stain)
    for _ in range(3):
        hair = np.zeros((HEIGHT, WIDTH), np.uint8)
        ends = rng.uniform(0, 1, (3, 2)) * (WIDTH, HEIGHT)
        curve = _bezier(ends[0], ends[0] + (ends[1] - ends[0]) * 0.2, ends[0] + 60)
        cv2.polylines(hair, [curve], False, 1, 2)
        _lay(canvas, hair > 0, np.full(3, rng.uniform(0.3, 0.9)))


def _lay(canvas: _Canvas, where: Bools, stain: Floats32) -> None:
    canvas.density[where] += stain.astype(np.float32)
    canvas.areas[where & (canvas.areas == Area.GLASS)] = Area.DUST


def _bezier(start: Floats32, middle: Floats32, end: Floats32) -> UInt8Image:
    t = np.linspace(0, 1, 40)[:, None]
    return np.rint((1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end).astype(np.int32)


def _stroke(canvas: _Canvas, pen: Floats32) -> None:
    """A line across the slide or a ring round a piece, uneven, with soft edges."""
    rng, line = canvas.rng, np.zeros((HEIGHT, WIDTH), np.uint8)
    thick = int(rng.integers(30, 80))
    if rng.random() < 0.3:
        centre = (int(rng.uniform(0.3, 0.7) * WIDTH), int(rng.uniform(0.4, 0.6) * HEIGHT))
        axes = (int(rng.integers(150, 250)), int(rng.integers(200, 330)))
        cv2.ellipse(line, centre, axes, float(rng.uniform(0, 90)), 0, 330, 1, thick)
    else:
        ends = np.stack(
            [rng.uniform(0.05, 0.95, 3) * WIDTH, rng.uniform(0.05, 0.95, 3) * HEIGHT], 1
        )
        ends[2] = ends[0] + np.sign(WIDTH / 2 - ends[0]) * rng.uniform(200, 450, 2)
        cv2.polylines(line, [_bezier(*ends)], False, 1, thick)
    cover = cv2.GaussianBlur(line.astype(np.float32), (0, 0), 1.0)
    uneven = (1 + 0.12 * noise(rng, 20) + 0.06 * noise(rng, 3)).clip(0.7, 1.3)
    canvas.density[:] += (cover * uneven)[..., None] * pen.astype(np.float32)
    canvas.areas[line > 0] = Area.PEN


def _develop(canvas: _Canvas, glass: Floats32) -> UInt8Image:
    rng = canvas.rng
    shading = 1 + rng.uniform(0, 0.008) * noise(rng, 150)[..., None].clip(-2, 2)
    light = glass * shading * np.exp(-canvas.density) + rng.normal(
        0, rng.uniform(0, 2.0), canvas.density.shape
    )
    return np.asarray(np.rint(light).clip(0, 255), np.uint8)


def _borders(canvas: _Canvas, light: UInt8Image, *, black: bool) -> None:
    """Black along a side or two, or white where the scanner left out an empty corner."""
    rng, areas = canvas.rng, canvas.areas
    if not black:
        corner = (slice(0, int(rng.integers(20, 120))), slice(0, int(rng.integers(20, 400))))
        empty = np.isin(areas[corner], (Area.GLASS, Area.DUST))
        light[corner][empty], areas[corner][empty] = 255, Area.GLASS
        return
    for side in rng.choice(4, int(rng.integers(1, 3)), replace=False):
        deep = int(rng.integers(8, 90))
        strip = [np.s_[:deep], np.s_[-deep:], np.s_[:, :deep], np.s_[:, -deep:]][side]
        light[strip], areas[strip] = rng.integers(0, 12), Area.BLACK
