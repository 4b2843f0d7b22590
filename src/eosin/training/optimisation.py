"""What is learned, how fast and by which kernels: parameter groups, class weights, precision."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from eosin.errors import ConfigError
from eosin.training.partial import hold_before

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eosin.arrays import Floats32, Ints
    from eosin.networks.classifier import Classifier
    from eosin.training.config import TrainingConfig


def set_training(network: Classifier, config: TrainingConfig) -> None:
    """Put what the settings let learn into training mode, and freeze the rest of the backbone.

    Frozen BatchNorm keeps its statistics and scales. ConfigError as ``hold_before``.
    """
    network.train()
    if config.train_blocks:
        hold_before(network, config.train_blocks)
    if config.freeze_batchnorm or config.adapters:
        for layer in _batchnorms(network):
            layer.eval().requires_grad_(False)


def smallest_batch(network: Classifier, config: TrainingConfig) -> int:
    """How many images a training step needs: BatchNorm that learns has no variance of one.

    Raises:
        ConfigError: the settings' batches are smaller, or as ``set_training``.
    """
    set_training(network, config)
    least = 2 if trained_batchnorms(network) else 1
    if config.batch_size < least:
        raise ConfigError(
            f"batch_size = {config.batch_size}: BatchNorm needs at least {least} images a step; "
            "raise it or set freeze_batchnorm = true"
        )
    return least


def make_optimizer(network: Classifier, config: TrainingConfig) -> torch.optim.Optimizer:
    """Adam or AdamW over backbone and head, each with its learning rate, kept as ``"peak"``.

    AdamW (Loshchilov & Hutter 2019) leaves biases and normalisation scales undecayed; Adam's
    penalty acts on everything, as published recipes have it.
    """
    groups = []
    for part, rate in (
        (network.backbone, config.learning_rate),
        (network.head, config.head_learning_rate),
    ):
        learned = [weight for weight in part.parameters() if weight.requires_grad]
        bare = [w for w in learned if w.ndim <= 1] if config.optimizer == "adamw" else []
        decayed = [w for w in learned if w.ndim > 1] if config.optimizer == "adamw" else learned
        groups += [
            {"params": decayed, "lr": rate, "peak": rate, "weight_decay": config.weight_decay},
            {"params": bare, "lr": rate, "peak": rate, "weight_decay": 0.0},
        ]
    kept = [group for group in groups if group["params"]]
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    # On a GPU one kernel steps all weights, instead of several a group of them.
    return kind(kept, fused=next(network.parameters()).is_cuda or None)


def class_weights(labels: Ints, *, classes: int) -> Floats32:
    """Weights (classes,) under which each class present counts alike: n / (k count), else 0."""
    count = np.bincount(labels, minlength=classes)
    present = np.count_nonzero(count)
    weights = np.zeros(classes, np.float32)
    weights[count > 0] = len(labels) / (present * count[count > 0])
    return weights


def trained_batchnorms(network: Classifier) -> bool:
    """Whether any BatchNorm of the backbone learns from the batches it sees."""
    return any(layer.training for layer in _batchnorms(network))


def _batchnorms(network: Classifier) -> list[nn.Module]:
    return [layer for layer in network.backbone.modules() if isinstance(layer, _BatchNorm)]


def learning_rate_factor(
    step: int, *, steps: int, warmup: int, schedule: Literal["cosine", "constant"]
) -> float:
    """What the learning rate is multiplied by at ``step`` (from 0) of ``steps``, in (0, 1].

    It rises to 1 over ``warmup`` steps; the cosine then falls to almost 0 at the last step
    (Loshchilov & Hutter 2017, Eq. 5, without restarts).
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def half_precision(config: TrainingConfig, device: torch.device) -> torch.dtype | None:
    """The type that autocast computes in, or None for float32 throughout.

    ``"auto"`` means half precision on a GPU only: few CPUs gain by it.

    Raises:
        ConfigError: the device does not compute in the type that the settings name.
    """
    wanted = config.mixed_precision
    if wanted == "off" or (wanted == "auto" and device.type != "cuda"):
        return None
    # Emulated bfloat16 is slower than float16.
    has_bfloat16 = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "bfloat16" and not has_bfloat16:
        raise ConfigError(
            f"mixed_precision = 'bfloat16': {torch.cuda.get_device_name(device)} has none; "
            "use 'float16' or 'auto'"
        )
    if wanted == "float16" and device.type != "cuda":
        raise ConfigError(
            "mixed_precision = 'float16' needs a GPU; use 'auto', or 'bfloat16' on this CPU"
        )
    if wanted == "float16":
        return torch.float16
    return torch.bfloat16 if has_bfloat16 else torch.float16


@contextmanager
def fastest_convolutions() -> Iterator[None]:
    """Let cuDNN try its kernels on each new shape and keep the fastest; a CPU has none of it.

    A training meets two shapes, whole batches and the last one, so trying costs seconds once.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
