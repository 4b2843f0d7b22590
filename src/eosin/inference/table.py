"""From a Run and images to a predictions table on disk, kept as it comes and resumable."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.outputs import PREDICTIONS, require_table
from eosin.artefacts.tables import ATTENTION, companion
from eosin.inference.bags import answers_slides
from eosin.inference.context import uses_neighbours
from eosin.inference.journal import Journal, journal_path, keeping, require_none_begun
from eosin.inference.journal_head import head_of
from eosin.inference.predict import Chosen, Scored, choose, make_scored
from eosin.inference.readings import gathered
from eosin.inference.scoring import PredictOptions, score_batches
from eosin.locks import one_writer
from eosin.pixels.reading import error_table_path, write_error_table
from eosin.progress import SILENT, Progress, working

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from eosin.inference.readings import Reading
    from eosin.networks.run import Run
    from eosin.pixels.batches import Alter
    from eosin.spread import Spread


def predict_to_table(
    run: Run,
    images: Manifest | Sequence[Path],
    out: Path,
    options: PredictOptions | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
    alter: Alter | None = None,
    spread: Spread | None = None,
) -> Scored:
    """Score images as ``predict`` does, and write the table; each batch is kept as it comes.

    Until the table is written, what is scored lies in ``journal_path(out)``: a crash, a full disk
    or Ctrl-C loses at most the batches under way. The table is the same, byte for byte, whether or
    not it was interrupted. Files that could not be read are listed in ``error_table_path(out)``.

    Args:
        run: a finished Run.
        images: a manifest, of which one split is scored, or image files and folders.
        out: the table, a CSV.
        options: how.
        resume: continue what an interrupted prediction left, where it left something.
        overwrite: start anew even where an interrupted prediction left something.
        progress: told how far it is, first of all where it starts.
        alter: given a file and its image, the image to score instead: a table of changed images
            must not be resumed with another change.
        spread: scores; None for this process.

    Raises:
        DataError: an interrupted prediction lies there and neither ``resume`` nor ``overwrite``
            was said; it was made with another Run, other images or other options; another process
            is writing the table; or the disk is full.
        ConfigError: ``out`` is an input, or a file that is no predictions table.
        LeakageError, DataError, ConfigError, ModelError: as ``predict``.
    """
    options, path = options or PredictOptions(), journal_path(out)
    inputs = [run.folder, *(() if isinstance(images, Manifest) else images)]
    beside = (path, error_table_path(out), companion(out, ATTENTION))
    require_table(out, PREDICTIONS, inputs=inputs, beside=beside)
    chosen = choose(run, images, options, progress=progress)
    with one_writer(out):
        if not resume and not overwrite:
            require_none_begun(path)
        with _opened(run, chosen, options, path, resume=resume and not overwrite) as journal:
            coming = score_batches(
                run, chosen.images, options, start=journal.done, alter=alter, spread=spread
            )
            work = working(progress, "scoring", total=len(chosen.images), done=journal.done)
            with closing(coming), work:
                parts = _keep(journal, coming, progress)
            scored = make_scored(run, chosen, options, gathered(parts))
            with keeping(path):
                scored.predictions.write(out)
                write_error_table(scored.skipped, error_table_path(out))
            journal.remove()
    return scored


def _opened(
    run: Run, chosen: Chosen, options: PredictOptions, path: Path, *, resume: bool
) -> Journal:
    """The journal ``path`` of this prediction, continued or begun anew."""
    head, paths = head_of(run, chosen, options), chosen.images.paths
    if not resume:
        return Journal.begin(path, head, paths)
    slides = answers_slides(run)
    networks = len(run.leaves()) if slides or uses_neighbours(run) else 0
    classes = len(run.record.task.classes) + slides  # of a tile also its attention
    return Journal.resume(path, head, paths, classes=classes, networks=networks)


def _keep(journal: Journal, coming: Iterable[Reading], progress: Progress) -> list[Reading]:
    """What the journal held already, and what comes, which is added to it."""
    parts = [journal.kept]
    progress.advance(0, errors=len(journal.kept.skipped))
    for part in coming:
        done = journal.done
        journal.append(part)
        parts.append(part)
        progress.advance(journal.done - done, errors=len(part.skipped))
    return parts
