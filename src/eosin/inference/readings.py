"""What single networks say of image files: their logits, or the features under them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from eosin.arrays import Floats, Ints
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.networks.run import Network, Run
    from eosin.pixels.batches import Batch
    from eosin.pixels.reading import SkippedFile
    from eosin.trust.reference import Look


@dataclass(frozen=True)
class Reading:
    """What was found out about the files of a list."""

    indices: Ints  # positions of the files that could be read, shape (n,), ascending
    values: Floats  # a row for each, shape (n, ...): logits, probabilities or features
    skipped: tuple[SkippedFile, ...] = ()  # the files that could not be read
    # of each of ``indices``, what the stain step noted, or nothing; empty where unasked
    notes: tuple[str, ...] = ()
    # of each of ``indices``, what the Run says beside its probabilities; empty where it cannot
    looks: tuple[Look, ...] = ()


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

    def measures(self, run: Run) -> Reading:
        """How the images were taken (n, names), once the Run was asked for anything."""
        ...


@dataclass
class BatchReadings:
    """What single Runs say of one batch of files; each network is asked once, for all at once."""

    paths: Sequence[Path]  # the files of the whole sequence that the batch is of
    batches: Mapping[Preprocessing, Batch]  # the batch as each preprocessing makes it
    networks: Mapping[str, Network]  # answer, by the SHA-256 of their Run's record
    # logits and features of those that have answered, by the same
    known: dict[str, tuple[Reading, Reading]] = field(default_factory=dict)

    def logits(self, run: Run) -> Reading:
        """Logits (n, classes)."""
        return self._once(run)[0]

    def features(self, run: Run) -> Reading:
        """Pooled features (n, channels)."""
        return self._once(run)[1]

    def measures(self, run: Run) -> Reading:
        """How the images were taken (n, names)."""
        batch = self.batches[run.record.preprocessing]
        return Reading(batch.indices, batch.measures)

    def stain_notes(self, run: Run) -> Mapping[Path, str]:
        """What the Run's stain step noted of files."""
        batch = self.batches[run.record.preprocessing]
        return noted(self.paths, batch.indices, batch.notes)

    def _once(self, run: Run) -> tuple[Reading, Reading]:
        if run.sha256 not in self.known:
            batch, nothing = self.batches[run.record.preprocessing], np.empty((0, 0))
            network = self.networks[run.sha256]
            answers = network.answers(batch.pixels) if len(batch.indices) else (nothing, nothing)
            logits, features = (
                Reading(batch.indices, values, batch.skipped, batch.notes) for values in answers
            )
            self.known[run.sha256] = logits, features
        return self.known[run.sha256]


def gathered(parts: Iterable[Reading]) -> Reading:
    """Readings of one part of a list of files after the other, as one of the whole list."""
    parts = list(parts)
    found = [part for part in parts if len(part.indices)]
    return Reading(
        np.concatenate([part.indices for part in found]) if found else np.empty(0, np.int64),
        np.concatenate([part.values for part in found]) if found else np.empty((0, 0)),
        tuple(item for part in parts for item in part.skipped),
        tuple(note for part in parts for note in part.notes),
        tuple(look for part in parts for look in part.looks),
    )


def noted(paths: Sequence[Path], indices: Ints, notes: Sequence[str]) -> dict[Path, str]:
    """The files of ``paths`` of which the stain step noted something, and what.

    Args:
        paths: the files.
        indices: positions of those that could be read, shape (n,).
        notes: one of each of these, or none at all.
    """
    pairs = zip(indices, notes, strict=True) if notes else ()
    return {paths[index]: note for index, note in pairs if note}
