"""From files to batches of network input, read ahead in threads, bad files set aside."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from eosin.artefacts.preprocessing import Preprocessing
from eosin.errors import DataError
from eosin.pixels.acquisition import ACQUISITION, measure
from eosin.pixels.preprocessing import normalise, view_with_note
from eosin.pixels.read_ahead import read_ahead
from eosin.pixels.reading import SkippedFile, image_in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from eosin.arrays import Floats, Ints, Pixels, UInt8Image
    from eosin.pixels.stain_normalizer import Source

    Alter = Callable[[Path, UInt8Image], UInt8Image]

_Said: TypeAlias = "str | SkippedFile"  # the note of a stain step, or why there is no image
_AHEAD = 2  # batches that are read while another is used


@dataclass(frozen=True)
class Batch:
    """Some images of a sequence of files.

    Attributes:
        indices: of the images in the sequence, shape (n,).
        pixels: network input, shape (n, 3, size, size).
        skipped: files met on the way that could not be read.
        notes: of each image, what its stain step had to say: a reason code, or nothing.
        measures: of each image, how it was taken, shape (n, names), by ``acquisition.measure``;
            no names where this was not asked for.
    """

    indices: Ints
    pixels: Pixels
    skipped: tuple[SkippedFile, ...] = ()
    notes: tuple[str, ...] = ()
    measures: Floats = field(default_factory=lambda: np.empty((0, 0)))

    @property
    def files(self) -> int:
        """How many files this batch accounts for, read or skipped."""
        return len(self.indices) + len(self.skipped)


@dataclass(frozen=True)
class View:
    """One way of making network input of image files.

    Attributes:
        spec: the preprocessing.
        sources: of each file, the stain of its patient, for a stain step that goes by patient
            (see ``patient_sources``).
    """

    spec: Preprocessing
    sources: Sequence[Source | None] | None = None

    def write(self, image: UInt8Image, index: int, row: Pixels) -> str:
        """Fill ``row`` (3, size, size) from the RGB ``image`` of a file; its stain step's note."""
        source = self.sources[index] if self.sources else None
        seen, note = view_with_note(image, self.spec, source=source)
        normalise(seen, self.spec, out=row)
        return note


def read_batches(
    paths: Sequence[Path],
    spec: Preprocessing,
    *,
    batch_size: int = 32,
    workers: int = 2,
    sources: Sequence[Source | None] | None = None,
    measured: bool = False,
) -> Iterator[Batch]:
    """Yield prepared batches in order; an unreadable file is named in its batch, never raised.

    Args:
        paths: image files.
        spec: the preprocessing.
        batch_size: files a batch; a batch with skipped files is that much smaller, even empty.
        workers: reading threads; at most two batches are read ahead.
        sources: as in ``View``.
        measured: whether to measure how each image was taken.
    """
    views = (View(spec, sources),)
    for (batch,) in read_views(
        paths, views, batch_size=batch_size, workers=workers, measured=measured
    ):
        yield batch


def read_views(
    paths: Sequence[Path],
    views: Sequence[View],
    *,
    batch_size: int = 32,
    workers: int = 2,
    start: int = 0,
    measured: bool = False,
    alter: Alter | None = None,
) -> Iterator[tuple[Batch, ...]]:
    """Yield batches in order, each as every one of ``views`` has it; a file is read once for all.

    Args:
        paths: image files.
        views: the ways of preparing them, one or more.
        batch_size: files a batch; a batch with skipped files is that much smaller, even empty.
        workers: reading threads, 0 for the caller's own; at most two batches are read ahead, so
            memory does not grow with the number of files.
        start: position of the first file to read; those before it are left out.
        measured: whether to measure how each image was taken.
        alter: given a file and its image, the image to take instead; runs in the reading threads.
    """
    begun: deque[_Draft] = deque()

    def rows() -> Iterator[tuple[_Draft, int]]:
        for first in range(start, len(paths), batch_size):
            begun.append(_Draft(first, paths[first : first + batch_size], views, measured, alter))
            yield from ((begun[-1], row) for row in range(begun[-1].files))

    ahead = _AHEAD * batch_size
    done = read_ahead(lambda work: work[0].load(work[1]), rows(), workers=workers, ahead=ahead)
    for first in range(start, len(paths), batch_size):
        said = [next(done) for _ in range(min(batch_size, len(paths) - first))]
        yield begun.popleft().finish(said)


class _Draft:
    """A batch, in every view, while threads are filling it."""

    def __init__(
        self,
        first: int,
        paths: Sequence[Path],
        views: Sequence[View],
        measured: bool,
        alter: Alter | None = None,
    ) -> None:
        self.first, self.paths, self.views, self.alter = first, paths, views, alter
        self.measures = np.full((len(paths), len(ACQUISITION) if measured else 0), np.nan)
        sides = [view.spec.size for view in views]
        self.pixels = [np.empty((len(paths), 3, side, side), np.float32) for side in sides]

    @property
    def files(self) -> int:
        """How many files it takes."""
        return len(self.paths)

    def load(self, row: int) -> list[_Said]:
        """Read a file into its row of every view; of each, the note, or why there is none."""
        path = self.paths[row]
        try:
            with image_in_turn(path) as read:
                image = read if self.alter is None else self.alter(path, read)
                if self.measures.size:
                    self.measures[row] = measure(image, path)
                return [self._write(number, image, row) for number in range(len(self.views))]
        except DataError as error:
            return [SkippedFile.from_error(path, error)] * len(self.views)

    def finish(self, said: Sequence[list[_Said]]) -> tuple[Batch, ...]:
        """The batch as each view has it, from what ``load`` said of each row."""
        columns = zip(*said, strict=True)
        return tuple(
            self._batch(pixels, words) for pixels, words in zip(self.pixels, columns, strict=True)
        )

    def _write(self, number: int, image: UInt8Image, row: int) -> _Said:
        try:
            return self.views[number].write(image, self.first + row, self.pixels[number][row])
        except DataError as error:
            return SkippedFile.from_error(self.paths[row], error)

    def _batch(self, pixels: Pixels, said: Sequence[_Said]) -> Batch:
        rows = [row for row, word in enumerate(said) if isinstance(word, str)]
        return Batch(
            indices=self.first + np.array(rows, dtype=np.int64),
            pixels=pixels if len(rows) == self.files else pixels[rows],
            skipped=tuple(word for word in said if isinstance(word, SkippedFile)),
            notes=tuple(word for word in said if isinstance(word, str)),
            measures=self.measures[rows],
        )
