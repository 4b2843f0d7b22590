"""The laptop path: a frozen backbone's features and a regularised linear head.

The head is a multinomial logistic regression on standardised features. Its strength is chosen by
cross-validation inside the training patients; standardisation is folded into the head, so that
the Run is an ordinary network with a linear head.

Patients are few and images of one patient are much alike, so by default every patient of a class
counts alike, and the strength is the strongest regularisation whose loss is within one standard
error, over patients, of the least (Breiman et al. 1984, the 1-SE rule).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from eosin.artefacts.run import Context
from eosin.evaluation.calibration import apply_temperature, fit_temperature, lock_threshold
from eosin.inference.context import joined
from eosin.networks.knn_head import KnnHead
from eosin.training.heads import LinearHead, SampleWeighting, fit_head, fit_knn
from eosin.training.inner_folds import InnerFolds

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
    from eosin.training.config import TrainingConfig


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
class Labelled:
    """Images to learn from or to be judged on."""

    features: Floats  # shape (n, channels)
    labels: Ints  # class indices, shape (n,)
    # what must not be cut in two, shape (n,): patients, or images where the protocol cuts patients
    groups: Texts
    near: Neighbours | None = None  # on their slides, where they count


@dataclass(frozen=True)
class ProbeOptions:
    """How a probe is fitted."""

    kind: Kind = "logistic"  # or "knn": its strengths are 1 / k, as more of them smooth more
    strengths: Sequence[float] = (0.001, 0.01, 0.1, 1.0)  # inverse regularisations, positive
    inner_folds: int = 5  # fewer where groups or images are few
    weighing: SampleWeighting = field(default_factory=SampleWeighting)  # how much images count
    # "one-se" takes the strongest regularisation within one standard error of the least loss,
    # "least-loss" that of the least loss
    rule: Rule = "one-se"
    seed: int = 0  # of the inner folds
    window: Literal[3, 5] = 3  # patches along the square that neighbours stand in

    @classmethod
    def of(cls, config: TrainingConfig) -> ProbeOptions:
        """As the settings have it."""
        return cls(
            kind=config.probe,
            strengths=[1 / k for k in config.probe_k] if config.probe == "knn" else config.probe_c,
            inner_folds=config.inner_folds,
            weighing=SampleWeighting(
                classes=config.class_weights == "balanced", groups=config.patients_alike
            ),
            rule=config.probe_rule,
            seed=config.seed,
            window=config.context_window,
        )

    def divided(self, labels: Ints, groups: Texts) -> InnerFolds:
        """Training images in inner folds; DataError where they are too few, or of one class."""
        return InnerFolds.of(labels, groups, self.weighing, folds=self.inner_folds, seed=self.seed)


def fit_probe(
    images: Labelled,
    *,
    classes: int,
    positive: int | None = None,
    held: Labelled | None = None,
    blocks: Sequence[int] | None = None,
    options: ProbeOptions | None = None,
) -> Probe:
    """Fit a head, its strength, temperature and threshold on training patients only.

    Strengths are judged by the log loss, at its own best temperature, of predictions made in
    cross-validation whose folds keep groups whole; they are tried from the strongest
    regularisation on, of logistic heads until one does worse than the best before it. Temperature
    and threshold come from the validation images ``held`` where there are any; otherwise from those
    cross-validated predictions, each made by a head that had not met the group it scores.

    Args:
        images: the training images. Where neighbours count, the weight of their mean logit is
            that of the least loss of the same cross-validated predictions, and temperature and
            threshold are fitted with and without it.
        classes: how many classes there are.
        positive: index of the positive class, binary tasks only.
        held: the validation images.
        blocks: how many channels each map of a network gives, of several: each gets a head and a
            strength of its own, and the answer is the mean of their calibrated logits.
        options: how.

    Raises:
        DataError: fewer than two groups, one class only, or too few groups of each class.
    """
    options = options or ProbeOptions()
    inner = options.divided(images.labels, images.groups)
    head, strength, logits, losses = _fit_blocks(
        images, inner, options, classes=classes, blocks=blocks
    )
    near, rows = images.near and images.near.of(inner.rows), inner.rows
    tried = {each: inner.loss(joined(logits, near, each)) for each in CONTEXT_WEIGHTS if near}
    judge = partial(decide, labels=inner.labels, groups=inner.groups, weights=inner.weights)
    if held is not None:
        logits, near, rows = head.logits(held.features), held.near, np.arange(len(held.labels))
        judge = partial(decide, labels=held.labels, groups=held.groups)
    temperature, threshold, chances = judge(logits, positive=positive)
    probe = Probe(head, strength, temperature, threshold, losses, rows, chances)
    if images.near is None or images.near.pitch is None or near is None:
        return probe
    context = Context(
        window=options.window,
        pitch=images.near.pitch,
        weight=min(tried, key=lambda each: tried[each]),
        alone_temperature=temperature,
        alone_threshold=threshold.value if threshold else None,
    )
    joint = joined(logits, near, context.weight)
    temperature, threshold, chances = judge(joint, positive=positive)
    probe = replace(probe, temperature=temperature, threshold=threshold, probabilities=chances)
    return replace(probe, context=context, context_losses=tried)


@dataclass(frozen=True)
class _Fit:
    """A head on one block of channels."""

    head: LinearHead | KnnHead
    strength: float
    temperature: float  # of the cross-validated logits
    losses: dict[float, float]  # of each strength tried
    inner: Floats  # logits (n, classes) of the images outside of each inner fold


def _fit_blocks(
    images: Labelled,
    inner: InnerFolds,
    options: ProbeOptions,
    *,
    classes: int,
    blocks: Sequence[int] | None,
) -> tuple[LinearHead | KnnHead, tuple[float, ...], Floats, dict[float, float]]:
    """One head over all blocks, their strengths, its inner logits, and the blocks' mean losses."""
    ends = np.cumsum((options.kind == "logistic" and blocks) or [images.features.shape[1]])
    parts = np.split(images.features, ends[:-1], axis=1)
    fits = [_fit_block(replace(images, features=part), inner, classes, options) for part in parts]
    strength = tuple(each.strength for each in fits)
    if len(fits) == 1:
        return fits[0].head, strength, fits[0].inner, fits[0].losses
    shares = [1 / (len(fits) * each.temperature) for each in fits]
    pairs = list(zip(shares, fits, strict=True))
    heads = [(share, each.head) for share, each in pairs if isinstance(each.head, LinearHead)]
    head = LinearHead(
        np.concatenate([share * each.weight for share, each in heads], axis=1),
        np.sum([share * each.bias for share, each in heads], axis=0),
    )
    tried = sorted(set.intersection(*(set(each.losses) for each in fits)))
    losses = {c: float(np.mean([each.losses[c] for each in fits])) for c in tried}
    return head, strength, np.sum([share * each.inner for share, each in pairs], axis=0), losses


def _fit_block(images: Labelled, inner: InnerFolds, classes: int, options: ProbeOptions) -> _Fit:
    """Choose the strength over the inner folds, then fit on all."""
    fitted = fit_knn if options.kind == "knn" else fit_head
    names = np.asarray(images.groups, dtype=str)

    def fit(rows: Ints | slice, strength: float) -> LinearHead | KnnHead:
        labels = images.labels[rows]
        weights = options.weighing.weights(labels, names[rows])
        features = images.features[rows]
        return fitted(features, labels, classes=classes, strength=strength, weights=weights)

    logits: dict[float, Floats] = {}
    losses: dict[float, float] = {}
    errors: dict[float, float] = {}
    for strength in sorted(options.strengths):
        heads = [(fit(inside, strength), outside) for inside, outside in inner.parts]
        logits[strength] = np.concatenate([head.logits(images.features[o]) for head, o in heads])
        each = inner.losses(logits[strength])
        losses[strength] = float(np.average(each, weights=inner.weights))
        errors[strength] = inner.standard_error(each)
        if options.kind == "logistic" and losses[strength] > min(losses.values()):
            break  # weaker regularisation fits longer and, past the best, only worse
    best = _choose(losses, errors, options.rule)
    temperature = fit_temperature(logits[best], inner.labels, inner.weights)
    return _Fit(fit(slice(None), best), best, temperature, losses, logits[best])


def decide(
    logits: Floats,
    *,
    labels: Ints,
    groups: Texts,
    positive: int | None,
    weights: Floats | None = None,
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


def _choose(losses: dict[float, float], errors: dict[float, float], rule: Rule) -> float:
    best = min(losses, key=lambda strength: losses[strength])
    if rule == "least-loss":
        return best
    return min(s for s, loss in losses.items() if loss <= losses[best] + errors[best])
