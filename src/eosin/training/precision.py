"""What a training computes in and by which kernels: the settings, and what the device has."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from eosin.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eosin.training.config import TrainingConfig


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
