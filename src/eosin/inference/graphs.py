"""Exported Runs as engines: their graph in ONNX Runtime or OpenVINO, without PyTorch."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

import numpy as np

from eosin.artefacts.run import ExportedRun
from eosin.errors import ConfigError, ModelError
from eosin.machine import available_cores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from eosin.artefacts.graph import GraphFormat
    from eosin.networks.run import Run

    Pixels = npt.NDArray[np.float32]
    Floats = npt.NDArray[np.float64]

# Engine: the module it needs, and the extra of eosin that installs it.
_NEEDS = {"onnxruntime": ("onnxruntime", "onnx"), "openvino": ("openvino", "openvino")}
# Format: the engines that read it, the preferred one first.
_READERS = {"onnx": ("onnxruntime", "openvino"), "openvino": ("openvino",)}


class Session(Protocol):
    """A graph that a runtime has loaded."""

    name: str

    def run(self, batch: Pixels, outputs: Sequence[str]) -> list[Pixels]:
        """Some of the graph's outputs, by name, for input (n, 3, size, size)."""
        ...


class GraphEngine:
    """A graph in some runtime.

    Attributes:
        name: of the runtime.
        outputs: what the graph gives.
    """

    def __init__(
        self, session: Session, *, outputs: Sequence[str], size: int, no_maps: str = ""
    ) -> None:
        self.name, self.outputs = session.name, tuple(outputs)
        self._session, self._size, self._no_maps = session, size, no_maps

    def logits(self, batch: Pixels) -> Floats:
        """Logits (n, classes) of prepared input (n, 3, size, size)."""
        (logits,) = self._run(batch, ("logits",))
        return logits.astype(np.float64)

    def features(self, batch: Pixels) -> Floats:
        """Pooled features (n, channels) of prepared input (n, 3, size, size)."""
        (features,) = self._run(batch, ("features",))
        return features.astype(np.float64)

    def maps(self, batch: Pixels) -> tuple[Floats, Pixels]:
        """Logits (n, classes) and Grad-CAM maps (n, classes, h, w), at least 0.

        Raises:
            ModelError: the graph has no maps; the message says why.
        """
        if "maps" not in self.outputs:
            raise ModelError(f"this exported Run gives no heatmaps: {self._no_maps}")
        logits, maps = self._run(batch, ("logits", "maps"))
        return logits.astype(np.float64), maps

    def _run(self, batch: Pixels, outputs: Sequence[str]) -> list[Pixels]:
        if batch.shape[1:] != (3, self._size, self._size) or not len(batch):
            raise ModelError(
                f"input of shape {batch.shape}; this graph takes (n, 3, {self._size}, "
                f"{self._size}), as the Run's own preprocessing makes it"
            )
        return self._session.run(np.ascontiguousarray(batch, np.float32), outputs)


def open_graph(
    run: Run, *, engine: str = "auto", device: str = "auto", threads: int | None = None
) -> GraphEngine:
    """Load an exported Run's graph.

    Args:
        run: exported, of one network.
        engine: auto, onnxruntime or openvino.
        device: auto, cpu or cuda.
        threads: that compute; None for as many as there are cores to run on.

    Raises:
        ConfigError: the engine is not installed, or does not read this graph or use this device.
        ModelError: the Run has no graph, or its files are missing or changed.
    """
    if not isinstance(run.record, ExportedRun):
        raise ModelError(f"{run.folder}: not an exported Run of one network; see `eosin export`")
    graph = run.record.graph
    run.require_intact()
    path = run.folder / graph.file
    if engine == "torch":
        raise ConfigError(
            f"{path}: a graph, which PyTorch does not run; use engine auto, or give the Run that "
            "it was exported from"
        )
    name = choose_runtime(path, graph.format, engine=engine)
    session = open_session(path, name, device=device, threads=threads)
    size = run.record.preprocessing.size
    return GraphEngine(session, outputs=graph.outputs, size=size, no_maps=graph.no_maps)


def open_session(
    path: Path, engine: str, *, device: str = "auto", threads: int | None = None
) -> Session:
    """Load a graph file in one of the runtimes; ConfigError where it is not installed."""
    _require_installed(engine)
    threads = threads or available_cores()
    if engine == "onnxruntime":
        from eosin.inference.onnxruntime_session import OnnxRuntimeSession

        return OnnxRuntimeSession(path, device=device, threads=threads)
    from eosin.inference.openvino_session import OpenVinoSession

    return OpenVinoSession(path, device=device, threads=threads)


def choose_runtime(path: Path, form: GraphFormat, *, engine: str = "auto") -> str:
    """The runtime for a graph: the one asked for, or the first installed one that reads it.

    Raises:
        ConfigError: it does not read this format, or none is installed.
    """
    readers = _READERS[form]
    if engine != "auto" and engine not in readers:
        raise ConfigError(
            f"engine {engine!r} does not read {path}; use auto or {' or '.join(readers)}, or "
            "export the Run again with --format onnx"
        )
    if engine != "auto":
        return engine
    installed = [name for name in readers if find_spec(_NEEDS[name][0])]
    if not installed:
        raise ConfigError(
            f"{path} needs {' or '.join(readers)}, and none is installed: "
            f'pip install "eosin[{_NEEDS[readers[0]][1]}]"'
        )
    return installed[0]


def _require_installed(engine: str) -> None:
    module, extra = _NEEDS[engine]
    if find_spec(module) is None:
        raise ConfigError(
            f'engine {engine!r} is not installed: pip install "eosin[{extra}]", or use another'
        )
