"""Networks opened to be explained, which of them answer for an image, and their maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.artefacts.run import FoldsRun
from eosin.errors import ConfigError, NoMapError
from eosin.explanation.heatmap import EXACT, Terms
from eosin.networks.run import open_networks
from eosin.networks.torch_engine import TorchEngine, TorchMaps
from eosin.pixels.reading import SkippedFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eosin.arrays import FloatMap, Ints
    from eosin.explanation.heatmap import Method
    from eosin.networks.engine import Maps
    from eosin.networks.run import Network, Run

# The gradient of a logit is the same at every pixel of a channel where Grad-CAM has a closed form,
# so HiResCAM (Draelos & Carin 2020) and Grad-CAM are one map of a graph.
_OF_GRAPHS = ("auto", "gradcam", "hirescam")


def open_to_explain(
    runs: Sequence[Run], method: Method, *, device: str = "auto", engine: str = "auto"
) -> tuple[list[Network], list[SkippedFile]]:
    """The networks in ``runs`` that have maps, and the others' folders, each with its reason.

    Raises:
        ConfigError: as ``open_networks``, or a graph is to be explained by a method that needs
            PyTorch.
        ModelError: as ``open_networks``, or no network has maps: what is wrong with the first.
    """
    networks = open_networks(runs, device=device, engine=engine)
    for network in networks:
        graph = network.run.graph
        given = _OF_GRAPHS[:1] if graph and "rest" in graph.outputs else _OF_GRAPHS
        if method not in given and not isinstance(network.engine, TorchEngine):
            raise ConfigError(
                f"method {method!r} needs PyTorch and the original Run; {network.run.folder} is "
                f"exported and gives {' and '.join(given)}, one and the same map"
            )
    usable = [network for network in networks if not network.no_maps]
    refused = [
        SkippedFile(network.run.folder, network.no_maps) for network in networks if network.no_maps
    ]
    if not usable:
        raise NoMapError(f"{refused[0].path}: {refused[0].reason}")
    return usable, refused


def who_answers(
    runs: Sequence[Run],
    networks: Sequence[Network],
    met: Sequence[Sequence[bool | None]],
    folds: Sequence[str],
) -> list[tuple[int, ...]]:
    """For each image the indices of the networks that answer for it.

    Every member of an ensemble does, and of a Run of folds those that held the image out; where
    the fold is not known, those that never met the patient; where there is none, all.

    Args:
        runs: of any kind.
        networks: those in them that have maps.
        met: for each network, for each image, whether it was trained on the patient.
        folds: of each image, the fold of the Runs' own training; empty where it is not known.
    """
    order = {network.run.sha256: n for n, network in enumerate(networks)}
    known: dict[tuple[str, tuple[bool, ...]], tuple[int, ...]] = {}
    found = []
    for fold, *seen in zip(folds, *met, strict=True):
        key = (fold, tuple(answer is True for answer in seen))
        if key not in known:
            leaves = {leaf.sha256 for run in runs for leaf in _answering(run, *key, order)}
            usable = tuple(sorted(order[leaf] for leaf in leaves if leaf in order))
            known[key] = usable or tuple(order.values())
        found.append(known[key])
    return found


def _answering(run: Run, fold: str, met: tuple[bool, ...], order: Mapping[str, int]) -> list[Run]:
    """The Runs in ``run`` with a network of their own that answer for an image of that fold."""
    inside = run.open_members()
    if not inside:
        return [run]
    if isinstance(run.record, FoldsRun):
        held = [each for each in inside if fold and str(each.record.fold) == fold]
        new = [each for each in inside if not any(_met(each, met, order))]
        inside = tuple(held or new or inside)
    return [leaf for each in inside for leaf in _answering(each, fold, met, order)]


def _met(run: Run, met: tuple[bool, ...], order: Mapping[str, int]) -> list[bool]:
    return [met[order[leaf.sha256]] for leaf in run.leaves() if leaf.sha256 in order]


def draw(maps: Maps, targets: Ints, *, method: Method) -> FloatMap:
    """Raw maps (N, h, w), at least 0, of one class index an image (N,)."""
    if method == "auto" or not isinstance(maps, TorchMaps):
        return maps.of(targets)
    import torch

    from eosin.explanation.methods import explain_targets

    chosen = torch.from_numpy(targets).to(maps.response.logits.device)
    drawn = explain_targets(maps.classifier, maps.response, chosen, method=method)
    raw: FloatMap = drawn.float().cpu().numpy()
    return raw


def named(maps: Maps, method: Method) -> str:
    """How ``draw`` made its maps, as ``METHOD_NAMES`` has it."""
    if method != "auto":
        return method
    return EXACT if maps.split is not None else "gradcam"


def terms_of(maps: Maps, row: int, target: int, *, method: Method) -> Terms | None:
    """One image's logit of a class as a sum over patches, where ``draw`` drew that."""
    if method != "auto" or maps.split is None:
        return None
    split = maps.split
    return Terms(split.patches[row, target], float(split.rest[row, target]))
