"""The networks inside Runs, loaded and named, each ready to answer and to be explained.

A trained Run is explained in PyTorch by any method; an exported one by an engine, whose graph
gives the maps with the logits. Which it is makes no difference to the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from eosin.artefacts.run import ExportedRun
from eosin.errors import NoMapError
from eosin.inference.engines import require_engine
from eosin.pixels.reading import SkippedFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from eosin.explanation.heatmap import FloatMap, Method
    from eosin.networks.run import Run


class Answer(Protocol):
    """What a network says to a batch."""

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Calibrated, (N, C)."""
        ...

    @property
    def stride(self) -> int:
        """Input pixels from one place of the map to the next, rounded up."""
        ...

    def maps(self, targets: npt.NDArray[np.int64]) -> FloatMap:
        """Raw maps (N, h, w), at least 0, of one class index an image (N,)."""
        ...


class Network(Protocol):
    """One trained network and how it is explained."""

    @property
    def name(self) -> str:
        """Of its own among the networks explained together, e.g. ``"bh/fold-1"``."""
        ...

    @property
    def run(self) -> Run:
        """The single Run it belongs to."""
        ...

    @property
    def family(self) -> str:
        """The design of its backbone."""
        ...

    @property
    def method(self) -> Method:
        """How maps are made."""
        ...

    def answer(self, prepared: npt.NDArray[np.float32]) -> Answer:
        """Run prepared input (N, 3, S, S) through the network; NoMapError where it has no map."""
        ...


def open_networks(
    runs: Sequence[Run], *, method: Method = "gradcam", device: str = "auto", engine: str = "auto"
) -> tuple[Network, ...]:
    """Load every network of ``runs``, those of members and of members' members included.

    Raises:
        ConfigError: the engine is unknown, not installed or not for these Runs, or an exported
            Run is to be explained by a method that needs PyTorch.
        ModelError: networks or members are missing or changed; the message names the folder.
    """
    require_engine(engine)
    inside = [(run, leaf) for run in runs for leaf in run.leaves()]
    return tuple(
        _open(leaf, name, method=method, device=device, engine=engine)
        for name, (_, leaf) in zip(network_names(inside), inside, strict=True)
    )


def _open(run: Run, name: str, *, method: Method, device: str, engine: str) -> Network:
    if isinstance(run.record, ExportedRun):
        from eosin.explanation.graph_networks import open_graph_network

        return open_graph_network(run, name, method=method, device=device, engine=engine)
    from eosin.inference.engines import require_torch

    require_torch(run, engine=engine)
    from eosin.explanation.torch_networks import open_torch_network

    return open_torch_network(run, name, method=method, device=device)


def with_maps(networks: Sequence[Network]) -> tuple[list[Network], list[SkippedFile]]:
    """The networks that have a feature map to draw, tried on a blank image, and the others.

    Raises:
        NoMapError: none has one; what is wrong with the first.
    """
    usable: list[Network] = []
    refused: list[tuple[Network, NoMapError]] = []
    for network in networks:
        size = network.run.record.preprocessing.size
        try:
            network.answer(np.zeros((1, 3, size, size), np.float32))
        except NoMapError as error:
            refused.append((network, error))
        else:
            usable.append(network)
    if refused and not usable:
        raise refused[0][1]
    return usable, [SkippedFile(network.run.folder, str(error)) for network, error in refused]


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
    return [name if names.index(name) == n else f"{name} ({n + 1})" for n, name in enumerate(names)]
