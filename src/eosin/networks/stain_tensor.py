"""Stain normalisation of tensors, for those who work in PyTorch: no second implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from eosin.errors import DataError

if TYPE_CHECKING:
    from eosin.pixels.stain import StainNormalizer


def normalize_tensor(batch: torch.Tensor, normalizer: StainNormalizer) -> torch.Tensor:
    """Images in the target's stain, same shape, type and device; those without stain as they are.

    Args:
        batch: (n, 3, height, width) RGB bytes (uint8); never changed.
        normalizer: fitted.

    Raises:
        DataError: not such a batch.
        ConfigError: the normalizer is not fitted.
    """
    if batch.dtype != torch.uint8 or batch.ndim != 4 or batch.shape[1] != 3:
        raise DataError(
            f"want a (n, 3, height, width) batch of uint8, got {tuple(batch.shape)} of "
            f"{batch.dtype}; normalise stains before images become floats"
        )
    _ = normalizer.target_  # also where the batch is empty
    images = batch.permute(0, 2, 3, 1).cpu().numpy()
    changed = np.empty_like(images, order="C")
    for place, image in enumerate(images):
        changed[place] = normalizer.transform(image)
    return torch.from_numpy(changed).permute(0, 3, 1, 2).contiguous().to(batch.device)
