"""A fitted fusion head at prediction: its weights applied in NumPy, so that no torch is needed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import ModelError, first_ten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eosin.arrays import Floats, Floats32
    from eosin.networks.run import Run

    Tensors = Mapping[str, Floats32]

_NORM_EPSILON = 1e-5  # of torch's BatchNorm1d, which fitted the head
# Indices of normalisation and linear layer in ``fusion.FusionHead.layers``.
_STEPS = ((0, 2), (4, 6), (8, 10))
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_LINEAR = ("weight", "bias")


@dataclass(frozen=True)
class FusionWeights:
    """Features (n, channels) of all members to logits (n, classes).

    Attributes:
        layers: weight (outputs, inputs) and bias (outputs,) of each linear layer, the fixed batch
            normalisation before it folded in; a rectifier stands between them.
    """

    layers: tuple[tuple[Floats, Floats], ...]

    @classmethod
    def of(cls, tensors: Tensors) -> FusionWeights:
        """From the state of a ``FusionHead``; ValueError naming the tensor that will not do."""
        norms = {f"layers.{norm}.{name}" for norm, _ in _STEPS for name in _NORM}
        linears = {f"layers.{step}.{name}" for _, step in _STEPS for name in _LINEAR}
        if differing := sorted((norms | linears) ^ tensors.keys()):
            raise ValueError(f"missing or unknown: {first_ten(differing)}")
        for name, values in tensors.items():
            if not np.isfinite(values).all() or (name.endswith("var") and values.min() < 0):
                raise ValueError(f"{name} holds values that are not finite, or a variance below 0")
        layers = tuple(_folded(tensors, norm, linear) for norm, linear in _STEPS)
        if any(len(bias) != weight.shape[1] for (_, bias), (weight, _) in pairwise(layers)):
            raise ValueError("its layers do not fit together")
        return cls(layers)

    @property
    def channels(self) -> int:
        """How many features all members have together."""
        return int(self.layers[0][0].shape[1])

    @property
    def classes(self) -> int:
        """How many classes are scored."""
        return len(self.layers[-1][1])

    def logits(self, features: Floats) -> Floats:
        """Logits (n, classes) of features (n, channels); ModelError for any other number."""
        if features.shape[1] != self.channels:
            raise ModelError(
                f"the fusion head takes {self.channels} features and its members give "
                f"{features.shape[1]}; make the ensemble again"
            )
        values = features
        for index, (weight, bias) in enumerate(self.layers):
            values = (np.maximum(values, 0) if index else values) @ weight.T + bias
        return values


def load_fusion(run: Run) -> FusionWeights:
    """The head of a fusion ensemble, ready to predict.

    Raises:
        ModelError: the file is missing, changed, or not a finite fusion head for the Run's
            classes.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    run.require_files()
    classes = len(run.record.task.classes)
    try:
        head = FusionWeights.of(load_file(run.weights_path))
        if head.classes != classes:
            raise ValueError(f"scores {head.classes} classes, not {classes}")
    except (SafetensorError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{run.weights_path}: not the fusion head of {run.folder} ({reason}); "
            "make the ensemble again"
        ) from error
    return head


def _folded(tensors: Tensors, norm: int, linear: int) -> tuple[Floats, Floats]:
    """A linear layer that takes its input before the normalisation (Ioffe & Szegedy 2015)."""
    norms = [tensors[f"layers.{norm}.{name}"].astype(np.float64) for name in _NORM[:4]]
    weight, bias = (tensors[f"layers.{linear}.{name}"].astype(np.float64) for name in _LINEAR)
    if {values.shape for values in norms} != {weight.shape[1:]} or bias.shape != weight.shape[:1]:
        raise ValueError(f"layers.{norm} and layers.{linear} do not fit together")
    gain, offset, mean, variance = norms
    scale = gain / np.sqrt(variance + _NORM_EPSILON)
    return weight * scale, bias + weight @ (offset - mean * scale)
