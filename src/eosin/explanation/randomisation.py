"""Does a map change where weights are re-initialised, and hold in mirrored or restained images?"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from eosin.explanation.perturbation import on_grid, rank_correlation
from eosin.networks.classifier import build_classifier
from eosin.pixels.reading import UInt8Image
from eosin.pixels.stain_jitter import scale_stains

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from eosin.arrays import MapValues
    from eosin.networks.classifier import Classifier


@dataclass(frozen=True)
class RandomTwins:
    """Copies of a network with re-initialised weights."""

    # the trained backbone under heads drawn anew, each followed by its negative
    heads: tuple[Classifier, ...]
    whole: tuple[Classifier, ...]  # everything drawn anew


@dataclass(frozen=True, slots=True)
class Randomised:
    """How much of a map survives, as Spearman's correlation with it, mean over the draws."""

    head: float  # with the head drawn anew, in [-1, 1]
    whole: float  # with everything drawn anew, in [-1, 1]


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
        twin = build_classifier(classifier.spec, classes=classes, seed=seed + draw)
        whole.append(twin.eval().to(device))
        heads += [_with_head(classifier, twin.head, sign) for sign in (1, -1)]
    return RandomTwins(tuple(heads), tuple(whole))


def _with_head(classifier: Classifier, head: nn.Module, sign: int) -> Classifier:
    """A copy under another head whose logits are multiplied by ``sign``."""
    import torch

    twin = copy.deepcopy(classifier).eval()
    twin.head = copy.deepcopy(head)
    with torch.no_grad():
        for weights in list(twin.head.parameters())[-2:]:  # of the last layer, and its bias
            weights.mul_(sign)
    return twin


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


_MIRRORS: Final = ((1,), (0,), (0, 1))  # axes turned round: left-right, top-bottom, both
_STAIN_SHIFT: Final = 0.1  # share of a dye added or taken: less than slides of one batch differ


@dataclass(frozen=True, slots=True)
class Stability:
    """Spearman's correlation of a map with those of altered images, in [-1, 1]."""

    flips: float  # mean over three mirrorings, each map mirrored back
    stains: float  # mean over 10 % more and less haematoxylin and eosin


def altered_images(image: UInt8Image) -> list[UInt8Image]:
    """The three mirrorings of an image (H, W, 3), then its four stain shifts."""
    flipped = [np.ascontiguousarray(np.flip(image, axes)) for axes in _MIRRORS]
    less, more = 1 - _STAIN_SHIFT, 1 + _STAIN_SHIFT
    factors = ((more, 1.0), (less, 1.0), (1.0, more), (1.0, less))
    return flipped + [scale_stains(image, pair) for pair in factors]


def stability(
    image: UInt8Image,
    heatmap: MapValues,
    remap: Callable[[Sequence[UInt8Image]], Sequence[MapValues]],
    *,
    cells: int,
) -> Stability:
    """Map altered copies of an image and compare, on a grid of ``cells`` a side.

    Args:
        image: (H, W, 3) RGB bytes.
        heatmap: its map.
        remap: maps of other images for the same class.
        cells: side of the grid.
    """
    grid = on_grid(heatmap, cells)
    maps = [on_grid(other, cells) for other in remap(altered_images(image))]
    turned = [np.flip(other, axes) for other, axes in zip(maps, _MIRRORS, strict=False)]
    return Stability(
        flips=float(np.mean([rank_correlation(grid, other) for other in turned])),
        stains=float(np.mean([rank_correlation(grid, other) for other in maps[len(_MIRRORS) :]])),
    )
