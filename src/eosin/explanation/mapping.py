"""Networks opened to be explained, and the maps that they are explained by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.errors import ConfigError, NoMapError
from eosin.networks.run import open_networks
from eosin.networks.torch_engine import TorchEngine, TorchMaps
from eosin.pixels.reading import SkippedFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from eosin.explanation.heatmap import FloatMap, Method
    from eosin.networks.engine import Maps
    from eosin.networks.run import Network, Run

# The gradient of a logit is the same at every place of a channel where Grad-CAM has a closed form,
# so HiResCAM (Draelos & Carin 2020) and Grad-CAM are one map of a graph.
_OF_GRAPHS = ("gradcam", "hirescam")


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
        if method not in _OF_GRAPHS and not isinstance(network.engine, TorchEngine):
            raise ConfigError(
                f"method {method!r} needs PyTorch and the original Run; {network.run.folder} is "
                f"exported and gives {' and '.join(_OF_GRAPHS)}, which are the same map for it"
            )
    usable = [network for network in networks if not network.no_maps]
    refused = [
        SkippedFile(network.run.folder, network.no_maps) for network in networks if network.no_maps
    ]
    if not usable:
        raise NoMapError(f"{refused[0].path}: {refused[0].reason}")
    return usable, refused


def draw(maps: Maps, targets: npt.NDArray[np.int64], *, method: Method) -> FloatMap:
    """Raw maps (N, h, w), at least 0, of one class index an image (N,)."""
    if method == "gradcam" or not isinstance(maps, TorchMaps):
        return maps.of(targets)
    import torch

    from eosin.explanation.methods import explain_targets

    chosen = torch.from_numpy(targets).to(maps.response.logits.device)
    drawn = explain_targets(maps.classifier, maps.response, chosen, method=method)
    raw: FloatMap = drawn.float().cpu().numpy()
    return raw
