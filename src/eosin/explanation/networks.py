"""The networks inside Runs, loaded and named, each ready to answer and to be explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from eosin.evaluation.calibration import apply_temperature
from eosin.explanation.cam import Response, respond
from eosin.explanation.methods import explain_targets
from eosin.models.backbones import resolve_backbone
from eosin.models.classifier import load_classifier
from eosin.models.device import choose_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from eosin.explanation.heatmap import FloatMap, Method
    from eosin.models.classifier import Classifier
    from eosin.models.run import Run


@dataclass(frozen=True, eq=False)
class Answer:
    """What a network says to a batch: its response, and calibrated probabilities (N, C)."""

    response: Response
    probabilities: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Network:
    """One trained network and how it is explained.

    Attributes:
        name: of its own among the networks explained together, e.g. ``"bh/fold-1"``.
        run: the single Run it belongs to.
        classifier: in ``eval`` mode, on its device.
        family: the design of its backbone.
        method: how maps are made.
    """

    name: str
    run: Run
    classifier: Classifier
    family: str
    method: Method

    def answer(self, prepared: npt.NDArray[np.float32]) -> Answer:
        """Run prepared input (N, 3, S, S) through the network."""
        device = next(self.classifier.parameters()).device
        pixels = torch.from_numpy(prepared).to(device)
        response = respond(self.classifier, pixels.contiguous(memory_format=torch.channels_last))
        logits = response.logits.double().cpu().numpy()
        return Answer(response, apply_temperature(logits, self.run.record.temperature))

    def maps(self, answer: Answer, targets: npt.NDArray[np.int64]) -> FloatMap:
        """Raw maps (N, h, w), at least 0, of one class index an image (N,)."""
        response = answer.response
        chosen = torch.from_numpy(targets).to(response.logits.device)
        maps = explain_targets(self.classifier, response, chosen, method=self.method)
        raw: FloatMap = maps.float().cpu().numpy()
        return raw


def open_networks(
    runs: Sequence[Run], *, method: Method = "gradcam", device: str = "auto"
) -> tuple[Network, ...]:
    """Load every network of ``runs``, those of members and of members' members included.

    Raises:
        ModelError: weights or members are missing or changed; the message names the folder.
    """
    place = choose_device(device)
    inside = [(run, leaf) for run in runs for leaf in single_runs(run)]
    return tuple(
        Network(
            name=name,
            run=leaf,
            classifier=load_classifier(leaf, device=place),
            family=resolve_backbone(leaf.record.backbone).family,
            method=method,
        )
        for name, (_, leaf) in zip(network_names(inside), inside, strict=True)
    )


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


def single_runs(run: Run) -> list[Run]:
    """The Runs with weights of their own inside ``run``, which may be the only one itself."""
    if not run.record.members:
        return [run]
    return [leaf for member in run.open_members() for leaf in single_runs(member)]
