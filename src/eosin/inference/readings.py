"""What single networks say of image files: their logits, or the features under them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from eosin.inference.engines import TorchEngine, open_engine
from eosin.pixels.batches import read_batches
from eosin.pixels.stain_sources import patient_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from eosin.models.run import Run
    from eosin.pixels.preprocessing import Preprocessing
    from eosin.pixels.reading import SkippedFile

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Apply = Callable[[npt.NDArray[np.float32]], Floats]
    OnFiles = Callable[[int], None]


@dataclass(frozen=True)
class Reading:
    """What was found out about the files of a list.

    Attributes:
        places: positions of the files that could be read, shape (n,), ascending.
        values: a row for each, shape (n, ...): logits, probabilities or features.
        skipped: the files that could not be read.
        notes: of each of ``places``, what the stain step noted, or nothing; empty where unasked.
    """

    places: Ints
    values: Floats
    skipped: tuple[SkippedFile, ...] = ()
    notes: tuple[str, ...] = ()


class Readings(Protocol):
    """What single Runs say of one list of files."""

    def logits(self, run: Run) -> Reading:
        """Logits (n, classes)."""
        ...

    def features(self, run: Run) -> Reading:
        """Pooled features (n, channels)."""
        ...

    def stain_notes(self, run: Run) -> Mapping[Path, str]:
        """What the Run's stain step noted of files, once the Run was asked for anything."""
        ...


@dataclass
class FreshReadings:
    """Read the files and run the network; once for each Run asked.

    Attributes:
        paths: the files.
        device: auto, cpu or cuda.
        batch_size: images a forward pass.
        workers: reading threads.
        on_files: told how many files each batch accounted for.
        patients: of each file; None where they are not known.
    """

    paths: Sequence[Path]
    device: str = "auto"
    batch_size: int = 32
    workers: int = 2
    on_files: OnFiles | None = None
    patients: Sequence[str] | None = None
    _kept: dict[tuple[str, Path], Reading] = field(default_factory=dict)

    def logits(self, run: Run) -> Reading:
        """Logits (n, classes)."""
        return self._once("logits", run, lambda: open_engine(run, device=self.device).logits)

    def features(self, run: Run) -> Reading:
        """Pooled features (n, channels)."""
        return self._once("features", run, lambda: _open_torch(run, self.device).features)

    def stain_notes(self, run: Run) -> Mapping[Path, str]:
        """What the Run's stain step noted of files, once the Run was asked for anything."""
        folder = run.folder.resolve()
        found = next((kept for (_, place), kept in self._kept.items() if place == folder), None)
        return {} if found is None else noted(self.paths, found.places, found.notes)

    def _once(self, what: str, run: Run, open_network: Callable[[], Apply]) -> Reading:
        key = what, run.folder.resolve()
        if key not in self._kept:
            self._kept[key] = read_values(
                open_network(),
                self.paths,
                run.record.preprocessing,
                batch_size=self.batch_size,
                workers=self.workers,
                on_files=self.on_files,
                patients=self.patients,
            )
        return self._kept[key]


def read_values(
    apply: Apply,
    paths: Sequence[Path],
    spec: Preprocessing,
    *,
    batch_size: int = 32,
    workers: int = 2,
    on_files: OnFiles | None = None,
    patients: Sequence[str] | None = None,
) -> Reading:
    """What ``apply`` makes of prepared input (n, 3, size, size), for every readable file.

    ``patients``, one a file, are needed where the stain step goes by patient: else ConfigError.
    """
    places: list[Ints] = []
    values: list[Floats] = []
    skipped: list[SkippedFile] = []
    notes: list[str] = []
    sources = patient_sources(paths, patients, spec, workers=workers)
    for batch in read_batches(paths, spec, batch_size=batch_size, workers=workers, sources=sources):
        notes.extend(batch.notes)
        skipped.extend(batch.skipped)
        if len(batch.places):
            places.append(batch.places)
            values.append(apply(batch.pixels))
        if on_files:
            on_files(batch.files)
    if not values:
        return Reading(np.empty(0, np.int64), np.empty((0, 0)), tuple(skipped))
    return Reading(np.concatenate(places), np.concatenate(values), tuple(skipped), tuple(notes))


def noted(paths: Sequence[Path], places: Ints, notes: Sequence[str]) -> dict[Path, str]:
    """The files of ``paths`` of which the stain step noted something, and what.

    Args:
        paths: the files.
        places: positions of those that could be read, shape (n,).
        notes: one of each of these, or none at all.
    """
    pairs = zip(places, notes, strict=True) if notes else ()
    return {paths[place]: note for place, note in pairs if note}


def _open_torch(run: Run, device: str) -> TorchEngine:
    from eosin.models.classifier import load_classifier

    return TorchEngine(load_classifier(run), device=device)
