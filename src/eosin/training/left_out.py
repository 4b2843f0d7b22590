"""What a training gave, and what is said of the images that it had to do without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eosin.artefacts.predictions import Predictions
    from eosin.networks.run import Run
    from eosin.pixels.reading import SkippedFile


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        run: the Run.
        skipped: files that could not be read.
        predictions: out-of-fold predictions, where every fold was trained.
    """

    run: Run
    skipped: tuple[SkippedFile, ...] = ()
    predictions: Predictions | None = None


def left_out_note(files: int) -> Iterator[str]:
    """A plain sentence on files that could not be read; none where all could."""
    if files:
        were = "1 file could not be read and was"
        if files > 1:
            were = f"{files} files could not be read and were"
        yield f"{were} left out of training."
