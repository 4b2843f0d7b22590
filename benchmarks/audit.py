"""How many hidden copies the audit finds, how many pairs it invents, and how long it takes.

    python benchmarks/audit.py FOLDER_OF_IMAGES [--copies 200] [--seed 7]

Copies of real images are turned at random and changed in one way; recall is the share that is
found again. Pairs found among the untouched images are listed, to be looked at by a person.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from bars import at_most

from eosin.data.fingerprints import KEPT, Fingerprint, fingerprint, read_each
from eosin.data.near_duplicates import Match, equal_pictures, find_near_duplicates, turn_image
from eosin.pixels.reading import SUFFIXES, UInt8Image, read_image

Change = Callable[[UInt8Image], UInt8Image]
BAR = 20.0  # seconds


def jpeg(quality: int) -> Change:
    """Encode as JPEG and decode again."""

    def change(image: UInt8Image) -> UInt8Image:
        packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)

    return change


def scaled(factor: float, method: int) -> Change:
    """Resize both sides by ``factor`` with one of OpenCV's methods."""

    def change(image: UInt8Image) -> UInt8Image:
        return np.asarray(
            cv2.resize(image, None, fx=factor, fy=factor, interpolation=method), np.uint8
        )

    return change


CHANGES: dict[str, Change] = {
    "only turned": lambda image: image,
    "JPEG 90": jpeg(90),
    "JPEG 60": jpeg(60),
    "0.5x area": scaled(0.5, cv2.INTER_AREA),
    "0.5x bilinear": scaled(0.5, cv2.INTER_LINEAR),
    "0.7x bilinear": scaled(0.7, cv2.INTER_LINEAR),
    "1.5x cubic": scaled(1.5, cv2.INTER_CUBIC),
    "2x bilinear": scaled(2.0, cv2.INTER_LINEAR),
    "0.5x and JPEG 60": lambda image: jpeg(60)(scaled(0.5, cv2.INTER_AREA)(image)),
    "224 x 224 px": lambda image: np.asarray(cv2.resize(image, (224, 224)), np.uint8),
    "0.9 darker": lambda image: (image * 0.9).astype(np.uint8),  # turned: not promised
}


def main() -> None:
    """Print time, pairs among the untouched images, and recall under each change."""
    options = _options()
    paths = sorted(p for p in options.folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    start = time.perf_counter()
    prints = [p for p in read_each(paths, fingerprint) if isinstance(p, Fingerprint)]
    print(f"{len(paths)} images, {len(prints)} read, in {time.perf_counter() - start:.1f} s")
    untouched = search(prints, lambda index: read_image(paths[index]))
    at_most(f"audit of {len(paths)} images, seconds", time.perf_counter() - start, BAR)
    print(f"equal pixels: {len(equal_pictures(prints))} pairs; near-duplicates, to be looked at:")
    for match in untouched:
        print(f"  {paths[match.first].name} {paths[match.second].name} {match}")
    rng = np.random.default_rng(options.seed)
    chosen = rng.choice(len(paths), min(options.copies, len(paths)), replace=False)
    for name, change in CHANGES.items():
        report_recall(name, change, paths, prints, chosen)
    for count in (8_000, 32_000):
        print(f"{count} made-up fingerprints:", end=" ")
        search(made_up(count, rng), lambda _: np.zeros((64, 64, 3), np.uint8))


def report_recall(
    name: str, change: Change, paths: list[Path], prints: list[Fingerprint], chosen: np.ndarray
) -> None:
    """Hide turned and changed copies of the chosen images, search, and print what was found."""
    copies = [turn_image(change(read_image(paths[k])), (n % 7) + 1) for n, k in enumerate(chosen)]
    turned = [fingerprint(copy) for copy in copies]
    size = len(prints)

    def read(index: int) -> UInt8Image:
        return copies[index - size] if index >= size else read_image(paths[index])

    hidden = {(int(k), size + n): (n % 7) + 1 for n, k in enumerate(chosen)}
    found = find_near_duplicates([*prints, *turned], read)
    right = [m for m in found if (m.first, m.second) in hidden]
    named = sum(m.orientation == hidden[m.first, m.second] for m in right)
    extra = len(found) - len(right)
    print(
        f"{name:18} found {len(right)} of {len(hidden)} ({len(right) / len(hidden):.1%}), "
        f"{named} with the right turn; other pairs {extra}"
    )


def search(prints: list[Fingerprint], read: Callable[[int], UInt8Image]) -> list[Match]:
    """Search, and print how long it took."""
    start = time.perf_counter()
    found = find_near_duplicates(prints, read)
    print(f"search {time.perf_counter() - start:.2f} s, {len(found)} pairs")
    return found


def made_up(count: int, rng: np.random.Generator) -> list[Fingerprint]:
    """Fingerprints with the 1 / frequency spectrum of tissue."""
    reach = np.maximum(np.hypot(*np.mgrid[:KEPT, :KEPT]), 1)
    waves = rng.normal(0, 6, (count, KEPT, KEPT)) / reach
    means = rng.normal((180, 140, 135), (25, 9, 5), (count, 3))
    return [
        Fingerprint(
            pixels=index.to_bytes(4, "big"),
            colours=b"",
            shape=(230, 350),
            means=means[index].astype(np.float32),
            waves=waves[index].astype(np.float32),
            blank=False,
            uniform=False,
        )
        for index in range(count)
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    main()
