"""ViT-S/16 at 224 pixels on this CPU: PyTorch eager against its export, in turn, A B A B.

    python benchmarks/encoders.py [--backbone vit_small_patch16_224] [--rounds 4] [--images 8]

Random weights: they cost what trained ones do. Each engine computes logits of the same images in
batches of one and of ``--images``; the figure is the median over rounds. Exit code 1 where the
better export is not 1.3 times as fast as eager.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from bars import at_least

from eosin.export.formats import write_onnx, write_openvino
from eosin.export.graph_module import GraphModule, examine
from eosin.machine import available_cores, cpu_model
from eosin.networks.classifier import build_classifier
from eosin.networks.graphs import open_session
from eosin.networks.torch_engine import TorchEngine

SPEED_BAR = 1.3


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--backbone", default="vit_small_patch16_224")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--images", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(available_cores())
    print(f"{cpu_model()}, {available_cores()} cores, {options.backbone}, random weights")
    met = []
    with tempfile.TemporaryDirectory() as folder:
        engines, size = _engines(options.backbone, Path(folder))
        for count in (1, options.images):
            batch = np.random.default_rng(0).normal(size=(count, 3, size, size)).astype(np.float32)
            met.append(_compare(engines, batch, rounds=options.rounds))
    sys.exit(0 if all(met) else 1)


def _engines(backbone: str, folder: Path) -> tuple[dict[str, Callable[..., object]], int]:
    """Each engine by name as a function of a batch, and the side of the input."""
    classifier = build_classifier(backbone, classes=2).eval()
    size = classifier.spec.size
    module = GraphModule(classifier, anatomy=examine(classifier, size=size)).eval()
    write_onnx(module, folder / "model.onnx", size=size)
    write_openvino(folder / "model.onnx", folder / "model.xml")
    eager = TorchEngine(classifier, device="cpu")
    graphs = {
        name: open_session(folder / file, name, device="cpu")
        for name, file in (("onnxruntime", "model.onnx"), ("openvino", "model.xml"))
    }
    return {
        "eager": eager.logits,
        **{
            name: lambda batch, session=session: session.run(batch, ("logits",))
            for name, session in graphs.items()
        },
    }, size


def _compare(engines: dict[str, Callable[..., object]], batch: np.ndarray, *, rounds: int) -> bool:
    """Print the milliseconds an image of each engine; whether the best export meets the bar."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for round_ in range(rounds + 1):  # the first one warms up
        for name, compute in engines.items():
            repeats = max(1, 8 // len(batch))
            began = time.perf_counter()
            for _ in range(repeats):
                compute(batch)
            if round_:
                times[name].append((time.perf_counter() - began) / repeats / len(batch) * 1e3)
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, median in medians.items():
        print(f"  batch {len(batch)}: {name:12} {median:7.1f} ms an image {times[name]}")
    best = min((name for name in medians if name != "eager"), key=lambda name: medians[name])
    faster = medians["eager"] / medians[best]
    what = f"batch {len(batch)}: {best} over eager"
    return at_least(what, faster, SPEED_BAR)


if __name__ == "__main__":
    main()
