"""Runs of folds: made of one Run a fold, with what each says of the fold it never met."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from eosin.artefacts.manifest import COLUMNS, Manifest
from eosin.artefacts.predictions import read_predictions
from eosin.artefacts.run import EnsembleRun, FoldsRun
from eosin.errors import DataError, ModelError
from eosin.inference.bags import find_slides
from eosin.inference.context import require_coordinates
from eosin.inference.out_of_fold import out_of_fold
from eosin.networks.run import PREDICTIONS_NAME, Run, write_run
from eosin.networks.taking_in import take_in
from eosin.training.ensemble_record import shared_scale
from eosin.training.reference import answered_reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic import JsonValue

    from eosin.artefacts.predictions import Predictions
    from eosin.artefacts.reference import Reference
    from eosin.artefacts.run import Member


def gather_folds(
    folder: Path,
    manifest: Manifest,
    runs: Sequence[Run],
    parts: Sequence[Predictions],
    *,
    training: Mapping[str, JsonValue],
) -> tuple[Run, Predictions]:
    """Write a Run of kind ``folds`` and its out-of-fold predictions.

    Its threshold, for images of no fold, is the mean of the folds' thresholds.

    Args:
        folder: where the Run goes.
        manifest: with the folds.
        runs: one a fold.
        parts: the predictions of each for its held-out fold.
        training: the settings to record.
    """
    folder.mkdir(parents=True, exist_ok=True)
    slides = runs[0].record.bag is not None
    scored = replace(manifest, frame=find_slides(manifest.frame)[0]) if slides else manifest
    predictions = out_of_fold(folder, scored, runs, parts)
    known = answered_reference(predictions, folder, weights_sha256=None, out_of_fold=True)
    record = _record(manifest, runs, known, take_in(folder, runs), training=training)
    predictions.write(folder / PREDICTIONS_NAME)
    return write_run(folder, record), predictions


def _record(
    manifest: Manifest,
    runs: Sequence[Run],
    known: Reference,
    members: tuple[Member, ...],
    *,
    training: Mapping[str, JsonValue],
) -> FoldsRun:
    """The record of ``runs``, one a fold, of which all but the folds is the first one's."""
    first = runs[0].record
    thresholds = [run.record.threshold for run in runs if run.record.threshold is not None]
    return FoldsRun(
        task=first.task,
        dataset=first.dataset,
        backbone=first.backbone,
        preprocessing=first.preprocessing,
        protocol=first.protocol,
        fingerprint=manifest.fingerprint,
        fold=None,
        train_patients=manifest.patients,
        val_patients=(),
        patient_pattern=first.patient_pattern,
        temperature=1.0,
        threshold=sum(thresholds) / len(thresholds) if thresholds else None,
        seed=first.seed,
        training=dict(training),
        choices={},
        initial_weights=first.initial_weights,
        versions=first.versions,
        notes=_notes(manifest, runs),
        weights_sha256=None,
        context=None,
        scale=shared_scale(run.record for run in runs),
        bag=None,
        reference=known,
        vote=first.vote if isinstance(first, EnsembleRun) else None,
        members=members,
    )


def run_of_fold(run: Run, fold: int) -> Run:
    """The member that held ``fold`` out; ModelError where there is none."""
    for member in run.open_members():
        if member.record.fold == fold:
            return member
    raise ModelError(f"{run.folder}: has no Run for fold {fold}; train it again with --fold all")


def manifest_of_folds(runs: Sequence[Run], manifest: Manifest | None) -> Manifest:
    """The manifest with the folds that all were trained on; ModelError, DataError for another."""
    first = runs[0]
    for run in runs[1:]:
        alike = all(isinstance(each.record, FoldsRun) for each in (run, first))
        if not alike or run.record.fingerprint != first.record.fingerprint:
            raise ModelError(
                f"{first.folder} and {run.folder} are not Runs of the same folds; train all "
                "members on one manifest with --fold all, or none"
            )
    if manifest is None:
        scored = _manifest_scored(first)
        require_coordinates(runs, scored.frame)
        return scored
    if manifest.fingerprint != first.record.fingerprint:
        raise DataError(
            f"the manifest is not the one whose folds {first.folder} was trained on; name that one"
        )
    return manifest


def _manifest_scored(run: Run) -> Manifest:
    """The manifest behind a Run's out-of-fold predictions."""
    table = read_predictions(run.folder / PREDICTIONS_NAME)
    frame = table.frame.assign(split="")[list(COLUMNS)]
    source = table.provenance
    return Manifest(frame, table.task, source.dataset, source.protocol, run.record.notes)


def _notes(manifest: Manifest, runs: Sequence[Run]) -> tuple[str, ...]:
    """The manifest's notes, what every fold notes, and what one notes under its number."""
    everywhere = set(runs[0].record.notes).intersection(*(run.record.notes for run in runs))
    own = (
        note if note in everywhere else f"Fold {run.record.fold}: {note}"
        for run in runs
        for note in run.record.notes
    )
    return tuple(dict.fromkeys((*manifest.notes, *own)))
