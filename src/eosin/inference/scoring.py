"""Images scored in a stream: a batch is read while the one before it is in the networks.

Nothing here grows with the number of images but their probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eosin.inference.members import open_scorer
from eosin.inference.readings import BatchReadings
from eosin.machine import reading_threads
from eosin.pixels.batches import View, read_views
from eosin.pixels.stain_sources import patient_sources
from eosin.settings import checked_options

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from eosin.artefacts.manifest import Manifest
    from eosin.inference.members import Scorer
    from eosin.inference.readings import Reading, Readings
    from eosin.networks.run import Run


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


def score_batches(
    run: Run, images: Manifest, options: PredictOptions, *, start: int = 0
) -> Generator[Reading, None, None]:
    """Yield calibrated probabilities (n, classes) of one batch of ``images`` after another.

    Each file is read once, whatever the number of networks; ``notes`` are those of the stain
    steps. Where the stain goes by patient, the stains of all patients are estimated first.

    Args:
        run: of any kind.
        images: the files and, for a stain step that goes by patient, their patients.
        options: device, engine, batch size and reading threads.
        start: how many images to leave out, a multiple of the batch size.

    Raises:
        ConfigError: patients are needed and not known, or the engine does not suit the Run.
        ModelError: the Run's weights are missing or changed.
    """
    if start >= len(images):
        return
    paths, scorer, workers = images.paths, open_scorer(run), reading_threads(options.workers)
    opened = run.networks(engine=options.engine, device=options.device)
    views = {
        spec: View(spec, patient_sources(paths, images.known_patients, spec, workers=workers))
        for spec in dict.fromkeys(network.preprocessing for network in opened)
    }
    networks = {network.run.sha256: network for network in opened}
    for batches in read_views(
        paths, tuple(views.values()), batch_size=options.batch_size, workers=workers, start=start
    ):
        readings = BatchReadings(paths, dict(zip(views, batches, strict=True)), networks)
        yield with_notes(scorer, paths, readings)
        del batches, readings  # not to be kept while the next batch is waited for


def with_notes(scorer: Scorer, paths: Sequence[Path], readings: Readings) -> Reading:
    """Calibrated probabilities of what ``readings`` are of, with the notes of the stain steps."""
    found = scorer.probabilities(readings)
    notes = scorer.stain_notes(readings)
    return replace(found, notes=tuple(notes.get(paths[place], "") for place in found.places))
