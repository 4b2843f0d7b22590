"""Tensors are normalised by the very normalizers that files are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eosin.errors import DataError
from eosin.networks.stain_tensor import normalize_tensor
from eosin.pixels.stain import create_normalizer

STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])


def draw_stained(seed: int, strength: float = 1.0) -> np.ndarray:
    amounts = strength * np.random.default_rng(seed).gamma(2.0, 0.4, (48, 40, 2))
    return np.clip(np.rint(240 * np.exp(-amounts @ STAINS) - 1), 0, 255).astype(np.uint8)


def test_each_image_of_a_batch_is_what_the_normalizer_makes_of_it() -> None:
    normalizer = create_normalizer("macenko").fit(draw_stained(0))
    images = np.stack([draw_stained(1, 0.5), np.full((48, 40, 3), 255, np.uint8)])
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    before = batch.clone()
    changed = normalize_tensor(batch, normalizer).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(changed[0], normalizer.transform(images[0]))
    assert not np.array_equal(changed[0], images[0])
    np.testing.assert_array_equal(changed[1], images[1])  # white stays white
    assert torch.equal(batch, before)


def test_floats_are_refused_with_the_fix() -> None:
    normalizer = create_normalizer("macenko").fit(draw_stained(0))
    with pytest.raises(DataError, match="before images become floats"):
        normalize_tensor(torch.zeros(1, 3, 48, 40), normalizer)
