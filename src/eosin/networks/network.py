"""The one way to open networks: those of a Run of any kind, in PyTorch, ONNX Runtime or OpenVINO.

Nothing here imports PyTorch before a Run with PyTorch weights is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np

from eosin.errors import ConfigError, NoMapError
from eosin.networks.graphs import open_graph
from eosin.networks.torch_engine import TorchEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.arrays import Floats, Ints, Pixels
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.networks.run import Run


EngineName = Literal["auto", "torch", "onnxruntime", "openvino"]
ENGINES: tuple[str, ...] = get_args(EngineName)


class Maps(Protocol):
    """Grad-CAM maps of a batch, and the logits of the same pass through the network."""

    @property
    def logits(self) -> Floats:
        """Logits (n, classes)."""
        ...

    @property
    def stride(self) -> int:
        """Input pixels from one place of a map to the next, rounded up."""
        ...

    def of(self, targets: Ints) -> Pixels:
        """Maps (n, h, w), at least 0, of one class index an image (n,)."""
        ...


class Engine(Protocol):
    """A loaded network without its Run; asked for one batch (n, 3, size, size) at a time."""

    @property
    def name(self) -> str:
        """``"torch"``, ``"onnxruntime"`` or ``"openvino"``."""
        ...

    @property
    def device(self) -> str:
        """Where it computes, e.g. ``"cpu"``."""
        ...

    @property
    def family(self) -> str:
        """The design of the backbone, e.g. ``"EfficientNetV2"``."""
        ...

    def logits(self, batch: Pixels) -> Floats:
        """Logits (n, classes)."""
        ...

    def features(self, batch: Pixels) -> Floats:
        """Pooled features (n, channels)."""
        ...

    def maps(self, batch: Pixels) -> Maps:
        """Grad-CAM maps; NoMapError, with the reason, where the network has none."""
        ...


@dataclass(frozen=True, eq=False)
class Network:
    """A network of a Run, ready to answer.

    Attributes:
        name: of its own among the networks opened together, e.g. ``"bh/fold-1"``.
        run: the Run that it belongs to, which has no other.
        engine: computes it.
    """

    name: str
    run: Run
    engine: Engine

    @property
    def preprocessing(self) -> Preprocessing:
        """How images become its input."""
        return self.run.record.preprocessing

    @cached_property
    def no_maps(self) -> str:
        """Why it has no heatmaps, found out with one blank image; empty where it has."""
        size = self.preprocessing.size
        try:
            self.maps(np.zeros((1, 3, size, size), np.float32))
        except NoMapError as reason:
            return str(reason)
        return ""

    def logits(self, batch: Pixels) -> Floats:
        """Logits (n, classes) of prepared input (n, 3, size, size)."""
        return self.engine.logits(batch)

    def features(self, batch: Pixels) -> Floats:
        """Pooled features (n, channels) of prepared input (n, 3, size, size)."""
        return self.engine.features(batch)

    def maps(self, batch: Pixels) -> Maps:
        """Grad-CAM maps and logits of prepared input; NoMapError where it has none."""
        return self.engine.maps(batch)


def open_networks(
    runs: Sequence[Run], *, engine: str = "auto", device: str = "auto", threads: int | None = None
) -> tuple[Network, ...]:
    """Load every network in ``runs``, those of members included, each once.

    Args:
        runs: of any kind. Networks with the same record, wherever they lie, are the same.
        engine: ``"auto"`` takes PyTorch for weights, and for a graph ONNX Runtime or OpenVINO,
            whichever is installed and reads it; or the name of one.
        device: auto, cpu or cuda.
        threads: of a graph's engine; None for as many as there are cores to run on.

    Raises:
        ConfigError: an unknown engine, one that is not installed, or one that cannot run a Run.
        ModelError: a member or a network is missing or changed; the message names it.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine {engine!r} is unknown; want one of {list(ENGINES)}")
    inside: dict[str, tuple[Run, Run]] = {}
    for run in runs:
        for leaf in run.leaves():
            inside.setdefault(leaf.sha256, (run, leaf))
    names = network_names(list(inside.values()))
    return tuple(
        Network(name, leaf, _open(leaf, engine=engine, device=device, threads=threads))
        for name, (_, leaf) in zip(names, inside.values(), strict=True)
    )


def require_weights(run: Run) -> None:
    """ConfigError where a network in ``run`` is a graph, or PyTorch is not installed."""
    for each in run.leaves():
        if each.graph:
            raise ConfigError(
                f"{each.folder}: exported already, as {each.graph.format}; give the Run that it "
                "was exported from"
            )
    _require_torch(run)


def _open(run: Run, *, engine: str, device: str, threads: int | None) -> Engine:
    if run.graph:
        run.require_files()
        size = run.record.preprocessing.size
        return open_graph(
            run.folder, run.graph, size, engine=engine, device=device, threads=threads
        )
    _require_torch(run, engine=engine)
    from eosin.networks.classifier import load_classifier

    return TorchEngine(load_classifier(run), device=device)


def _require_torch(run: Run, *, engine: str = "auto") -> None:
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


def network_names(inside: Sequence[tuple[Run, Run]]) -> list[str]:
    """A name of its own for every network: its folder, with as many of its parents as it takes.

    Args:
        inside: each Run that was asked for and a network in it (itself where it is single).
    """
    folders = [leaf.folder.resolve().parts for _, leaf in inside]
    names = [
        "/".join(parts[-2:] if leaf is not run or parts[-1].startswith("fold-") else parts[-1:])
        for parts, (run, leaf) in zip(folders, inside, strict=True)
    ]
    for depth in range(2, max(map(len, folders), default=0)):
        if len(set(names)) == len(names):
            break
        names = [
            name if names.count(name) == 1 else "/".join(parts[-depth:])
            for name, parts in zip(names, folders, strict=True)
        ]
    return names
