"""Weights in the layout of transformers' ViT and Dinov2, brought to timm's VisionTransformer.

Both name one computation; equal outputs on random weights prove the table below.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

_PREFIX = re.compile(
    r"^(vit|dinov2|dinov2_with_registers|model|backbone)\.(?=embeddings|encoder|l)"
)
_LAYER = re.compile(r"^(?:encoder\.)?layers?\.(\d+)\.(.+)\.(weight|bias|lambda1)$")
# What a layer calls a part, in version 4 and in version 5 of transformers; and timm.
_PARTS = {
    "norm1": "norm1",
    "norm2": "norm2",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.attention.query": "q",
    "attention.attention.key": "k",
    "attention.attention.value": "v",
    "attention.output.dense": "attn.proj",
    "attention.q_proj": "q",
    "attention.k_proj": "k",
    "attention.v_proj": "v",
    "attention.o_proj": "attn.proj",
    "layer_scale1": "ls1",
    "layer_scale2": "ls2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "mlp.weights_in": "mlp.fc1",
    "mlp.weights_out": "mlp.fc2",
    "mlp.gate_proj": "gate",
    "mlp.up_proj": "up",
    "mlp.down_proj": "mlp.fc2",
}
_STEM = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.register_tokens": "reg_token",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
_UNUSED = re.compile(r"^(embeddings\.mask_token|pooler\..+|classifier\..+)$")
_JOINED = {"attn.qkv": ("q", "k", "v"), "mlp.fc1": ("gate", "up")}  # one tensor in timm


def is_transformers_layout(names: Mapping[str, Tensor]) -> bool:
    """Whether tensors are named as transformers names a ViT's."""
    return any(_PREFIX.sub("", name) == "embeddings.cls_token" for name in names)


def to_timm(tensors: Mapping[str, Tensor], *, patches: int) -> dict[str, Tensor]:
    """Tensors under timm's names; those of unknown name keep theirs, for the loader to list.

    Args:
        tensors: in transformers' layout.
        patches: of an image at the size that the network is built for; positions of another grid
            are resampled as transformers does it (bicubic, corners not aligned).
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        bare = _PREFIX.sub("", name)
        if not _UNUSED.match(bare):
            found[_timm_name(bare)] = tensor
    for whole, parts in _JOINED.items():
        _join(found, whole, parts)
    if "pos_embed" in found and found["pos_embed"].shape[1] != patches + 1:
        found["pos_embed"] = _resampled(found["pos_embed"], patches)
    if "reg_token" in found and {"cls_token", "pos_embed"} <= found.keys():
        positions = found["pos_embed"]  # the class token's own is added to it, once and for all
        found["cls_token"] = found["cls_token"] + positions[:, :1]
        found["pos_embed"] = positions[:, 1:]
    return found


def _timm_name(name: str) -> str:
    layer = _LAYER.match(name)
    if layer is None or layer[2] not in _PARTS:
        return _STEM.get(name, name)
    kind = "gamma" if layer[3] == "lambda1" else layer[3]
    return f"blocks.{layer[1]}.{_PARTS[layer[2]]}.{kind}"


def _join(found: dict[str, Tensor], whole: str, parts: tuple[str, ...]) -> None:
    """Put the parts of one tensor together wherever all of them are, in the caller's own dict."""
    first = re.compile(rf"^(blocks\.\d+)\.{parts[0]}\.(weight|bias)$")
    for match in [m for m in map(first.match, list(found)) if m]:
        names = [f"{match[1]}.{part}.{match[2]}" for part in parts]
        if all(name in found for name in names):
            found[f"{match[1]}.{whole}.{match[2]}"] = torch.cat([found.pop(n) for n in names])


def _resampled(positions: Tensor, patches: int) -> Tensor:
    old, new = round((positions.shape[1] - 1) ** 0.5), round(patches**0.5)
    if old * old != positions.shape[1] - 1 or new * new != patches:
        return positions  # the loader names the shape
    grid = positions[:, 1:].float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, (new, new), mode="bicubic", align_corners=False)
    flat = grid.permute(0, 2, 3, 1).reshape(1, patches, -1)
    return torch.cat([positions[:, :1].float(), flat], dim=1)
