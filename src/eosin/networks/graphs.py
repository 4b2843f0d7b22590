"""Graphs as engines: in ONNX Runtime or OpenVINO, without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

import numpy as np

from eosin.errors import ConfigError, ModelError, NoMapError
from eosin.machine import computing_threads

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eosin.arrays import Floats, Ints, Pixels
    from eosin.artefacts.graph import Graph, GraphFormat

# Engine, which is also its module: the extra of eosin that installs it.
_EXTRAS = {"onnxruntime": "onnx", "openvino": "openvino"}
# Format: the engines that read it, the preferred one first.
_READERS = {"onnx": ("onnxruntime", "openvino"), "openvino": ("openvino",)}


class Session(Protocol):
    """A graph that a runtime has loaded."""

    name: str
    device: str

    def run(self, batch: Pixels, outputs: Sequence[str]) -> list[Pixels]:
        """Some of the graph's outputs, by name, for input (n, 3, size, size)."""


@dataclass(frozen=True, eq=False)
class Split:
    """Logits of a batch as sums: each is that of ``patches`` over its positions, and ``rest``."""

    patches: Pixels  # terms of either sign (n, classes, h, w)
    rest: Pixels  # what no patch explains (n, classes)


@dataclass(frozen=True, eq=False)
class GraphMaps:
    """Maps of a batch, as the graph gives them."""

    logits: Floats  # (n, classes)
    of_all: Pixels  # the maps of every class, (n, classes, h, w), at least 0
    stride: int  # input pixels from one position of a map to the next, rounded up
    split: Split | None = None  # of a transformer's graph

    def of(self, targets: Ints) -> Pixels:
        """Maps (n, h, w) of one class index an image (n,)."""
        return self.of_all[np.arange(len(targets)), targets]


class GraphEngine:
    """A graph in some runtime.

    Attributes:
        name: of the runtime.
        device: where it computes, ``"cpu"`` or ``"cuda"``.
        outputs: what the graph gives.
        family: the design of the backbone.
    """

    def __init__(
        self,
        session: Session,
        *,
        outputs: Sequence[str],
        size: int,
        no_maps: str = "",
        family: str = "",
    ) -> None:
        self.name, self.device, self.family = session.name, session.device, family
        self.outputs = tuple(outputs)
        self._session, self._size, self._no_maps = session, size, no_maps

    def logits(self, batch: Pixels) -> Floats:
        """Logits (n, classes) of prepared input (n, 3, size, size)."""
        (logits,) = self._run(batch, ("logits",))
        return logits.astype(np.float64)

    def features(self, batch: Pixels) -> Floats:
        """Pooled features (n, channels) of prepared input (n, 3, size, size)."""
        (features,) = self._run(batch, ("features",))
        return features.astype(np.float64)

    def answers(self, batch: Pixels) -> tuple[Floats, Floats]:
        """Logits and pooled features of prepared input, from one pass."""
        logits, features = self._run(batch, ("logits", "features"))
        return logits.astype(np.float64), features.astype(np.float64)

    def maps(self, batch: Pixels) -> GraphMaps:
        """Maps of prepared input (n, 3, size, size); NoMapError where the graph has none."""
        if "maps" not in self.outputs:
            raise NoMapError(f"this exported Run gives no heatmaps: {self._no_maps}")
        if "rest" not in self.outputs:
            logits, maps = self._run(batch, ("logits", "maps"))
            return GraphMaps(logits.astype(np.float64), maps, -(-self._size // maps.shape[-1]))
        logits, maps, rest = self._run(batch, ("logits", "maps", "rest"))
        stride, drawn = -(-self._size // maps.shape[-1]), np.maximum(maps, 0)
        return GraphMaps(logits.astype(np.float64), drawn, stride, Split(maps, rest))

    def _run(self, batch: Pixels, outputs: Sequence[str]) -> list[Pixels]:
        if batch.shape[1:] != (3, self._size, self._size) or not len(batch):
            raise ModelError(
                f"input of shape {batch.shape}; this graph takes (n, 3, {self._size}, "
                f"{self._size}), as the Run's own preprocessing makes it"
            )
        return self._session.run(np.ascontiguousarray(batch, np.float32), outputs)


def open_graph(
    folder: Path,
    graph: Graph,
    size: int,
    *,
    engine: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> GraphEngine:
    """Load an exported Run's graph, whose files are known to be intact.

    Args:
        folder: of the Run.
        graph: what its record says of it.
        size: side of its input, in pixels.
        engine: auto, onnxruntime or openvino.
        device: auto, cpu, cuda or mps.
        threads: that compute; None for ``computing_threads``.

    Raises:
        ConfigError: the engine is not installed, or does not read this graph or use this device.
        ModelError: the engine cannot load it.
    """
    path = folder / graph.file
    if engine == "torch":
        raise ConfigError(
            f"{path}: a graph, which PyTorch does not run; use engine auto, or give the Run that "
            "it was exported from"
        )
    name = choose_runtime(path, graph.format, engine=engine)
    session = open_session(path, name, device=device, threads=threads)
    return GraphEngine(
        session, outputs=graph.outputs, size=size, no_maps=graph.no_maps, family=graph.family
    )


def open_session(
    path: Path, engine: str, *, device: str = "auto", threads: int | None = None
) -> Session:
    """Load a graph file in one of the runtimes; ConfigError where it is not installed."""
    _require_installed(engine)
    threads = threads or computing_threads()
    if engine == "onnxruntime":
        from eosin.networks.onnxruntime_session import OnnxRuntimeSession

        return OnnxRuntimeSession(path, device=device, threads=threads)
    from eosin.networks.openvino_session import OpenVinoSession

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
    installed = [name for name in readers if find_spec(name)]
    if not installed:
        raise ConfigError(
            f"{path} needs {' or '.join(readers)}, and none is installed: "
            f'pip install "eosin[{_EXTRAS[readers[0]]}]"'
        )
    return installed[0]


def _require_installed(engine: str) -> None:
    if find_spec(engine) is None:
        fix = f'pip install "eosin[{_EXTRAS[engine]}]", or use another'
        raise ConfigError(f"engine {engine!r} is not installed: {fix}")
