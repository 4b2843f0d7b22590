"""A network's tensors on their way to and from safetensors: none lost, none swapped, all finite."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from eosin.errors import ModelError, first_ten
from eosin.files import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

_PICKLES = {".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar"}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; ModelError naming it where it is not a whole one."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix.lower() in _PICKLES:
        raise ModelError(
            f"{path}: eosin opens safetensors only, because a pickled file can run code when it "
            "is opened. Convert one that you trust: "
            "safetensors.torch.save_file(torch.load(PATH, weights_only=True), "
            f"{path.with_suffix('.safetensors').name!r})"
        )
    if not path.is_file():
        raise ModelError(
            f"{path}: no such weights file; want 'imagenet', 'none' or the path of a file"
        )
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: not a whole safetensors file ({error}); copy or download it again"
        ) from error


def write_tensors(network: nn.Module, path: Path, *, about: Mapping[str, str]) -> None:
    """Write every weight and buffer as safetensors, in one step; tied ones under each name.

    ``about`` is what the file says of them, e.g. the name of the backbone.

    Raises:
        ModelError: a value is not finite; nothing is written.
    """
    from safetensors.torch import save_file

    tensors = {  # copies: safetensors refuses tensors that share memory
        key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, tensor in network.state_dict().items()
    }
    require_sound(tensors, path, fix="nothing was written; train with lower learning rates")
    with replacing(path) as draft:
        save_file(tensors, draft, metadata=dict(about))


def set_tensors(
    network: nn.Module, tensors: Mapping[str, Tensor], source: object, *, name: str, fix: str
) -> None:
    """Set every weight and buffer of a network in place, each to the tensor of its own name.

    Args:
        network: what is set; its device and types stay.
        tensors: one for each name of the network, none beside them.
        source: where they come from, for the message.
        name: of the network, for the message.
        fix: what the user can do where they will not do.

    Raises:
        ModelError: a tensor is missing, unknown, of another shape or type, or not finite, or two
            contradict each other that the network ties.
    """
    wanted = network.state_dict()
    kinds = {key: (_kind(tensors[key]), _kind(wanted[key])) for key in wanted if key in tensors}
    faults = {
        "missing": wanted.keys() - tensors.keys(),
        "unknown": tensors.keys() - wanted.keys(),
        "unlike": [f"{key} {own} for {want}" for key, (own, want) in kinds.items() if own != want],
    }
    found = "; ".join(f"{fault} {first_ten(names)}" for fault, names in faults.items() if names)
    if found:
        raise ModelError(f"{source}: not the weights of {name!r} ({found}); {fix}")
    values = {key: tensors[key].to(tensor.dtype) for key, tensor in wanted.items()}
    require_sound(values, source, fix=fix)
    network.load_state_dict(values)
    wrong = [key for key, tensor in wanted.items() if not torch.equal(tensor.cpu(), values[key])]
    if wrong:
        raise ModelError(
            f"{source}: {name!r} has one tensor under several names, and the file differs in "
            f"{first_ten(wrong)}; {fix}"
        )


def own_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Each weight and buffer once, in the network's own memory; tied ones by their first name."""
    state = network.state_dict(keep_vars=True)
    once: dict[int, str] = {}
    for key, tensor in state.items():
        once.setdefault(id(tensor), key)
    return {key: state[key].detach() for key in once.values()}


def require_sound(tensors: Mapping[str, Tensor], source: object, *, fix: str) -> None:
    """ModelError naming the first tensor with a value that is not finite or a variance below 0."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        low, high = (float(value) for value in tensor.aminmax())  # both NaN where one value is
        if not math.isfinite(low) or not math.isfinite(high):
            raise ModelError(f"{source}: {name} holds values that are not finite; {fix}")
        if low < 0 and name.endswith("running_var"):
            raise ModelError(f"{source}: {name} holds a variance below 0 ({low:g}); {fix}")


def _kind(tensor: Tensor) -> str:
    """Its shape, and whether it holds numbers with a point: one precision stands for another."""
    return f"{'float' if tensor.is_floating_point() else tensor.dtype}{list(tensor.shape)}"
