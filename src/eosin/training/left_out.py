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
    """A finished training."""

    run: Run  # the Run
    skipped: tuple[SkippedFile, ...] = ()  # files that could not be read
    # of the test split or the fold held out, or out-of-fold ones; None where there is no test image
    predictions: Predictions | None = None


def left_out_note(files: int) -> Iterator[str]:
    """A plain sentence on files that could not be read; none where all could."""
    if files:
        file, was = ("file", "was") if files == 1 else ("files", "were")
        yield f"{files} {file} could not be read and {was} left out of training."
