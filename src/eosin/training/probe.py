"""The laptop path: a frozen backbone's features and a regularised linear head.

The head is a multinomial logistic regression on standardised features. Its strength is chosen by
cross-validation inside the training patients; standardisation is folded into the head, so that
the Run is an ordinary network with a linear head.

Patients are few and images of one patient are much alike, so by default every patient of a class
counts alike, and the strength is the strongest regularisation whose loss is within one standard
error, over patients, of the least (Breiman et al. 1984, the 1-SE rule).
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch

from eosin.artefacts.run import Context
from eosin.errors import DataError
from eosin.evaluation.calibration import apply_temperature, fit_temperature, lock_threshold
from eosin.inference.context import joined
from eosin.networks.knn_head import KnnHead
from eosin.training.linear_head import LinearHead, SampleWeighting, fit_head

# Of the neighbours' mean logit beside the image's own.
CONTEXT_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
Rule: TypeAlias = Literal["one-se", "least-loss"]
Kind: TypeAlias = Literal["logistic", "knn"]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from eosin.arrays import Floats, Ints, Texts
    from eosin.data.neighbours import Neighbours
    from eosin.evaluation.calibration import LockedThreshold


@dataclass(frozen=True)
class Probe:
    """A fitted head with what was decided about it."""

    head: LinearHead | KnnHead
    strength: tuple[float, ...]  # the chosen inverse regularisation C of each block of channels
    temperature: float  # of the logits
    threshold: LockedThreshold | None  # of the positive class, binary tasks only
    losses: dict[float, float]  # cross-validated log loss of each strength tried, mean over blocks
    judged: Ints  # which images decided: rows of the held ones, or of those fitted; shape (n,)
    probabilities: Floats  # of these, by heads that had not met them, shape (n, classes)
    context: Context | None = None  # how neighbours count, where they do
    context_losses: dict[float, float] = field(default_factory=dict)  # of each weight tried


@dataclass(frozen=True)
class Held:
    """The validation images."""

    features: Floats  # shape (n, channels)
    labels: Ints  # class indices, shape (n,)
    groups: Texts  # what must not be cut in two, shape (n,)
    near: Neighbours | None = None  # on their slides, where they count


def fit_probe(
    features: Floats,
    labels: Ints,
    groups: Sequence[str],
    *,
    classes: int,
    kind: Kind = "logistic",
    positive: int | None = None,
    strengths: Sequence[float] = (0.001, 0.01, 0.1, 1.0),
    inner_folds: int = 5,
    weighing: SampleWeighting | None = None,
    rule: Rule = "one-se",
    seed: int = 0,
    held: Held | None = None,
    near: Neighbours | None = None,
    window: Literal[3, 5] = 3,
    blocks: Sequence[int] | None = None,
) -> Probe:
    """Fit a head, its strength, temperature and threshold on training patients only.

    Strengths are judged by the log loss, at its own best temperature, of predictions made in
    cross-validation whose folds keep ``groups`` whole; they are tried from the strongest
    regularisation on, of logistic heads until one does worse than the best before it. Temperature
    and threshold come from the validation images ``held`` where there are any; otherwise from those
    cross-validated predictions, each made by a head that had not met the group it scores.

    Args:
        features: shape (n, channels).
        labels: class indices, shape (n,).
        groups: what must not be cut in two, shape (n,): patients, or images where the protocol
            cuts patients.
        classes: how many classes there are.
        kind: ``"logistic"``, or ``"knn"``: its strengths are 1 / k, as more of them smooth more.
        positive: index of the positive class, binary tasks only.
        strengths: inverse regularisations to try, positive.
        inner_folds: folds of the inner cross-validation; fewer where groups or images are few.
        weighing: how much images count; classes alike and groups alike by default.
        rule: ``"one-se"`` takes the strongest regularisation within one standard error of the
            least loss, ``"least-loss"`` that of the least loss.
        seed: of the inner folds.
        held: the validation split.
        near: neighbours of the images, where they are to count: the weight of their mean logit is
            that of the least loss of the same cross-validated predictions, and temperature and
            threshold are fitted with and without it.
        window: patches along the square that they stand in.
        blocks: how many channels each map of a network gives, of several: each gets a head and a
            strength of its own, and the answer is the mean of their calibrated logits.

    Raises:
        DataError: fewer than two groups, one class only, or too few groups of each class.
    """
    weighing, names = weighing or SampleWeighting(), np.asarray(groups, dtype=str)
    parts = inner_folds_of(labels, groups, folds=inner_folds, seed=seed)
    scored = np.concatenate([outside for _, outside in parts])
    truth, own = labels[scored], names[scored]
    share = weighing.weights(truth, own)
    fit = partial(
        _fit_block,
        labels=labels,
        names=names,
        parts=parts,
        classes=classes,
        strengths=strengths,
        weighing=weighing,
        rule=rule,
        kind=kind,
    )
    ends = np.cumsum((kind == "logistic" and blocks) or [features.shape[1]])
    fits = [fit(block) for block in np.split(features, ends[:-1], axis=1)]
    head, inner, losses = _committee(fits)
    strength = tuple(each.strength for each in fits)
    logits, found = inner, near and near.of(scored)
    tried = _context_losses(logits, truth, share, found) if found else {}
    weight = min(tried, key=lambda each: tried[each], default=0.0)
    if held is not None:
        logits, truth, own, found = head.logits(held.features), held.labels, held.groups, held.near
        scored, share = np.arange(len(truth)), np.ones(len(truth))
    judge = partial(decide, labels=truth, groups=own, weights=share, positive=positive)
    alone = judge(logits)
    if near is None or near.pitch is None or found is None:
        return Probe(head, strength, *alone[:2], losses, scored, alone[2])
    temperature, threshold, chances = judge(joined(logits, found, weight))
    context = Context(
        window=window,
        pitch=near.pitch,
        weight=weight,
        alone_temperature=alone[0],
        alone_threshold=alone[1].value if alone[1] else None,
    )
    return Probe(head, strength, temperature, threshold, losses, scored, chances, context, tried)


@dataclass(frozen=True)
class _Fit:
    """A head on one block of channels."""

    head: LinearHead | KnnHead
    strength: float
    temperature: float  # of the cross-validated logits
    losses: dict[float, float]  # of each strength tried
    inner: Floats  # logits (n, classes) of the images outside of each inner fold


def _fit_block(
    features: Floats,
    *,
    labels: Ints,
    names: Texts,
    parts: Sequence[tuple[Ints, Ints]],
    classes: int,
    strengths: Sequence[float],
    weighing: SampleWeighting,
    rule: Rule,
    kind: Kind,
) -> _Fit:
    """Choose the strength over the inner folds ``parts``, then fit on all."""
    scored = np.concatenate([outside for _, outside in parts])
    truth, own = labels[scored], names[scored]
    share = weighing.weights(truth, own)
    fitted = fit_knn if kind == "knn" else fit_head
    inner: dict[float, Floats] = {}
    losses: dict[float, float] = {}
    errors: dict[float, float] = {}
    for strength in sorted(strengths):
        fit = partial(fitted, classes=classes, strength=strength)
        heads = [
            (fit(features[i], labels[i], weights=weighing.weights(labels[i], names[i])), o)
            for i, o in parts
        ]
        inner[strength] = np.concatenate([head.logits(features[o]) for head, o in heads])
        each = calibrated_losses(inner[strength], truth, share)
        losses[strength] = float(np.average(each, weights=share))
        errors[strength] = _standard_error(each, own, share)
        if kind == "logistic" and losses[strength] > min(losses.values()):
            break  # weaker regularisation fits longer and, past the best, only worse
    best = _choose(losses, errors, rule)
    every = weighing.weights(labels, names)
    head = fitted(features, labels, classes=classes, strength=best, weights=every)
    return _Fit(head, best, fit_temperature(inner[best], truth, share), losses, inner[best])


def fit_knn(
    features: Floats, labels: Ints, *, classes: int, strength: float, weights: Floats
) -> KnnHead:
    """A head in which 1 / ``strength`` nearest images vote, each with its weight."""
    votes = np.eye(classes)[labels] * weights[:, None]
    return KnnHead(torch.from_numpy(features), torch.from_numpy(votes), round(1 / strength))


def _committee(fits: Sequence[_Fit]) -> tuple[LinearHead | KnnHead, Floats, dict[float, float]]:
    """One head over all blocks, its cross-validated logits, and the blocks' mean losses."""
    if len(fits) == 1:
        return fits[0].head, fits[0].inner, fits[0].losses
    shares = [1 / (len(fits) * each.temperature) for each in fits]
    pairs = list(zip(shares, fits, strict=True))
    heads = [(share, each.head) for share, each in pairs if isinstance(each.head, LinearHead)]
    head = LinearHead(
        np.concatenate([share * each.weight for share, each in heads], axis=1),
        np.sum([share * each.bias for share, each in heads], axis=0),
    )
    tried = sorted(set.intersection(*(set(each.losses) for each in fits)))
    losses = {c: float(np.mean([each.losses[c] for each in fits])) for c in tried}
    return head, np.sum([share * each.inner for share, each in pairs], axis=0), losses


def _context_losses(
    logits: Floats, labels: Ints, weights: Floats, near: Neighbours
) -> dict[float, float]:
    """The weighted log loss with each weight of the neighbours, at its own best temperature."""
    return {
        weight: float(
            np.average(
                calibrated_losses(joined(logits, near, weight), labels, weights), weights=weights
            )
        )
        for weight in CONTEXT_WEIGHTS
    }


def decide(
    logits: Floats, *, labels: Ints, groups: Texts, weights: Floats, positive: int | None
) -> tuple[float, LockedThreshold | None, Floats]:
    """The temperature, the threshold of two classes, and the probabilities (n, classes)."""
    temperature = fit_temperature(logits, labels, weights)
    chances = apply_temperature(logits, temperature)
    if positive is None:
        return temperature, None, chances
    locked = lock_threshold(chances[:, positive], labels == positive, groups, weights)
    return temperature, locked, chances


def locked(threshold: LockedThreshold | None) -> dict[str, JsonValue]:
    """What a Run records of its threshold; nothing where the task has none."""
    return {} if threshold is None else {"threshold": {**asdict(threshold)}}


def inner_folds_of(
    labels: Ints, groups: Sequence[str], *, folds: int, seed: int
) -> list[tuple[Ints, Ints]]:
    """Row numbers inside and outside of each inner fold that leaves two classes inside."""
    from sklearn.model_selection import StratifiedGroupKFold

    _, codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    n_groups = int(codes.max()) + 1
    if n_groups < 2:
        raise DataError("the training images come from one patient; the probe needs two or more")
    # scikit-learn refuses more folds than the largest class has images, and warns where only
    # another has fewer: such a fold is left out here if it lacks a class that it needs.
    count = min(folds, n_groups, int(np.bincount(labels).max()))
    parts: list[tuple[Ints, Ints]] = []
    if count > 1:
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            parts = list(splitter.split(codes, labels, codes))
    kept = [(i, o) for i, o in parts if len(o) and len(np.unique(labels[i])) > 1]
    if not kept:
        raise DataError(
            f"{len(labels)} training images of {n_groups} patients leave no inner fold with two "
            "classes to choose the probe's strength on; it needs two or more patients in each class"
        )
    return kept


def calibrated_losses(logits: Floats, labels: Ints, weights: Floats) -> Floats:
    """The log loss of each image (n,) at the temperature that is best for all."""
    chances = apply_temperature(logits, fit_temperature(logits, labels, weights))
    own = chances[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.clip(own, 1e-12, None)), np.float64)


def _standard_error(losses: Floats, groups: Texts, weights: Floats) -> float:
    """Of the weighted mean loss, its groups drawn independently (linearised ratio estimate)."""
    mean = np.average(losses, weights=weights)
    _, group = np.unique(groups, return_inverse=True)
    pulls = np.bincount(group, weights * (losses - mean)) / weights.sum()
    count = len(pulls)
    return float(np.sqrt(count / (count - 1) * np.square(pulls).sum())) if count > 1 else 0.0


def _choose(losses: dict[float, float], errors: dict[float, float], rule: Rule) -> float:
    best = min(losses, key=lambda strength: losses[strength])
    if rule == "least-loss":
        return best
    return min(s for s, loss in losses.items() if loss <= losses[best] + errors[best])
