"""Images scored in a stream: a batch is read while the one before it is in the networks.

Nothing here grows with the number of images but their probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from eosin.inference.members import open_scorer
from eosin.inference.readings import BatchReadings
from eosin.machine import reading_threads
from eosin.pixels.batches import View, read_views
from eosin.pixels.stain_sources import patient_sources
from eosin.settings import checked_options
from eosin.spread import Here, Work
from eosin.trust.conformal import SetOptions
from eosin.trust.judge import open_judge

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    from eosin.arrays import Floats
    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.inference.members import Scorer
    from eosin.inference.readings import Reading, Readings
    from eosin.networks.run import Network, Run
    from eosin.pixels.batches import Alter
    from eosin.spread import Spread
    from eosin.trust.judge import Judge


@checked_options
@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How to score."""

    # the manifest's split to score; None for the test split, or for every row of a manifest without
    # splits
    split: str | None = None
    allow_seen: bool = False  # score patients that the Run was trained or validated on, and say so
    device: str = "auto"  # auto, cpu, cuda or mps
    batch_size: int = 32  # images a forward pass
    workers: int | None = None  # reading threads; None for one a core
    engine: str = "auto"  # auto, torch, onnxruntime or openvino
    sets: SetOptions = field(default_factory=SetOptions)  # which classes a set holds


def score_batches(
    run: Run,
    images: Manifest,
    options: PredictOptions,
    *,
    start: int = 0,
    alter: Alter | None = None,
    spread: Spread | None = None,
) -> Generator[Reading, None, None]:
    """Yield the answers of one batch of ``images`` after another: ``Scorer.answers``.

    ``notes`` are those of the stain steps. Where the stain goes by patient, the stains of all
    patients are estimated first.

    Args:
        run: of any kind.
        images: the files and, for a stain step that goes by patient, their patients.
        options: device, engine, batch size and reading threads.
        start: how many images to leave out, a multiple of the batch size.
        alter: given a file and its image, the image to score instead.
        spread: does it; None for this process.

    Raises:
        ConfigError: patients are needed and not known, or the engine does not suit the Run.
        ModelError: the Run's weights are missing or changed.
    """
    if start >= len(images):
        return
    paths, workers = images.paths, reading_threads(options.workers)
    views = {
        spec: View(spec, patient_sources(paths, images.known_patients, spec, workers=workers))
        for spec in dict.fromkeys(leaf.record.preprocessing for leaf in run.leaves())
    }
    work = Work(
        f"{run.sha256} {options.engine} {options.device}",
        options.batch_size,
        paths,
        partial(_open, run, options),
        partial(_batches, paths, views, options, alter),
        runs=[run],
    )
    yield from (spread or Here()).each(work, range(start, len(paths)))


@dataclass(frozen=True)
class _Opened:
    """What answers for a Run."""

    networks: Mapping[str, Network]  # by the SHA-256 of their Run's record
    scorer: Scorer
    judge: Judge | None


def _open(run: Run, options: PredictOptions) -> _Opened:
    opened = run.networks(engine=options.engine, device=options.device)
    by_run = {network.run.sha256: network for network in opened}
    return _Opened(by_run, open_scorer(run), open_judge(run))


def _batches(
    paths: Sequence[Path],
    views: Mapping[Preprocessing, View],
    options: PredictOptions,
    alter: Alter | None,
    opened: _Opened,
    rows: range,
) -> Iterator[Reading]:
    """The answers of one batch after another; each file is read once, whatever the networks."""
    for batches in read_views(
        paths[: rows.stop],
        tuple(views.values()),
        batch_size=options.batch_size,
        workers=reading_threads(options.workers),
        start=rows.start,
        measured=opened.judge is not None,
        alter=alter,
    ):
        readings = BatchReadings(paths, dict(zip(views, batches, strict=True)), opened.networks)
        yield judged(opened.scorer, opened.judge, paths, readings)
        del batches, readings  # not to be kept while the next batch is waited for


def judged(
    scorer: Scorer, judge: Judge | None, paths: Sequence[Path], readings: Readings
) -> Reading:
    """``Scorer.answers``, with the notes of the stain steps and, of a judge, the looks."""
    found = scorer.answers(readings)
    notes = scorer.stain_notes(readings)
    found = replace(found, notes=tuple(notes.get(paths[index], "") for index in found.indices))
    if judge is None or not len(found.indices):
        return found

    def rows(reading: Reading) -> Floats:
        return reading.values[np.isin(reading.indices, found.indices)]

    measures = rows(readings.measures(judge.leaves[0]))
    return replace(found, looks=judge.looks(lambda run: rows(readings.features(run)), measures))
