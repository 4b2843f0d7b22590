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

from eosin.artefacts.run import ExportedRun
from eosin.bench.serving import serve
from eosin.errors import ConfigError
from eosin.inference.engines import TorchEngine, open_engine
from eosin.inference.members import open_scorer
from eosin.networks.run import read_run

if TYPE_CHECKING:
    from eosin.bench.serving import Job
    from eosin.inference.engines import Engine
    from eosin.networks.run import Run


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker is told.

    Attributes:
        run: folder of the Run.
        engine: torch, onnxruntime or openvino.
        device: auto, cpu or cuda.
        threads: that compute.
        inputs: prepared input (n, 3, size, size) as .npy files, one a network, in order.
    """

    run: str
    engine: str
    device: str
    threads: int
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
        networks = open_scorer(read_run(Path(settings.run))).networks
        opened.extend(open_network(network, settings) for network in networks)
        turns = list(zip(opened, settings.inputs, strict=True))

        def job() -> None:
            for engine, path in turns:
                engine.logits(held[path])

        return job

    serve(prepare, said=lambda: device_of(opened[0], settings.device))


def open_network(network: Run, settings: WorkerSettings) -> Engine:
    """A single Run's network; of an exported one in PyTorch, its design with random weights."""
    if settings.engine != "torch":
        return open_engine(
            network,
            engine=settings.engine,
            device=settings.device,
            threads=settings.threads,
        )
    try:
        import timm  # noqa: F401  # the backbones
        import torch
    except ModuleNotFoundError as error:
        raise ConfigError(f'{error.name} is not installed: pip install "eosin[train]"') from error
    from eosin.networks.classifier import build_classifier

    torch.set_num_threads(settings.threads)
    record = network.record
    if not isinstance(record, ExportedRun):
        return open_engine(network, engine="torch", device=settings.device)
    blank = build_classifier(record.backbone, classes=len(record.task.classes))
    return TorchEngine(blank, device=settings.device)


def device_of(engine: Engine, asked: str) -> str:
    """Where an engine computes: ``"cpu"``, or a GPU."""
    if isinstance(engine, TorchEngine):
        return str(engine.device)
    if engine.name == "onnxruntime" and asked != "cpu":
        import onnxruntime

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            return "cuda"
    return "cpu"


if __name__ == "__main__":
    main()
