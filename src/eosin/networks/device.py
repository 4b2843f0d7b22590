"""The device that a network runs on in PyTorch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from eosin.errors import ConfigError

if TYPE_CHECKING:
    import torch


def choose_device(name: str = "auto") -> torch.device:
    """The torch device of a name; ConfigError where it is unknown or not there.

    ``"auto"`` (an NVIDIA GPU, or the CPU), ``"cpu"``, ``"cuda[:N]"`` or, if named, ``"mps"``.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d{1,2})?", name):
        raise ConfigError(f"device {name!r} is unknown; want auto, cpu, cuda, cuda:N or mps")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device 'mps': PyTorch sees no Apple GPU here; use auto or cpu")
    device, gpus = torch.device(name), torch.cuda.is_available() * torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise ConfigError(f"device {name!r}: PyTorch sees {gpus or 'no'} GPU here; use auto or cpu")
    return device
