"""Maps of other images by other networks, by the same method: what the checks ask for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from eosin.explanation.methods import explain_targets
from eosin.networks.cam import respond
from eosin.pixels.preprocessing import prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.explanation.heatmap import FloatMap, Method
    from eosin.explanation.scoring import Remap
    from eosin.networks.classifier import Classifier
    from eosin.pixels.reading import UInt8Image


def remap_by(method: Method, spec: Preprocessing) -> Remap:
    """A function from a network, images and class indices to one raw map (h, w) an image.

    Images are those that a network sees already (``view``): their stain is not touched again.
    """
    bare = replace(spec, stain=None)

    def remap(
        classifier: Classifier, images: Sequence[UInt8Image], targets: Sequence[int]
    ) -> list[FloatMap]:
        device = next(classifier.parameters()).device
        pixels = torch.from_numpy(np.stack([prepare(image, bare) for image in images])).to(device)
        chosen = torch.tensor(list(targets), device=device)
        maps = explain_targets(classifier, respond(classifier, pixels), chosen, method=method)
        return list(maps.cpu().numpy())

    return remap
