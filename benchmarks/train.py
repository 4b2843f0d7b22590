"""Images a second of eosin's training step against timm's own, for the same network and work.

    python benchmarks/train.py [--backbone B] [--size S] [--batch N] [--device cpu|cuda]
                               [--precision float32|bfloat16|float16] [--compile] [--ema]

Both sides start from the same bytes in memory and end with stepped weights: bytes to the device and
normalised there, forward under autocast, cross-entropy with label smoothing, backward, AdamW, and
with --ema the averaged weights. timm's side is what its training script puts together: its model,
``create_optimizer_v2``, ``PrefetchLoader``, ``LabelSmoothingCrossEntropy``, ``NativeScaler`` for
float16, ``ModelEmaV3``, channels-last, cuDNN's search for kernels. eosin's is ``Learner.learn`` as
``eosin train`` calls it; its class weights and running accuracy are work that timm's step does not
do. The two take turns (A B A B), in one process, and a GPU is waited for at the end of each turn,
not at each step. The bar is for images a second by the clock on a GPU, and for core time on a CPU,
which other programs on the machine change less.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import numpy as np
import numpy.typing as npt
import timm
import torch
from bars import at_least
from rich.console import Console
from rich.table import Table
from timm.data.loader import PrefetchLoader
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3, NativeScaler

from eosin.artefacts.preprocessing import Preprocessing
from eosin.networks.classifier import build_classifier
from eosin.training.config import TrainingConfig
from eosin.training.learner import Learner
from eosin.training.optimisation import fastest_convolutions

BAR = 1.0
CLASSES, DROPOUT, SMOOTHING, DECAY, EMA = 8, 0.3, 0.1, 0.02, 0.99
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Batches = list[tuple[Bytes, Ints]]
Turn = Callable[[Batches], None]
Times = tuple[float, float]  # a turn's seconds by the clock, and of all cores together


def main() -> None:
    """Time turns of both sides and print the table."""
    options = parse_options()
    if options.device == "cpu":
        torch.set_num_threads(options.cores)
    batches = draw_batches(options)
    sides: dict[str, Turn] = {"eosin": eosin_side(options), "timm": timm_side(options)}
    times: dict[str, list[Times]] = {name: [] for name in sides}
    with fastest_convolutions():
        for turn in sides.values():  # not counted: kernels are searched for, memory is taken
            timed(turn, batches[: options.warm_up], options)
        for _ in range(options.rounds):
            for name, turn in sides.items():
                times[name].append(timed(turn, batches, options))
    Console(width=110).print(table(times, options))


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    gpu = torch.cuda.is_available()
    parser.add_argument("--backbone", default="tf_efficientnetv2_b0", help="a timm name")
    parser.add_argument("--size", type=int, default=224, help="input side in pixels")
    parser.add_argument("--batch", type=int, default=64 if gpu else 16)
    parser.add_argument("--steps", type=int, default=50 if gpu else 6, help="steps a turn")
    parser.add_argument("--warm-up", type=int, default=20 if gpu else 2, help="steps not counted")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if gpu else "cpu")
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "float16"),
        default="bfloat16" if gpu else "float32",
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile on both sides")
    parser.add_argument("--ema", action="store_true", help="averaged weights on both sides")
    parser.add_argument("--cores", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def draw_batches(options: argparse.Namespace) -> Batches:
    """One turn's batches of noise: the time of a step does not depend on what images show."""
    random = np.random.default_rng(0)
    shape = (options.batch, options.size, options.size, 3)
    return [
        (random.integers(0, 256, shape, dtype=np.uint8), random.integers(0, CLASSES, options.batch))
        for _ in range(max(options.steps, options.warm_up))
    ][: options.steps]


def eosin_side(options: argparse.Namespace) -> Turn:
    """Steps of ``Learner.learn``."""
    config = TrainingConfig(
        backbone=options.backbone,
        mixed_precision="off" if options.precision == "float32" else options.precision,
        torch_compile=options.compile,
        ema=EMA if options.ema else 0.0,
        label_smoothing=SMOOTHING,
        weight_decay=DECAY,
    )
    network = build_classifier(options.backbone, classes=CLASSES, dropout=DROPOUT)
    spec = Preprocessing(size=options.size)
    labels = np.arange(CLASSES)
    device = torch.device(options.device)
    learner = Learner(network, config, device=device, labels=labels, spec=spec)
    learner.begin_epoch(0)
    sums = torch.zeros(2, dtype=torch.float64, device=device)

    def turn(batches: Batches) -> None:
        for step, (images, wanted) in enumerate(batches):
            sums.add_(learner.learn(images, wanted, step=step, rate=1.0))

    return turn


def timm_side(options: argparse.Namespace) -> Turn:
    """Steps as timm's training script takes them."""
    device = torch.device(options.device)
    model = timm.create_model(options.backbone, num_classes=CLASSES, drop_rate=DROPOUT)
    model = model.to(device=device, memory_format=torch.channels_last)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=2e-4, weight_decay=DECAY)
    averaged = ModelEmaV3(model, decay=EMA) if options.ema else None
    forward = torch.compile(model) if options.compile else model
    scaler = NativeScaler(device=device.type) if options.precision == "float16" else None
    criterion = LabelSmoothingCrossEntropy(smoothing=SMOOTHING).to(device)
    autocast = _autocast(options, device)
    model.train()

    def step(pixels: torch.Tensor, wanted: torch.Tensor) -> None:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        with autocast():
            loss = criterion(forward(pixels), wanted)
        if scaler is not None:
            scaler(loss, optimizer)
        else:
            loss.backward()
            optimizer.step()
        optimizer.zero_grad()

    def turn(batches: Batches) -> None:
        loader = PrefetchLoader(_Collated(batches, device), device=device)
        for number, (pixels, wanted) in enumerate(loader):
            step(pixels, wanted)
            if averaged is not None:
                averaged.update(model, step=number + 1000)

    return turn


class _Collated:
    """Batches as timm's workers hand them over: channels first, in pinned memory for a GPU."""

    def __init__(self, batches: Batches, device: torch.device) -> None:
        self._batches, self._pinned = batches, device.type == "cuda"

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for images, labels in self._batches:
            first = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
            wanted = torch.from_numpy(labels)
            yield (first.pin_memory(), wanted.pin_memory()) if self._pinned else (first, wanted)


def _autocast(
    options: argparse.Namespace, device: torch.device
) -> Callable[[], AbstractContextManager[object]]:
    if options.precision == "float32":
        return nullcontext
    dtype = torch.float16 if options.precision == "float16" else torch.bfloat16
    return partial(torch.autocast, device_type=device.type, dtype=dtype)


def timed(turn: Turn, batches: Batches, options: argparse.Namespace) -> Times:
    """Seconds a turn takes, with everything that the GPU was asked for done."""
    began, worked = time.perf_counter(), time.process_time()
    turn(batches)
    if options.device != "cpu":
        torch.cuda.synchronize(options.device)
    return time.perf_counter() - began, time.process_time() - worked


def table(times: dict[str, list[Times]], options: argparse.Namespace) -> Table:
    """Medians over the turns, and medians of the ratios of neighbouring turns."""
    where = torch.cuda.get_device_name(options.device) if options.device != "cpu" else "CPU"
    settings = f"{options.size} px, batch {options.batch}, {options.precision}"
    extras = "".join(f", {name}" for name in ("compile", "ema") if getattr(options, name))
    shown = Table(title=f"{options.backbone}, {settings}{extras}, {where}, channels-last")
    columns = ("side", "images/s", "ms a step", "core ms", "faster by the clock", "in core time")
    for column in (*columns, "bar"):
        shown.add_column(column, justify="left" if column == "side" else "right")
    pairs = list(zip(times["eosin"], times["timm"], strict=True))
    clock, core = (statistics.median(b[k] / a[k] for a, b in pairs) for k in (0, 1))
    judged = core if options.device == "cpu" else clock
    at_least(f"{options.backbone}, training step against timm's, {where}", judged, BAR)
    verdict = f"{BAR:g}: {'met' if judged >= BAR else 'MISSED'}"
    for name, found in times.items():
        seconds, worked = (
            statistics.median(each[k] for each in found) / options.steps for k in (0, 1)
        )
        said = (f"{clock:.2f}", f"{core:.2f}", verdict) if name == "eosin" else ("", "", "")
        rate = f"{options.batch / seconds:,.1f}"
        shown.add_row(name, rate, f"{1000 * seconds:,.1f}", f"{1000 * worked:,.1f}", *said)
    return shown


if __name__ == "__main__":
    main()
