"""A classifier with everything that a graph gives: logits, pooled features and class maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from eosin.artefacts.graph import Output
from eosin.errors import ModelError
from eosin.networks.cam import has_closed_form, respond

if TYPE_CHECKING:
    from eosin.networks.classifier import Classifier


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What a network has between its input and its logits.

    Attributes:
        map_size: h and w of the last feature map; None where there is none.
        no_maps: why class maps have no closed form; empty where they have.
    """

    map_size: tuple[int, int] | None
    no_maps: str


def examine(classifier: Classifier, *, size: int) -> Anatomy:
    """Look at a network in ``eval`` mode with one image of ``size`` pixels a side."""
    try:
        response = respond(classifier, torch.zeros(1, 3, size, size))
    except ModelError as reason:
        return Anatomy(None, str(reason))
    height, width = response.feature_map.shape[2:]
    if not has_closed_form(classifier, response.feature_map):
        return Anatomy(
            (height, width),
            f"backbone {classifier.spec.name!r} does not end in an average and one linear layer, "
            "so its Grad-CAM maps need a gradient; explain with the Run it was exported from",
        )
    return Anatomy((height, width), "")


class GraphModule(nn.Module):
    """Prepared input (N, 3, S, S) to logits (N, C), features (N, K) and, where asked, maps.

    The maps (N, C, h, w) are those of ``networks.cam``: with the head's weights divided by the
    number of places, the weighted sum over channels is a convolution of one pixel.
    """

    def __init__(self, classifier: Classifier, *, anatomy: Anatomy) -> None:
        super().__init__()
        self.classifier = classifier
        self.outputs: tuple[Output, ...] = ("logits", "features")
        if not anatomy.no_maps and anatomy.map_size and isinstance(classifier.head, nn.Linear):
            self.outputs = (*self.outputs, "maps")
            places = anatomy.map_size[0] * anatomy.map_size[1]
            weights = classifier.head.weight.detach() / places
            self.register_buffer("weights", weights[:, :, None, None].clone())

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The outputs, in the order of ``outputs``."""
        if "maps" not in self.outputs:
            features = self.classifier.features(pixels)
            return self.classifier.head(features), features
        last = self.classifier.feature_map(pixels)
        features = self.classifier.pool(last)
        maps = nn.functional.conv2d(last, self.get_buffer("weights")).relu()
        return self.classifier.head(features), features, maps
