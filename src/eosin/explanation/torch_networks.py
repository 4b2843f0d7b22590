"""Trained networks in PyTorch, explained by any method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from eosin.evaluation.calibration import apply_temperature
from eosin.explanation.cam import Response, respond
from eosin.explanation.methods import explain_targets
from eosin.networks.classifier import load_classifier
from eosin.networks.device import choose_device

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from eosin.explanation.heatmap import FloatMap, Method
    from eosin.networks.classifier import Classifier
    from eosin.networks.run import Run


@dataclass(frozen=True, eq=False)
class TorchNetwork:
    """A trained network.

    Attributes:
        name: of its own among the networks explained together.
        run: the single Run it belongs to.
        classifier: in ``eval`` mode, on its device.
        method: how maps are made.
    """

    name: str
    run: Run
    classifier: Classifier
    method: Method

    @property
    def family(self) -> str:
        """The design of its backbone."""
        return self.classifier.spec.family

    def answer(self, prepared: npt.NDArray[np.float32]) -> TorchAnswer:
        """Run prepared input (N, 3, S, S) through the network."""
        device = next(self.classifier.parameters()).device
        response = respond(self.classifier, torch.from_numpy(prepared).to(device))
        logits = response.logits.double().cpu().numpy()
        return TorchAnswer(self, response, apply_temperature(logits, self.run.record.temperature))


@dataclass(frozen=True, eq=False)
class TorchAnswer:
    """What a network says to a batch: its response, and calibrated probabilities (N, C)."""

    network: TorchNetwork
    response: Response
    probabilities: npt.NDArray[np.float64]

    @property
    def stride(self) -> int:
        """Input pixels from one place of the map to the next, rounded up."""
        return self.response.stride

    def maps(self, targets: npt.NDArray[np.int64]) -> FloatMap:
        """Raw maps (N, h, w), at least 0, of one class index an image (N,)."""
        classifier, method = self.network.classifier, self.network.method
        chosen = torch.from_numpy(targets).to(self.response.logits.device)
        maps = explain_targets(classifier, self.response, chosen, method=method)
        raw: FloatMap = maps.float().cpu().numpy()
        return raw


def open_torch_network(run: Run, name: str, *, method: Method, device: str) -> TorchNetwork:
    """Load a single Run's network; ModelError where its weights are missing or changed."""
    return TorchNetwork(name, run, load_classifier(run, device=choose_device(device)), method)
