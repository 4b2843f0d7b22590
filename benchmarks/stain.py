"""Stain normalisation side by side: eosin, torchstain and TIAToolbox on the same images, in turn.

    python benchmarks/stain.py FOLDER_OF_IMAGES

Every contestant transforms every image, stain estimation included, in turns within one run, so
that a busy machine slows all of them alike; "ms" is by the clock, "core ms" the work of all cores
together. The bars are for two cores. The peers lean on threaded linear algebra, which at this size
costs them more than it gains: ``--cores 1`` shows them at their best.

Run it on a quiet machine. TIAToolbox's Vahadane, as shipped, learns its dictionary from all tissue
pixels, with linear algebra on as many threads as there are cores. Where other programs want the
same cores, that takes several times as long, in core time too, and the ratios flatter eosin; on one
thread its core time stays the same.

TIAToolbox lives in an environment of its own, which the first run makes under the cache folder
(some 800 MB); where that fails the table says so.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from bars import at_least, at_most
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from eosin.pixels.reading import read_image
from eosin.pixels.stain import NORMALIZERS, create_normalizer

Image = npt.NDArray[np.uint8]
Times = tuple[float, float]  # milliseconds by the clock, and of all cores together
Contestant = Callable[[int], Times]  # takes an image's index

WORKER = Path(__file__).with_name("stain_tiatoolbox.py")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "eosin-bench"
# What TIAToolbox's stain normalisation imports; what computes, in versions that TIAToolbox allows.
# Its slide readers and networks are not needed.
PEER_PACKAGES = (
    *("numpy<2.4.4", "opencv-python-headless<5", "scikit-learn<1.9", "scikit-image<0.26.1"),
    *("scipy<1.17.1", "joblib<1.5.3", "pandas<3.0.3", "tifffile<2026.3.3", "zarr<3.2"),
    *("dask", "matplotlib", "psutil", "requests"),
    *("filelock", "shapely", "tqdm", "pyyaml", "pillow"),
)
BARS = {"TIAToolbox vahadane": 40.0, "torchstain macenko": 15.0}
LARGE, LARGE_BAR_MS = 1024, 40.0


def main() -> None:
    """Time all contestants on a folder of images and print the table."""
    options = parse_options()
    console = Console(width=110)
    paths = sorted(options.folder.glob("*.png"))
    if not paths:
        sys.exit(f"no PNG images in {options.folder}: give a folder of H&E images")
    images = [read_image(path) for path in paths]
    cv2.setNumThreads(options.cores)
    with threadpool_limits(options.cores):
        contestants = {**eosin_contestants(images), **torchstain_contestants(images, console)}
        peer = None if options.skip_tiatoolbox else start_tiatoolbox(paths, options.cores, console)
        if peer is not None:
            contestants |= tiatoolbox_contestants(peer)
        times = take_turns(contestants, len(images), options.rounds)
    if peer is not None:
        peer.terminate()
    console.print(result_table(times, images, cores=options.cores))
    judge(times)
    console.print(agreement(images))
    console.print(large_table(images[0], rounds=5 * options.rounds))


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="PNG images, such as BreakHis at 700 x 460")
    parser.add_argument("--rounds", type=int, default=5, help="turns over all images")
    parser.add_argument("--cores", type=int, default=2, help="threads of every contestant")
    parser.add_argument("--skip-tiatoolbox", action="store_true")
    return parser.parse_args()


def eosin_contestants(images: list[Image]) -> dict[str, Contestant]:
    """The three methods of eosin, fitted to the first image."""

    def contestant(method: str) -> Contestant:
        normalizer = create_normalizer(method).fit(images[0])
        return lambda index: timed(lambda: normalizer.transform(images[index]))

    return {f"eosin {method}": contestant(method) for method in NORMALIZERS}


def torchstain_contestants(images: list[Image], console: Console) -> dict[str, Contestant]:
    """Numpy Macenko of torchstain: as it is called by default, and for the image alone."""
    try:
        from torchstain.numpy.normalizers.macenko import NumpyMacenkoNormalizer
    except ImportError as error:
        console.print(f"torchstain is left out: {error}")
        return {}
    peer = NumpyMacenkoNormalizer()
    peer.fit(images[0])
    return {
        "torchstain macenko": lambda i: timed(lambda: peer.normalize(images[i])),
        "torchstain macenko, image only": lambda i: timed(
            lambda: peer.normalize(images[i], stains=False)
        ),
    }


def start_tiatoolbox(
    paths: list[Path], cores: int, console: Console
) -> subprocess.Popen[str] | None:
    """The worker in TIAToolbox's own environment, ready; None, with the reason, where it fails."""
    python = CACHE / "tiatoolbox" / "bin" / "python"
    try:
        if not python.exists():
            install_tiatoolbox(python, console)
        worker = subprocess.Popen(
            [python, WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(cores), "PYTHONPATH": ""},
        )
        answer = ask(worker, "\n".join(map(str, paths)) + "\n")
        if answer != "ready":
            raise OSError(f"its worker answered {answer!r}")
    except (OSError, subprocess.CalledProcessError) as error:
        console.print(f"TIAToolbox is left out: {error}")
        return None
    return worker


def install_tiatoolbox(python: Path, console: Console) -> None:
    """Make the environment; CalledProcessError where a package cannot be had."""
    console.print(f"installing TIAToolbox into {python.parents[1]}, once")
    venv.create(python.parents[1], with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "tiatoolbox"], check=True)
    subprocess.run([*pip, *PEER_PACKAGES], check=True)


def tiatoolbox_contestants(worker: subprocess.Popen[str]) -> dict[str, Contestant]:
    """TIAToolbox's three methods, timed inside the worker."""

    def contestant(method: str) -> Contestant:
        return lambda index: read_times(ask(worker, f"{method} {index}"))

    return {f"TIAToolbox {method}": contestant(method) for method in NORMALIZERS}


def ask(worker: subprocess.Popen[str], line: str) -> str:
    """Send a line to the worker and wait for its answer; empty where it has ended."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(line + "\n")
    worker.stdin.flush()
    return worker.stdout.readline().strip()


def read_times(answer: str) -> Times:
    """The two numbers of a worker's answer."""
    clock, cores = map(float, answer.split())
    return clock, cores


def timed(work: Callable[[], object]) -> Times:
    """How long one call takes."""
    clock, cores = time.perf_counter(), time.process_time()
    work()
    return 1e3 * (time.perf_counter() - clock), 1e3 * (time.process_time() - cores)


def take_turns(
    contestants: dict[str, Contestant], images: int, rounds: int
) -> dict[str, list[Times]]:
    """Milliseconds of every contestant on every image in every round, one after the other."""
    for run in contestants.values():
        run(0)  # the first call fills caches and thread pools
    times: dict[str, list[Times]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for index in range(images):
            for name, run in contestants.items():
                times[name].append(run(index))
    return times


def result_table(times: dict[str, list[Times]], images: list[Image], *, cores: int) -> Table:
    """Median and spread of each contestant, and how many times slower than eosin's same method."""
    sizes = sorted({f"{image.shape[1]} x {image.shape[0]}" for image in images})
    table = Table(title=f"{len(images)} images, {', '.join(sizes)}; cores: {cores}")
    for heading in ("transform", "ms", "10-90 %", "core ms", "/ eosin's", "core / eosin's", "bar"):
        table.add_column(heading, justify="left" if heading == "transform" else "right")
    for name, values in times.items():
        low, high = np.percentile([clock for clock, _ in values], [10, 90])
        own = median_times(values)
        eosin = median_times(times[f"eosin {name.split(',')[0].split()[-1]}"])
        ratios = [f"{mine / its:.1f}" for mine, its in zip(own, eosin, strict=True)]
        table.add_row(
            *(name, f"{own[0]:.1f}", f"{low:.1f} - {high:.1f}", f"{own[1]:.1f}"),
            *(["", ""] if name.startswith("eosin") else ratios),
            f"{BARS[name]:.0f}" if name in BARS else "",
        )
    return table


def judge(times: dict[str, list[Times]]) -> None:
    """Print a line for the bar of each peer that took part."""
    for name, bar in BARS.items():
        if name in times:
            peer, own = (median_times(times[each]) for each in (name, f"eosin {name.split()[-1]}"))
            what = f"{name} over eosin's by the clock ({peer[1] / own[1]:.1f} in core time)"
            at_least(what, peer[0] / own[0], bar)


def median_times(values: list[Times]) -> Times:
    """The median of each clock."""
    clock, cores = np.median(values, axis=0)
    return float(clock), float(cores)


def agreement(images: list[Image]) -> str:
    """How far eosin's Macenko lies from torchstain's, in grey levels."""
    try:
        from torchstain.numpy.normalizers.macenko import NumpyMacenkoNormalizer
    except ImportError:
        return "no torchstain to agree with"
    peer, own = NumpyMacenkoNormalizer(), create_normalizer("macenko").fit(images[0])
    peer.fit(images[0])
    apart = [
        np.abs(own.transform(image) - peer.normalize(image, stains=False)[0].astype(int)).mean()
        for image in images
    ]
    return (
        f"Macenko of eosin and torchstain: {np.mean(apart):.2f} grey levels apart on the mean, "
        f"{np.max(apart):.2f} at most (bar: 2)"
    )


def large_table(image: Image, *, rounds: int) -> Table:
    """How eosin transforms a 1024 x 1024 image on one core."""
    large = cv2.resize(image, (LARGE, LARGE), interpolation=cv2.INTER_CUBIC)
    cv2.setNumThreads(1)
    table = Table(title=f"eosin, {LARGE} x {LARGE}, one core")
    for heading in ("transform", "ms", "core ms", "bar"):
        table.add_column(heading, justify="left" if heading == "transform" else "right")
    with threadpool_limits(1):
        for method in NORMALIZERS:
            run = eosin_contestants([np.asarray(large, dtype=np.uint8)])[f"eosin {method}"]
            values = [run(0) for _ in range(rounds)]
            clock, core = median_times(values)
            at_most(f"eosin {method}, {LARGE} x {LARGE}, one core, ms", core, LARGE_BAR_MS)
            bar = f"below {LARGE_BAR_MS:.0f}"
            table.add_row(f"eosin {method}", f"{clock:.1f}", f"{core:.1f}", bar)
    return table


if __name__ == "__main__":
    main()
