"""Images a second of an epoch that decodes PNG files against one that takes them from the cache.

    python benchmarks/cache.py FOLDER_OF_BREAKHIS_IMAGES

The images are 700 x 460 PNG files of different content: the folder's, rolled and encoded anew. Both
epochs go through the same reader, threads and batches, in turns, in an order drawn anew; each turn
lasts half a second at least. They give what training starts from: bytes at training size. The bar
is for reading alone, by the clock and in the time of all cores together, which other programs on
the machine change less. The second row adds the default augmentation, the same work on either side.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from bars import at_least
from rich.console import Console
from rich.table import Table

from eosin.artefacts.preprocessing import Preprocessing
from eosin.pixels.cache import PixelCache
from eosin.pixels.reading import UInt8Image, read_image
from eosin.pixels.views import Views, view_batches
from eosin.training.augmentation import augment, draws
from eosin.training.config import TrainingConfig

BAR = 8.0
DEFAULTS = TrainingConfig()
LEAST = 0.5  # seconds of a turn
Times = tuple[float, float]  # seconds an image by the clock, and of all cores together
Alter = Callable[[int, UInt8Image], UInt8Image]


def main() -> None:
    """Write the files, pack them, time epochs in turns, print the table."""
    options = parse_options()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(options.folder, Path(folder) / "images", options.images)
        spec = Preprocessing(size=options.size)
        files = Views(paths, spec)
        cache = PixelCache.of(spec, root=Path(folder) / "cache")
        began = time.perf_counter()
        cache.pack(files, workers=options.cores)
        built = time.perf_counter()
        packed = cache.pack(files, workers=options.cores)
        opened = time.perf_counter()
        require_same(files, packed)
        shown = table(files, packed, options)
    console = Console(width=110)
    console.print(shown)
    console.print(
        f"building the cache: {len(files) / (built - began):.0f} images/s, once; "
        f"opening it with every hash checked: {len(files) / (opened - built):.0f} images/s"
    )


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder of 700 x 460 images")
    parser.add_argument("--size", type=int, default=224, help="training side in pixels")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def write_images(source: Path, folder: Path, count: int) -> tuple[Path, ...]:
    """``count`` PNG files of 700 x 460, none like another."""
    originals = [read_image(path) for path in sorted(source.glob("*.png"))]
    originals = [image for image in originals if image.shape == (460, 700, 3)]
    if not originals:
        raise SystemExit(f"{source}: no 700 x 460 PNG files")
    folder.mkdir()
    paths = tuple(folder / f"{k:05d}.png" for k in range(count))
    for k, path in enumerate(paths):
        rolled = np.roll(originals[k % len(originals)], 17 * k, axis=1)
        cv2.imwrite(str(path), cv2.cvtColor(rolled, cv2.COLOR_RGB2BGR))
    return paths


def require_same(files: Views, packed: Views) -> None:
    """Stop where the two sides would not give the same bytes."""
    if min(packed.rows) < 0 or not all(
        np.array_equal(files.view(index), packed.view(index)) for index in range(len(files))
    ):
        raise SystemExit("the cache does not serve what decoding gives")


def turn(views: Views, number: int, alter: Alter | None, cores: int) -> Times:
    """Seconds an image of whole epochs."""
    order = np.random.default_rng(number).permutation(len(views))
    seen, began, worked = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < LEAST:
        batches = view_batches(views, order, batch_size=32, workers=cores, alter=alter)
        seen += sum(len(batch.indices) for batch in batches)
    return (time.perf_counter() - began) / seen, (time.process_time() - worked) / seen


def table(files: Views, packed: Views, options: argparse.Namespace) -> Table:
    """Medians over the rounds, files and cache in turns."""
    shown = Table(
        title=f"{len(files)} PNG files of 700 x 460 to {options.size} px, {options.cores} cores"
    )
    columns = ("epoch", "files, images/s", "cache, images/s", "ratio", "in core time", "bar")
    for column in columns:
        shown.add_column(column, justify="left" if column == "epoch" else "right")
    for name, alter in (("reading", None), ("reading and augmentation", augmented)):
        times: dict[bool, list[Times]] = {False: [], True: []}
        for number in range(options.rounds):
            for cached in (False, True):
                views = packed if cached else files
                times[cached].append(turn(views, number, alter, options.cores))
        medians = {
            cached: [statistics.median(each[k] for each in found) for k in (0, 1)]
            for cached, found in times.items()
        }
        clock, core = (
            slow / fast for slow, fast in zip(medians[False], medians[True], strict=True)
        )
        if alter is None:
            what = "reading from the cache against decoding files, by the worse of clock and cores"
            at_least(what, min(clock, core), BAR)
        verdict = "" if alter else f"{BAR:g}: {'met' if min(clock, core) >= BAR else 'MISSED'}"
        rates = [f"{1 / medians[cached][0]:,.0f}" for cached in (False, True)]
        shown.add_row(name, *rates, f"{clock:.1f}", f"{core:.1f}", verdict)
    return shown


def augmented(index: int, image: UInt8Image) -> UInt8Image:
    """The default augmentation of one epoch."""
    return augment(image, DEFAULTS, draws(2, seed=0, epoch=1, index=index))


if __name__ == "__main__":
    main()
