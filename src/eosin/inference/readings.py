"""What single networks say of image files: their logits, or the features under them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.networks.run import Network, Run
    from eosin.pixels.batches import Batch
    from eosin.pixels.reading import SkippedFile

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Apply = Callable[[npt.NDArray[np.float32]], Floats]


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
class BatchReadings:
    """What single Runs say of one batch of files; each network is asked once.

    Attributes:
        paths: the files of the whole sequence that the batch is of.
        batches: the batch as each preprocessing makes it.
        networks: answer, by the SHA-256 of their Run's record.
    """

    paths: Sequence[Path]
    batches: Mapping[Preprocessing, Batch]
    networks: Mapping[str, Network]
    _kept: dict[tuple[str, str], Reading] = field(default_factory=dict)

    def logits(self, run: Run) -> Reading:
        """Logits (n, classes)."""
        return self._once("logits", run, self.networks[run.sha256].logits)

    def features(self, run: Run) -> Reading:
        """Pooled features (n, channels)."""
        return self._once("features", run, self.networks[run.sha256].features)

    def stain_notes(self, run: Run) -> Mapping[Path, str]:
        """What the Run's stain step noted of files."""
        batch = self.batches[run.record.preprocessing]
        return noted(self.paths, batch.places, batch.notes)

    def _once(self, what: str, run: Run, apply: Apply) -> Reading:
        key = what, run.sha256
        if key not in self._kept:
            batch = self.batches[run.record.preprocessing]
            values = apply(batch.pixels) if len(batch.places) else np.empty((0, 0))
            self._kept[key] = Reading(batch.places, values, batch.skipped, batch.notes)
        return self._kept[key]


def gathered(parts: Iterable[Reading]) -> Reading:
    """Readings of one part of a list of files after the other, as one of the whole list."""
    parts = list(parts)
    found = [part for part in parts if len(part.places)]
    return Reading(
        np.concatenate([part.places for part in found]) if found else np.empty(0, np.int64),
        np.concatenate([part.values for part in found]) if found else np.empty((0, 0)),
        tuple(item for part in parts for item in part.skipped),
        tuple(note for part in parts for note in part.notes),
    )


def noted(paths: Sequence[Path], places: Ints, notes: Sequence[str]) -> dict[Path, str]:
    """The files of ``paths`` of which the stain step noted something, and what.

    Args:
        paths: the files.
        places: positions of those that could be read, shape (n,).
        notes: one of each of these, or none at all.
    """
    pairs = zip(places, notes, strict=True) if notes else ()
    return {paths[place]: note for place, note in pairs if note}
