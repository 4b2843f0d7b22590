"""Whether `explain` and `audit` are linear: what 4,000 images cost beside 1,000.

    python benchmarks/growth.py RUN FOLDER_OF_IMAGES [--few 1000] [--verbs explain,audit]

The images are crops of those in the folder in another light, so that no two files are equal. Each
cost is the work of all cores (user and system time) of a process of its own, less what the process
takes for two images, so that imports do not flatter the ratio and other work on the machine does
not spoil it. Exit code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
from bars import at_most

from eosin.pixels.reading import SUFFIXES, read_image

BAR = 4.3  # for four times the images


def main() -> None:
    """Draw the images, time each verb on few and on many, and print the ratio."""
    options = _options()
    met = True
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        counts = (2, options.few, options.few * options.times)
        folders = {count: _crops(options.folder, home / str(count), count) for count in counts}
        for verb in options.verbs.split(","):
            costs = {count: _cost(verb, options.run, folders[count], home) for count in counts}
            few, many = (costs[count] - costs[2] for count in counts[1:])
            print(f"{verb}: {few:.1f} s for {counts[1]:,} images, {many:.1f} s for {counts[2]:,}")
            bar = BAR * options.times / 4
            met &= at_most(f"{verb}, {options.times} times the images, cost", many / few, bar)
    sys.exit(0 if met else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--verbs", default="explain,audit")
    return parser.parse_args()


def _crops(source: Path, folder: Path, count: int) -> Path:
    """A folder of ``count`` images, each nine tenths of one in ``source`` in another light."""
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
    rng = np.random.default_rng(0)
    for name in ("a", "b"):  # a folder of images has two classes or more
        (folder / name).mkdir(parents=True)
    for number, path in enumerate(islice(cycle(files), count)):
        image = cv2.resize(read_image(path), (250, 180), interpolation=cv2.INTER_AREA)
        top, left = (int(rng.integers(0, side // 10)) for side in image.shape[:2])
        crop = image[top : top + 160, left : left + 224]
        lit = np.clip(crop * rng.uniform(0.85, 1.1, 3), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / "ab"[number % 2] / f"{number:05d}.png"), lit[:, :, ::-1])
    return folder


def _cost(verb: str, run: Path, images: Path, home: Path) -> float:
    """Seconds of all cores that one command takes."""
    eosin, out = [sys.executable, "-m", "eosin"], home / f"{verb}-{images.name}"
    command = [*eosin, "explain", str(run), str(images), "-o", str(out)]
    if verb == "audit":
        table = f"{out}.csv"
        subprocess.run([*eosin, "data", "folder", str(images), "-o", table], check=True)
        command = [*eosin, "data", "audit", table, "-o", f"{out}.html"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env={**os.environ})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
