"""Fitting the fusion head: on validation patients only, its stopping epoch chosen inside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import DataError
from eosin.settings import checked_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eosin.arrays import Floats, Ints
    from eosin.networks.fusion import FusionHead


@checked_options
@dataclass(frozen=True, slots=True)
class FusionOptions:
    """How the fusion head is fitted."""

    epochs: int = 40  # the most that may be chosen
    patience: int = 8  # epochs without a lower cross-validated loss after which the search ends
    learning_rate: float = 3e-3  # of AdamW, per step
    weight_decay: float = 0.02  # of AdamW
    batch_size: int = 16  # images a step, about: an epoch is cut into equal batches of two or more
    seed: int = 0  # of weights, dropout and the order of images


@dataclass(frozen=True)
class Fusion:
    """A fitted head with how it was stopped."""

    head: FusionHead  # fitted on all the images
    epochs: int  # how many it was given
    losses: tuple[float, ...]  # cross-validated log loss after each epoch tried
    # what the heads of the cross-validation, stopped there, say of the images that they had not
    # met, shape (n, classes)
    logits: Floats


def fit_fusion(
    features: Floats,
    labels: Ints,
    inner: Ints,
    *,
    classes: int,
    options: FusionOptions | None = None,
) -> Fusion:
    """Choose the stopping epoch by cross-validation; fit on everything for as many epochs.

    Args:
        features: pooled features of all members side by side, shape (n, channels).
        labels: class indices, shape (n,).
        inner: the inner fold of each image, shape (n,); no patient stands in two.
        classes: how many classes the head answers for.
        options: how.

    Raises:
        DataError: one inner fold only, one class only, or an inner fold that leaves fewer than
            two images to fit on.
    """
    import torch

    options = options or FusionOptions()
    _require_enough(labels, inner)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(options.seed)  # on the CPU: the head is small
        scores = _cross_validated(features, labels, inner, classes, options=options)
        losses = tuple(_log_loss(logits, labels) for logits in scores)
        best = int(np.argmin(losses))
        *_, head = _fit(features, labels, classes, options, epochs=best + 1)
    return Fusion(head, best + 1, losses, scores[best])


def _cross_validated(
    features: Floats, labels: Ints, inner: Ints, classes: int, *, options: FusionOptions
) -> list[Floats]:
    """After each epoch, logits (n, classes) by heads that had not met the image's inner fold."""
    outside = [inner == fold for fold in np.unique(inner)]
    heads = [_fit(features[~held], labels[~held], classes, options) for held in outside]
    scores: list[Floats] = []
    lowest, lowest_at = np.inf, 0
    for epoch, grown in enumerate(zip(*heads, strict=True)):  # all folds, one epoch at a time
        logits = np.empty((len(labels), classes))
        for held, head in zip(outside, grown, strict=True):
            logits[held] = head.logits(features[held])
        scores.append(logits)
        loss = _log_loss(logits, labels)
        if loss < lowest:
            lowest, lowest_at = loss, epoch
        if epoch - lowest_at >= options.patience:
            break
    return scores


def _fit(
    features: Floats,
    labels: Ints,
    classes: int,
    options: FusionOptions,
    *,
    epochs: int | None = None,
) -> Iterator[FusionHead]:
    """A new head after each epoch; the same object, so use it before asking for the next."""
    import torch

    from eosin.networks.fusion import FusionHead

    head = FusionHead(features.shape[1], classes)
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
    )
    inputs, truth = torch.from_numpy(features).float(), torch.from_numpy(labels)
    # Every batch has two images or more: batch normalisation has no statistics of one.
    batches = max(1, len(labels) // max(2, options.batch_size))
    for _ in range(epochs or options.epochs):
        head.train()
        for rows in torch.randperm(len(labels)).tensor_split(batches):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(head(inputs[rows]), truth[rows])
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            optimizer.step()
        yield head.eval()


def _log_loss(logits: Floats, labels: Ints) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    own = shifted[np.arange(len(labels)), labels]
    return float((np.log(np.exp(shifted).sum(axis=1)) - own).mean())


def _require_enough(labels: Ints, inner: Ints) -> None:
    folds, sizes = np.unique(inner, return_counts=True)
    if len(np.unique(labels)) < 2:
        raise DataError("the validation images hold one class only; a fusion needs two or more")
    if len(folds) < 2 or len(labels) - sizes.max() < 2:
        raise DataError(
            f"{len(labels)} validation images in {len(folds)} inner folds are too few to choose "
            "where a fusion stops; validate on more patients, or use another vote"
        )
