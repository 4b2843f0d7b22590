"""From a Run and images to Predictions, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import Predictions, Provenance, make_predictions, unscored_note
from eosin.errors import DataError
from eosin.inference.images import ImagesLike, as_source, external_images, select_split
from eosin.inference.members import open_scorer
from eosin.inference.readings import gathered
from eosin.inference.scoring import PredictOptions, score_batches, with_notes
from eosin.inference.seen import require_unseen, seen_note, sibling_note
from eosin.progress import SILENT, Progress, shown, working

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from eosin.inference.readings import Reading, Readings
    from eosin.networks.run import Run
    from eosin.pixels.reading import SkippedFile


@dataclass(frozen=True)
class Scored:
    """Predictions, and the files that could not be read."""

    predictions: Predictions
    skipped: tuple[SkippedFile, ...] = ()


@dataclass(frozen=True)
class Chosen:
    """The images to score: the rows, the name of the split that they are, and what is no image."""

    images: Manifest
    skipped: tuple[SkippedFile, ...] = ()
    split: str = "files"


def predict(
    run: Run,
    images: ImagesLike,
    options: PredictOptions | None = None,
    *,
    progress: Progress | bool = SILENT,
    read: Callable[[Manifest], Readings] | None = None,
) -> Scored:
    """Score images with a Run: folds answer with their mean, an ensemble with its vote.

    Args:
        run: a finished Run.
        images: a manifest, of which one split is scored, or image files and folders.
        options: how.
        progress: told of the files that each batch accounted for.
        read: what single networks say of a manifest's files, where that is known or shared between
            Runs already; by default the files are read and every network is run.

    Raises:
        LeakageError: the Run was trained or validated on patients among the images.
        DataError: no image could be read, or the manifest's task is another.
        ConfigError: the stain step goes by patient, and patients are not known; or the engine
            does not suit the Run.
        ModelError: the Run's weights are missing or changed.
    """
    options, progress = options or PredictOptions(), shown(progress)
    chosen = choose(run, as_source(images), options)
    if read is not None:
        scorer, paths = open_scorer(run), chosen.images.paths
        return make_scored(run, chosen, options, with_notes(scorer, paths, read(chosen.images)))
    with working(progress, "scoring", total=len(chosen.images)):
        parts = score_batches(run, chosen.images, options)
        found = gathered(_counted(parts, progress))
    return make_scored(run, chosen, options, found)


def choose(run: Run, images: Manifest | Sequence[Path], options: PredictOptions) -> Chosen:
    """The images to score, once it is known that ``run`` may score them; errors as ``predict``."""
    if isinstance(images, Manifest):
        rows, split, own = select_split(run, images, options.split)
        chosen = Chosen(rows, split=split)
    else:
        chosen, own = Chosen(*external_images(run, images)), False
    if not options.allow_seen:
        require_unseen(run, chosen.images, own_test_split=own)
    return chosen


def make_scored(run: Run, chosen: Chosen, options: PredictOptions, found: Reading) -> Scored:
    """Predictions of what was found of the chosen images; DataError where that is nothing."""
    images = chosen.images
    if not len(found.places):
        reason = found.skipped[0].reason
        raise DataError(f"none of the {len(images)} images could be read: {reason}")
    seen = seen_note(run, images) if options.allow_seen else ()
    unscored = (*unscored_note(len(found.skipped)), *_left_out_note(len(chosen.skipped)))
    provenance = Provenance(
        runs=(str(run.folder),),
        dataset=images.dataset,
        protocol=images.protocol,
        split=chosen.split,
        model=run.record.backbone,
        threshold=run.record.threshold,
        seen_allowed=options.allow_seen,
        notes=tuple(
            dict.fromkeys(
                (*seen, *sibling_note(run, images), *unscored, *run.record.notes, *images.notes)
            )
        ),
    )
    predictions = make_predictions(
        images.frame.iloc[found.places],
        found.values,
        task=run.record.task,
        threshold=run.record.threshold,
        provenance=provenance,
    )
    if any(found.notes) or run.record.preprocessing.stain is not None:
        said = zip(predictions.frame["path"], found.notes, strict=True)
        predictions = predictions.with_stain_notes({Path(path): note for path, note in said})
    return Scored(predictions, (*chosen.skipped, *_in_order(found.skipped, images)))


def _left_out_note(count: int) -> tuple[str, ...]:
    """A sentence on what lay among the images and is none; nothing where all was one."""
    if not count:
        return ()
    return (f"Left out beside the images: {count}; the error table names each with its reason.",)


def _in_order(skipped: Sequence[SkippedFile], images: Manifest) -> tuple[SkippedFile, ...]:
    """As the images stand, whichever network of several met them first."""
    if not skipped:
        return ()
    place = {path: place for place, path in enumerate(images.frame["path"])}
    return tuple(sorted(skipped, key=lambda item: place[str(item.path)]))


def _counted(parts: Iterator[Reading], progress: Progress) -> Iterator[Reading]:
    for part in parts:
        progress.advance(len(part.places) + len(part.skipped), errors=len(part.skipped))
        yield part
