"""Parameter randomisation: a map of what a network learned must change when it forgets.

The sanity check of Adebayo et al. (NeurIPS 2018), cascading in two steps: the head is drawn anew,
then everything is. A method whose map stays the same draws edges of the image, not reasons.

A head and its negative are equally likely draws, so both are tried: features of a trained network
often lie along one direction, and one draw of a head then gives the first map or its opposite by
luck alone.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.explanation.perturbation import on_grid
from eosin.explanation.ranks import rank_correlation
from eosin.networks.classifier import build_classifier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from eosin.arrays import MapValues
    from eosin.networks.classifier import Classifier


@dataclass(frozen=True)
class RandomTwins:
    """Copies of a network that forgot.

    Attributes:
        heads: the trained backbone under heads drawn anew, each followed by its negative.
        whole: everything drawn anew.
    """

    heads: tuple[Classifier, ...]
    whole: tuple[Classifier, ...]


@dataclass(frozen=True, slots=True)
class Randomised:
    """How much of a map survives, as Spearman's correlation with it, mean over the draws.

    Attributes:
        head: with the head drawn anew, in [-1, 1].
        whole: with everything drawn anew, in [-1, 1].
    """

    head: float
    whole: float


def random_twins(classifier: Classifier, *, classes: int, draws: int, seed: int = 0) -> RandomTwins:
    """Networks like ``classifier``, on its device, with weights as before any training.

    Args:
        classifier: the trained network; left as it is.
        classes: how many its head scores.
        draws: heads, and whole networks, drawn.
        seed: of the first draw; the next ones follow.
    """
    device = next(classifier.parameters()).device
    heads: list[Classifier] = []
    whole: list[Classifier] = []
    for draw in range(draws):
        twin = build_classifier(classifier.spec.name, classes=classes, seed=seed + draw)
        whole.append(twin.eval().to(device))
        drawn = twin.head.state_dict()
        heads += [_with_head(classifier, drawn, sign) for sign in (1, -1)]
    return RandomTwins(tuple(heads), tuple(whole))


def _with_head(classifier: Classifier, head: Mapping[str, Tensor], sign: int) -> Classifier:
    """A copy under another head whose logits are multiplied by ``sign``."""
    import torch

    forgetful = copy.deepcopy(classifier).eval()
    forgetful.head.load_state_dict(head)
    with torch.no_grad():
        for weights in list(forgetful.head.parameters())[-2:]:  # of the last layer, and its bias
            weights.mul_(sign)
    return forgetful


def surviving(
    heatmap: MapValues,
    *,
    head_maps: Sequence[MapValues],
    whole_maps: Sequence[MapValues],
    cells: int,
) -> Randomised:
    """Compare a map with those of the twins, all brought to a grid of ``cells`` a side."""
    return Randomised(
        head=mean_similarity(heatmap, head_maps, cells=cells),
        whole=mean_similarity(heatmap, whole_maps, cells=cells),
    )


def mean_similarity(heatmap: MapValues, others: Sequence[MapValues], *, cells: int) -> float:
    """Mean Spearman correlation of a map with others, on a grid of ``cells`` a side."""
    grid = on_grid(heatmap, cells)
    return float(np.mean([rank_correlation(grid, on_grid(other, cells)) for other in others]))
