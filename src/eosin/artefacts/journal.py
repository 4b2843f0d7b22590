"""The first line of a prediction's journal: which Run scores which images, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from eosin.artefacts.codec import Artefact
from eosin.artefacts.values import Count, Sha256


class JournalHead(Artefact):
    """What decides the numbers of a prediction.

    Attributes:
        run: the Run's folder, to be named; not compared.
        run_sha256: of its ``run.json``, which holds the SHA-256 of weights and members.
        images: how many; told, not compared.
        images_sha256: of all that is known of them, in order.
        split: that is scored.
        allow_seen: whether patients may be scored that the Run has seen.
        device: as asked for.
        engine: as asked for.
        batch_size: images a forward pass; the last digits can depend on it.
        eosin: the version.
    """

    kind: Literal["prediction journal"] = "prediction journal"
    run: str
    run_sha256: Sha256
    images: Count
    images_sha256: Sha256
    split: str
    allow_seen: bool
    device: str
    engine: str
    batch_size: Annotated[int, Field(ge=1)]
    eosin: str
