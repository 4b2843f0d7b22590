"""Tiles of whole slides: eosin's reader and OpenSlide's `read_region`, in turn, on one thread.

    python benchmarks/slides.py [FOLDER] [--side 8000] [--rounds 1]

Two pyramids of synthetic tissue are drawn, one with JPEG tiles (YCbCr) and one with JPEG 2000 tiles
(Aperio's form); FOLDER may hold Aperio files besides. Tiles of 224 px are read row by row, at level
0 and at twice its um/px, where both sides read the level that holds just that. Each side has the
same rows in turn, A B A B, in one process, and begins every round with nothing decoded. OpenSlide
is asked for `read_region` alone; "as RGB" adds what makes an RGB array of its image, as eosin's is.
All figures are of core time. The pixels are compared on the way. At 0.9 of twice the um/px eosin
averages pixels and OpenSlide has no counterpart: what that costs stands in its own column.

Exit code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import openslide
import tifffile
from bars import at_least
from rich.console import Console
from rich.table import Table

from eosin.arrays import UInt8Image
from eosin.data.synthetic import SyntheticOptions, write_synthetic
from eosin.machine import cpu_model
from eosin.pixels.reading import read_image
from eosin.slides.opening import open_slide
from eosin.slides.slide import Slide

SIZE = 224
BARS = {"JPEG": 3.0, "JPEG 2000": 1.2}
LEAST_TILES = 200  # at level 0: of fewer, the figures are shown and not judged
PATCH = 500  # side of the pieces that a drawn slide is laid of, pixels
FORMS = {
    "JPEG": {"compression": "jpeg", "compressionargs": {"level": 80}},
    "JPEG 2000": {
        "compression": "APERIO_JP2000_RGB",
        "compressionargs": {"level": 38},
        "description": "Aperio Image Library, drawn|MPP = 0.5",
    },
}


@dataclass(slots=True)
class Spent:
    """Core seconds and tiles of one slide at one scale."""

    tiles: int = 0
    eosin: float = 0.0
    openslide: float = 0.0
    as_rgb: float = 0.0
    averaged: float = 0.0


def main() -> None:
    """Draw, read in turns, print the table and whether the bars are met."""
    options = parse_options()
    cv2.setNumThreads(1)
    print(f"{cpu_model()}, one thread; tiles of {SIZE} px")
    met = True
    with tempfile.TemporaryDirectory() as folder:
        paths = [draw(Path(folder), form, options.side) for form in FORMS]
        paths += sorted(options.folder.glob("*.svs")) if options.folder else []
        table = Table(*("slide", "form", "um/px", "tiles", "eosin", "OpenSlide", "as RGB"))
        for heading in ("times", "as RGB", "averaged"):
            table.add_column(heading, justify="right")
        for path in paths:
            met &= compare(path, options, table)
    Console(width=110).print(table)
    print("eosin, OpenSlide, as RGB, averaged: tiles a core second")
    sys.exit(0 if met else 1)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="real slides, Aperio's *.svs")
    parser.add_argument("--side", type=int, default=8000, help="of the drawn slides, pixels")
    parser.add_argument("--rounds", type=int, default=1)
    return parser.parse_args()


def draw(folder: Path, form: str, side: int) -> Path:
    """A pyramid of synthetic tissue with three levels, each half the one above."""
    pieces = folder / "pieces"
    if not pieces.exists():
        write_synthetic(pieces, SyntheticOptions(patients=4, images=16, size=PATCH))
    images = [read_image(path) for path in sorted((pieces / "images").rglob("*.png"))]
    images = [image for image in images if image.shape == (PATCH, PATCH, 3)]
    rng = np.random.default_rng(0)
    pixels = np.empty((side, side, 3), np.uint8)
    for y in range(0, side, PATCH):
        for x in range(0, side, PATCH):
            piece = images[rng.integers(len(images))]
            turned = np.rot90(piece, rng.integers(4))
            pixels[y : y + PATCH, x : x + PATCH] = turned[: side - y, : side - x]
    path = folder / f"drawn-{form.replace(' ', '-').lower()}.tif"
    options = {"tile": (256, 256), "photometric": "rgb", "metadata": None, **FORMS[form]}
    resolution = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as file:
        for level in range(3):
            file.write(pixels, subfiletype=int(level > 0), **options, **resolution)
            half = pixels.shape[1] // 2, pixels.shape[0] // 2
            pixels = np.asarray(cv2.resize(pixels, half, interpolation=cv2.INTER_AREA), np.uint8)
    return path


def compare(path: Path, options: argparse.Namespace, table: Table) -> bool:
    """Add a slide's rows to the table; whether it meets its bars."""
    form, met = str(open_slide(path).source.compression), True
    for level in range(2):
        if level == len(open_slide(path).levels):
            continue
        spent = Spent()
        for _ in range(options.rounds):
            read_in_turn(path, level, spent)
        rates = [spent.tiles / each for each in (spent.eosin, spent.openslide, spent.as_rgb)]
        ratios = [rates[0] / rates[1], rates[0] / rates[2]]
        averaged = f"{spent.tiles / spent.averaged:.0f}" if spent.averaged else ""
        table.add_row(
            *(path.name[:24], form, ("as level 0", "twice")[level]),
            *(str(spent.tiles // options.rounds), *(f"{rate:.0f}" for rate in rates)),
            *(*(f"{ratio:.2f}" for ratio in ratios), averaged),
        )
        what = f"{path.name}, {form}, {('level 0', 'twice its um/px')[level]}"
        if spent.tiles // options.rounds >= LEAST_TILES or level:
            met &= at_least(f"tiles a core second over OpenSlide's, {what}", ratios[0], BARS[form])
    return met


def read_in_turn(path: Path, level: int, spent: Spent) -> None:
    """Every row of whole tiles, by each side in turn."""
    slide, peer = open_slide(path), openslide.OpenSlide(path)
    other, averaging = openslide.OpenSlide(path), open_slide(path)
    step, full = SIZE * 2**level, slide.levels[0]
    columns = range(0, full.width - step, step)
    for y in range(0, full.height - step, step):
        corners = [(x, y) for x in columns]
        began = time.process_time()
        own = [slide.region(x, y, step, SIZE) for x, y in corners]
        spent.eosin += time.process_time() - began
        began = time.process_time()
        images = [peer.read_region(corner, level, (SIZE, SIZE)) for corner in corners]
        spent.openslide += time.process_time() - began
        began = time.process_time()
        arrays = [as_rgb(other, corner, level) for corner in corners]
        spent.as_rgb += time.process_time() - began
        spent.tiles += len(corners)
        require_same(path, level, own, arrays)
        del images
        if level:
            spent.averaged += average_row(averaging, corners, 0.9 * step)
    peer.close()
    other.close()


def as_rgb(peer: openslide.OpenSlide, corner: tuple[int, int], level: int) -> UInt8Image:
    """OpenSlide's tile as an array."""
    return np.asarray(peer.read_region(corner, level, (SIZE, SIZE)).convert("RGB"))


def average_row(slide: Slide, corners: list[tuple[int, int]], width: float) -> float:
    """Core seconds of a row whose pixels are averages of a finer level's."""
    began = time.process_time()
    for x, y in corners:
        slide.region(x, y, width, SIZE)
    return time.process_time() - began


def require_same(path: Path, level: int, own: list[UInt8Image], other: list[UInt8Image]) -> None:
    """Equal pixels where OpenSlide draws whole ones: where the downsample is a whole number."""
    with openslide.OpenSlide(path) as slide:
        if not slide.level_downsamples[level].is_integer():
            return
    for one, two in zip(own, other, strict=True):
        if not np.array_equal(one, two):
            raise SystemExit(f"{path}: level {level} differs from OpenSlide's")


if __name__ == "__main__":
    main()
