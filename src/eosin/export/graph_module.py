"""A classifier with everything that a graph gives: logits, pooled features and class maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from eosin.artefacts.graph import Output
from eosin.errors import ModelError
from eosin.networks.cam import has_closed_form, respond
from eosin.networks.tokens import enter_last_block, is_transformer, split_logits

if TYPE_CHECKING:
    from eosin.networks.classifier import Classifier


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What a network has between its input and its logits."""

    map_size: tuple[int, int] | None  # h and w of the last feature map; None where there is none
    no_maps: str  # why class maps have no closed form; empty where they have


def examine(classifier: Classifier, *, size: int) -> Anatomy:
    """Look at a network in ``eval`` mode with one image of ``size`` pixels a side."""
    try:
        response = respond(classifier, torch.zeros(1, 3, size, size))
    except ModelError as reason:
        return Anatomy(None, str(reason))
    height, width = response.feature_map.shape[2:]
    if response.split is not None:
        return Anatomy((height, width), "")
    if response.prefix is not None or not has_closed_form(classifier, response.feature_map):
        return Anatomy(
            (height, width),
            f"backbone {classifier.spec.name!r} does not end in an average and one linear layer, "
            "so its Grad-CAM maps need a gradient; explain with the Run it was exported from",
        )
    return Anatomy((height, width), "")


class GraphModule(nn.Module):
    """Prepared input (N, 3, S, S) to logits (N, C), features (N, K) and, where asked, maps.

    The maps (N, C, h, w) are those of ``networks.cam``: with the head's weights divided by the
    number of pixels, the weighted sum over channels is a convolution of one pixel. A transformer's
    are each patch's term of the logit, of either sign, and come with the rest (N, C).
    """

    def __init__(self, classifier: Classifier, *, anatomy: Anatomy) -> None:
        super().__init__()
        self.classifier = classifier
        self.outputs: tuple[Output, ...] = ("logits", "features")
        self._in_tokens = is_transformer(classifier)
        if self._in_tokens and not anatomy.no_maps:
            self.outputs = (*self.outputs, "maps", "rest")
        elif not anatomy.no_maps and anatomy.map_size and isinstance(classifier.head, nn.Linear):
            self.outputs = (*self.outputs, "maps")
            positions = anatomy.map_size[0] * anatomy.map_size[1]
            weights = classifier.head.weight.detach() / positions
            self.register_buffer("weights", weights[:, :, None, None].clone())

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The outputs, in the order of ``outputs``."""
        if "maps" not in self.outputs:
            features = self.classifier.features(pixels)
            return self.classifier.head(features), features
        if self._in_tokens:
            split = split_logits(self.classifier, enter_last_block(self.classifier, pixels))
            return split.logits, split.features, split.patches, split.rest
        last = self.classifier.feature_map(pixels)
        features = self.classifier.pool(last)
        maps = nn.functional.conv2d(last, self.get_buffer("weights")).relu()
        return self.classifier.head(features), features, maps
