"""Images scored in a stream: a batch is read while the one before it is in the networks.

Nothing here grows with the number of images but their probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
    device: str = "auto"  # auto, cpu or cuda
    batch_size: int = 32  # images a forward pass
    workers: int | None = None  # reading threads; None for one a core
    engine: str = "auto"  # auto, torch, onnxruntime or openvino
    sets: SetOptions = field(default_factory=SetOptions)  # which classes a set holds


@dataclass(frozen=True)
class _Opened:
    """What answers."""

    networks: Mapping[str, Network]  # by the SHA-256 of their Run's record
    scorer: Scorer
    judge: Judge | None


@dataclass(frozen=True)
class Scoring(Work[_Opened, "Reading"]):
    """Image files to score with a Run; each batch is a part."""

    run: Run
    paths: Sequence[Path]
    views: Mapping[Preprocessing, View]
    options: PredictOptions
    alter: Alter | None = None

    @property
    def key(self) -> str:
        """The Run, and what computes it."""
        return f"{self.run.sha256} {self.options.engine} {self.options.device}"

    @property
    def step(self) -> int:
        """Images a batch."""
        return self.options.batch_size

    @property
    def inputs(self) -> Sequence[Path]:
        """The Run and the images."""
        return [self.run.folder, *self.paths]

    def file(self, row: int) -> Path:
        """An image."""
        return self.paths[row]

    def require_unchanged(self) -> None:
        """ModelError where the Run has changed since it was read."""
        self.run.require_unchanged()

    def open(self) -> _Opened:
        """The Run's networks; ConfigError, ModelError as ``open_networks``."""
        opened = self.run.networks(engine=self.options.engine, device=self.options.device)
        by_run = {network.run.sha256: network for network in opened}
        return _Opened(by_run, open_scorer(self.run), open_judge(self.run))

    def do(self, opened: _Opened, rows: range) -> Iterator[Reading]:
        """The answers, a batch at a time; each file is read once, whatever the networks."""
        for batches in read_views(
            self.paths[: rows.stop],
            tuple(self.views.values()),
            batch_size=self.options.batch_size,
            workers=reading_threads(self.options.workers),
            start=rows.start,
            measured=opened.judge is not None,
            alter=self.alter,
        ):
            by_view = dict(zip(self.views, batches, strict=True))
            readings = BatchReadings(self.paths, by_view, opened.networks)
            yield judged(opened.scorer, opened.judge, self.paths, readings)
            del batches, by_view, readings  # not to be kept while the next batch is waited for


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
    scoring = Scoring(run, paths, views, options, alter)
    yield from (spread or Here()).each(scoring, range(start, len(paths)))


def judged(
    scorer: Scorer, judge: Judge | None, paths: Sequence[Path], readings: Readings
) -> Reading:
    """``Scorer.answers``, with the notes of the stain steps and, of a judge, the looks."""
    found = scorer.answers(readings)
    notes = scorer.stain_notes(readings)
    found = replace(found, notes=tuple(notes.get(paths[place], "") for place in found.places))
    if judge is None or not len(found.places):
        return found

    def rows(reading: Reading) -> Floats:
        return reading.values[np.isin(reading.places, found.places)]

    measures = rows(readings.measures(judge.leaves[0]))
    return replace(found, looks=judge.looks(lambda run: rows(readings.features(run)), measures))
