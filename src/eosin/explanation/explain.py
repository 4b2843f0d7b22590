"""From Runs and images to explanations: what is asked is checked, and networks are opened."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from eosin.artefacts.manifest import Manifest
from eosin.errors import ConfigError, DataError
from eosin.explanation.heatmap import require_method
from eosin.explanation.mapping import open_to_explain
from eosin.explanation.options import PREDICTED, TRUE, require_labels
from eosin.explanation.options import ExplainOptions as ExplainOptions
from eosin.explanation.rows import explain_rows
from eosin.inference.images import (
    ImagesLike,
    as_source,
    external_images,
    patients_of,
    select_split,
)
from eosin.pixels.reading import SkippedFile
from eosin.progress import SILENT, Progress, shown, working

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from eosin.explanation.heatmap import Explanation
    from eosin.networks.run import Run
    from eosin.spread import Spread
    from eosin.tasks import Task


def explain(
    runs: Sequence[Run],
    images: ImagesLike,
    options: ExplainOptions | None = None,
    *,
    progress: Progress | bool = SILENT,
    spread: Spread | None = None,
) -> Iterator[Explanation | SkippedFile]:
    """Explain images with one Run or several; a Run made of members answers with all of them.

    Of a Run of folds, the networks that did not see an image answer for it: its predictions came
    from them. All of them answer for a new patient, and where all have met the patient.

    Images are read, explained and handed over a batch at a time, so memory stays flat however many
    there are. Images of patients that a network was trained on are explained as well, to inspect
    the training; each map says so. Networks without a usable feature map are left out, each with
    its reason, before the first image.

    Args:
        runs: finished Runs of the same classes.
        images: a manifest, of which one split is taken, or image files and folders.
        options: what and how.
        progress: told of each image.
        spread: explains; None for this process. Where neighbours count, or mistakes are asked for,
            this process alone scores the images first.

    Returns:
        An iterator: the folders of Runs that were left out and what is no image, then for each
        image in order its explanation or why it was left out.

    Raises:
        ConfigError: an unknown method or class, true labels or patients that nobody knows, or what
            an exported Run or the engine cannot do.
        DataError: no image at all, or Runs or manifest of different classes.
        ModelError: weights that are missing or changed, or no network has a usable feature map.
    """
    options, images = options or ExplainOptions(), as_source(images)
    method = require_method(options.method)
    if not runs:
        raise ConfigError("give at least one Run to explain with")
    task = _shared_task(runs)
    chosen, strange = _choose(runs[0], images, options.split)
    _require_target(options.target, task, chosen)
    networks, refused = open_to_explain(runs, method, device=options.device, engine=options.engine)
    met = [_met(network.run, images, chosen) for network in networks]
    folds = _folds(runs, images, chosen)
    done = explain_rows(runs, networks, chosen, options, met=met, folds=folds, spread=spread)
    total = len(chosen) + len(strange) + len(refused)
    return _counted(chain(refused, strange, done), shown(progress), total=total)


def _counted(
    found: Iterator[Explanation | SkippedFile], progress: Progress, *, total: int
) -> Iterator[Explanation | SkippedFile]:
    with working(progress, "explaining", total=total):
        for item in found:
            progress.advance(errors=isinstance(item, SkippedFile))
            yield item


def _folds(runs: Sequence[Run], images: Manifest | Sequence[Path], chosen: Manifest) -> list[str]:
    """The fold of each row, where ``images`` are the manifest that divided the Runs' training."""
    own = isinstance(images, Manifest) and all(
        images.fingerprint == run.record.fingerprint for run in runs
    )
    return chosen.frame["fold"].tolist() if own else [""] * len(chosen)


def _shared_task(runs: Sequence[Run]) -> Task:
    task = runs[0].record.task
    for run in runs[1:]:
        if run.record.task.classes != task.classes:
            raise DataError(
                f"{run.folder} answers for the classes {list(run.record.task.classes)}, "
                f"{runs[0].folder} for {list(task.classes)}; explain them one at a time"
            )
    return task


def _choose(
    run: Run, images: Manifest | Sequence[Path], split: str | None
) -> tuple[Manifest, tuple[SkippedFile, ...]]:
    if isinstance(images, Manifest):
        return select_split(run, images, split)[0], ()
    return external_images(run, images)


def _require_target(target: str, task: Task, images: Manifest) -> None:
    """ConfigError where the class to explain does not exist or is not known."""
    if target == TRUE:
        require_labels("target 'true'", images.frame)
    elif target != PREDICTED and target not in task.classes:
        raise ConfigError(
            f"target {target!r} is not a class; want 'predicted', 'true' or one of "
            f"{list(task.classes)}"
        )


def _met(run: Run, images: Manifest | Sequence[Path], chosen: Manifest) -> list[bool | None]:
    """For each image whether ``run`` was trained or validated on its patient; None: not known."""
    if isinstance(images, Manifest):
        patients: Sequence[str | None] = chosen.known_patients or [None] * len(chosen)
    else:
        patients = patients_of(run, chosen.paths)  # whom a file name means depends on the Run
    seen = run.record.seen_patients
    return [None if patient is None else patient in seen for patient in patients]
