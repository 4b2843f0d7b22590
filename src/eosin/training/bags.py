"""Learning from slides' labels: a frozen network's features, a head, and what each tile weighs.

``mean`` is the probe on slides' mean features. The others learn tile logits together with the
rule that weighs them (``max`` and ``topk``: the tiles of the greatest margin; ``abmil``: the gated
attention of Ilse, Tomczak & Welling 2018). How long and how strongly regularised is chosen by
cross-validation inside the training patients, whose slide answers also calibrate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.codec import with_changes
from eosin.artefacts.run import ATTENTION_NAME, Bag
from eosin.errors import DataError
from eosin.files import replacing, sha256_of
from eosin.inference.bags import Gate, find_slides, pooled, tile_values, tile_weights
from eosin.networks.classifier import save_classifier
from eosin.networks.run import WEIGHTS_NAME, write_run
from eosin.training.frozen import install_head, record_of
from eosin.training.linear_head import Weighing
from eosin.training.probe import (
    Held,
    Probe,
    calibrated_losses,
    decide,
    fit_probe,
    inner_folds_of,
    locked,
)
from eosin.training.reference import probed_reference

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from pydantic import JsonValue
    from torch import Tensor

    from eosin.arrays import Floats, Ints, Texts
    from eosin.artefacts.manifest import Manifest
    from eosin.networks.run import Run
    from eosin.tasks import Task
    from eosin.training.bag_network import BagLearner
    from eosin.training.config import TrainingConfig
    from eosin.training.frozen import FrozenImages

COMPONENTS = (16, 64)  # principal components of features tried
_PATIENCE = 8  # epochs without gain


@dataclass(frozen=True, eq=False)
class Bags:
    """Slides and their tiles."""

    features: Floats  # of tiles, shape (n, channels)
    slide: Ints  # the number of each tile's slide, shape (n,)
    rows: pd.DataFrame  # a row a slide
    labels: Ints  # class indices of slides
    groups: Texts  # what must not be cut in two, of slides

    @classmethod
    def of(cls, split: Manifest, features: Floats, part: str) -> Bags | None:
        """Those of one split; None where it has none; DataError as ``find_slides``."""
        own = (split.frame["split"] == part).to_numpy()
        if not own.any():
            return None
        tiles = split.where(own)
        rows, slide = find_slides(tiles.frame)
        _, first = np.unique(slide, return_index=True)
        return cls(features[own], slide, rows, tiles.label_index[first], tiles.kept_whole[first])

    @cached_property
    def tensor(self) -> Tensor:
        """The features for torch, in single precision."""
        import torch

        return torch.from_numpy(self.features.astype(np.float32))

    @property
    def means(self) -> Floats:
        """The mean features of slides, shape (slides, channels)."""
        count = np.bincount(self.slide)
        order = np.argsort(self.slide, kind="stable")
        starts = np.cumsum(count) - count
        return np.asarray(np.add.reduceat(self.features[order], starts) / count[:, None])


@dataclass(frozen=True, eq=False)
class BagFit:
    """What was learnt of slides."""

    probe: Probe  # the head of tile logits, with what was decided on slides
    gate: Gate | None = None  # the attention, for ``abmil``
    choices: dict[str, JsonValue] | None = None  # made inside; None for those of the probe


def train_bags(
    images: FrozenImages,
    split: Manifest,
    folder: Path,
    config: TrainingConfig,
    *,
    whole: Manifest,
    fold: int | None = None,
) -> Run:
    """Fit a Run that answers for slides, and write it; arguments as of ``train_frozen``.

    Raises:
        DataError: tiles without a slide, a slide of several labels or patients, a class with a
            single slide, or too few patients to choose inside.
    """
    find_slides(whole.frame)
    train, held = (Bags.of(split, images.features, part) for part in ("train", "val"))
    if train is None:
        raise DataError("the manifest has no training images; make a split with `eosin split`")
    _require_slides(train, split.task)
    fit = fit_bags(train, held, config, split.task)
    install_head(images.classifier, fit.probe.head)
    folder.mkdir(parents=True, exist_ok=True)
    save_classifier(images.classifier, folder / WEIGHTS_NAME)
    bag = rule_of(config) if fit.gate is None else write_gate(folder, fit.gate, rule_of(config))
    judged = train.rows if held is None else held.rows
    known = (images.features, images.measures)
    reference = probed_reference(known, split, folder, fit.probe, slides=judged)
    record = record_of(
        images, split, config, whole=whole, probe=fit.probe, fold=fold, known=reference
    )
    choices, notes = fit.choices or record.choices, (*record.notes, says(bag))
    return write_run(folder, with_changes(record, bag=bag, choices=choices, notes=notes))


def says(bag: Bag) -> str:
    """The sentence that a Run keeps of how its slides are answered."""
    how = {
        "mean": "all its tiles alike",
        "max": "its one tile of the greatest margin",
        "topk": f"the {100 * (bag.share or 0):g} % of its tiles with the greatest margin",
        "abmil": "its tiles as gated attention weighs them",
    }
    return (
        f"Labels are of slides: a slide is answered by {how[bag.aggregator]} ({bag.aggregator}); "
        "probabilities of single tiles are not calibrated."
    )


def write_gate(folder: Path, gate: Gate, rule: Bag) -> Bag:
    """Write the attention into ``folder``; ``rule`` with its SHA-256."""
    from safetensors.numpy import save

    with replacing(folder / ATTENTION_NAME) as draft:
        draft.write_bytes(save(gate.tensors()))
    return with_changes(rule, attention_sha256=sha256_of(folder / ATTENTION_NAME))


def rule_of(config: TrainingConfig) -> Bag:
    """How tiles are to weigh; the digest of an attention is not known yet."""
    return Bag(
        aggregator=config.aggregator,
        share=config.topk_share if config.aggregator == "topk" else None,
        attention_sha256="0" * 64 if config.aggregator == "abmil" else None,
    )


def _require_slides(bags: Bags, task: Task) -> None:
    for index, count in enumerate(np.bincount(bags.labels, minlength=len(task.classes)).tolist()):
        if count == 1:
            raise DataError(
                f"{bags.rows['slide'][bags.labels == index].iloc[0]}: the only slide of class "
                f"{task.classes[index]!r} to learn from; give two or more, or leave the class out"
            )


def fit_bags(train: Bags, held: Bags | None, config: TrainingConfig, task: Task) -> BagFit:
    """Fit head and attention, temperature and threshold on training patients only.

    Temperature and threshold come from the slides ``held``, where there are any; else from those
    of the inner cross-validation.

    Raises:
        DataError: one class only, or too few patients.
    """
    weighing, positive = _weighing(config), (task.positive_index if task.binary else None)
    if config.aggregator == "mean":
        probe = fit_probe(
            train.means,
            train.labels,
            train.groups.tolist(),
            classes=len(task.classes),
            positive=positive,
            strengths=config.probe_c,
            inner_folds=config.inner_folds,
            weighing=weighing,
            rule=config.probe_rule,
            seed=config.seed,
            held=held and Held(held.means, held.labels, held.groups),
        )
        return BagFit(probe)
    found = _search(train, config, task)
    learner = _learner(train, np.arange(len(train.labels)), found.components, config, task)
    for _ in range(found.epochs):
        learner.learn()
    head, gate = learner.folded()
    scored, logits, judged = found.scored, found.logits, train
    if held is not None:
        scored, judged = np.arange(len(held.labels)), held
        values = tile_values(head.logits(held.features), held.features, gate)
        logits = pooled(tile_weights(rule_of(config), values, held.slide, task), values, held.slide)
    own = judged.labels[scored], judged.groups[scored]
    temperature, threshold, chances = decide(
        logits,
        labels=own[0],
        groups=own[1],
        weights=weighing.weights(*own) if held is None else np.ones(len(scored)),
        positive=positive,
    )
    probe = Probe(head, (), temperature, threshold, {}, scored, chances)
    losses: JsonValue = {str(count): loss for count, loss in found.losses.items()}
    chosen: dict[str, JsonValue] = {"components": found.components, "epochs": found.epochs}
    return BagFit(probe, gate, {**chosen, "bag_log_loss": losses, **locked(threshold)})


def _weighing(config: TrainingConfig) -> Weighing:
    return Weighing(classes=config.class_weights == "balanced", groups=config.patients_alike)


@dataclass(frozen=True, eq=False)
class _Found:
    """What the inner cross-validation chose."""

    components: int
    epochs: int
    losses: dict[int, float]  # the least log loss with each number of components
    scored: Ints  # the slides outside of the inner folds, fold by fold
    logits: Floats  # of these, shape (slides, classes)


def _search(bags: Bags, config: TrainingConfig, task: Task) -> _Found:
    """The numbers of components and of epochs of least log loss outside of inner folds."""
    parts = inner_folds_of(
        bags.labels, bags.groups.tolist(), folds=config.inner_folds, seed=config.seed
    )
    scored = np.concatenate([outside for _, outside in parts])
    truth = bags.labels[scored]
    weights = _weighing(config).weights(truth, bags.groups[scored])
    losses: dict[int, float] = {}
    best = (np.inf, 0, 0, np.empty((0, 0)))
    for components in COMPONENTS:
        learners = [_learner(bags, inside, components, config, task) for inside, _ in parts]
        last = 0
        for epoch in range(1, config.bag_epochs + 1):
            for learner in learners:
                learner.learn()
            pairs = zip(learners, parts, strict=True)
            logits = np.concatenate([learner.logits(outside) for learner, (_, outside) in pairs])
            loss = float(np.average(calibrated_losses(logits, truth, weights), weights=weights))
            if loss < losses.get(components, np.inf):
                losses[components], last = loss, epoch
                best = min(best, (loss, components, epoch, logits), key=lambda each: each[0])
            if epoch - last >= _PATIENCE:
                break
    return _Found(best[1], best[2], losses, scored, best[3])


def _learner(
    bags: Bags, learned: Ints, components: int, config: TrainingConfig, task: Task
) -> BagLearner:
    from eosin.training.bag_network import BagLearner

    return BagLearner(
        bags.tensor,
        bags.slide,
        bags.labels,
        learned=learned,
        share=_weighing(config).weights(bags.labels[learned], bags.groups[learned]),
        components=components,
        rule=rule_of(config),
        config=config,
        task=task,
    )
