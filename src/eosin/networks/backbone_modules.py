"""Backbones as modules: timm's whole or cut off, published ones, and the user's own."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from eosin.errors import ModelError
from eosin.networks.backbones import own_module

if TYPE_CHECKING:
    from eosin.networks.backbones import BackboneSpec


def create_backbone(spec: BackboneSpec) -> nn.Module:
    """The network from timm without its classifier; ModelError where it cannot be cut as asked."""
    own = own_module(spec.name)
    if own is not None:
        return OwnBackbone(deepcopy(own), spec)
    import timm

    if spec.architecture:
        return _create_published(spec)
    network: nn.Module = timm.create_model(spec.timm_name, pretrained=False, num_classes=0)
    if spec.stride is None:
        return network
    strides, wanted = _strides(network), (*spec.earlier, spec.stride)
    missing = [stride for stride in wanted if stride not in strides]
    if missing or not hasattr(network, "prune_intermediate_layers"):
        raise ModelError(
            f"backbone {spec.timm_name!r} has no map of stride {(missing or [spec.stride])[0]}; it "
            f"has {sorted(set(strides)) or 'none that it can be cut off at'}"
        )
    indices = [max(k for k, stride in enumerate(strides) if stride == each) for each in wanted]
    last = indices[-1]
    network.prune_intermediate_layers(  # type: ignore[operator]  # nn.Module: Tensor | Module
        [last], prune_norm=True, prune_head=True
    )
    network.reset_classifier(0, "avg")  # type: ignore[operator]  # the cut took the pooling off
    return SeveralMaps(network, indices) if spec.earlier else network


def _create_published(spec: BackboneSpec) -> nn.Module:
    """As its table or config says; ModelError where timm cannot build that."""
    import timm
    from timm.layers import SwiGLUPacked  # type: ignore[attr-defined]  # a re-export

    told: dict[str, object] = dict(spec.arguments)
    if spec.pooling != "timm":
        told["global_pool"] = ""
    if told.pop("swiglu", False):
        told |= {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
    if eps := told.pop("norm_eps", None):
        told["norm_layer"] = partial(nn.LayerNorm, eps=float(str(eps)))
    told["num_classes"] = 0
    try:
        network: nn.Module = timm.create_model(spec.architecture, **told)  # type: ignore[arg-type]
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ModelError(
            f"backbone {spec.name!r}: timm cannot build {spec.architecture} with "
            f"{dict(spec.arguments)} ({error})"
        ) from error
    if spec.pooling != "timm" and not getattr(network, "has_class_token", False):
        raise ModelError(f"backbone {spec.name!r} has no class token to take features from")
    return network


def _strides(network: nn.Module) -> list[int]:
    """Of the network's maps in order, as timm lists them."""
    found = getattr(network, "feature_info", [])
    return [int(stage["reduction"]) for stage in getattr(found, "info", found)]


class _Pooled(nn.Module):
    """A module whose features are the average of its map over space."""

    def forward_features(self, x: Tensor) -> Tensor:
        """The map (N, C, h, w), or features (N, C) where there is none."""
        raise NotImplementedError

    def forward_head(self, found: Tensor, *, pre_logits: bool = True) -> Tensor:  # noqa: ARG002
        """Features (N, C)."""
        return found.mean(dim=(2, 3)) if found.ndim == 4 else found

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, C)."""
        return self.forward_head(self.forward_features(x))


class OwnBackbone(_Pooled):
    """A module of the user's own, which answers as timm's do; its map or features as they come.

    Raises:
        ModelError: it cannot take images of its size, or answers with something else.
    """

    def __init__(self, module: nn.Module, spec: BackboneSpec) -> None:
        super().__init__()
        self.module = module.eval()
        try:
            with torch.no_grad():
                found = self(torch.zeros(1, 3, spec.size, spec.size))
            if found.ndim != 2:
                raise ValueError(f"answers with shape {tuple(found.shape)}")
        except Exception as error:  # each design its own
            raise ModelError(
                f"backbone {spec.name!r}: {error}; want images (N, 3, {spec.size}, {spec.size}) to "
                "features (N, C) or a map (N, C, h, w)"
            ) from error
        self.num_features = int(found.shape[1])

    def forward_features(self, x: Tensor) -> Tensor:
        """What the module answers."""
        found: Tensor = self.module(x)
        return found


class SeveralMaps(_Pooled):
    """A cut network whose features are those of several of its maps, from one pass.

    Its last map is all of them, channel by channel, at the size of the finest: the average over
    space of a map that was enlarged by whole factors is that of the map itself.

    Attributes:
        widths: channels of each map.
    """

    def __init__(self, network: nn.Module, indices: list[int]) -> None:
        super().__init__()
        for name, child in network.named_children():  # its tensors keep their names
            self.add_module(name, child)
        self._network, self._indices = (network,), indices  # a tuple: not a module of its own
        self.pretrained_cfg = network.pretrained_cfg
        info = network.feature_info
        self.widths: list[int] = [int(info[index]["num_chs"]) for index in indices]  # type: ignore[index]
        self.num_features = sum(self.widths)

    def forward_features(self, x: Tensor) -> Tensor:
        """The maps, (N, sum of widths, h, w)."""
        maps = self._network[0].forward_intermediates(  # type: ignore[operator]  # as above
            x, indices=self._indices, intermediates_only=True
        )
        size = maps[0].shape[2:]
        return torch.cat([maps[0], *(nn.functional.interpolate(m, size) for m in maps[1:])], dim=1)
