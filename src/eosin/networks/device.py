"""Where a network runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.errors import ConfigError

if TYPE_CHECKING:
    import torch


def choose_device(name: str = "auto") -> torch.device:
    """The torch device for ``"auto"`` (a GPU where there is one), ``"cpu"`` or ``"cuda[:N]"``."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name != "cpu" and not name.startswith("cuda"):
        raise ConfigError(f"device {name!r} is unknown; want auto, cpu or cuda")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r}: PyTorch sees no GPU here; use auto or cpu")
    return torch.device(name)
