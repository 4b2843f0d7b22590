"""A slide of 60,000 x 60,000 pixels through a Run: peak memory, and speed beside its two halves.

    python benchmarks/slide_memory.py RUN [--side 60000] [--tissue 0.15]

A JPEG pyramid is drawn (0.25 um/px, a disk of synthetic tissue in glass) and scored with
``eosin predict`` in a process of its own, at 0.5 um/px and 224 px. Then its tiles are decoded alone
and the network is run alone on as many tiles: end to end should reach 80 % of the slower of both,
by the clock. Exit code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile
from bars import at_least, at_most

from eosin.artefacts.predictions import read_predictions
from eosin.data.synthetic import SyntheticOptions, write_synthetic
from eosin.inference.scoring import PredictOptions
from eosin.networks.run import read_run
from eosin.pixels.batches import read_batches
from eosin.pixels.reading import read_image

PEAK_BAR, SPEED_BAR = 1500.0, 0.80  # MB; share of the slower half
BLOCK, MPP, LEVELS = 256, 0.25, 4  # each level has a quarter of the side of the one above
BATCH, ALONE = 32, 640  # tiles that the halves are timed on


def main() -> None:
    """Draw, score, time, and say which bars are met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--side", type=int, default=60_000)
    parser.add_argument("--tissue", type=float, default=0.15, help="share of the slide")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        slide = draw_slide(folder, options.side, options.tissue)
        began = time.perf_counter()
        words = ["predict", options.run, slide, "-o", folder / "out", "--mpp", 0.5]
        command = [sys.executable, "-m", "eosin", *words, "--tile-size", 224]
        subprocess.run([str(word) for word in command], check=True)
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        tiles = read_predictions(folder / "out" / "tiles.csv")
        paths = [Path(path) for path in tiles.frame["path"]]
        whole = len(paths) / seconds
        decoding, inference = decoded_alone(options.run, paths), inferred_alone(options.run)
    print(f"{options.side:,} px a side, {len(paths):,} tiles in {seconds:.0f} s: {whole:.1f}/s")
    print(f"alone: decoding {decoding:.1f}/s, inference {inference:.1f}/s")
    met = at_most("peak memory of predict on a slide, MB", peak, PEAK_BAR)
    slower = min(decoding, inference)
    met &= at_least("end to end beside the slower half", whole / slower, SPEED_BAR)
    sys.exit(0 if met else 1)


def draw_slide(folder: Path, side: int, share: float) -> Path:
    """A tiled pyramid that is never in memory: every tile is one of two, glass or tissue."""
    drawn = SyntheticOptions(patients=2, images=2, size=BLOCK, seed=1)
    tissue = read_image(write_synthetic(folder / "drawn", drawn)[0])
    glass = np.full_like(tissue, 243)
    path = folder / "slide.tiff"
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level in range(LEVELS):
            sides = -(-side // 4**level)
            density = 1e4 / (MPP * 4**level)
            file.write(
                tiles_of(tissue, glass, sides, share, level),
                shape=(sides, sides, 3),
                dtype=np.uint8,
                tile=(BLOCK, BLOCK),
                compression="jpeg",
                photometric="ycbcr",
                subfiletype=int(level > 0),
                resolution=(density, density),
                resolutionunit="CENTIMETER",
            )
    return path


def tiles_of(
    tissue: np.ndarray, glass: np.ndarray, side: int, share: float, level: int
) -> Iterator[bytes]:
    """The tiles of one level, encoded, row by row."""
    small = cv2.resize(tissue, None, fx=4**-level, fy=4**-level, interpolation=cv2.INTER_AREA)
    laid = np.tile(small, (4**level, 4**level, 1))
    encoded = [encode(glass), encode(laid)]
    count = -(-side // BLOCK)
    radius = (share / np.pi) ** 0.5 * side
    for row in range(count):
        for column in range(count):
            away = np.hypot(*((np.array([row, column]) + 0.5) * BLOCK - side / 2))
            yield encoded[int(away < radius)]


def encode(tile: np.ndarray) -> bytes:
    """A tile as a JPEG of its own."""
    import imagecodecs

    return bytes(imagecodecs.jpeg8_encode(tile, level=85, subsampling="444"))


def decoded_alone(run: Path, paths: list[Path]) -> float:
    """Tiles a second without a network."""
    spec = read_run(run).record.preprocessing
    some = paths[:ALONE]
    began = time.perf_counter()
    for batch in read_batches(some, spec, batch_size=BATCH, workers=2, measured=True):
        del batch
    return len(some) / (time.perf_counter() - began)


def inferred_alone(run: Path) -> float:
    """Tiles a second without a slide."""
    options = PredictOptions()
    network = read_run(run).networks(engine=options.engine, device=options.device)[0]
    size = network.preprocessing.size
    pixels = np.random.default_rng(0).normal(size=(BATCH, 3, size, size)).astype(np.float32)
    network.answers(pixels)
    began = time.perf_counter()
    for _ in range(ALONE // BATCH):
        network.answers(pixels)
    return ALONE / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
