"""The probabilities of a Run, whatever it is made of: one network, folds, or an ensemble.

Where a network counts neighbours on the slide, probabilities are made when the logits of all images
are known: ``answers`` gives those of a batch, ``settled`` makes them of the whole. Where it answers
for slides, ``bags.answer_slides`` does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, get_args

import numpy as np

from eosin.artefacts.run import Vote
from eosin.errors import ModelError
from eosin.evaluation.calibration import apply_temperature
from eosin.inference.bags import answers_slides, load_gate, tile_values
from eosin.inference.context import calibrated, near, uses_neighbours
from eosin.inference.readings import Reading
from eosin.inference.votes import hard_vote, soft_vote, weighted_vote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from eosin.arrays import Floats, Ints
    from eosin.inference.bags import Gate
    from eosin.inference.readings import Readings
    from eosin.networks.fusion_weights import FusionWeights
    from eosin.networks.run import Run
    from eosin.pixels.reading import SkippedFile


@dataclass(frozen=True)
class Scorer:
    """A Run and the Runs inside it: how answers of networks become those of the whole."""

    run: Run  # the Run
    members: tuple[Scorer, ...] = ()  # the Runs inside it; none for a single network
    # of a fusion ensemble, what turns the members' features into logits
    head: FusionWeights | None = None

    def answers(self, readings: Readings) -> Reading:
        """Probabilities (n, classes), or logits (n, networks * classes) yet to be ``settled``, or
        ``tile_values`` (n, networks * (classes + 1)) yet to be answers of slides.
        """
        if answers_slides(self.run):
            return self._tiles(readings)
        if not uses_neighbours(self.run):
            return self.probabilities(readings)
        indices, rows, skipped = _aligned([readings.logits(leaf) for leaf in self.run.leaves()])
        return Reading(indices, np.concatenate(rows, axis=1), skipped)

    @cached_property
    def _gates(self) -> list[tuple[Run, Gate | None]]:
        return [(leaf, load_gate(leaf)) for leaf in self.run.leaves()]

    def _tiles(self, readings: Readings) -> Reading:
        parts = []
        for leaf, gate in self._gates:
            logits, features = readings.logits(leaf), readings.features(leaf)
            if len(logits.indices):
                values = tile_values(logits.values, features.values, gate)
                logits = replace(logits, values=values)
            parts.append(logits)
        indices, rows, skipped = _aligned(parts)
        return Reading(indices, np.concatenate(rows, axis=1), skipped)

    def settled(self, found: Reading, images: pd.DataFrame) -> Reading:
        """Of ``answers`` to all ``images``, the probabilities."""
        leaves = self.run.leaves()
        if not uses_neighbours(self.run) or not len(found.indices):
            return found
        parts = np.split(found.values, len(leaves), axis=1)
        kept = _KeptLogits(
            {leaf.sha256: replace(found, values=p) for leaf, p in zip(leaves, parts, strict=True)}
        )
        return replace(found, values=self.probabilities(kept, images).values)

    def probabilities(
        self, readings: Readings | _KeptLogits, images: pd.DataFrame | None = None
    ) -> Reading:
        """Calibrated probabilities (n, classes) of the files that every network could read.

        One network answers with its softmax at the Run's temperature, folds with the mean of
        theirs, an ensemble with its vote.

        Args:
            readings: what single networks say of the files.
            images: the manifest's rows of all of them, where neighbours may count.

        Raises:
            ModelError: weights are missing or changed, or the vote is unknown.
        """
        if self.head is not None:
            if isinstance(readings, _KeptLogits):
                raise ModelError(
                    f"{self.run.folder}: a fusion takes in features, and another member counts "
                    "neighbours by their logits; make the ensemble of one kind"
                )
            return self._fused(self.head, readings)
        if not self.members:
            found = readings.logits(self.run)
            if not len(found.indices):
                return found
            record = self.run.record
            around = None if images is None else near(record, images.iloc[found.indices])
            return replace(found, values=calibrated(found.values, record, around), notes=())
        parts = [member.probabilities(readings, images) for member in self.members]
        indices, values, skipped = _stacked(parts)
        if not len(indices):
            return Reading(indices, np.empty((0, 0)), skipped)
        return Reading(indices, cast_votes(values, *self.run.record.voting), skipped)

    def stain_notes(self, readings: Readings) -> dict[Path, str]:
        """What the stain steps of the networks noted of files that were scored."""
        if not self.members:
            return dict(readings.stain_notes(self.run))
        said: dict[Path, list[str]] = {}
        for member in self.members:
            for path, note in member.stain_notes(readings).items():
                said.setdefault(path, []).append(note)
        return {path: "; ".join(dict.fromkeys(notes)) for path, notes in said.items()}

    def _fused(self, head: FusionWeights, readings: Readings) -> Reading:
        found = member_features([member.run for member in self.members], readings)
        if not len(found.indices):
            return found
        values = apply_temperature(head.logits(found.values), self.run.record.temperature)
        return Reading(found.indices, values, found.skipped)


@dataclass(frozen=True)
class _KeptLogits:
    """Logits of all images, by the SHA-256 of the network's record."""

    of: Mapping[str, Reading]

    def logits(self, run: Run) -> Reading:
        return self.of[run.sha256]


def open_scorer(run: Run) -> Scorer:
    """The Run with all that is inside it; ModelError where a member is missing or changed."""
    record = run.record
    members = tuple(open_scorer(member) for member in run.open_members())
    if not members or not record.owns_weights:
        return Scorer(run, members)
    from eosin.networks.fusion_weights import load_fusion

    return Scorer(run, members, load_fusion(run))


def cast_votes(probabilities: Floats, vote: str, weights: Sequence[float] = ()) -> Floats:
    """Combine (members, n, classes) by a soft, hard or weighted vote; ModelError for any other."""
    if vote == "soft":
        return soft_vote(probabilities)
    if vote == "hard":
        return hard_vote(probabilities)
    if vote == "weighted":
        return weighted_vote(probabilities, weights)
    raise ModelError(f"unknown vote {vote!r}; want one of {list(get_args(Vote))}")


def member_probabilities(
    members: Sequence[Run], readings: Readings, images: pd.DataFrame
) -> tuple[Ints, Floats, tuple[SkippedFile, ...]]:
    """Positions of the files that all members could read, shape (n,); probabilities of each
    member, shape (members, n, classes); the files that one could not read.
    """
    return _stacked([open_scorer(run).probabilities(readings, images) for run in members])


def member_features(members: Sequence[Run], readings: Readings) -> Reading:
    """The members' pooled features side by side, shape (n, sum of channels).

    Raises:
        ModelError: a member is itself made of Runs and so has no features of its own.
    """
    for run in members:
        if inside := run.open_members():
            raise ModelError(
                f"{run.folder}: a Run of {len(inside)} members has no features of its "
                "own to fuse; name its members instead, or use another vote"
            )
    indices, parts, skipped = _aligned([readings.features(run) for run in members])
    return Reading(indices, np.concatenate(parts, axis=1), skipped)


def _stacked(parts: Sequence[Reading]) -> tuple[Ints, Floats, tuple[SkippedFile, ...]]:
    indices, rows, skipped = _aligned(parts)
    return indices, np.stack(rows) if len(indices) else np.empty((0, 0, 0)), skipped


def _aligned(readings: Sequence[Reading]) -> tuple[Ints, list[Floats], tuple[SkippedFile, ...]]:
    """The rows of the files that all of ``readings`` hold."""
    indices = readings[0].indices
    for reading in readings[1:]:
        indices = np.intersect1d(indices, reading.indices, assume_unique=True)
    skipped = {item.path: item for reading in readings for item in reading.skipped}
    rows = [reading.values[np.isin(reading.indices, indices)] for reading in readings]
    return indices, rows, tuple(skipped.values())
