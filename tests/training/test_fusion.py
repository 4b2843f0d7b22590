"""The fusion head: what it is, that it learns, where it stops, and that it keeps to itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eosin.errors import DataError
from eosin.networks.fusion import FusionHead
from eosin.training.fusion import FusionOptions, fit_fusion

FEW = FusionOptions(epochs=12)


def drawn(
    images: int = 60, *, signal: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and inner folds; the first feature carries the class, times ``signal``."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, images)
    features = rng.normal(size=(images, 20))
    features[:, 0] += signal * labels
    return features, labels, np.arange(images) % 3


def test_the_head_is_that_of_the_study() -> None:
    layers = [type(layer).__name__ for layer in FusionHead(40, 8).layers]
    block = ["BatchNorm1d", "Dropout", "Linear"]
    assert layers == [*block, "ReLU", *block, "ReLU", *block]
    widths = [
        (m.in_features, m.out_features)
        for m in FusionHead(40, 8).layers
        if hasattr(m, "in_features")
    ]
    assert widths == [(40, 128), (128, 32), (32, 8)]
    assert {m.p for m in FusionHead(40, 8).layers if isinstance(m, torch.nn.Dropout)} == {0.2}


def test_it_learns_what_can_be_learned_and_says_so_of_images_it_had_not_met() -> None:
    features, labels, inner = drawn(signal=6.0)
    fitted = fit_fusion(features, labels, inner, classes=2, options=FusionOptions(epochs=25))
    assert (fitted.logits.argmax(axis=1) == labels).mean() > 0.9
    fresh, truth, _ = drawn(signal=6.0, seed=1)
    assert (fitted.head.logits(fresh).argmax(axis=1) == truth).mean() > 0.9


def test_it_stops_where_the_cross_validated_loss_is_least() -> None:
    features, labels, inner = drawn(signal=0.0)  # nothing to learn: every epoch too many overfits
    options = FusionOptions(epochs=40, patience=5)
    fitted = fit_fusion(features, labels, inner, classes=2, options=options)
    assert fitted.epochs == 1 + int(np.argmin(fitted.losses))
    assert fitted.epochs < 20
    assert len(fitted.losses) == fitted.epochs + 5
    assert fitted.losses[-1] > fitted.losses[fitted.epochs - 1]


def test_the_losses_are_those_of_the_cross_validated_logits() -> None:
    features, labels, inner = drawn(signal=2.0)
    fitted = fit_fusion(features, labels, inner, classes=2, options=FEW)
    again = torch.nn.functional.cross_entropy(
        torch.from_numpy(fitted.logits), torch.from_numpy(labels)
    )
    assert fitted.losses[fitted.epochs - 1] == pytest.approx(again.item())


def test_an_inner_fold_is_scored_by_a_head_that_never_met_it() -> None:
    features, labels, inner = drawn(signal=3.0)
    first = fit_fusion(features, labels, inner, classes=2, options=FusionOptions(epochs=1))
    flipped = np.where(inner == 0, 1 - labels, labels)
    second = fit_fusion(features, flipped, inner, classes=2, options=FusionOptions(epochs=1))
    # Fold 0 is fitted first, so the draws are the same: only its own labels differ.
    np.testing.assert_array_equal(first.logits[inner == 0], second.logits[inner == 0])
    assert not np.allclose(first.logits[inner == 1], second.logits[inner == 1])


def test_a_seed_gives_the_same_head_and_leaves_the_callers_random_state_alone() -> None:
    features, labels, inner = drawn(signal=1.0)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = fit_fusion(features, labels, inner, classes=2, options=FEW)
    assert torch.equal(torch.get_rng_state(), before)
    second = fit_fusion(features, labels, inner, classes=2, options=FEW)
    np.testing.assert_array_equal(first.head.logits(features), second.head.logits(features))
    other = fit_fusion(features, labels, inner, classes=2, options=FusionOptions(epochs=12, seed=1))
    assert not np.allclose(first.head.logits(features), other.head.logits(features))


def test_too_little_to_choose_a_stopping_point_from_is_an_error() -> None:
    features, labels, inner = drawn(signal=1.0)
    with pytest.raises(DataError, match="one class only"):
        fit_fusion(features, np.zeros_like(labels), inner, classes=2)
    with pytest.raises(DataError, match="too few"):
        fit_fusion(features, labels, np.zeros_like(inner), classes=2)
    with pytest.raises(DataError, match="2 validation images in 2 inner folds"):
        fit_fusion(features[:2], np.array([0, 1]), np.array([0, 1]), classes=2)


def test_a_batch_of_one_image_is_asked_for_and_two_are_taken() -> None:
    features, labels, inner = drawn(12, signal=6.0)
    options = FusionOptions(epochs=2, batch_size=1)  # batch normalisation has no statistics of one
    assert np.isfinite(fit_fusion(features, labels, inner, classes=2, options=options).logits).all()
