"""Prediction in a stream: its speed beside what decoding and inference allow alone, its memory.

    python benchmarks/streaming.py RUN FOLDER_OF_IMAGES [--images 2000] [--quick]

The speed wants files of 700 x 460 pixels, as BreakHis has them. The files of the folder are copied
under new names until there are enough, and come from the page cache, so that no disk is measured.
Decoding alone, inference alone and prediction end to end are timed in turns within one run, by the
clock and by the work of all cores together; the ratio is of medians. Peak memory is that of a
process of its own, for 2,000 and for 20,000 small images. Exit code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from itertools import cycle, islice
from pathlib import Path

from bars import at_least, at_most

RATIO_BAR, GROWTH_BAR = 0.80, 1.10
_BATCH = 32
_SIDE = 64  # of the small images, pixels
_SCORE = """
import sys
from pathlib import Path
from eosin.inference.scoring import PredictOptions
from eosin.inference.table import predict_to_table
from eosin.networks.run import read_run
run, images, out, engine = sys.argv[1:]
options = PredictOptions(engine=engine, allow_seen=True)
predict_to_table(read_run(Path(run)), [Path(images)], Path(out), options)
peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
print(int(peak) / 1024)
"""
Times = tuple[float, float]  # milliseconds an image, by the clock and of all cores together


def main() -> None:
    """Measure the speed, then the memory; print both tables."""
    options = _parse_options()
    # As the command line has it; must be said before PyTorch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    files = sorted(p for p in options.folder.rglob("*") if p.suffix.lower() in (".png", ".jpg"))
    if not files:
        sys.exit(f"no image in {options.folder}: give a folder of PNG or JPEG files")
    with tempfile.TemporaryDirectory() as folder:
        met = options.skip_speed or _speed(options, files, Path(folder))
        met &= options.skip_memory or _memory(options, files[0], Path(folder))
    sys.exit(0 if met else 1)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", type=Path, help="a Run folder, exported or not")
    parser.add_argument("folder", type=Path, help="images of 700 x 460 pixels")
    parser.add_argument("--images", type=int, default=2000, help="of all turns together")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--memory-images", type=int, nargs=2, default=(2_000, 20_000))
    parser.add_argument("--quick", action="store_true", help="a few hundred images, two rounds")
    parser.add_argument("--skip-speed", action="store_true")
    parser.add_argument("--skip-memory", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.images, options.rounds, options.memory_images = 256, 2, (200, 800)
    return options


def _speed(options: argparse.Namespace, files: list[Path], folder: Path) -> bool:
    """Time the three in turns and print them; whether the bar is met."""
    count = max(options.images // options.rounds // _BATCH, 2) * _BATCH
    images = _copies(files, count, folder / "images")
    turns = _contestants(options, images, folder / "speed.csv")
    times: dict[str, list[Times]] = {name: [] for name in turns}
    for _ in range(options.rounds):
        for name, turn in turns.items():
            times[name].append(_timed(turn, count))
    middle = {
        name: [statistics.median(column) for column in zip(*found, strict=True)]
        for name, found in times.items()
    }
    print(f"{options.run}, {count} images of {files[0].parent}, {options.rounds} rounds, medians")
    print("| | images/s | ms an image | core ms an image |")
    print("| --- | --- | --- | --- |")
    for name, (clock, cores) in middle.items():
        print(f"| {name} | {1000 / clock:.1f} | {clock:.2f} | {cores:.2f} |")
    (decoding, _), (inference, _), (both, _) = middle.values()
    ratio = max(decoding, inference) / both
    return at_least("prediction end to end, as a share of its slower half alone", ratio, RATIO_BAR)


def _contestants(
    options: argparse.Namespace, images: Path, out: Path
) -> Mapping[str, Callable[[], None]]:
    """Decoding, inference and prediction of a folder of images, each by the code of `predict`."""
    from eosin.inference.members import open_scorer
    from eosin.inference.readings import BatchReadings
    from eosin.inference.scoring import PredictOptions
    from eosin.inference.table import predict_to_table
    from eosin.machine import available_cores
    from eosin.networks.run import read_run
    from eosin.pixels.batches import View, read_views

    run, paths = read_run(options.run), sorted(images.iterdir())
    scorer = open_scorer(run)
    networks = {each.run.sha256: each for each in run.networks(engine=options.engine)}
    specs = list(dict.fromkeys(each.preprocessing for each in networks.values()))
    views = [View(spec) for spec in specs]
    settings = PredictOptions(engine=options.engine, allow_seen=True, batch_size=_BATCH)
    threads = available_cores()
    held = list(islice(read_views(paths, views, batch_size=_BATCH, workers=threads), 4))
    turns = list(islice(cycle(held), len(paths) // _BATCH))

    def decode() -> None:
        for _ in read_views(paths, views, batch_size=_BATCH, workers=threads):
            pass

    def infer() -> None:
        for batches in turns:
            scorer.probabilities(
                BatchReadings(paths, dict(zip(specs, batches, strict=True)), networks)
            )

    def both() -> None:
        scored = predict_to_table(run, [images], out, settings).predictions
        if len(scored) != len(paths):
            sys.exit(f"{len(scored)} of {len(paths)} images were scored: the figures mean nothing")

    infer()  # the first pass through a network prepares it
    return {"decoding alone": decode, "inference alone": infer, "end to end": both}


def _timed(turn: Callable[[], None], count: int) -> Times:
    began, work = time.perf_counter(), time.process_time()
    turn()
    clock, cores = time.perf_counter() - began, time.process_time() - work
    return 1000 * clock / count, 1000 * cores / count


def _memory(options: argparse.Namespace, file: Path, folder: Path) -> bool:
    """Peak memory for few and for many images; whether it stays flat."""
    import cv2

    small = folder / "small.png"
    cv2.imwrite(str(small), cv2.resize(cv2.imread(str(file)), (_SIDE, _SIDE)))
    print(f"| images of {_SIDE} x {_SIDE} | peak memory, MB |\n| --- | --- |")
    peaks = []
    for count in options.memory_images:
        images = _copies([small], count, folder / f"small-{count}")
        words = [str(options.run), str(images), str(folder / f"{count}.csv"), options.engine]
        done = subprocess.run(
            [sys.executable, "-c", _SCORE, *words], check=True, capture_output=True, text=True
        )
        peaks.append(float(done.stdout))
        print(f"| {count:,} | {peaks[-1]:.0f} |", flush=True)
    growth = peaks[1] / peaks[0]
    few, many = options.memory_images
    return at_most(f"peak memory for {many:,} images over {few:,}", growth, GROWTH_BAR)


def _copies(files: list[Path], count: int, folder: Path) -> Path:
    """A folder with ``count`` copies of ``files``, in turn; of links, one each would be scored."""
    folder.mkdir()
    for number, file in enumerate(islice(cycle(files), count)):
        shutil.copyfile(file, folder / f"{number:06d}{file.suffix}")
    return folder


if __name__ == "__main__":
    main()
