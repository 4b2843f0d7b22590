"""What stains cost a training on the CPU: epochs with and without jitter, exchange and a step.

    python benchmarks/stain_training.py FOLDER_OF_BREAKHIS_IMAGES

Every recipe trains the same network on the same images, in turns, so that a busy machine slows all
of them alike; the first epoch of each is not counted. "core s" is the work of all cores together.
The bar is for jitter and exchange; a stain step does its work again in every epoch, at the images'
own size, and is shown beside them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from bars import at_most
from rich.console import Console
from rich.table import Table

from eosin.artefacts.manifest import Manifest
from eosin.data.breakhis import read_breakhis
from eosin.data.splits import split_by_fractions
from eosin.progress import Silent
from eosin.training.config import TrainingConfig
from eosin.training.finetune import finetune

RECIPES: dict[str, dict[str, object]] = {
    "no stains": {},
    "jitter 0.2": {"stain_jitter": 0.2},
    "exchange 0.5": {"stain_exchange": 0.5},
    "jitter 0.2 + exchange 0.5": {"stain_jitter": 0.2, "stain_exchange": 0.5},
    "macenko step": {"stain": "macenko"},
    "vahadane step": {"stain": "vahadane"},
}
BARRED = ("jitter 0.2", "exchange 0.5", "jitter 0.2 + exchange 0.5")
BAR = 0.15
Times = tuple[float, float]  # an epoch's seconds by the clock, and of all cores together


class Clock(Silent):
    """Notes the time at the end of each epoch."""

    def __init__(self) -> None:
        self.ends: list[Times] = []

    def note(self, sentence: str) -> None:
        """An epoch has ended, where the sentence is its line."""
        if sentence.startswith("epoch"):
            self.ends.append((time.perf_counter(), time.process_time()))


def main() -> None:
    """Train in turns and print the table."""
    options = parse_options()
    torch.set_num_threads(options.cores)
    manifest = choose_images(options.folder, options.images)
    config = TrainingConfig(
        backbone=options.backbone,
        weights="none",
        image_size=options.size,
        epochs=2,
        warmup_epochs=0,
        batch_size=16,
        device="cpu",
        workers=options.cores,
    )
    times: dict[str, list[Times]] = {name: [] for name in RECIPES}
    for _ in range(options.rounds):
        for name, settings in RECIPES.items():
            times[name].append(time_epoch(manifest, config.with_overrides(settings)))
    Console(width=110).print(table(times, manifest, config))
    for name in BARRED:
        at_most(f"{name}, share by which training is slower", slower(times, name)[1], BAR)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder of BreakHis-named images")
    parser.add_argument("--backbone", default="tf_efficientnetv2_b0")
    parser.add_argument("--size", type=int, default=224, help="input side in pixels")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    return parser.parse_args()


def choose_images(folder: Path, count: int) -> Manifest:
    """About ``count`` images, evenly spread, three quarters of them to train."""
    whole = read_breakhis(folder).manifest
    chosen = np.zeros(len(whole), dtype=bool)
    chosen[np.linspace(0, len(whole) - 1, min(count, len(whole))).round().astype(int)] = True
    return split_by_fractions(whole.where(chosen), (0.75, 0.125, 0.125), by="image", seed=0)


def time_epoch(manifest: Manifest, config: TrainingConfig) -> Times:
    """Seconds of the second epoch, validation included."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        finetune(manifest, Path(folder) / "run", config, progress=clock)
    (began, worked), (ended, done) = clock.ends
    return ended - began, done - worked


def table(times: dict[str, list[Times]], manifest: Manifest, config: TrainingConfig) -> Table:
    """The fastest round of each recipe, and how much slower than none it is."""
    count = len(manifest.in_split("train"))
    shown = Table(title=f"{config.backbone}, {count} images of {config.image_size} px an epoch")
    for column in ("recipe", "s", "core s", "slower by the clock", "slower in core time"):
        shown.add_column(column, justify="left" if column == "recipe" else "right")
    for name, (clock, core) in fastest(times).items():
        by_clock, by_cores = slower(times, name)
        shown.add_row(name, f"{clock:.2f}", f"{core:.2f}", f"{by_clock:+.1%}", f"{by_cores:+.1%}")
    return shown


def fastest(times: dict[str, list[Times]]) -> dict[str, Times]:
    """The least of each clock over the rounds: what others on the machine add is never negative."""
    return {
        name: (min(clock for clock, _ in found), min(core for _, core in found))
        for name, found in times.items()
    }


def slower(times: dict[str, list[Times]], name: str) -> Times:
    """By what share a recipe takes longer than no stains, on each clock."""
    best = fastest(times)
    (clock, core), (base_clock, base_core) = best[name], best["no stains"]
    return clock / base_clock - 1, core / base_core - 1


if __name__ == "__main__":
    main()
