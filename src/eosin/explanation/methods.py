"""One map an image by any method: Grad-CAM of our own, the others from the library grad-cam.

The library (https://github.com/jacobgil/pytorch-grad-cam) brings each method's weighting. The layer
is always the network's last feature map, and only what lies behind it is run again, but for
Score-CAM, which needs whole forward passes. Logits are explained, never probabilities.
"""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import nn

from eosin.errors import ConfigError
from eosin.networks.cam import best_map, grad_cam, logit_gradient, logits_after

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from eosin.arrays import FloatMap
    from eosin.explanation.heatmap import Method
    from eosin.networks.cam import Response
    from eosin.networks.classifier import Classifier

_BATCH = 32  # forward passes at a time of the methods that need hundreds an image


class Weighting(Protocol):
    """The part of grad-cam's classes that is used here."""

    def get_cam_image(
        self,
        input_tensor: Tensor,
        target_layer: nn.Module,
        targets: Sequence[Score],
        activations: FloatMap,
        grads: FloatMap | None,
        eigen_smooth: bool,
    ) -> FloatMap:
        """The weighted sum over channels (N, h, w), before the ReLU."""
        ...


@dataclass(frozen=True, slots=True)
class Score:
    """What is explained of an image: one class's logit, counted from ``zero``."""

    target: int
    zero: float = 0.0

    def __call__(self, logits: Tensor) -> Tensor:
        """A scalar from the logits (C,) of one image."""
        return logits[self.target] - self.zero


class AfterMap(nn.Module):
    """What a network does with its last feature map; ``layer`` is where methods reach in."""

    def __init__(self, classifier: Classifier, prefix: Tensor | None = None) -> None:
        super().__init__()
        self.layer = nn.Identity()
        self._classifier, self._prefix = classifier, prefix

    def forward(self, feature_map: Tensor) -> Tensor:
        """Logits (N, C) of feature maps (N, K, h, w)."""
        return logits_after(self._classifier, self.layer(feature_map), self._prefix)


def explain_targets(
    classifier: Classifier, response: Response, targets: Tensor, *, method: Method = "auto"
) -> Tensor:
    """Maps (N, h, w), at least 0, of one class an image.

    ``"auto"`` is ``cam.best_map``: exact of a transformer where its logits are sums over patches,
    else Grad-CAM (Selvaraju et al. 2017), which needs no library either. The others:
    Grad-CAM++ (Chattopadhay et al. 2018), HiResCAM (Draelos & Carin 2020), LayerCAM (Jiang et al.
    2021), Eigen-CAM (Muhammad & Yeasin 2020), which knows no class, Score-CAM (Wang et al. 2020)
    and Ablation-CAM (Desai & Ramaswamy 2020). Score-CAM takes one forward pass a channel and about
    1 GB of memory at 224 pixels.

    Args:
        classifier: in ``eval`` mode.
        response: what ``networks.cam.respond`` made with it.
        targets: class indices (N,).
        method: one of ``METHODS``.

    Raises:
        ConfigError: another method, and the library grad-cam is not installed.
    """
    if method == "auto":
        return best_map(classifier, response, targets)
    if method == "gradcam":
        return grad_cam(classifier, response, targets)
    if method == "scorecam":
        raw = _score_cam(classifier, response, targets)
    elif response.prefix is None:
        raw = _weighted(classifier, response, targets, method)
    else:  # each image has class and register tokens of its own, which the library knows nothing of
        raw = np.concatenate(
            [
                _weighted(classifier, _one(response, row), targets[row : row + 1], method)
                for row in range(len(targets))
            ]
        )
    return torch.from_numpy(np.maximum(raw, 0)).to(response.feature_map.device)


def _one(response: Response, row: int) -> Response:
    """The response to one image of a batch."""
    one = slice(row, row + 1)
    prefix = None if response.prefix is None else response.prefix[one]
    grid, logits = response.feature_map[one], response.logits[one]
    return replace(
        response, pixels=response.pixels[one], feature_map=grid, logits=logits, prefix=prefix
    )


def _weighted(
    classifier: Classifier, response: Response, targets: Tensor, method: Method
) -> FloatMap:
    """Every method that needs nothing before the feature map."""
    after = AfterMap(classifier, response.prefix).eval()
    weighting = _weighting(method, after)
    chosen = targets.tolist()
    logits = response.logits.gather(1, targets[:, None])[:, 0].tolist()
    # The library divides an ablation's drop by the score: a score of 1 keeps the drop's sign
    # where the logit is negative, and changes a positive one's map by a constant only.
    scores = [Score(c, logit - 1.0) for c, logit in zip(chosen, logits, strict=True)]
    feature_map = response.feature_map.detach()
    grads = None
    if method not in ("eigencam", "ablationcam"):
        grads = logit_gradient(classifier, response, targets).cpu().numpy()
    activations: FloatMap = feature_map.cpu().numpy()
    with redirect_stderr(io.StringIO()):  # the library draws a progress bar an image
        raw = weighting.get_cam_image(feature_map, after.layer, scores, activations, grads, False)
    return _orient(raw, activations) if method == "eigencam" else raw


def _score_cam(classifier: Classifier, response: Response, targets: Tensor) -> FloatMap:
    """Image by image: all masked copies of one are in memory at once."""
    weighting = _weighting("scorecam", classifier)
    layer = nn.Identity()
    maps = []
    with redirect_stderr(io.StringIO()):
        for index, target in enumerate(targets.tolist()):
            one = slice(index, index + 1)
            activations: FloatMap = response.feature_map[one].detach().cpu().numpy()
            maps.append(
                weighting.get_cam_image(
                    response.pixels[one], layer, [Score(target)], activations, None, False
                )
            )
    return np.concatenate(maps)


def _orient(raw: FloatMap, activations: FloatMap) -> FloatMap:
    """Turn a principal component, whose sign is arbitrary, towards where the map is active."""
    energy = np.abs(activations).sum(axis=1)
    energy -= energy.mean(axis=(1, 2), keepdims=True)
    agrees = (raw * energy).sum(axis=(1, 2), keepdims=True) >= 0
    return np.where(agrees, raw, -raw).astype(np.float32)


def _weighting(method: Method, network: nn.Module) -> Weighting:
    try:
        import pytorch_grad_cam as library
        from pytorch_grad_cam.ablation_layer import AblationLayer
    except ModuleNotFoundError as error:
        raise ConfigError(
            f'method {method!r} needs the library grad-cam ({error}): pip install "eosin[explain]"'
        ) from error
    layers = [network.layer] if isinstance(network, AfterMap) else [nn.Identity()]
    if method == "ablationcam":

        class Silenced(AblationLayer):  # type: ignore[misc]  # the library is untyped
            """Sets channels to 0, as the paper does; the library's own sets them far below."""

            def __call__(self, x: Tensor) -> Tensor:  # noqa: ARG002  # the library's way
                for row, channel in enumerate(self.indices[: len(self.activations)]):
                    self.activations[row, channel] = 0
                return self.activations  # type: ignore[no-any-return]

        made = library.AblationCAM(network, layers, ablation_layer=Silenced(), batch_size=_BATCH)
    else:
        kinds = {
            "gradcam++": library.GradCAMPlusPlus,
            "hirescam": library.HiResCAM,
            "layercam": library.LayerCAM,
            "eigencam": library.EigenCAM,
            "scorecam": library.ScoreCAM,
        }
        made = kinds[method](network, layers)
    made.batch_size = _BATCH
    weighting: Weighting = made
    return weighting
