"""The first line of a prediction's journal: which Run scores which images, and how."""

from __future__ import annotations

from typing import Literal

from eosin.artefacts.codec import Artefact
from eosin.artefacts.values import Count, PositiveCount, Sha256


class JournalHead(Artefact):
    """What decides the numbers of a prediction."""

    kind: Literal["prediction journal"] = "prediction journal"
    run: str  # the Run's folder, to be named; not compared
    run_sha256: Sha256  # of its ``run.json``, which holds the SHA-256 of weights and members
    images: Count  # how many; told, not compared
    images_sha256: Sha256  # of all that is known of them, in order
    split: str  # that is scored
    allow_seen: bool  # whether patients may be scored that the Run has seen
    device: str  # as asked for
    engine: str  # as asked for
    batch_size: PositiveCount  # images a forward pass; the last digits can depend on it
    eosin: str  # the version
