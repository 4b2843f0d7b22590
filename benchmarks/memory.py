"""What the largest images cost: peak memory of the verbs that read images, time to refuse a file.

    python benchmarks/memory.py RUN [RUN ...] [--megapixels 32]

Images just within the limit are drawn in the kinds that take the most memory to read, several of
each verb's at once, and two that are beyond it. ``predict`` and ``explain`` are run with each Run:
give one network, folds and an ensemble. Exit code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import struct
import sys
import tempfile
import time
import zlib
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from bars import at_most
from PIL import Image

from eosin.errors import DataError
from eosin.pixels.reading import read_image

PEAK_BAR, REFUSAL_BAR = 1500.0, 10.0  # MB and seconds


def main() -> None:
    """Draw the images, run every verb in a process of its own, print its peak memory."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--megapixels", type=float, default=31.9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sound, beyond = folder / "sound", folder / "beyond"
        for each in (sound / "benign", sound / "malignant", beyond):
            each.mkdir(parents=True)
        draw_within(sound, int((options.megapixels * 1e6) ** 0.5))
        draw_beyond(beyond)
        sys.exit(0 if measure(options.runs, folder, sound, beyond) else 1)


def draw_within(folder: Path, side: int) -> None:
    """Images of ``side`` x ``side`` pixels in every kind that is costly to read."""
    draw = np.random.default_rng(0)
    small = draw.integers(90, 230, (side // 8 + 1, side // 8 + 1, 3), dtype=np.uint8)
    tissue = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)
    tissue[:, :, 1] //= 2
    tissue[: side // 20] = 0  # a scanner's border, which the stain steps look at closely
    picture = Image.fromarray(tissue)
    picture.save(folder / "benign/plain.png", compress_level=1)
    picture.convert("RGBA").save(folder / "malignant/alpha.png", compress_level=1)
    picture.save(folder / "benign/progressive.jpg", progressive=True, subsampling=0)
    picture.save(folder / "malignant/plain.bmp")
    picture.save(folder / "benign/turned.tif", tiffinfo={274: 6})
    cv2.imwrite(str(folder / "malignant/deep.png"), tissue.astype(np.uint16) * 257)


def draw_beyond(folder: Path) -> None:
    """Two small files that claim far more pixels than the limit."""
    for width, height in ((1, 119_999_999), (11_000, 11_000)):
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        rows = bytes((width * 3 + 1) * 100)
        parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
        body = b"".join(map(chunk, *zip(*parts, strict=True)))
        (folder / f"{width}x{height}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG with its length and checksum."""
    sums = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + sums


def measure(runs: list[Path], folder: Path, sound: Path, beyond: Path) -> bool:
    """Run every verb; whether all bars are met."""
    table = folder / "m.csv"
    met = True
    peak_of("data", "folder", str(sound), "-o", str(table))
    for run in runs:
        out = folder / "p.csv"
        met &= within(f"predict {run.name}", "predict", str(run), str(sound), "-o", str(out))
        out.unlink(missing_ok=True)
        cams = str(folder / f"cams-{run.name}")
        met &= within(f"explain {run.name}", "explain", str(run), str(sound), "-o", cams)
    met &= within("data audit", "data", "audit", str(table), "-o", str(folder / "a.html"))
    met &= within("stain show", "stain", "show", str(sound), "-o", str(folder / "s.png"))
    for file in sorted(beyond.iterdir()):
        met &= within(f"predict {file.name}", "predict", str(runs[0]), str(file), "-o", str(out))
        began = time.perf_counter()
        with suppress(DataError):
            read_image(file)
        took = time.perf_counter() - began
        met &= at_most(f"seconds to refuse {file.name}", took, REFUSAL_BAR)
    return met


def within(name: str, *words: str) -> bool:
    """Run a verb and hold its peak memory against the bar."""
    return at_most(f"peak memory of {name}, MB", peak_of(*words), PEAK_BAR)


def peak_of(*words: str) -> float:
    """Peak memory, MB, of ``eosin`` with these words; what it says is shown."""
    command = [sys.executable, "-m", "eosin", *words]
    child = os.posix_spawn(sys.executable, command, os.environ)
    _, _, used = os.wait4(child, 0)
    return used.ru_maxrss / 1024


if __name__ == "__main__":
    main()
