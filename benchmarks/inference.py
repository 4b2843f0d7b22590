"""Inference side by side: eosin's engines, timm in PyTorch eager, and torch.compile.

    python benchmarks/inference.py FOLDER_OF_IMAGES [--weights FOLDER] [--backbones A,B]

Every side runs the same prepared batch in a process that sleeps while the others have their turn,
A B A B, so that a busy machine slows all alike and no side's threads stand in another's way. The
network, its weights and the number of threads are the same; loading and compiling are not timed.
"core ms" is the work of all cores together, which other programs change less than the clock. For
that, PyTorch's threads sleep while they wait, as no other side's spin either: where other programs
want the cores, threads that spin double PyTorch's core time and the ratios with it. ``--wait
pytorch`` leaves them as PyTorch comes: they spin for a moment, then sleep.

The bars are for the clock, batch 16, two cores, on a machine that does nothing else: the fastest
engine against timm eager as its documentation runs it, and logits with all class maps against a
graph that gives logits alone. Exit code 1 where one is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from bars import at_least, at_most
from rich.console import Console
from rich.table import Table
from untrained import find_weights, prepared, untrained_run

from eosin.bench.workers import Pace, Worker, started, take_turns
from eosin.errors import EosinError
from eosin.export.export import export_run
from eosin.machine import cpu_model, engine_versions

# How PyTorch's threads wait for work: at once asleep, or as PyTorch comes.
WAITS: dict[str, dict[str, str]] = {"sleep": {"OMP_WAIT_POLICY": "passive"}, "pytorch": {}}
WORKER = Path(__file__).with_name("inference_worker.py")
BARS = {"efficientnet_b0": 3.0, "tf_efficientnetv2_b0": 1.9}
MAPS_BAR = 1.10
EAGER = "timm eager"
ENGINES = ("onnxruntime", "openvino")
SIDES = (
    EAGER,
    "timm eager, channels last",
    "timm, torch.compile",
    "eosin torch",
    *(f"eosin {engine}" for engine in ENGINES),
    *(f"{engine}, logits only" for engine in ENGINES),
    *(f"eosin {engine}, maps" for engine in ENGINES),
)


def main() -> None:
    """Time every backbone; print the tables, and whether the bars are met."""
    options = parse_options()
    print(f"{cpu_model()}, {options.cores} threads, batch {options.batch}")
    print(", ".join(f"{name} {version}" for name, version in engine_versions().items()))
    met = True
    for backbone in options.backbones.split(","):
        paces = time_backbone(backbone, options)
        Console(width=110).print(table(f"{backbone}, {options.size} px", paces))
        met &= judge(backbone, paces)
    sys.exit(0 if met else 1)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="PNG images, such as BreakHis at 700 x 460")
    parser.add_argument("--weights", type=Path, help="a folder of <backbone>.safetensors files")
    parser.add_argument("--backbones", default=",".join(BARS))
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=12, help="turns of each")
    parser.add_argument("--seconds", type=float, default=0.4, help="of a turn, one batch at least")
    parser.add_argument("--cores", type=int, default=2, help="threads of every side")
    parser.add_argument("--wait", choices=WAITS, default="sleep", help="how its threads wait")
    parser.add_argument("--sides", default="", help="some of them, separated by semicolons")
    return parser.parse_args()


def time_backbone(backbone: str, options: argparse.Namespace) -> dict[str, Pace]:
    """Write a Run and its export, and let all sides take turns on them."""
    with tempfile.TemporaryDirectory() as folder:
        weights = find_weights(options.weights, backbone)
        run = untrained_run(Path(folder) / "run", backbone, weights=weights, size=options.size)
        exported = export_run(run, Path(folder) / "export")
        held = Path(folder) / "input.npy"
        np.save(held, prepared(options.folder, options.batch, run.record.preprocessing))
        sides = options.sides.split(";") if options.sides else SIDES
        folders = {side: exported if on_graph(side) else run for side in sides}
        words = {
            side: (
                sys.executable,
                *(str(WORKER), side, str(each.folder), str(held), str(options.cores)),
            )
            for side, each in folders.items()
        }
        return take_all(words, options)


def on_graph(side: str) -> bool:
    """Whether a side runs the export."""
    return any(engine in side for engine in ENGINES)


def take_all(words: dict[str, tuple[str, ...]], options: argparse.Namespace) -> dict[str, Pace]:
    """Start every side, naming those that cannot, and time the others in turns."""
    settings = {"OMP_NUM_THREADS": str(options.cores), **WAITS[options.wait]}
    with started(words, settings) as start:
        workers: list[Worker] = []
        for side in words:
            try:
                workers.append(start(side))
            except EosinError as error:
                print(f"{side} is left out: {error}")
        return take_turns(
            workers, batch=options.batch, rounds=options.rounds, seconds=options.seconds
        )


def table(title: str, paces: dict[str, Pace]) -> Table:
    """Medians of every side, and how many times as fast as eager it is."""
    shown = Table(title=title)
    columns = ("", "images/s", "ms an image", "p95 ms", "core ms", "x eager (clock)", "(cores)")
    for column in columns:
        shown.add_column(column, justify="right" if column else "left")
    for name, pace in paces.items():
        figures = (pace.images_per_second, pace.ms, pace.p95_ms, pace.core_ms)
        ratios = [f"{ratio:.2f}" for ratio in ratios_of(paces, EAGER, name)]
        shown.add_row(name, *(f"{figure:.1f}" for figure in figures), *(ratios or ["-", "-"]))
    return shown


def ratios_of(paces: dict[str, Pace], slow: str, fast: str) -> tuple[float, ...]:
    """How many times as long one takes as another, by the clock and in core time."""
    if slow not in paces or fast not in paces:
        return ()
    first, second = paces[slow], paces[fast]
    return first.ms / second.ms, first.core_ms / second.core_ms


def judge(backbone: str, paces: dict[str, Pace]) -> bool:
    """Print a line a bar; whether all are met."""
    met = True
    gains = {name: ratios_of(paces, EAGER, f"eosin {name}") for name in ENGINES}
    gains = {name: ratios for name, ratios in gains.items() if ratios}
    if gains and backbone in BARS:
        best = max(gains, key=lambda name: gains[name][0])
        clock, cores = gains[best]
        what = f"{backbone}, {best} against timm eager by the clock ({cores:.2f} in core time)"
        met &= at_least(what, clock, BARS[backbone])
    for engine in ENGINES:
        costs = ratios_of(paces, f"eosin {engine}, maps", f"{engine}, logits only")
        if costs:
            what = f"{backbone}, {engine}, logits with maps against logits alone by the clock"
            met &= at_most(f"{what} ({costs[1]:.2f} in core time)", costs[0], MAPS_BAR)
    return met


if __name__ == "__main__":
    main()
