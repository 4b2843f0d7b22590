"""Which part of a backbone learns: its last blocks, or low-rank adapters beside its layers.

Low-rank adapters (Hu et al. 2022) leave a linear layer W as it is and learn B A of rank R, so that
the layer answers with (W + B A) x; merged, it is one matrix again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from eosin.errors import ConfigError, first_ten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eosin.networks.classifier import Classifier
    from eosin.training.config import TrainingConfig

_LISTS = ("blocks", "layers", "stages")  # timm's names of what holds a network's blocks in order
_Listed = nn.Sequential | nn.ModuleList


def blocks_of(network: Classifier) -> list[nn.Module]:
    """The backbone's blocks from the first to the last; those of each stage in turn.

    Raises:
        ConfigError: timm does not list this backbone's blocks.
    """
    lists = (getattr(network.backbone, name, None) for name in _LISTS)
    stages = next((each for each in lists if isinstance(each, _Listed)), [])
    found = [block for stage in stages for block in _inside(stage)]
    if not found:
        raise ConfigError(
            f"train_blocks: backbone {network.spec.name!r} does not list its blocks in order, as "
            "timm's EfficientNets, ViTs, Swins and ConvNeXts do; leave train_blocks out"
        )
    return found


def require_part(network: Classifier, config: TrainingConfig) -> None:
    """ConfigError where a network has not the part that the settings train."""
    if config.train_blocks:
        _last_blocks(network, config.train_blocks)
    if config.adapters:
        _adaptable(network, config.adapters)


def _last_blocks(network: Classifier, count: int) -> list[nn.Module]:
    blocks = blocks_of(network)
    if count > len(blocks):
        raise ConfigError(
            f"train_blocks = {count}: backbone {network.spec.name!r} has {len(blocks)} blocks; "
            f"want 1 to {len(blocks)}, or leave train_blocks out to train all of it"
        )
    return blocks[-count:]


def hold_before(network: Classifier, count: int) -> None:
    """Freeze all that comes before the last ``count`` blocks: weights, statistics, random depth.

    What follows these blocks, such as a last norm, learns with them.

    Raises:
        ConfigError: the backbone has fewer blocks, or none in order.
    """
    first, reached = _last_blocks(network, count)[0], False
    for module in network.backbone.modules():  # in the order of their making, which is timm's
        reached = reached or module is first
        if not reached:
            module.training = False
            for weight in module.parameters(recurse=False):
                weight.requires_grad_(False)


def _adaptable(network: Classifier, rank: int) -> list[str]:
    """Names of the linear layers of attention and MLP in a backbone."""
    try:
        import peft  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            f'adapters = {rank} needs {error.name}, which is not installed: pip install "eosin'
            '[encoders]"'
        ) from error
    layers = network.backbone.named_modules()
    linear = {name: set(name.split(".")) for name, each in layers if type(each) is nn.Linear}
    if not any("attn" in parts for parts in linear.values()):
        raise ConfigError(
            f"adapters = {rank}: backbone {network.spec.name!r} has no attention whose linear "
            "layers they could adapt; use a transformer, or train_blocks"
        )
    return [name for name, parts in linear.items() if parts & {"attn", "mlp"}]


def add_adapters(network: Classifier, rank: int, *, seed: int, size: int) -> None:
    """Put adapters beside these layers and freeze all else of the backbone; answers stay the same.

    Args:
        network: with the weights that it starts from.
        rank: of each adapter.
        seed: of their random halves.
        size: side of the input, in pixels.

    Raises:
        ConfigError: as ``require_part``, or layers are not asked for their answers.
    """
    names = _adaptable(network, rank)
    if passed := sorted(set(names) - _asked(network, names, size)):
        raise ConfigError(
            f"adapters = {rank}: backbone {network.spec.name!r} computes with the weights of "
            f"{first_ten(passed)} past the layers themselves, where adapters would do nothing; "
            "use train_blocks"
        )
    from peft import LoraConfig, inject_adapter_in_model

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        lora = LoraConfig(r=rank, lora_alpha=rank, target_modules=names)  # W + 1 * B A
        inject_adapter_in_model(lora, network.backbone)


def _asked(network: Classifier, names: list[str], size: int) -> set[str]:
    """The layers that are called when the network answers."""
    asked: set[str] = set()

    def note(name: str, *_: object) -> None:
        asked.add(name)

    hooks = [
        network.backbone.get_submodule(name).register_forward_hook(partial(note, name))
        for name in names
    ]
    image = torch.zeros(1, 3, size, size, device=next(network.parameters()).device)
    with torch.no_grad():
        network.eval().features(image)
    for hook in hooks:
        hook.remove()
    return asked


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
    if not (config.train_blocks or config.adapters):
        return
    learned = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    whole = sum(weight.numel() for weight in network.parameters())
    what = f"adapters of rank {config.adapters}"
    if config.train_blocks:
        what = f"the last {config.train_blocks} of {len(blocks_of(network))} blocks"
    kept = "random ones" if config.weights == "none" else "as they were"
    yield (
        f"Trained in part, {what} and the head: {learned:,} of {whole:,} weights; the others were "
        f"kept, {kept}."
    )


def _inside(stage: nn.Module) -> list[nn.Module]:
    """The blocks of a stage; a block itself where there are no stages."""
    inner = getattr(stage, "blocks", stage)
    return list(inner) if isinstance(inner, _Listed) else [stage]
