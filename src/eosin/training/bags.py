"""Learning from slides' labels: a frozen network's features, a head, and what each tile weighs.

``mean`` is the probe on slides' mean features. The others learn tile logits together with the
rule that weighs them (``max`` and ``topk``: the tiles of the greatest margin; ``abmil``: the gated
attention of Ilse, Tomczak & Welling 2018). How long and on how many components is chosen by
cross-validation inside the training patients, whose slide answers also calibrate.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.codec import with_changes
from eosin.artefacts.run import ATTENTION_NAME
from eosin.errors import DataError
from eosin.files import replacing, sha256_of
from eosin.inference.bags import Gate, find_slides, pooled, tile_values, tile_weights
from eosin.networks.classifier import save_classifier
from eosin.networks.run import WEIGHTS_NAME, write_run
from eosin.training.bag_network import BagLearner, Bags, rule_of
from eosin.training.frozen import record_of
from eosin.training.heads import install_head
from eosin.training.probe import Labelled, Probe, ProbeOptions, decide, fit_probe
from eosin.training.reference import probed_reference

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue

    from eosin.arrays import Floats, Ints
    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.run import Bag
    from eosin.networks.run import Run
    from eosin.tasks import Task
    from eosin.training.config import TrainingConfig
    from eosin.training.frozen import FrozenImages
    from eosin.training.inner_folds import InnerFolds

COMPONENTS = (16, 64)  # principal components of features tried
_PATIENCE = 8  # epochs without gain
_HOW = {
    "mean": "all its tiles alike",
    "max": "its one tile of the greatest margin",
    "topk": "its tiles of the greatest margin",
    "abmil": "its tiles as gated attention weighs them",
}


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
    _require_several(train, split.task)
    probe, gate, choices = fit_bags(train, held, config, split.task)
    install_head(images.classifier, probe.head)
    folder.mkdir(parents=True, exist_ok=True)
    save_classifier(images.classifier, folder / WEIGHTS_NAME)
    bag = rule_of(config) if gate is None else _written(folder, gate, rule_of(config))
    known, judged = (images.features, images.measures), train.rows if held is None else held.rows
    reference = probed_reference(known, split, folder, probe, slides=judged)
    record = record_of(images, split, config, whole=whole, probe=probe, fold=fold, known=reference)
    notes = (
        *record.notes,
        f"Labels are of slides: a slide is answered by {_HOW[bag.aggregator]} ({bag.aggregator}); "
        "probabilities of single tiles are not calibrated.",
    )
    choices = {**{name: value for name, value in record.choices.items() if value}, **choices}
    return write_run(folder, with_changes(record, bag=bag, choices=choices, notes=notes))


def _written(folder: Path, gate: Gate, rule: Bag) -> Bag:
    from safetensors.numpy import save

    with replacing(folder / ATTENTION_NAME) as draft:
        draft.write_bytes(save(gate.tensors()))
    return with_changes(rule, attention_sha256=sha256_of(folder / ATTENTION_NAME))


def _require_several(bags: Bags, task: Task) -> None:
    for index, count in enumerate(np.bincount(bags.labels).tolist()):
        if count == 1:
            raise DataError(
                f"{bags.rows['slide'][bags.labels == index].iloc[0]}: the only slide of class "
                f"{task.classes[index]!r} to learn from; give two or more, or leave the class out"
            )


def fit_bags(
    train: Bags, held: Bags | None, config: TrainingConfig, task: Task
) -> tuple[Probe, Gate | None, dict[str, JsonValue]]:
    """The head with its temperature and threshold, the attention, and what was chosen.

    Temperature and threshold come from the slides ``held``, where there are any; else from those
    of the inner cross-validation. DataError where slides are of one class, or too few patients.
    """
    positive = task.positive_index if task.binary else None
    if config.aggregator == "mean":
        probe = fit_probe(
            Labelled(train.means, train.labels, train.groups),
            classes=len(task.classes),
            positive=positive,
            held=None if held is None else Labelled(held.means, held.labels, held.groups),
            options=ProbeOptions.of(config.with_overrides({"probe": "logistic"})),
        )
        return probe, None, {}
    inner = ProbeOptions.of(config).divided(train.labels, train.groups)
    chosen, logits = _chosen(train, inner, config, task)
    learner = _learner(train, np.arange(len(train.rows)), int(chosen["components"]), config, task)
    for _ in range(int(chosen["epochs"])):
        learner.learn()
    head, gate = learner.folded()
    rows = inner.rows
    judge = partial(decide, labels=inner.labels, groups=inner.groups, weights=inner.weights)
    if held is not None:
        rows = np.arange(len(held.rows))
        judge = partial(decide, labels=held.labels, groups=held.groups)
        values = tile_values(head.logits(held.features), held.features, gate)
        logits = pooled(tile_weights(rule_of(config), values, held.slide, task), values, held.slide)
    temperature, threshold, chances = judge(logits, positive=positive)
    return Probe(head, (), temperature, threshold, {}, rows, chances), gate, {**chosen}


def _chosen(
    bags: Bags, inner: InnerFolds, config: TrainingConfig, task: Task
) -> tuple[dict[str, float], Floats]:
    """The numbers of components and of epochs of least log loss outside of inner folds.

    Also the logits (slides, classes) of the slides outside at that point.
    """
    best, kept = {"bag_log_loss": np.inf}, np.empty((0, 0))
    for components in COMPONENTS:
        learners = [_learner(bags, inside, components, config, task) for inside, _ in inner.parts]
        least, last = np.inf, 0
        for epoch in range(1, config.bag_epochs + 1):
            for learner in learners:
                learner.learn()
            pairs = zip(learners, inner.parts, strict=True)
            logits = np.concatenate([learner.logits(outside) for learner, (_, outside) in pairs])
            loss = inner.loss(logits)
            if loss < least:
                least, last = loss, epoch
            if loss < best["bag_log_loss"]:
                best = {"bag_log_loss": loss, "components": components, "epochs": epoch}
                kept = logits
            if epoch - last >= _PATIENCE:
                break
    return best, kept


def _learner(
    bags: Bags, learned: Ints, components: int, config: TrainingConfig, task: Task
) -> BagLearner:
    weighing = ProbeOptions.of(config).weighing
    share = weighing.weights(bags.labels[learned], bags.groups[learned])
    return BagLearner(bags, learned, share, components=components, config=config, task=task)
