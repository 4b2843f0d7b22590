"""What an exported Run's network is: a graph in files, with what was checked when it was made.

An exported Run has ``model.onnx``, or ``model.xml`` and ``model.bin``, where a trained one has
``model.safetensors``. No torch is needed to read or to run it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from eosin.artefacts.int8 import Int8Trial
from eosin.artefacts.tables import section, text_list
from eosin.errors import ModelError
from eosin.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

GraphFormat = Literal["onnx", "openvino"]
Precision = Literal["fp32", "int8"]

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

    images: int
    source: str
    engine: str
    probabilities: float
    maps: float | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """A network as a graph: (N, 3, S, S) float32 prepared input to its outputs, any N.

    Attributes:
        format: ``"onnx"`` or ``"openvino"``.
        precision: of its weights and arithmetic, ``"fp32"`` or ``"int8"``.
        files: SHA-256 of each file by name; the first is the one to open.
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
    files: dict[str, str]
    outputs: tuple[str, ...]
    map_size: tuple[int, int] | None
    no_maps: str
    family: str
    parity: Parity
    versions: dict[str, str] = field(default_factory=dict)
    int8: Int8Trial | None = None

    @property
    def file(self) -> str:
        """Name of the file that an engine opens."""
        return next(iter(self.files))

    def to_dict(self) -> dict[str, object]:
        """The graph as plain JSON values."""
        plain = {
            **asdict(self),
            "outputs": list(self.outputs),
            "map_size": list(self.map_size) if self.map_size else None,
            "int8": self.int8.to_dict() if self.int8 else None,
        }
        return {name: value for name, value in plain.items() if name != "int8" or self.int8}

    @classmethod
    def from_dict(cls, fields: dict[str, object]) -> Graph:
        """Read what ``to_dict`` wrote; ModelError where it is no graph that this eosin knows."""
        try:
            parity = section(fields, "parity")
            maps, size = parity.get("maps"), fields.get("map_size")
            return cls(
                format=_one_of(fields["format"], get_args(GraphFormat)),  # type: ignore[arg-type]
                precision=_one_of(fields["precision"], get_args(Precision)),  # type: ignore[arg-type]
                files=_hashes(section(fields, "files")),
                outputs=text_list(fields, "outputs"),
                map_size=(int(size[0]), int(size[1])) if isinstance(size, list) else None,
                no_maps=str(fields.get("no_maps", "")),
                family=str(fields.get("family", "")),
                parity=Parity(
                    images=int(str(parity["images"])),
                    source=str(parity["source"]),
                    engine=str(parity["engine"]),
                    probabilities=float(str(parity["probabilities"])),
                    maps=None if maps is None else float(str(maps)),
                ),
                versions={name: str(value) for name, value in section(fields, "versions").items()},
                int8=Int8Trial.from_dict(section(fields, "int8")) if fields.get("int8") else None,
            )
        except (KeyError, ValueError, IndexError) as error:
            raise ModelError(f"not a graph ({error!r}); export the Run again") from error


def require_files(folder: Path, graph: Graph) -> None:
    """ModelError where a file of the graph is missing from ``folder`` or has changed."""
    fix = "copy the whole folder again, or export the Run again"
    for name, digest in graph.files.items():
        path = folder / name
        if not path.is_file():
            raise ModelError(f"{path}: missing; {fix}")
        if sha256_of(path) != digest:
            raise ModelError(f"{path}: changed since run.json was written; {fix}")


def _hashes(files: Mapping[str, object]) -> dict[str, str]:
    """File names and digests; a name that leads out of the folder is none."""
    outside = [name for name in files if "/" in name or "\\" in name or name in ("", ".", "..")]
    if outside or not files:
        raise ValueError(f"files {outside or 'of the graph'} are not in its folder")
    return {name: str(digest) for name, digest in files.items()}


def _one_of(value: object, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{value!r} is unknown; want one of {list(known)}")
    return str(value)
