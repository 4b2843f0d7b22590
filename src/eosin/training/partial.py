"""Which part of a backbone learns: its last blocks, or low-rank adapters beside its layers.

An adapter (Hu et al. 2022) learns B A of rank R beside a linear layer W, which stays as it is and
then answers with (W + B A) x; merged, it is one matrix again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from eosin.errors import ConfigError, first_ten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from eosin.networks.classifier import Classifier
    from eosin.training.config import TrainingConfig

_LISTS = ("blocks", "layers", "stages")  # timm's names of what holds a network's blocks in order
_Listed = nn.Sequential | nn.ModuleList


def require_part(network: Classifier, config: TrainingConfig) -> None:
    """ConfigError where a network has not the part that the settings train, or peft is missing."""
    if config.train_blocks:
        last_blocks(network, config.train_blocks)
    if config.adapters:
        _adaptable(network, config.adapters)


def last_blocks(network: Classifier, count: int) -> list[nn.Module]:
    """The last blocks of the backbone, of its stages in turn; ConfigError where it has fewer."""
    blocks = _blocks(network)
    if count > len(blocks):
        name = f"train_blocks = {count}: backbone {network.spec.name!r}"
        if not blocks:
            raise ConfigError(
                f"{name} does not list its blocks in order, as timm's EfficientNets, ViTs, Swins "
                "and ConvNeXts do; leave train_blocks out"
            )
        raise ConfigError(f"{name} has {len(blocks)} blocks; want 1 to {len(blocks)}")
    return blocks[-count:]


def hold_before(network: Classifier, count: int) -> None:
    """Freeze all that comes before the last ``count`` blocks: weights, statistics, random depth.

    What follows these, such as a last norm, learns with them. ConfigError as ``last_blocks``.
    """
    first, reached = last_blocks(network, count)[0], False
    for module in network.backbone.modules():  # in the order of their making, which is timm's
        reached = reached or module is first
        if not reached:
            module.training = False
            for weight in module.parameters(recurse=False):
                weight.requires_grad_(False)


def add_adapters(network: Classifier, rank: int, *, seed: int, size: int) -> None:
    """Put adapters beside the linear layers of attention and MLP; all else of the backbone freezes.

    One half of each is drawn from ``seed``, the other is 0, so that the answers stay as they are.

    Raises:
        ConfigError: as ``require_part``, or one would do nothing, tried at ``size`` pixels a side.
    """
    names = _adaptable(network, rank)
    from peft import LoraConfig, inject_adapter_in_model

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        lora = LoraConfig(r=rank, lora_alpha=rank, target_modules=names)  # W + 1 * B A
        inject_adapter_in_model(lora, network.backbone)
    learned = {name: w for name, w in network.backbone.named_parameters() if w.requires_grad}
    blank = torch.zeros(1, 3, size, size, device=next(network.parameters()).device)
    score = network.eval().features(blank).sum()
    found: tuple[Tensor | None, ...] = (None,) * len(learned)
    if score.requires_grad:
        found = torch.autograd.grad(score, list(learned.values()), allow_unused=True)
    idle = {n.partition(".lora_")[0] for n, g in zip(learned, found, strict=True) if g is None}
    if idle:
        raise ConfigError(
            f"adapters = {rank}: backbone {network.spec.name!r} computes with the weights of "
            f"{first_ten(idle)} past the layers themselves, where adapters would do nothing; use "
            "train_blocks"
        )


def merge_adapters(network: Classifier) -> None:
    """Add each adapter to the weights beside it: the network has its plain layers again."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in list(network.backbone.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            network.backbone.set_submodule(name, layer.get_base_layer())
    del network.backbone.peft_config


def part_note(network: Classifier, config: TrainingConfig) -> Iterator[str]:
    """A sentence on how much of a network learns; none where it is all of it."""
    if config.train_blocks or config.adapters:
        what = f"adapters of rank {config.adapters}"
        if config.train_blocks:
            what = f"the last {config.train_blocks} of {len(_blocks(network))} blocks"
        whole = [weight.numel() for weight in network.parameters()]
        learned = [weight.numel() for weight in network.parameters() if weight.requires_grad]
        kept = "random ones" if config.weights == "none" else "as they were"
        yield (
            f"Trained in part, {what} and the head: {sum(learned):,} of {sum(whole):,} weights; "
            f"the others were kept, {kept}."
        )


def _blocks(network: Classifier) -> list[nn.Module]:
    lists = (getattr(network.backbone, name, None) for name in _LISTS)
    stages: Iterable[nn.Module] = next((each for each in lists if isinstance(each, _Listed)), ())
    found: list[nn.Module] = []
    for stage in stages:
        inner = getattr(stage, "blocks", stage)
        found += inner if isinstance(inner, _Listed) else [stage]
    return found


def _adaptable(network: Classifier, rank: int) -> list[str]:
    try:
        import peft  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"adapters = {rank} needs {error.name}, which is not installed: "
            'pip install "eosin[encoders]"'
        ) from error
    layers = network.backbone.named_modules()
    linear = {name: set(name.split(".")) for name, each in layers if type(each) is nn.Linear}
    if not any("attn" in parts for parts in linear.values()):
        raise ConfigError(
            f"adapters = {rank}: backbone {network.spec.name!r} has no attention whose linear "
            "layers they could adapt; use a transformer, or train_blocks"
        )
    return [name for name, parts in linear.items() if parts & {"attn", "mlp"}]
