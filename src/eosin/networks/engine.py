"""What computes a network: PyTorch, ONNX Runtime or OpenVINO, behind one Protocol.

PyTorch is imported only once weights are opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, get_args

from eosin.artefacts.run import ExportedRun
from eosin.errors import ConfigError
from eosin.networks.graphs import open_graph
from eosin.networks.torch_engine import TorchEngine

if TYPE_CHECKING:
    from pathlib import Path

    from eosin.arrays import Floats, Ints, Pixels
    from eosin.artefacts.run import RunRecord
    from eosin.networks.graphs import Split

EngineName = Literal["auto", "torch", "onnxruntime", "openvino"]
ENGINES: tuple[str, ...] = get_args(EngineName)


class Maps(Protocol):
    """The maps of a batch, and the logits of the same pass through the network.

    Grad-CAM's, or of a transformer's logits that are sums over patches, their positive terms.
    """

    @property
    def logits(self) -> Floats:
        """Logits (n, classes)."""

    @property
    def stride(self) -> int:
        """Input pixels from one position of a map to the next, rounded up."""

    @property
    def split(self) -> Split | None:
        """The logits as sums over patches and a rest; None where they are none."""

    def of(self, targets: Ints) -> Pixels:
        """Maps (n, h, w), at least 0, of one class index an image (n,)."""


class Engine(Protocol):
    """A loaded network; asked for one batch of prepared input (n, 3, size, size) at a time."""

    @property
    def name(self) -> str:
        """``"torch"``, ``"onnxruntime"`` or ``"openvino"``."""

    @property
    def device(self) -> str:
        """Where it computes, e.g. ``"cpu"``."""

    @property
    def family(self) -> str:
        """The design of the backbone, e.g. ``"EfficientNetV2"``."""

    def logits(self, batch: Pixels) -> Floats:
        """Logits (n, classes)."""

    def features(self, batch: Pixels) -> Floats:
        """Pooled features (n, channels)."""

    def answers(self, batch: Pixels) -> tuple[Floats, Floats]:
        """Logits and pooled features, from one pass."""

    def maps(self, batch: Pixels) -> Maps:
        """Maps; NoMapError, with the reason, where the network has none."""


def open_engine(
    weights: Path, record: RunRecord, *, engine: str, device: str, threads: int | None
) -> Engine:
    """Load the network of one record, whose files are known to be intact.

    Args:
        weights: its file of weights; a graph lies beside where that would.
        record: of one network.
        engine: one of ``ENGINES``.
        device: auto, cpu, cuda or mps.
        threads: of a graph's engine; None for OMP_NUM_THREADS, or else one a core.

    Raises:
        ConfigError: the engine is not installed, or cannot run this network.
        ModelError: the weights do not fit, or the engine cannot load the graph.
    """
    folder = weights.parent
    if isinstance(record, ExportedRun):
        size = record.preprocessing.size
        return open_graph(folder, record.graph, size, engine=engine, device=device, threads=threads)
    require_torch(folder, engine=engine)
    return open_weights(weights, record, device=device)


def open_weights(path: Path, record: RunRecord, *, device: str = "auto") -> TorchEngine:
    """Load PyTorch weights; ModelError where they do not fit the record."""
    from eosin.networks.classifier import build_classifier, read_spec, read_weights

    backbone = read_spec(path) or record.backbone
    classifier = build_classifier(backbone, classes=len(record.task.classes))
    read_weights(classifier, path)
    return TorchEngine(classifier, device=device)


def require_torch(folder: Path, *, engine: str = "auto") -> None:
    """ConfigError where the weights of a Run cannot be used: another engine, or no PyTorch."""
    if engine not in ("auto", "torch"):
        raise ConfigError(
            f"engine {engine!r} runs exported Runs only, and {folder} holds PyTorch weights; "
            f"export it first: eosin export {folder} -o DIR"
        )
    try:
        import timm  # noqa: F401  # the backbones
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{folder} holds PyTorch weights, and {error.name} is not installed: "
            'pip install "eosin[train]", or export the Run where PyTorch is '
            f"(eosin export {folder} -o DIR) and give the exported folder"
        ) from error
