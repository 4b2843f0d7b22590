"""Training with the backbone frozen: features once, then a probe for each split."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.run import TrainedRun
from eosin.data.neighbours import find_neighbours
from eosin.data.scale import scale_of
from eosin.errors import DataError
from eosin.inference.context import says
from eosin.inference.readings import noted
from eosin.machine import software_versions
from eosin.networks.classifier import Classifier, build_classifier, require_size, save_classifier
from eosin.networks.knn_head import KnnHead
from eosin.networks.run import WEIGHTS_NAME, Run, write_run
from eosin.networks.torch_engine import TorchEngine
from eosin.networks.weights import initialise
from eosin.progress import SILENT, Progress
from eosin.training.embeddings import read_embeddings
from eosin.training.features import Features, cache_of, compute_features
from eosin.training.heads import install_head
from eosin.training.left_out import left_out_note
from eosin.training.probe import Labelled, Probe, ProbeOptions, fit_probe, locked
from eosin.training.reference import probed_reference
from eosin.training.stain_fitting import fallback_notes, fit_stain_step, split_sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd
    from pydantic import JsonValue

    from eosin.arrays import Bools, Floats
    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.artefacts.reference import Reference
    from eosin.data.neighbours import Neighbours
    from eosin.pixels.reading import SkippedFile
    from eosin.pixels.stain_sources import ImageStains, Sources
    from eosin.training.config import TrainingConfig


@dataclass(frozen=True)
class FrozenImages:
    """The readable images of a manifest with their features under one frozen network."""

    manifest: Manifest  # the readable rows
    features: Floats  # shape (n, channels)
    measures: Floats  # how each was taken, shape (n, names)
    classifier: Classifier  # the network, its head not yet fitted
    preprocessing: Preprocessing  # what the features were computed with
    initial_weights: str  # where the network's weights come from, in words
    skipped: tuple[SkippedFile, ...]  # the files that could not be read
    computed: int  # how many features had to be computed; the others were cached
    # what the stain step noted of files, where it noted anything
    stain_notes: Mapping[Path, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # plain sentences that Runs made of these repeat


def freeze_images(
    manifest: Manifest,
    config: TrainingConfig,
    *,
    progress: Progress = SILENT,
    stains: ImageStains | None = None,
) -> FrozenImages:
    """Features of every image of ``manifest`` under the network that ``config`` names.

    Args:
        manifest: the images; in splits where the settings ask for a stain step.
        config: the settings.
        progress: told of files read.
        stains: of single images, from ``image_stains``, where several folds share them.

    Raises:
        ModelError: the backbone is unknown, its weights cannot be had, or what it answers is not
            finite.
        DataError: no image could be read, or the embeddings are of other images.
        ConfigError, LeakageError: an image size that the backbone cannot take, or a stain step
            that cannot be, as ``fit_stain_step``.
    """
    classifier, initial_weights = _network(config, classes=len(manifest.task.classes))
    untrained = _untrained_note(classifier)
    for sentence in untrained:
        progress.note(sentence)
    spec = classifier.spec.preprocessing(
        size=config.image_size, fit=config.fit, normalised=config.normalisation == "backbone"
    )
    engine = TorchEngine(classifier, device=config.device)
    require_size(classifier, spec.size)
    spec = replace(spec, stain=fit_stain_step(manifest, config, stains=stains))
    sources = split_sources(manifest, spec)
    found = _features(manifest, engine, spec, config, progress=progress, sources=sources)
    return FrozenImages(
        manifest=manifest.where(np.isin(np.arange(len(manifest)), found.indices)),
        features=found.values.astype(np.float64),
        measures=found.measures,
        classifier=classifier,
        preprocessing=spec,
        initial_weights=initial_weights,
        skipped=found.skipped,
        computed=found.computed,
        stain_notes=noted(manifest.paths, found.indices, found.notes),
        notes=(*untrained, *fallback_notes(manifest, sources)),
    )


def _network(config: TrainingConfig, *, classes: int) -> tuple[Classifier, str]:
    """The network with the weights that it starts from, and where these come from, in words."""
    classifier = build_classifier(
        config.backbone, classes=classes, dropout=config.dropout, seed=config.seed
    )
    return classifier, initialise(classifier, config.weights).source


def _features(
    manifest: Manifest,
    engine: TorchEngine,
    spec: Preprocessing,
    config: TrainingConfig,
    *,
    progress: Progress,
    sources: Sources | None,
) -> Features:
    """Of the readable images, computed or taken from embeddings; DataError where there are none."""
    if config.embeddings:
        found = read_embeddings(Path(config.embeddings)).features(manifest.paths, engine, spec)
    else:
        found = compute_features(
            manifest.paths,
            engine,
            spec,
            cache=cache_of(engine, spec),
            batch_size=config.batch_size,
            progress=progress,
            sources=sources,
        )
    if not len(found.indices):
        raise DataError(f"none of the {len(manifest)} images could be read")
    return found


def train_frozen(
    images: FrozenImages,
    split: Manifest,
    folder: Path,
    config: TrainingConfig,
    *,
    whole: Manifest,
    fold: int | None = None,
) -> Run:
    """Fit the head on the train split and write the Run.

    Args:
        images: the frozen images.
        split: ``images.manifest`` with its rows in splits; the test split is never read.
        folder: of the Run.
        config: the settings.
        whole: the same splits with the files that could not be read: what the Run was asked to
            train on, by whose fingerprint it knows its own test split again.
        fold: the fold held out, where there is one.

    Raises:
        DataError: no training images, one class only, or too few patients to choose inside.
    """
    task, splits = split.task, split.frame["split"].to_numpy(dtype=str)
    if "train" not in splits:
        raise DataError("the manifest has no training images; make a split with `eosin split`")
    train, held = (_labelled(images, split, splits == name, config) for name in ("train", "val"))
    probe = fit_probe(
        train,
        classes=len(task.classes),
        positive=task.positive_index if task.binary else None,
        held=held if "val" in splits else None,
        blocks=images.classifier.widths,
        options=ProbeOptions.of(config),
    )
    install_head(images.classifier, probe.head)
    folder.mkdir(parents=True, exist_ok=True)
    save_classifier(images.classifier, folder / WEIGHTS_NAME)
    reference = probed_reference((images.features, images.measures), split, folder, probe)
    record = record_of(images, split, config, whole=whole, probe=probe, fold=fold, known=reference)
    return write_run(folder, record)


def _labelled(
    images: FrozenImages, split: Manifest, rows: Bools, config: TrainingConfig
) -> Labelled:
    near = _near(split.frame[rows], config)
    return Labelled(images.features[rows], split.label_index[rows], split.kept_whole[rows], near)


def _near(frame: pd.DataFrame, config: TrainingConfig) -> Neighbours | None:
    """The neighbours of images to learn from, where they count; DataError where there are none."""
    if config.context == "none" or frame.empty:
        return None
    found = find_neighbours(frame, window=config.context_window)
    if found is None or found.pitch is None:
        what = "names x and y" if found is None else "lies next to another of its patient and slide"
        raise DataError(
            f"context = {config.context!r}: none of the {len(frame)} images to learn from {what}; "
            "give a manifest whose columns x and y place patches on their slides, or set "
            "context = 'none'"
        )
    return found


def _untrained_note(classifier: Classifier) -> tuple[str, ...]:
    """A sentence on a network whose BatchNorm stands as it was made; none where it has learned."""
    from torch.nn import BatchNorm2d

    norms = [each for each in classifier.backbone.modules() if isinstance(each, BatchNorm2d)]
    means = [each.running_mean for each in norms if each.running_mean is not None]
    if not means or any(bool(mean.any()) for mean in means):
        return ()
    return (
        "The network is frozen and its BatchNorm was never trained: what it sees is drawn at "
        "random. Take trained weights (--weights), or fine-tune it (--no-freeze).",
    )


def _notes(images: FrozenImages, split: Manifest, probe: Probe, whole: Manifest) -> Iterator[str]:
    """What must be known of a probe: of its manifest, neighbours, network and files left out."""
    yield from split.notes
    if probe.context:
        yield says(probe.context)
    yield from images.notes
    asked, read = (rows.frame["split"].isin(["train", "val"]).sum() for rows in (whole, split))
    yield from left_out_note(int(asked - read))


def _chosen(probe: Probe) -> dict[str, JsonValue]:
    """What the probe chose, and the log loss of all that it tried."""
    weights: JsonValue = {f"{weight:g}": loss for weight, loss in probe.context_losses.items()}
    context: dict[str, JsonValue] = {"context_log_loss": weights} if probe.context else {}
    if isinstance(probe.head, KnnHead):
        tried: JsonValue = {f"{1 / each:.0f}": loss for each, loss in probe.losses.items()}
        neighbours = int(probe.head.neighbours)
        return {"neighbours": neighbours, "log_loss_of_neighbours": tried, **context}
    losses: JsonValue = {f"{strength:g}": loss for strength, loss in probe.losses.items()}
    chosen: JsonValue = probe.strength[0] if len(probe.strength) == 1 else [*probe.strength]
    return {"strength": chosen, "inner_log_loss": losses, **context}


def record_of(
    images: FrozenImages,
    split: Manifest,
    config: TrainingConfig,
    *,
    whole: Manifest,
    probe: Probe,
    fold: int | None,
    known: Reference,
) -> TrainedRun:
    """The record of a Run whose head is that of ``probe``."""

    def patients(name: str) -> tuple[str, ...]:
        return tuple(sorted(set(split.frame["patient"][split.frame["split"] == name])))

    return TrainedRun(
        task=split.task,
        dataset=split.dataset,
        backbone=images.classifier.spec.name,
        preprocessing=images.preprocessing,
        protocol=split.protocol,
        fingerprint=whole.fingerprint,
        fold=fold,
        train_patients=patients("train"),
        val_patients=patients("val"),
        patient_pattern=split.patient_pattern,
        temperature=probe.temperature,
        threshold=probe.threshold.value if probe.threshold else None,
        seed=config.seed,
        training=config.model_dump(mode="json"),
        choices={**_chosen(probe), **locked(probe.threshold)},
        initial_weights=images.initial_weights,
        versions=software_versions(),
        weights_sha256=known.weights_sha256 or "",
        context=probe.context,
        scale=scale_of(split.frame),
        bag=None,
        reference=known,
        notes=tuple(_notes(images, split, probe, whole)),
    )
