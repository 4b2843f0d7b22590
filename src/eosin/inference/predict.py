"""From a Run and images to Predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.errors import DataError
from eosin.evaluation.calibration import apply_temperature
from eosin.inference.engines import Engine, open_engine
from eosin.inference.images import external_images, select_split
from eosin.inference.seen import require_unseen
from eosin.manifest import Manifest
from eosin.pixels.batches import read_batches
from eosin.predictions import Predictions, Provenance, make_predictions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from eosin.models.run import Run
    from eosin.pixels.preprocessing import Preprocessing
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
) -> Scored:
    """Score images with a Run; a Run of folds answers with the mean of its folds.

    Args:
        run: a finished Run.
        images: a manifest, of which one split is scored, or image files and folders.
        options: how.
        on_files: told how many files each batch accounted for, e.g. to move a progress bar.

    Raises:
        LeakageError: the Run was trained or validated on patients among the images.
        DataError: no image could be read, or the manifest's task is another.
        ModelError: the Run's weights are missing or changed.

    """
    options = options or PredictOptions()
    chosen, split = _choose(run, images, options)
    members = run.open_members() or (run,)
    skipped: tuple[SkippedFile, ...] = ()
    total: npt.NDArray[np.float64] | None = None
    for member in members:
        places, probabilities, skipped = _probabilities(member, chosen, options, on_files)
        total = probabilities if total is None else total + probabilities
    if total is None or not len(total):
        raise DataError(f"none of the {len(chosen)} images could be read: {skipped[0].reason}")
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
        chosen.frame.iloc[places],
        total / len(members),
        task=run.record.task,
        threshold=run.record.threshold,
        provenance=provenance,
    )
    return Scored(predictions, skipped)


def compute_logits(
    engine: Engine,
    paths: Sequence[Path],
    spec: Preprocessing,
    *,
    batch_size: int = 32,
    workers: int = 2,
    on_files: OnFiles | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], tuple[SkippedFile, ...]]:
    """Logits of image files.

    Returns:
        The positions of the files that could be read, shape (n,); their logits, shape
        (n, classes); the files that could not.

    """
    import numpy as np

    places: list[npt.NDArray[np.int64]] = []
    values: list[npt.NDArray[np.float64]] = []
    skipped: list[SkippedFile] = []
    for batch in read_batches(paths, spec, batch_size=batch_size, workers=workers):
        skipped.extend(batch.skipped)
        if len(batch.places):
            places.append(batch.places)
            values.append(engine.logits(batch.pixels))
        if on_files:
            on_files(batch.files)
    if not values:
        return np.empty(0, np.int64), np.empty((0, 0)), tuple(skipped)
    return np.concatenate(places), np.concatenate(values), tuple(skipped)


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


def _probabilities(
    member: Run, chosen: Manifest, options: PredictOptions, on_files: OnFiles | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], tuple[SkippedFile, ...]]:
    places, logits, skipped = compute_logits(
        open_engine(member, device=options.device),
        chosen.paths,
        member.record.preprocessing,
        batch_size=options.batch_size,
        workers=options.workers,
        on_files=on_files,
    )
    if not len(places):
        return places, logits, skipped
    return places, apply_temperature(logits, member.record.temperature), skipped
