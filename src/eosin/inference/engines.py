"""What turns network input into logits: one Protocol, and the engine that suits a Run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, get_args

from eosin.artefacts.run import ExportedRun
from eosin.errors import ConfigError, ModelError
from eosin.inference.torch_engine import TorchEngine

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from eosin.networks.run import Run

    Pixels = npt.NDArray[np.float32]
    Floats = npt.NDArray[np.float64]

__all__ = ["ENGINES", "Engine", "EngineName", "MapEngine", "TorchEngine", "open_engine"]

EngineName = Literal["auto", "torch", "onnxruntime", "openvino"]
ENGINES: tuple[str, ...] = get_args(EngineName)


class Engine(Protocol):
    """A loaded network; asked for one batch at a time."""

    name: str

    def logits(self, batch: Pixels) -> Floats:
        """Logits (n, classes) of prepared input (n, 3, size, size)."""
        ...

    def features(self, batch: Pixels) -> Floats:
        """Pooled features (n, channels) of prepared input (n, 3, size, size)."""
        ...


class MapEngine(Engine, Protocol):
    """One that gives the maps of every class beside the logits."""

    def maps(self, batch: Pixels) -> tuple[Floats, Pixels]:
        """Logits (n, classes) and Grad-CAM maps (n, classes, h, w), at least 0."""
        ...


def open_engine(
    run: Run, *, engine: str = "auto", device: str = "auto", threads: int | None = None
) -> Engine:
    """Load a single Run's network.

    Args:
        run: with weights or a graph of its own.
        engine: ``"auto"`` takes PyTorch for weights, and for a graph ONNX Runtime or OpenVINO,
            whichever is installed and reads it; or the name of one.
        device: auto, cpu or cuda.
        threads: of a graph's engine; None for as many as there are cores to run on.

    Raises:
        ConfigError: an unknown engine, one that is not installed, or one that cannot run this Run.
        ModelError: the network is missing or changed.
    """
    require_engine(engine)
    if not isinstance(run.record, ExportedRun):
        return _open_torch(run, engine, device)
    from eosin.inference.graphs import open_graph

    return open_graph(run, engine=engine, device=device, threads=threads)


def require_engine(engine: str) -> None:
    """ConfigError, naming all, where there is no such engine."""
    if engine not in ENGINES:
        raise ConfigError(f"engine {engine!r} is unknown; want one of {list(ENGINES)}")


def _open_torch(run: Run, engine: str, device: str) -> TorchEngine:
    if run.record.inside:
        raise ModelError(
            f"{run.folder}: made of {len(run.record.inside)} Runs and has no network of its own; "
            "open each of its members"
        )
    require_torch(run, engine=engine)
    from eosin.networks.classifier import load_classifier

    return TorchEngine(load_classifier(run), device=device)


def require_torch(run: Run, *, engine: str = "auto") -> None:
    """ConfigError where the weights of ``run`` cannot be used: another engine, or no PyTorch."""
    if engine not in ("auto", "torch"):
        raise ConfigError(
            f"engine {engine!r} runs exported Runs only, and {run.folder} holds PyTorch weights; "
            f"export it first: eosin export {run.folder} -o DIR"
        )
    try:
        import timm  # noqa: F401  # the backbones
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{run.folder} holds PyTorch weights, and {error.name} is not installed: "
            'pip install "eosin[train]", or export the Run where PyTorch is '
            f"(eosin export {run.folder} -o DIR) and give the exported folder"
        ) from error
