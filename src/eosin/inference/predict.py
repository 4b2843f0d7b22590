"""From a Run and images to Predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.errors import DataError
from eosin.inference.images import external_images, select_split
from eosin.inference.members import run_probabilities, stain_notes
from eosin.inference.readings import FreshReadings
from eosin.inference.seen import require_unseen
from eosin.manifest import Manifest
from eosin.predictions import Predictions, Provenance, make_predictions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from eosin.inference.readings import Readings
    from eosin.models.run import Run
    from eosin.pixels.reading import SkippedFile

    OnFiles = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How to score.

    Attributes:
        split: the manifest's split to score; None for the test split, or for every row of a
            manifest without splits.
        allow_seen: score patients that the Run was trained or validated on, and say so.
        device: auto, cpu or cuda.
        batch_size: images a forward pass.
        workers: reading threads.

    """

    split: str | None = None
    allow_seen: bool = False
    device: str = "auto"
    batch_size: int = 32
    workers: int = 2


@dataclass(frozen=True)
class Scored:
    """Predictions, and the files that could not be read."""

    predictions: Predictions
    skipped: tuple[SkippedFile, ...] = ()


def predict(
    run: Run,
    images: Manifest | Sequence[Path],
    options: PredictOptions | None = None,
    *,
    on_files: OnFiles | None = None,
    read: Callable[[Manifest], Readings] | None = None,
) -> Scored:
    """Score images with a Run: folds answer with their mean, an ensemble with its vote.

    Args:
        run: a finished Run.
        images: a manifest, of which one split is scored, or image files and folders.
        options: how.
        on_files: told how many files each batch accounted for, e.g. to move a progress bar.
        read: what single networks say of a manifest's files, where that is known or shared between
            Runs already; by default the files are read and every network is run.

    Raises:
        LeakageError: the Run was trained or validated on patients among the images.
        DataError: no image could be read, or the manifest's task is another.
        ConfigError: the stain step goes by patient, and patients are not known.
        ModelError: the Run's weights are missing or changed.

    """
    options = options or PredictOptions()
    chosen, split = _choose(run, images, options)
    if read is None:
        readings: Readings = FreshReadings(
            chosen.paths,
            options.device,
            options.batch_size,
            options.workers,
            on_files,
            chosen.known_patients,
        )
    else:
        readings = read(chosen)
    found = run_probabilities(run, readings)
    if not len(found.places):
        reason = found.skipped[0].reason
        raise DataError(f"none of the {len(chosen)} images could be read: {reason}")
    provenance = Provenance(
        runs=(str(run.folder),),
        dataset=chosen.dataset,
        protocol=chosen.protocol,
        split=split,
        model=run.record.backbone,
        threshold=run.record.threshold,
        seen_allowed=options.allow_seen,
        notes=tuple(dict.fromkeys((*run.record.notes, *chosen.notes))),
    )
    predictions = make_predictions(
        chosen.frame.iloc[found.places],
        found.values,
        task=run.record.task,
        threshold=run.record.threshold,
        provenance=provenance,
    )
    notes = stain_notes(run, readings)
    if notes or run.record.preprocessing.stain is not None:
        predictions = predictions.with_stain_notes(notes)
    return Scored(predictions, found.skipped)


def _choose(
    run: Run, images: Manifest | Sequence[Path], options: PredictOptions
) -> tuple[Manifest, str]:
    own = False
    if isinstance(images, Manifest):
        chosen, split, own = select_split(run, images, options.split)
    else:
        chosen, split = external_images(run, images), "files"
    if not options.allow_seen:
        require_unseen(run, chosen, own_test_split=own)
    return chosen, split
