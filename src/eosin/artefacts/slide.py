"""What a Run says of one slide, ``slide.json``: how its tissue divides among the classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from eosin.artefacts.codec import Artefact, Strict, read_artefact
from eosin.artefacts.values import (
    Count,
    NamedProtocol,
    NotNegative,
    Positive,
    PositiveCount,
    Sha256,
    Share,
)
from eosin.tasks import Task

if TYPE_CHECKING:
    from pathlib import Path

_FIX = "predict again with `eosin predict RUN SLIDE -o DIR`"


class ClassShare(Strict):
    """The share of a slide's tissue that a class has, with its interval over squares of tissue."""

    name: str
    share: Share
    low: Share | None  # None where the slide has too little tissue for an interval
    high: Share | None
    probability: Share  # the mean over its tiles


class WholeAnswer(Strict):
    """What a Run that answers for slides says of one."""

    decision: str  # the class
    probabilities: dict[str, Share]
    answer: str | None  # a class or ``"abstain"``; None where the Run cannot tell


class SlideAnswer(Artefact):
    """What was scored of a slide, and what came out."""

    kind: Literal["slide answer"] = "slide answer"
    slide: str  # its file
    patient: str  # whom it shows, as far as it is known, else the file
    label: str  # what is true of it, or empty
    vendor: str
    width: PositiveCount  # pixels of level 0
    height: PositiveCount
    slide_mpp: Positive  # um a pixel of level 0
    size: PositiveCount  # side of a tile as it was read, pixels
    overlap: Count  # of neighbours, pixels
    mpp: Positive  # um a pixel of a tile
    tile_width: Positive  # side of a tile, pixels of level 0
    step: Positive  # from one tile to the next, pixels of level 0
    run: str  # its folder, as it was named
    run_sha256: Sha256
    task: Task
    protocol: NamedProtocol  # of the Run's training
    threshold: Share | None
    tiles: Count  # that were scored
    unread: Count  # that could not be
    tissue_mm2: NotNegative  # on all of the slide
    areas: dict[str, Share]  # share of the slide that is glass, tissue, pen...
    flagged: Share | None  # of its tiles; None where the Run cannot tell
    squares: Count  # of tissue that the intervals were drawn over
    classes: tuple[ClassShare, ...]
    whole: WholeAnswer | None  # None for Runs that answer for tiles
    notes: tuple[str, ...]


def read_slide_answer(path: Path) -> SlideAnswer:
    """Read a ``slide.json``; DataError naming the file, the field and the fix."""
    return read_artefact(SlideAnswer, path, fix=_FIX)
