"""Grad-CAM side by side: eosin's closed form and the library grad-cam, same images, in turn.

    python benchmarks/heatmaps.py FOLDER_OF_IMAGES [--weights FILE.safetensors]

Each side turns the same prepared images into one map an image, for the class with the highest
logit, in turns within one run (A B A B), so that a busy machine slows both alike. The library runs
as its documentation shows, at the last layer before pooling, with the same batches and, as most
of its users run it, image by image. Reading and drawing are left out. "core ms" is the work of
all cores together.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from rich.console import Console
from rich.table import Table

from eosin.explanation.cam import class_maps
from eosin.models.classifier import Classifier, build_classifier
from eosin.models.weights import initialise
from eosin.pixels.preprocessing import prepare
from eosin.pixels.reading import read_image

Maps = npt.NDArray[np.float32]
Contestant = Callable[[torch.Tensor], Maps]

BAR = 3.0


def main() -> None:
    """Time both on a folder of images and print the table; exit code 1 below the bar."""
    options = parse_options()
    torch.set_num_threads(options.cores)
    paths = sorted(options.folder.glob("*.png"))
    if not paths:
        sys.exit(f"no PNG images in {options.folder}: give a folder of H&E images")
    classifier = build_classifier(options.backbone, classes=2).eval()
    initialise(classifier, options.weights)
    spec = classifier.spec.preprocessing()
    wanted = [paths[n % len(paths)] for n in range(options.images)]
    pixels = torch.from_numpy(np.stack([prepare(read_image(path), spec) for path in wanted]))
    library = library_cam(classifier)
    contestants: dict[str, Contestant] = {
        "eosin, closed form": lambda batch: closed_form(classifier, batch),
        "grad-cam": lambda batch: gradient(library, batch),
        "grad-cam, one by one": lambda batch: one_by_one(library, batch),
    }
    agree = difference(contestants, pixels[: options.batch])
    times = take_turns(contestants, pixels, batch=options.batch, rounds=options.rounds)
    ratio = report(times, options, agree=agree)
    if ratio < BAR:
        sys.exit(f"below the bar of {BAR:g} times")


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="PNG images, such as BreakHis at 700 x 460")
    parser.add_argument("--backbone", default="tf_efficientnetv2_b0")
    parser.add_argument("--weights", default="none", help="a safetensors file; random otherwise")
    parser.add_argument("--images", type=int, default=16, help="images a turn")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each")
    parser.add_argument("--cores", type=int, default=2, help="threads of both")
    return parser.parse_args()


def library_cam(classifier: Classifier) -> GradCAM:
    """The library's Grad-CAM at the last activation before pooling."""
    return GradCAM(model=classifier, target_layers=[classifier.backbone.bn2])


def closed_form(classifier: Classifier, batch: torch.Tensor) -> Maps:
    """Raw maps of the winning class (N, h, w)."""
    logits, maps = class_maps(classifier, batch)
    chosen: Maps = maps[torch.arange(len(batch)), logits.argmax(dim=1)].numpy()
    return chosen


def gradient(library: GradCAM, batch: torch.Tensor) -> Maps:
    """The library's maps of the winning class (N, S, S); it finds that in its own forward pass."""
    maps: Maps = library(input_tensor=batch, targets=None)
    return maps


def one_by_one(library: GradCAM, batch: torch.Tensor) -> Maps:
    """The same, an image at a time."""
    return np.concatenate([gradient(library, batch[n : n + 1]) for n in range(len(batch))])


def difference(contestants: dict[str, Contestant], batch: torch.Tensor) -> float:
    """The largest difference between both after the library's own scaling."""
    ours, theirs, _ = (contestant(batch) for contestant in contestants.values())
    side = batch.shape[-1]
    scaled = scale_cam_image(scale_cam_image(ours, (side, side)))
    return float(np.abs(scaled - theirs).max())


def take_turns(
    contestants: dict[str, Contestant], pixels: torch.Tensor, *, batch: int, rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Milliseconds an image of each turn, by the clock and of all cores; one turn to warm up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, contestant in contestants.items():
            wall, cores = time.perf_counter(), time.process_time()
            for part in torch.split(pixels, batch):
                contestant(part)
            spent = time.perf_counter() - wall, time.process_time() - cores
            if turn:
                times[name].append((1e3 * spent[0] / len(pixels), 1e3 * spent[1] / len(pixels)))
    return times


def report(
    times: dict[str, list[tuple[float, float]]], options: argparse.Namespace, *, agree: float
) -> float:
    """Print medians; the ratio of the library's batches to the closed form, by the clock."""
    medians = {name: np.median(np.array(turns), axis=0) for name, turns in times.items()}
    ours = medians["eosin, closed form"]
    table = Table(title=f"{options.backbone}, batch {options.batch}, {options.cores} threads")
    for column in ("", "ms an image", "core ms", "images/s", "times slower (clock)", "(cores)"):
        table.add_column(column, justify="left" if not column else "right")
    for name, (wall, cores) in medians.items():
        figures = (wall, cores, 1e3 / wall, wall / ours[0], cores / ours[1])
        table.add_row(name, *(f"{figure:.1f}" for figure in figures))
    console = Console(width=100)
    console.print(table)
    console.print(f"largest difference after the same scaling: {agree:.1e}")
    ratio = float((medians["grad-cam"] / ours)[0])
    console.print(f"grad-cam / eosin by the clock: {ratio:.2f} (bar: {BAR:g})")
    return ratio


if __name__ == "__main__":
    main()
