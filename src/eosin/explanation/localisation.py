"""Localisation: where the true region is known, does the map lie on it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from eosin.errors import DataError
from eosin.explanation.perturbation import average_ranks

if TYPE_CHECKING:
    from eosin.arrays import Bools, Floats, MapValues


@dataclass(frozen=True, slots=True)
class Localisation:
    """How a map and the true region agree.

    Attributes:
        pointing: 1 where the map's maximum lies inside the region, else 0 (the pointing game of
            Zhang et al., IJCV 126, 2018, without their tolerance); chance reaches ``area``.
        energy: share of the map's positive part inside the region (Wang et al., Score-CAM, CVPR
            Workshops 2020), over ``area``: 1 for a map that knows nothing; None where nothing of
            the map is positive.
        auc: probability that a pixel inside has more than one outside, in [0, 1]; 0.5 for a
            map that knows nothing.
        area: share of the image inside the region, in (0, 1).
    """

    pointing: float
    energy: float | None
    auc: float
    area: float


def localisation(heatmap: MapValues, mask: Bools) -> Localisation | None:
    """Compare a map (h, w), laid over the image, with the true region (H, W).

    None where the region is empty or the whole image: nothing can be told then.

    Raises:
        DataError: the map or the mask is not a matrix, or the map is not finite.
    """
    if heatmap.ndim != 2 or mask.ndim != 2 or not np.isfinite(heatmap).all():
        raise DataError(
            f"want a finite heatmap (h, w) and a mask (H, W), got shapes {heatmap.shape} and "
            f"{mask.shape}"
        )
    inside = int(mask.sum())
    if inside in (0, mask.size):
        return None
    values = _over(heatmap, mask.shape)
    area = inside / mask.size
    positive = np.maximum(values, 0)
    energy = float(positive[mask].sum() / positive.sum() / area) if positive.any() else None
    return Localisation(
        pointing=float(mask[values == values.max()].mean()),  # ties share the hit
        energy=energy,
        auc=_auc(values, mask),
        area=area,
    )


def _over(heatmap: MapValues, shape: tuple[int, ...]) -> Floats:
    values = np.asarray(heatmap, dtype=np.float64)
    if values.shape == shape:
        return values
    if np.ptp(values) == 0:
        return np.full(shape, values.flat[0])
    resized = cv2.resize(values, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float64)


def _auc(values: Floats, mask: Bools) -> float:
    """Mann and Whitney's statistic over its maximum, ties counted half."""
    inside = int(mask.sum())
    rank_sum = float(average_ranks(values)[mask.ravel()].sum())
    return (rank_sum - inside * (inside + 1) / 2) / (inside * (mask.size - inside))
