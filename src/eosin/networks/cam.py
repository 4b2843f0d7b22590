"""Class maps: one forward pass gives the logits and, in closed form, the map of every class.

A network that averages its last feature map A (K, h, w) over space and scores the averages with
one linear layer has logit_c = sum_k w_ck mean(A_k) + b_c. The gradient of logit_c by any value of
A_k is then w_ck / (h w), so the weights of Grad-CAM (Selvaraju et al. 2017, eq. 1) are
alpha_ck = w_ck / (h w) and its map (eq. 2) is ReLU(sum_k alpha_ck A_k), without a backward pass.
A transformer's map is the positive part of each patch's term of the logit (``tokens``); for methods
that need a feature map, that is its patch tokens in their positions, as they enter its last block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from eosin.errors import ModelError, NoMapError
from eosin.networks.classifier import taking
from eosin.networks.tokens import (
    LastBlock,
    enter_last_block,
    features_after,
    is_transformer,
    require_split,
    split_logits,
)

if TYPE_CHECKING:
    from torch import Tensor

    from eosin.networks.classifier import Classifier
    from eosin.networks.tokens import TokenSplit

_AT_A_TIME: Final = 6  # images; at 224 px no map of theirs takes 32 MiB, which glibc never keeps


@dataclass(frozen=True, eq=False)
class Response:
    """What a network answers to a batch."""

    pixels: Tensor  # its input (N, 3, S, S)
    feature_map: Tensor  # the last map (N, K, h, w)
    logits: Tensor  # of every class (N, C)
    prefix: Tensor | None = None  # of a transformer, the tokens that are no patch's (N, T, K)
    split: TokenSplit | None = None  # of a transformer whose logits are sums over its patches

    @property
    def stride(self) -> int:
        """Input pixels from one position of the feature map to the next, rounded up."""
        return -(-self.pixels.shape[-1] // self.feature_map.shape[-1])


def respond(classifier: Classifier, pixels: Tensor) -> Response:
    """Run a network in ``eval`` mode on input (N, 3, S, S), keeping its last feature map.

    Channels go last in memory, which convolutions are faster with on a CPU; no shape changes.
    There, few images go at a time: maps too large for their memory to be kept for the next ones
    take longer than they save.

    Raises:
        NoMapError: the network has no spatial feature map, or it is a single pixel at this size.
        ConfigError: it cannot take images of this size.
    """
    if is_transformer(classifier):
        return _respond_in_tokens(classifier, pixels)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    with torch.no_grad(), taking(classifier, pixels.shape[-1]):
        few = _AT_A_TIME if pixels.device.type == "cpu" else len(pixels)
        feature_map = torch.cat([classifier.feature_map(part) for part in torch.split(pixels, few)])
        height, width = feature_map.shape[2:]
        if height * width < 2:
            raise NoMapError(
                f"backbone {classifier.spec.name!r} shrinks {pixels.shape[-1]} px input to a "
                "single position, which has no map; train it with an image size of at least "
                f"{2 * pixels.shape[-1]}"
            )
        logits = classifier.head(classifier.pool(feature_map))
    return Response(pixels, feature_map, logits)


def _respond_in_tokens(classifier: Classifier, pixels: Tensor) -> Response:
    with torch.no_grad(), taking(classifier, pixels.shape[-1]):
        entered = enter_last_block(classifier, pixels)
        try:
            require_split(classifier)
        except NoMapError:  # its map takes a gradient
            logits = classifier.head(features_after(classifier, entered))
            return Response(pixels, entered.grid, logits, entered.prefix)
        split = split_logits(classifier, entered)
    return Response(pixels, entered.grid, split.logits, entered.prefix, split)


def logits_after(classifier: Classifier, feature_map: Tensor, prefix: Tensor | None) -> Tensor:
    """Logits (N, C) of a last feature map (N, K, h, w), with a transformer's other tokens."""
    if prefix is None:
        features = classifier.pool(feature_map)
    else:
        features = features_after(classifier, LastBlock(prefix, feature_map))
    logits: Tensor = classifier.head(features)
    return logits


def has_closed_form(classifier: Classifier, feature_map: Tensor) -> bool:
    """Whether the network ends in a plain average over space and one linear layer.

    The average is tried on noise of the shape of ``feature_map`` (N, K, h, w), both signs in it.
    """
    head = classifier.head
    if not isinstance(head, nn.Linear) or head.in_features != feature_map.shape[1]:
        return False
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((1, *feature_map.shape[1:]), generator=generator).to(feature_map)
    with torch.no_grad():
        pooled = classifier.pool(noise)
    return torch.allclose(pooled, noise.mean(dim=(2, 3)), atol=1e-5)


def grad_cam(classifier: Classifier, response: Response, targets: Tensor) -> Tensor:
    """Grad-CAM maps (N, h, w) of one class an image, at least 0.

    In closed form where a network with a feature map of its own allows it, elsewhere by the
    gradient, as in the paper.

    Args:
        classifier: in ``eval`` mode.
        response: of that network.
        targets: class indices (N,).
    """
    feature_map = response.feature_map
    if response.prefix is None and has_closed_form(classifier, feature_map):
        return _maps(feature_map, _linear(classifier).weight[targets][:, None])[:, 0]
    weights = logit_gradient(classifier, response, targets).mean(dim=(2, 3), keepdim=True)
    return (weights * feature_map).sum(dim=1).relu()


def best_map(classifier: Classifier, response: Response, targets: Tensor) -> Tensor:
    """Maps (N, h, w), at least 0, of one class an image: exact of a transformer, else Grad-CAM."""
    if response.split is None:
        return grad_cam(classifier, response, targets)
    rows = torch.arange(len(targets), device=targets.device)
    return response.split.patches[rows, targets].relu()


def logit_gradient(classifier: Classifier, response: Response, targets: Tensor) -> Tensor:
    """The gradient (N, K, h, w) of each image's target logit by its last feature map."""
    leaf = response.feature_map.clone().requires_grad_()
    with torch.enable_grad():
        logits = logits_after(classifier, leaf, response.prefix)
        (gradient,) = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), leaf)
    return gradient


def class_maps(classifier: Classifier, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and the maps of every class, from one forward pass, as ``best_map``.

    Args:
        classifier: in ``eval`` mode.
        pixels: prepared input (N, 3, S, S).

    Returns:
        Logits (N, C) and maps (N, C, h, w), at least 0, neither with a gradient.

    Raises:
        ModelError: the network has no feature map or no closed form.
    """
    response = respond(classifier, pixels)
    if response.split is not None:
        return response.logits, response.split.patches.relu()
    if response.prefix is not None or not has_closed_form(classifier, response.feature_map):
        raise ModelError(
            f"backbone {classifier.spec.name!r} does not end in an average and one linear layer, "
            "so Grad-CAM has no closed form here; grad_cam takes its gradient"
        )
    weights = _linear(classifier).weight[None].expand(len(pixels), -1, -1)
    return response.logits, _maps(response.feature_map, weights)


def _linear(classifier: Classifier) -> nn.Linear:
    if not isinstance(classifier.head, nn.Linear):
        raise ModelError(f"the head of {classifier.spec.name!r} is not one linear layer")
    return classifier.head


def _maps(feature_map: Tensor, weights: Tensor) -> Tensor:
    """ReLU of the weighted sum over channels: maps (N, C, h, w) from weights (N, C, K)."""
    positions = feature_map.shape[2] * feature_map.shape[3]
    with torch.no_grad():
        return torch.einsum("nck,nkhw->nchw", weights / positions, feature_map).relu()
