"""A fitted fusion head at prediction: its weights applied in NumPy, so that no torch is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from eosin.networks.run import Run

    Floats = npt.NDArray[np.float64]
    Tensors = Mapping[str, npt.NDArray[np.float32]]

_NORM_EPSILON = 1e-5  # of torch's BatchNorm1d, which fitted the head
# Places of normalisation and linear layer in ``models.fusion.FusionHead.layers``.
_STEPS = ((0, 2), (4, 6), (8, 10))


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
        """From the state of a ``FusionHead``; KeyError where a tensor is missing."""
        return cls(tuple(_folded(tensors, norm, linear) for norm, linear in _STEPS))

    @property
    def channels(self) -> int:
        """How many features all members have together."""
        return int(self.layers[0][0].shape[1])

    @property
    def classes(self) -> int:
        """How many classes are scored."""
        return len(self.layers[-1][1])

    def logits(self, features: Floats) -> Floats:
        """Logits (n, classes) of features (n, channels)."""
        values = features
        for place, (weight, bias) in enumerate(self.layers):
            values = (np.maximum(values, 0) if place else values) @ weight.T + bias
        return values


def load_fusion(run: Run) -> FusionWeights:
    """The head of a fusion ensemble, ready to predict.

    Raises:
        ModelError: the file is missing, changed, or not a fusion head for the Run's classes.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    run.require_files()
    classes = len(run.record.task.classes)
    try:
        head = FusionWeights.of(load_file(run.weights_path))
        if head.classes != classes:
            raise ValueError(f"scores {head.classes} classes, not {classes}")
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{run.weights_path}: not the fusion head of {run.folder} ({reason}); "
            "make the ensemble again"
        ) from error
    return head


def _folded(tensors: Tensors, norm: int, linear: int) -> tuple[Floats, Floats]:
    """A linear layer that takes its input before the normalisation (Ioffe & Szegedy 2015)."""

    def tensor(name: str) -> Floats:
        return tensors[f"layers.{name}"].astype(np.float64)

    scale = tensor(f"{norm}.weight") / np.sqrt(tensor(f"{norm}.running_var") + _NORM_EPSILON)
    shift = tensor(f"{norm}.bias") - tensor(f"{norm}.running_mean") * scale
    weight = tensor(f"{linear}.weight")
    return weight * scale, tensor(f"{linear}.bias") + weight @ shift
