"""Exported networks, explained by the maps that their graph gives with the logits. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.run import ExportedRun
from eosin.errors import ConfigError, ModelError, NoMapError
from eosin.evaluation.calibration import apply_temperature
from eosin.inference.graphs import open_graph

if TYPE_CHECKING:
    import numpy.typing as npt

    from eosin.explanation.heatmap import FloatMap, Method
    from eosin.inference.engines import MapEngine
    from eosin.networks.run import Run

# The gradient of a logit is the same at every place of a channel where the closed form holds, so
# HiResCAM (Draelos & Carin 2020) and Grad-CAM are one map here.
_METHODS = ("gradcam", "hirescam")


@dataclass(frozen=True, eq=False)
class GraphAnswer:
    """What a graph says to a batch.

    Attributes:
        probabilities: calibrated, (N, C).
        stride: input pixels from one place of the map to the next, rounded up.
        class_maps: of every class, (N, C, h, w), at least 0.
    """

    probabilities: npt.NDArray[np.float64]
    stride: int
    class_maps: npt.NDArray[np.float32]

    def maps(self, targets: npt.NDArray[np.int64]) -> FloatMap:
        """Raw maps (N, h, w), at least 0, of one class index an image (N,)."""
        chosen: FloatMap = self.class_maps[np.arange(len(targets)), targets]
        return chosen


@dataclass(frozen=True, eq=False)
class GraphNetwork:
    """An exported network.

    Attributes:
        name: of its own among the networks explained together.
        run: the single Run it belongs to.
        engine: its graph, loaded.
        family: the design of its backbone.
        method: how maps are named.
    """

    name: str
    run: Run
    engine: MapEngine
    family: str
    method: Method

    def answer(self, prepared: npt.NDArray[np.float32]) -> GraphAnswer:
        """Run prepared input (N, 3, S, S) through the graph; NoMapError where it gives no maps."""
        record = self.run.record
        if isinstance(record, ExportedRun) and record.graph.no_maps:
            why = record.graph.no_maps
            raise NoMapError(f"{self.run.folder}: this exported Run gives no heatmaps: {why}")
        logits, maps = self.engine.maps(prepared)
        return GraphAnswer(
            probabilities=apply_temperature(logits, self.run.record.temperature),
            stride=-(-prepared.shape[-1] // maps.shape[-1]),
            class_maps=maps,
        )


def open_graph_network(
    run: Run, name: str, *, method: Method, device: str, engine: str
) -> GraphNetwork:
    """Load an exported Run's graph to be explained.

    Raises:
        ConfigError: the method needs PyTorch, or the engine cannot run this graph.
        ModelError: files are missing or changed.
    """
    if not isinstance(run.record, ExportedRun):
        raise ModelError(f"{run.folder}: not an exported Run of one network; see `eosin export`")
    if method not in _METHODS:
        raise ConfigError(
            f"method {method!r} needs PyTorch and the original Run; {run.folder} is exported and "
            f"gives {' and '.join(_METHODS)}, which are the same map for it"
        )
    opened = open_graph(run, engine=engine, device=device)
    return GraphNetwork(name, run, opened, run.record.graph.family, method)
