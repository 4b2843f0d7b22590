"""Several processes that fine-tune one network together, as torchrun starts them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

import torch
from torch import distributed as dist
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from eosin.errors import ConfigError, EosinError
from eosin.machine import launched
from eosin.networks.device import choose_device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eosin.networks.classifier import Classifier
    from eosin.training.config import TrainingConfig

T = TypeVar("T")
# The others wait while the first decodes, calibrates and scores; torchrun ends them if it dies.
_PATIENCE: Final = timedelta(days=2)
_MEETING: Final = timedelta(minutes=15)  # until all have started


def rank() -> int:
    """The number of this process; 0 is the first, which alone writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def joined(config: TrainingConfig) -> Iterator[None]:
    """Meet the processes that were started with this one, for the block.

    Raises:
        ConfigError: they cannot meet, have too few GPUs, or the settings are for one process.
    """
    if launched()[1] == 1 or dist.is_initialized():
        yield
        return
    if config.freeze or config.committee or config.device == "mps":
        raise ConfigError(
            "several processes fine-tune one network, on CPUs or NVIDIA GPUs; start this without "
            "torchrun"
        )
    backend, device = "gloo", choose_device(config.device)
    if device.type == "cuda":
        backend, own, gpus = "cpu:gloo,cuda:nccl", _number("LOCAL_RANK"), torch.cuda.device_count()
        if own >= gpus or ":" in config.device:
            raise ConfigError(
                f"device = {config.device!r}: this is process {own} on a machine of {gpus} GPUs, "
                "and each needs one of its own; use auto, and --nproc-per-node of at most that many"
            )
        torch.cuda.set_device(own)
    try:
        store, own, size = next(rendezvous("env://", timeout=_MEETING))
        if size == _number("LOCAL_WORLD_SIZE"):  # torchrun's store outlives a killed attempt
            again = f"attempt {_number('TORCHELASTIC_RESTART_COUNT')}"
            store = PrefixStore(again, store)
        dist.init_process_group(backend, store=store, rank=own, world_size=size, timeout=_PATIENCE)
    except (ValueError, dist.DistError) as error:
        raise ConfigError(f"the processes cannot meet ({error}); start them by torchrun") from error
    try:
        yield
    finally:
        dist.destroy_process_group()


def from_first(work: Callable[[], T]) -> T:
    """What ``work`` gives or raises in the first process; the others do none, and wait for it."""
    if ranks() == 1:
        return work()
    said: list[tuple[T | None, EosinError | None]] = [(None, None)]
    if rank() == 0:
        try:
            said = [(work(), None)]
        except EosinError as error:
            said = [(None, error)]
    dist.broadcast_object_list(said, src=0)
    found, fault = said[0]
    if fault is not None:
        raise fault
    return found  # type: ignore[return-value]  # what the first process's work gave


def gathered(own: T) -> list[T]:
    """What each process has, in their order."""
    if ranks() == 1:
        return [own]
    found: list[T] = [own] * ranks()
    dist.all_gather_object(found, own)
    return found


def summed(*own: float) -> list[float]:
    """The sum of each number over the processes."""
    total = torch.tensor(own, dtype=torch.float64)
    if ranks() > 1:
        dist.all_reduce(total)
    found: list[float] = total.tolist()
    return found


def share_buffers(network: nn.Module) -> None:
    """Give every process the first one's statistics of BatchNorm."""
    for tensor in network.buffers() if ranks() > 1 else ():
        dist.broadcast(tensor, 0)


def taught_together(network: Classifier, *, size: int) -> nn.Module:
    """``network`` so that backward passes are averaged over the processes; itself for one."""
    if ranks() == 1:
        return network
    unused = _some_unused(network, size)
    return nn.parallel.DistributedDataParallel(network, find_unused_parameters=unused)


def synchronised(backbone: nn.Module) -> nn.Module:
    """A backbone whose BatchNorm sees the images of all processes: on GPUs only."""
    if ranks() == 1 or not next(backbone.parameters()).is_cuda:
        return backbone
    from timm.layers.norm_act import convert_sync_batchnorm  # it knows timm's own BatchNorm too

    synced: nn.Module = convert_sync_batchnorm(backbone)  # type: ignore[no-untyped-call]
    return synced


def together_notes(config: TrainingConfig, *, apart: bool) -> Iterator[str]:
    """What a Run says of several processes; ``apart``: BatchNorm learned in each by itself."""
    if ranks() > 1:
        yield f"{ranks()} processes trained together, on {config.batch_size} images each."
    if ranks() > 1 and apart:
        yield "BatchNorm saw each process's own images; the first one's statistics are kept."


def _some_unused(network: Classifier, size: int) -> bool:
    """Whether a weight that should learn takes no part in the answer, which DDP must know."""
    modes = {module: module.training for module in network.modules()}
    like = next(network.parameters())
    network.eval()(like.new_zeros(1, 3, size, size)).sum().backward()
    found = any(weight.requires_grad and weight.grad is None for weight in network.parameters())
    network.zero_grad()
    for module, mode in modes.items():
        module.training = mode
    return found


def _number(name: str) -> int:
    return int(os.environ.get(name, "0"))
