"""Many maps of one image to one: by the networks' probability for the class, or by family."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import DataError
from eosin.explanation.heatmap import Heatmap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.arrays import FloatMap


MERGED = "merged"


def merge_heatmaps(heatmaps: Sequence[Heatmap]) -> tuple[Heatmap, FloatMap]:
    """The mean of maps weighted by each network's probability p_m for the class, and their spread.

    The merged map is M = sum_m p_m V_m / sum_m p_m over the maps V_m on the image's own grid, and
    the disagreement sqrt(sum_m p_m (V_m - M)^2 / sum_m p_m), a weighted standard deviation. M is
    not scaled again: it reaches 1 only where all networks have their strongest position. Its
    probability is the plain mean of theirs.

    Args:
        heatmaps: at least one, of one image and one class.

    Returns:
        The merged map, named ``"merged"``, and the disagreement (H, W), 0 to 0.5.

    Raises:
        DataError: no map, or maps of different classes or images.
    """
    first = _require_alike(heatmaps)
    weights = np.array([heatmap.probability for heatmap in heatmaps], np.float64)
    if weights.sum() <= 0:  # no network gives the class anything: none speaks louder
        weights = np.ones(len(heatmaps))
    weights /= weights.sum()
    mean = np.zeros(first.values.shape, np.float32)
    for weight, heatmap in zip(weights, heatmaps, strict=True):
        mean += np.float32(weight) * heatmap.values
    variance = np.zeros(first.values.shape, np.float32)
    for weight, heatmap in zip(weights, heatmaps, strict=True):
        variance += np.float32(weight) * (heatmap.values - mean) ** 2
    return _joined(heatmaps, np.clip(mean, 0, 1), name=MERGED), np.sqrt(variance)


def family_means(heatmaps: Sequence[Heatmap]) -> tuple[Heatmap, ...]:
    """The plain mean of each family's maps, named after it, in order of first appearance.

    Raises:
        DataError: as ``merge_heatmaps``.
    """
    _require_alike(heatmaps)
    means = []
    for family in dict.fromkeys(heatmap.family for heatmap in heatmaps):
        members = [heatmap for heatmap in heatmaps if heatmap.family == family]
        stack = np.stack([member.values for member in members])
        values = np.asarray(stack.mean(axis=0), np.float32)
        means.append(_joined(members, values, name=family))
    return tuple(means)


def _joined(heatmaps: Sequence[Heatmap], values: FloatMap, *, name: str) -> Heatmap:
    """A map that stands for several; there is no raw one, their feature maps may differ in size."""
    answers = [heatmap.seen for heatmap in heatmaps]
    return replace(
        heatmaps[0],
        model=name,
        backbone=", ".join(dict.fromkeys(heatmap.backbone for heatmap in heatmaps)),
        family=", ".join(dict.fromkeys(heatmap.family for heatmap in heatmaps)),
        probabilities={
            label: float(np.mean([heatmap.probabilities[label] for heatmap in heatmaps]))
            for label in heatmaps[0].probabilities
        },
        values=values,
        raw=values,
        seen=True if True in answers else None if None in answers else False,
        source=None,
        exact=None,
    )


def _require_alike(heatmaps: Sequence[Heatmap]) -> Heatmap:
    if not heatmaps:
        raise DataError("there is no map to merge; give at least one")
    first = heatmaps[0]
    for other in heatmaps[1:]:
        if other.target != first.target:
            raise DataError(
                f"maps of different classes cannot be merged: {first.model} explains "
                f"{first.target!r}, {other.model} {other.target!r}"
            )
        if other.values.shape != first.values.shape:
            raise DataError(
                f"maps of different images cannot be merged: {first.values.shape} and "
                f"{other.values.shape}"
            )
    return first
