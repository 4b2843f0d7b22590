"""From a Run and images to Predictions, in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import Predictions, Provenance, make_predictions, unscored_note
from eosin.data.neighbours import has_coordinates
from eosin.errors import DataError
from eosin.inference.bags import answer_slides, answers_slides
from eosin.inference.context import said_of, threshold_of
from eosin.inference.images import ImagesLike, as_source, external_images, select_split
from eosin.inference.members import open_scorer
from eosin.inference.readings import gathered
from eosin.inference.scoring import PredictOptions, judged, score_batches
from eosin.inference.seen import require_unseen, seen_note, sibling_note
from eosin.progress import SILENT, Progress, shown, working
from eosin.remote import as_path, named
from eosin.trust.columns import other_magnifications, with_trust
from eosin.trust.judge import CANNOT_TELL, open_judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from eosin.inference.readings import Reading, Readings
    from eosin.networks.run import Run
    from eosin.pixels.reading import SkippedFile
    from eosin.trust.reference import Look

_LEFT_OUT = "Left out beside the images: {}; the error table names each with its reason."


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
    chosen = choose(run, as_source(images), options, progress=progress)
    if read is not None:
        scorer, judge, paths = open_scorer(run), open_judge(run), chosen.images.paths
        return make_scored(run, chosen, options, judged(scorer, judge, paths, read(chosen.images)))
    with working(progress, "scoring", total=len(chosen.images)):
        parts = score_batches(run, chosen.images, options)
        found = gathered(_counted(parts, progress))
    return make_scored(run, chosen, options, found)


def choose(
    run: Run,
    images: Manifest | Sequence[Path],
    options: PredictOptions,
    *,
    progress: Progress = SILENT,
) -> Chosen:
    """The images to score, once it is known that ``run`` may score them; errors as ``predict``.

    Those that state another magnification than the Run was trained at are told of.
    """
    if isinstance(images, Manifest):
        rows, split, own = select_split(run, images, options.split)
        chosen = Chosen(rows, split=split)
    else:
        chosen, own = Chosen(*external_images(run, images)), False
    if not options.allow_seen:
        require_unseen(run, chosen.images, own_test_split=own)
    for sentence in _magnification_note(run, chosen.images):
        progress.note(sentence)
    return chosen


def _magnification_note(run: Run, images: Manifest) -> tuple[str, ...]:
    """A sentence on images that state another magnification; none where none does."""
    stated = [other for other in other_magnifications(run, images.frame) if other]
    if not stated:
        return ()
    return (
        f"{len(stated)} of {len(images)} images state another magnification "
        f"({', '.join(sorted(set(stated)))}) than the Run was trained at.",
    )


def make_scored(run: Run, chosen: Chosen, options: PredictOptions, found: Reading) -> Scored:
    """Predictions of what was found of the chosen images; DataError where that is nothing.

    Of a Run that answers for slides they have a row a slide, and its tiles beside them.
    """
    images = chosen.images
    if not len(found.indices):
        reason = found.skipped[0].reason
        raise DataError(f"none of the {len(images)} images could be read: {reason}")
    rows, attention = images.frame.iloc[found.indices], None
    neighbours = said_of([run], rows)  # refuses coordinates that cannot be
    alone = bool(neighbours) and not has_coordinates(rows)
    threshold = threshold_of(run, alone=alone)
    if answers_slides(run):
        slides = answer_slides(run, found, images.frame)
        rows, attention = slides.rows, slides.attention
        values, looks, stains = slides.probabilities, slides.looks, slides.notes
    else:
        found = open_scorer(run).settled(found, images.frame)
        values, looks, stains = found.values, found.looks, found.notes
    said = (*neighbours, *unscored_note(len(found.skipped)))
    provenance = _provenance(run, chosen, options, threshold=threshold, looks=looks, said=said)
    predictions = make_predictions(
        rows, values, task=run.record.task, threshold=threshold, provenance=provenance
    )
    if looks or run.record.reference is not None:
        predictions = with_trust(
            predictions, run, looks, options.sets, rows=rows, calibrated=not alone
        )
    if any(stains) or run.record.preprocessing.stain is not None:
        pairs = zip(predictions.frame["path"], stains, strict=True)
        predictions = predictions.with_stain_notes({as_path(path): note for path, note in pairs})
    predictions = replace(predictions, attention=attention, run_hashes=(run.sha256,))
    return Scored(predictions, (*chosen.skipped, *_in_order(found.skipped, images)))


def _provenance(
    run: Run,
    chosen: Chosen,
    options: PredictOptions,
    *,
    threshold: float | None,
    looks: Sequence[Look],
    said: Sequence[str],
) -> Provenance:
    """Where the answers come from, and what must be known of them, each sentence once."""
    images = chosen.images
    notes = (
        *(seen_note(run, images) if options.allow_seen else ()),
        *sibling_note(run, images),
        *_magnification_note(run, images),
        *said,
        *([_LEFT_OUT.format(len(chosen.skipped))] if chosen.skipped else ()),
        *(() if any(look.familiarity is not None for look in looks) else (CANNOT_TELL,)),
        *run.record.notes,
        *images.notes,
    )
    return Provenance(
        runs=(named(str(run.folder)),),
        dataset=images.dataset,
        protocol=images.protocol,
        split=chosen.split,
        model=run.record.backbone,
        threshold=threshold,
        seen_allowed=options.allow_seen,
        notes=tuple(dict.fromkeys(notes)),
    )


def _in_order(skipped: Sequence[SkippedFile], images: Manifest) -> tuple[SkippedFile, ...]:
    """As the images stand, whichever network of several met them first."""
    if not skipped:
        return ()
    order = {path: row for row, path in enumerate(images.frame["path"])}
    return tuple(sorted(skipped, key=lambda item: order[str(item.path)]))


def _counted(parts: Iterator[Reading], progress: Progress) -> Iterator[Reading]:
    for part in parts:
        progress.advance(len(part.indices) + len(part.skipped), errors=len(part.skipped))
        yield part
