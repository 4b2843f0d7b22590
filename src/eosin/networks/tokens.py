"""Exact maps of a vision transformer under a linear head: a logit as a sum over its patches.

Features pooled from the mean of the patch tokens split as they are: logit_c is the sum over the P
patches of w_c . LN(z_i) / P, and the bias. Features pooled from the class token split in the last
block (Elhage et al. 2021, Kobayashi et al. 2020): what the class token became is its residual, one
term a source token (attention times value, projected), and its MLP. With the scale of the final
LayerNorm frozen at its value all that follows is linear, so that each patch has its term of the
logit. Residual, MLP, the terms of class and register tokens and every bias are the rest, which no
patch explains. Late tokens mix positions: whether a map is faithful still has to be tested.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from eosin.errors import NoMapError

if TYPE_CHECKING:
    from torch import Tensor

    from eosin.networks.classifier import Classifier


@dataclass(frozen=True, eq=False)
class TokenSplit:
    """The logits of a batch as sums: ``patches.sum(dim=(2, 3)) + rest`` is ``logits``."""

    patches: Tensor  # each patch's term of each class's logit (N, C, h, w), of either sign
    rest: Tensor  # what no patch explains (N, C)
    logits: Tensor  # (N, C)
    features: Tensor  # (N, K)


@dataclass(frozen=True, eq=False)
class LastBlock:
    """A batch as it enters a transformer's last block."""

    prefix: Tensor  # class and register tokens (N or 1, T, K)
    grid: Tensor  # patch tokens in their positions (N, K, h, w)

    def tokens(self) -> Tensor:
        """All tokens (N, T + h w, K)."""
        prefix = self.prefix.expand(self.grid.shape[0], -1, -1)
        return torch.cat([prefix, self.grid.flatten(2).transpose(1, 2)], dim=1)


def is_transformer(classifier: Classifier) -> bool:
    """Whether a network is one of timm's plain vision transformers, with tokens to map."""
    from timm.models.vision_transformer import Block, VisionTransformer

    network = classifier.backbone
    return (
        type(network) is VisionTransformer
        and len(network.blocks) > 1
        and all(type(block) is Block for block in network.blocks)
    )


def require_split(classifier: Classifier) -> None:
    """NoMapError where a transformer's logits are no sum over its patches."""
    network = _inside(classifier)
    pooling = _pooling(classifier)
    attention = network.blocks[-1].attn
    norms = sorted(
        isinstance(norm, nn.LayerNorm) - isinstance(norm, nn.Identity)
        for norm in (network.norm, network.fc_norm)
    )
    gated = getattr(attention, "gate", None) is not None
    scaled = not isinstance(getattr(attention, "norm", nn.Identity()), nn.Identity)
    plain = isinstance(classifier.head, nn.Linear) and norms == [-1, 1] and not (gated or scaled)
    if not plain or pooling not in ("token", "avg", "cls", "cls+mean"):
        raise NoMapError(
            f"backbone {classifier.spec.name!r} pools its tokens by {pooling!r} or scores them "
            "otherwise than by one norm and one linear layer, so its logits are no sum over patches"
        )


def enter_last_block(classifier: Classifier, pixels: Tensor) -> LastBlock:
    """Run input (N, 3, S, S) up to a transformer's last block."""
    network = _inside(classifier)
    ((grid, prefix),) = network.forward_intermediates(
        pixels,
        [len(network.blocks) - 2],
        return_prefix_tokens=True,
        stop_early=True,
        intermediates_only=True,
    )
    return LastBlock(prefix, grid)


def features_after(classifier: Classifier, entered: LastBlock) -> Tensor:
    """Features (N, K) of tokens as they enter the last block."""
    network = _inside(classifier)
    last = network.blocks[-1](entered.tokens())
    return classifier.pool_tokens(network.norm(last))


def split_logits(classifier: Classifier, entered: LastBlock) -> TokenSplit:
    """Every class's logit as a sum over patches and a rest; ``require_split`` says whether it is.

    Args:
        classifier: in ``eval`` mode, one that ``require_split`` lets pass.
        entered: what ``enter_last_block`` made with it.
    """
    network, head = _inside(classifier), classifier.head
    assert isinstance(head, nn.Linear)
    last = network.blocks[-1](entered.tokens())
    features = classifier.pool_tokens(network.norm(last))
    pooling, weight, bias = _pooling(classifier), head.weight, head.bias
    if pooling == "avg":
        terms, rest = _of_mean(network, last, weight)
    elif pooling == "cls+mean":
        of_class, of_mean = weight.chunk(2, dim=1)
        terms, rest = _of_class_token(network, entered, last, of_class)
        more, _ = _of_mean(network, last, of_mean)
        terms = terms + more
    else:
        terms, rest = _of_class_token(network, entered, last, weight)
    height, width = entered.grid.shape[2:]
    patches = terms.transpose(1, 2).reshape(-1, terms.shape[2], height, width)
    return TokenSplit(patches, rest + bias, head(features), features)


def _inside(classifier: Classifier) -> Any:
    """The backbone, which ``is_transformer``: torch types what it is made of as anything."""
    return classifier.backbone


def _pooling(classifier: Classifier) -> str:
    pooling = classifier.spec.pooling
    if pooling != "timm":
        return pooling
    network = _inside(classifier)
    if getattr(network, "attn_pool", None) is not None or network.pool_include_prefix:
        return "attention"
    return str(network.global_pool)


def _of_class_token(
    network: Any, entered: LastBlock, last: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Terms (N, P, C) of the patches in what the class token scores, and the rest (N, C).

    Args:
        network: the transformer.
        entered: the tokens as they enter its last block.
        last: as they leave it (N, T, K), before the final norm.
        weight: of the head (C, K).
    """
    block = network.blocks[-1]
    attention, tokens = block.attn, entered.tokens()
    count, length, _ = tokens.shape
    qkv = attention.qkv(block.norm1(tokens))
    qkv = qkv.reshape(count, length, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    queries, keys, values = attention.q_norm(qkv[0]), attention.k_norm(qkv[1]), qkv[2]
    row = (queries[:, :, :1] * attention.scale) @ keys.transpose(-2, -1)
    row = row.softmax(dim=-1)[:, :, 0]  # what the class token takes of each (N, heads, T)
    seen, constant = _before_norm(_norm(network), last[:, 0], weight)
    scale = 1 if isinstance(block.ls1, nn.Identity) else block.ls1.gamma
    heads = ((seen * scale) @ attention.proj.weight).unflatten(2, (attention.num_heads, -1))
    terms = torch.einsum("nht,nhtd,nchd->ntc", row, values, heads)
    taken = torch.einsum("nht,nhtd->nhd", row, values).flatten(1) @ attention.proj.weight.T * scale
    kept = torch.einsum("nck,nk->nc", seen, last[:, 0] - taken)  # residual, MLP, biases
    first = entered.prefix.shape[1]
    return terms[:, first:], kept + constant + terms[:, :first].sum(dim=1)


def _of_mean(network: Any, last: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Terms (N, P, C) of the patches where the mean of their tokens is scored, and the rest."""
    patches = last[:, int(network.num_prefix_tokens) :]
    if isinstance(network.norm, nn.LayerNorm):
        terms = network.norm(patches) @ weight.T / patches.shape[1]
        return terms, terms.new_zeros(terms.shape[0], terms.shape[2])
    seen, constant = _before_norm(_norm(network), patches.mean(dim=1), weight)
    return torch.einsum("npk,nck->npc", patches, seen) / patches.shape[1], constant


def _norm(network: Any) -> nn.LayerNorm:
    """The one before the head: over every token, or over what they were pooled to."""
    norms = (network.norm, network.fc_norm)
    return next(norm for norm in norms if isinstance(norm, nn.LayerNorm))


def _before_norm(norm: nn.LayerNorm, vector: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """A head (C, K) as it acts before a LayerNorm whose scale is frozen at that of a vector (N, K).

    LayerNorm takes the mean away and divides by the deviation: with this fixed, w . LN(z) is
    (u - mean u) . z / deviation + w . b, where u is w times the norm's weight and b its bias.

    Returns:
        (u - mean u) / deviation (N, C, K), and w . b (N, C).
    """
    scale = (vector.var(dim=1, unbiased=False) + norm.eps).rsqrt()
    direction = weight * norm.weight
    direction = direction - direction.mean(dim=1, keepdim=True)
    constant = (weight @ norm.bias).expand(vector.shape[0], -1)
    return direction * scale[:, None, None], constant
