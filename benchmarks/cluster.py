"""What a cluster costs and gains: `--cluster local` beside one process, its memory, a study.

    OMP_NUM_THREADS=1 python benchmarks/cluster.py [--images 2000] [--rows 100000] [--skip overhead]

Everything is drawn, networks are small, and ratios are of times taken in turns within one run. The
overhead is that of two workers that are started already over one process on the same cores. What
`eosin plan` says is held against two nodes of one core, on loopback, whose workers are started.
Memory is that of the process that hands out and writes, after a tenth of the rows and after all of
them; files are copies of a few. The study has six models; the other side is one worker pinned to a
core. Exit code 1 where a bar is missed. On a machine that does other work figures say little.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path

from bars import at_most

OVERHEAD_BAR, GROWTH_BAR, STUDY_BAR, PLAN_BAR = 1.10, 1.10, 0.65, 1.20
_BACKBONE = "resnet18"
_STUDY = """
title = "Six models"
dataset = "breakhis"
protocols = ["patient 70/15/15"]
backbones = ["resnet10t", "resnet14t", "mobilenetv3_small_050", "mobilenetv3_small_075",
             "efficientnet_b0", "resnet18"]
weights = "none"
freeze = true
image_size = 96
device = "cpu"
resamples = 100
"""


def main() -> None:
    """Measure what is asked for; print each bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--study-images", type=int, default=1800)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--skip", action="append", default=[])
    options = parser.parse_args()
    # One thread a worker, so that two cores have two; must be said before PyTorch is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.path.append(str(Path(__file__).parents[1] / "tests" / "cluster"))
    from nodes import OWN

    os.environ.update(OWN)  # Ray reads it when it is imported
    print(f"load of this machine at the start: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EOSIN_CACHE"] = f"{folder}/cache"
        parts = {"overhead": _overhead, "plan": _plan, "memory": _memory, "study": _study}
        met = [
            part(options, Path(folder)) for name, part in parts.items() if name not in options.skip
        ]
    sys.exit(0 if all(met) else 1)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _run(folder: Path, size: int, name: str = "") -> Path:
    """A small trained Run, and images of so many pixels a side beside it."""
    from eosin.data.breakhis import read_breakhis
    from eosin.data.splits import split_by_fractions
    from eosin.data.synthetic import SyntheticOptions, write_synthetic
    from eosin.training.config import TrainingConfig
    from eosin.training.train import train

    home = folder / f"{size}{name}"
    write_synthetic(home, SyntheticOptions(patients=12, images=48, size=size, seed=1))
    split = split_by_fractions(read_breakhis(home / "images").manifest, (0.5, 0.25, 0.25))
    small = {"backbone": _BACKBONE, "weights": "none", "device": "cpu"}
    config = TrainingConfig(freeze=True).with_overrides({**small, "image_size": size // 2})
    train(split, home / "run", config)
    return home / "run"


def _copies(run: Path, count: int) -> Path:
    """So many copies of the few images beside a Run, in folders of two classes."""
    folder = run.parent / f"copies-{count}"
    for name in ("0", "1"):
        (folder / name).mkdir(parents=True)
    data = [file.read_bytes() for file in sorted((run.parent / "images").rglob("*.png"))]
    for number, each in zip(range(count), cycle(data), strict=False):
        (folder / f"{number % 2}" / f"{number:06d}.png").write_bytes(each)
    return folder


def _overhead(options: argparse.Namespace, folder: Path) -> bool:
    from eosin.cluster.connecting import spread_over
    from eosin.inference.scoring import PredictOptions
    from eosin.inference.table import predict_to_table
    from eosin.networks.run import read_run
    from eosin.spread import Here, Spread

    run, how = read_run(_run(folder, 448)), PredictOptions(device="cpu", allow_seen=True)
    times: dict[str, list[float]] = {"here": [], "local": []}
    few, all_ = _copies(run.folder, 128), _copies(run.folder, options.images)
    with spread_over("local", device="cpu") as local:
        both: dict[str, Spread] = {"here": Here(), "local": local}

        def score(name: str, images: Path) -> None:
            predict_to_table(run, [images], folder / f"{name}.csv", how, spread=both[name])

        for name in both:  # networks are opened, workers started
            score(name, few)
        for _ in range(options.turns):
            for name in both:
                times[name].append(_timed(partial(score, name, all_)))
    assert (folder / "here.csv").read_bytes() == (folder / "local.csv").read_bytes()
    here, there = (statistics.median(each) for each in times.values())
    print(f"{options.images} images: one process {here:.1f} s, two workers {there:.1f} s")
    return at_most("two workers over one process", there / here, OVERHEAD_BAR)


def _plan(options: argparse.Namespace, folder: Path) -> bool:
    """What `eosin plan` says of two nodes of one core, beside what they take."""
    from nodes import Nodes

    from eosin.cluster.connecting import spread_over
    from eosin.data.folder import read_folder
    from eosin.inference.scoring import PredictOptions
    from eosin.inference.table import predict_to_table
    from eosin.networks.run import read_run

    run = read_run(_run(folder, 448, "planned"))
    few, all_ = _copies(run.folder, 128), _copies(run.folder, options.images)
    table, said = folder / "planned.csv", folder / "plan.json"
    read_folder(all_).manifest.write(table)
    how = PredictOptions(device="cpu", allow_seen=True)
    words = f"plan {table} --backbone {_BACKBONE} --image-size 224"
    words += " --nodes 2 --cores 1 --start 0 --stragglers 0"
    command = [sys.executable, "-m", "eosin", *words.split(), "-o", str(said)]
    subprocess.run(command, check=True)
    planned = json.loads(said.read_text(encoding="utf-8"))["asked"]["seconds"]
    nodes = Nodes()
    try:
        for _ in range(2):
            nodes.start()
        with spread_over(nodes.address, device="cpu") as spread:
            predict_to_table(run, [few], folder / "few.csv", how, spread=spread)
            taken = _timed(
                lambda: predict_to_table(run, [all_], folder / "all.csv", how, spread=spread)
            )
    finally:
        nodes.close()
    print(f"{options.images} images on two nodes: planned {planned:.1f} s, taken {taken:.1f} s")
    apart = max(taken / planned, planned / taken)
    return at_most("planned and taken, the larger over the smaller", apart, PLAN_BAR)


def _memory(options: argparse.Namespace, folder: Path) -> bool:
    """The table is gathered in memory, so that some bytes a row are wanted; the work adds none."""
    from eosin.cluster.connecting import spread_over
    from eosin.inference.scoring import PredictOptions
    from eosin.inference.table import predict_to_table
    from eosin.networks.run import read_run
    from eosin.progress import Silent

    sizes = list[float]()

    class Sizes(Silent):
        """Notes how large this process is."""

        def advance(self, steps: int = 1, *, errors: int = 0, said: str = "") -> None:  # noqa: ARG002
            """Note it."""
            sizes.append(_resident())

    run = read_run(_run(folder, 64))
    images = _copies(run.folder, options.rows)
    how = PredictOptions(device="cpu", allow_seen=True)
    with spread_over("local", device="cpu") as local:
        predict_to_table(run, [images], folder / "many.csv", how, progress=Sizes(), spread=local)
    tenth = sizes[len(sizes) // 10]
    print(f"{options.rows} rows: {tenth:.0f} MiB after a tenth, {sizes[-1]:.0f} MiB after all")
    return at_most("memory after all rows over that after a tenth", sizes[-1] / tenth, GROWTH_BAR)


def _resident() -> float:
    said = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(said.split("VmRSS:")[1].split()[0]) / 1024


def _study(options: argparse.Namespace, folder: Path) -> bool:
    from eosin.cluster.connecting import spread_over
    from eosin.data.synthetic import SyntheticOptions, write_synthetic
    from eosin.study.config import read_study
    from eosin.study.study import run_study

    write_synthetic(
        folder / "s", SyntheticOptions(patients=24, images=options.study_images, size=256, seed=2)
    )
    (folder / "study.toml").write_text(_STUDY, encoding="utf-8")
    study = read_study(folder / "study.toml", root=folder / "s" / "images")
    cores, times = sorted(os.sched_getaffinity(0)), {}
    for name, own in (("one worker", cores[:1]), ("two workers", cores[:2])):
        os.environ["EOSIN_CACHE"] = f"{folder}/cache of {name}"
        os.sched_setaffinity(0, own)
        with spread_over("local", device="cpu") as local:
            times[name] = _timed(lambda: run_study(study, folder / name, spread=local))  # noqa: B023
    os.sched_setaffinity(0, cores)
    said = ", ".join(f"{name} {taken:.0f} s" for name, taken in times.items())
    print(f"six models, {options.study_images} images: {said}")
    ratio = times["two workers"] / times["one worker"]
    return at_most("six models on two workers over one on one core", ratio, STUDY_BAR)


if __name__ == "__main__":
    main()
