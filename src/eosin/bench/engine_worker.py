"""The process that a Run's networks run in while `eosin bench` times an engine.

    python -m eosin.bench.engine_worker SETTINGS.json

PyTorch is imported only where it is the engine.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eosin.bench.serving import serve
from eosin.errors import ConfigError
from eosin.networks.run import read_run
from eosin.networks.torch_engine import TorchEngine

if TYPE_CHECKING:
    from eosin.bench.serving import Job
    from eosin.networks.engine import Engine
    from eosin.networks.run import Run


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker is told."""

    run: str  # folder of the Run
    engine: str  # torch, onnxruntime or openvino
    device: str  # auto, cpu, cuda or mps
    threads: int  # that compute
    # prepared input (n, 3, size, size) as .npy files, one a network, in order
    inputs: tuple[str, ...]

    def write(self, path: Path) -> None:
        """Write the settings as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def read_settings(path: Path) -> WorkerSettings:
    """Read what ``WorkerSettings.write`` wrote."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    return WorkerSettings(**{**fields, "inputs": tuple(fields["inputs"])})


def main() -> None:
    """Load the input, and serve."""
    settings = read_settings(Path(sys.argv[1]))
    held = {path: np.load(path) for path in settings.inputs}
    opened: list[Engine] = []

    def prepare() -> Job:
        opened.extend(open_engines(read_run(Path(settings.run)), settings))
        turns = list(zip(opened, settings.inputs, strict=True))

        def job() -> None:
            for engine, path in turns:
                engine.logits(held[path])

        return job

    serve(prepare, said=lambda: opened[0].device)


def open_engines(run: Run, settings: WorkerSettings) -> list[Engine]:
    """Every network of a Run; of an exported one in PyTorch, its design with random weights."""
    if settings.engine != "torch":
        networks = run.networks(
            engine=settings.engine, device=settings.device, threads=settings.threads
        )
        return [network.engine for network in networks]
    try:
        import timm  # noqa: F401  # the backbones
        import torch
    except ModuleNotFoundError as error:
        raise ConfigError(f'{error.name} is not installed: pip install "eosin[train]"') from error
    torch.set_num_threads(settings.threads)
    return [_in_torch(leaf, settings.device) for leaf in run.leaves()]


def _in_torch(leaf: Run, device: str) -> Engine:
    if leaf.graph is None:
        return leaf.networks(engine="torch", device=device)[0].engine
    from eosin.networks.classifier import build_classifier

    blank = build_classifier(leaf.record.backbone, classes=len(leaf.record.task.classes))
    return TorchEngine(blank, device=device)


if __name__ == "__main__":
    main()
