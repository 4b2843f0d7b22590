"""What an exported Run's network is: a graph in files, with what was checked when it was made.

An exported Run has ``model.onnx``, or ``model.xml`` and ``model.bin``, where a trained one has
``model.safetensors``. No torch is needed to read or to run it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from eosin.artefacts.int8 import Int8Trial
from eosin.artefacts.values import Count, NotNegative, PositiveCount, Sha256, Share
from eosin.errors import ModelError

GraphFormat = Literal["onnx", "openvino"]
Precision = Literal["fp32", "int8"]
Output = Literal["logits", "features", "maps", "rest"]

INPUT_NAME = "pixels"
GRAPH_NAMES: dict[str, str] = {"onnx": "model.onnx", "openvino": "model.xml"}


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a graph was from PyTorch on the images that checked it."""

    images: Count  # how many
    source: str  # which, in words
    engine: str  # what ran the graph
    probabilities: Share  # the largest difference of a calibrated probability
    # the largest difference of a class-activation map, each scaled as it is drawn; None where the
    # graph gives no maps
    maps: NotNegative | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """A network as a graph: (N, 3, S, S) float32 prepared input to its outputs, any N."""

    format: GraphFormat  # ``"onnx"`` or ``"openvino"``
    precision: Precision  # of its weights and arithmetic, ``"fp32"`` or ``"int8"``
    # SHA-256 of every file that is loaded, by name, those with external data included
    files: dict[str, Sha256]
    # ``"logits"`` (N, C), ``"features"`` (N, K) and, where the network has a closed form,
    # ``"maps"`` (N, C, h, w), its Grad-CAM maps; or of a transformer each patch's term of the
    # logit, and what no patch explains, ``"rest"`` (N, C)
    outputs: tuple[Output, ...]
    # h and w of the last feature map; None where the network has none
    map_size: tuple[PositiveCount, PositiveCount] | None
    no_maps: str  # why there are no maps, in words; empty where there are
    # the design of the backbone, e.g. ``"EfficientNetV2"``
    family: str
    parity: Parity  # what the check against PyTorch found
    versions: dict[str, str] = field(default_factory=dict)  # of the libraries that made it
    int8: Int8Trial | None = None  # where 8-bit integers were tried, what became of it; kept or not

    def __post_init__(self) -> None:
        for name in self.files:
            if not name.strip(".") or not set(name).isdisjoint("/\\:\0"):
                raise ModelError(f"graph.files: {name!r} is no file in the Run's own folder")
        if self.file not in self.files:
            raise ModelError(f"graph.files = {list(self.files)} lack {self.file}")
        if self.outputs[:2] != ("logits", "features") or len(set(self.outputs)) < len(self.outputs):
            raise ModelError(f"graph.outputs = {self.outputs}: want logits, features, maybe maps")
        if "rest" in self.outputs and "maps" not in self.outputs:
            raise ModelError(f"graph.outputs = {self.outputs}: a rest without maps")
        if ("maps" in self.outputs) == bool(self.no_maps):
            raise ModelError(f"graph.no_maps = {self.no_maps!r} contradicts {self.outputs}")

    @property
    def file(self) -> str:
        """Name of the file that an engine opens."""
        return GRAPH_NAMES[self.format]
