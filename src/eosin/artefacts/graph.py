"""What an exported Run's network is: a graph in files, with what was checked when it was made.

An exported Run has ``model.onnx``, or ``model.xml`` and ``model.bin``, where a trained one has
``model.safetensors``. No torch is needed to read or to run it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from eosin.artefacts.int8 import Int8Trial
from eosin.artefacts.values import Count, NotNegative, Sha256, Share
from eosin.errors import ModelError

GraphFormat = Literal["onnx", "openvino"]
Precision = Literal["fp32", "int8"]
Output = Literal["logits", "features", "maps"]

Side = Annotated[int, Field(ge=1)]

INPUT_NAME = "pixels"
GRAPH_NAMES: dict[str, str] = {"onnx": "model.onnx", "openvino": "model.xml"}


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a graph was from PyTorch on the images that checked it.

    Attributes:
        images: how many.
        source: which, in words.
        engine: what ran the graph.
        probabilities: the largest difference of a calibrated probability.
        maps: the largest difference of a class-activation map, each scaled as it is drawn; None
            where the graph gives no maps.
    """

    images: Count
    source: str
    engine: str
    probabilities: Share
    maps: NotNegative | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """A network as a graph: (N, 3, S, S) float32 prepared input to its outputs, any N.

    Attributes:
        format: ``"onnx"`` or ``"openvino"``.
        precision: of its weights and arithmetic, ``"fp32"`` or ``"int8"``.
        files: SHA-256 of every file that is loaded, by name, those with external data included.
        outputs: ``"logits"`` (N, C), ``"features"`` (N, K) and, where the network has a closed
            form, ``"maps"`` (N, C, h, w), its Grad-CAM maps.
        map_size: h and w of the last feature map; None where the network has none.
        no_maps: why there are no maps, in words; empty where there are.
        family: the design of the backbone, e.g. ``"EfficientNetV2"``.
        parity: what the check against PyTorch found.
        versions: of the libraries that made it.
        int8: where 8-bit integers were tried, what became of it; kept or not.
    """

    format: GraphFormat
    precision: Precision
    files: dict[str, Sha256]
    outputs: tuple[Output, ...]
    map_size: tuple[Side, Side] | None
    no_maps: str
    family: str
    parity: Parity
    versions: dict[str, str] = field(default_factory=dict)
    int8: Int8Trial | None = None

    def __post_init__(self) -> None:
        for name in self.files:
            if not name.strip(".") or not set(name).isdisjoint("/\\:\0"):
                raise ModelError(f"graph.files: {name!r} is no file in the Run's own folder")
        if self.file not in self.files:
            raise ModelError(f"graph.files = {list(self.files)} lack {self.file}")
        if self.outputs[:2] != ("logits", "features") or len(set(self.outputs)) < len(self.outputs):
            raise ModelError(f"graph.outputs = {self.outputs}: want logits, features, maybe maps")
        if ("maps" in self.outputs) == bool(self.no_maps):
            raise ModelError(f"graph.no_maps = {self.no_maps!r} contradicts {self.outputs}")

    @property
    def file(self) -> str:
        """Name of the file that an engine opens."""
        return GRAPH_NAMES[self.format]
