"""The images of a training as a network sees them, in batches of bytes: packed, or decoded anew."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.preprocessing import Preprocessing
from eosin.errors import DataError
from eosin.machine import reading_threads
from eosin.pixels.preprocessing import view
from eosin.pixels.read_ahead import read_ahead
from eosin.pixels.reading import SkippedFile, UInt8Image, image_in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from eosin.arrays import Ints
    from eosin.pixels.stain_sources import Sources

    Alter = Callable[[int, UInt8Image], UInt8Image]

_PIECE = 8  # images that one thread takes at a time


@dataclass(frozen=True)
class Views:
    """What a network sees of each file of a sequence.

    Attributes:
        paths: image files.
        spec: the preprocessing.
        sources: of each file, the stain of its patient, where the stain step goes by patient.
        packed: images that need no decoding, shape (rows, size, size, 3).
        rows: of each file, its row in ``packed``, or -1 where it is to be decoded; empty for none.
    """

    paths: tuple[Path, ...]
    spec: Preprocessing
    sources: Sources | None = None
    packed: UInt8Image | None = None
    rows: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def view(self, index: int) -> UInt8Image:
        """Bytes (size, size, 3) of the image at ``index``, not to be changed; else DataError."""
        if self.packed is not None and self.rows[index] >= 0:
            image: UInt8Image = self.packed[self.rows[index]]
            return image
        source = self.sources[index] if self.sources else None
        with image_in_turn(self.paths[index]) as whole:
            return view(whole, self.spec, source=source)


@dataclass(frozen=True)
class ViewBatch:
    """Some images of a sequence of files, before they are normalised.

    Attributes:
        indices: their positions in ``Views``, shape (n,).
        images: bytes, shape (n, size, size, 3).
        skipped: files met on the way that could not be read.
    """

    indices: Ints
    images: UInt8Image
    skipped: tuple[SkippedFile, ...] = ()


def view_batches(
    views: Views,
    order: Sequence[int] | Ints,
    *,
    batch_size: int,
    workers: int | None = None,
    alter: Alter | None = None,
) -> Iterator[ViewBatch]:
    """Yield the images at these indices, in order; an unreadable file is named, never raised.

    Args:
        views: the images.
        order: indices in ``views``.
        batch_size: files a batch; a batch with skipped files is that much smaller, even empty.
        workers: reading threads; at most two batches are read ahead.
        alter: given an index and its image, the bytes to take instead: training's augmentation. It
            runs in the reading threads and must not write to the image.
    """
    starts = range(0, len(order), batch_size)
    batches = [np.asarray(order[start : start + batch_size], np.int64) for start in starts]
    begun: deque[UInt8Image] = deque()

    def pieces() -> Iterator[_Piece]:
        for batch in batches:
            begun.append(np.empty((len(batch), views.spec.size, views.spec.size, 3), np.uint8))
            for k in range(0, len(batch), _PIECE):
                yield _Piece(batch[k : k + _PIECE], begun[-1][k : k + _PIECE])

    ahead = 2 * -(-batch_size // _PIECE)
    task = partial(_read, views, alter=alter)
    done = read_ahead(task, pieces(), workers=reading_threads(workers), ahead=ahead)
    for batch in batches:
        read = [next(done) for _ in range(-(-len(batch) // _PIECE))]
        yield _assemble(batch, begun.popleft(), [item for skips in read for item in skips])


@dataclass(frozen=True, slots=True)
class _Piece:
    """Indices, and where their images go."""

    indices: Ints
    images: UInt8Image


def _read(views: Views, piece: _Piece, *, alter: Alter | None) -> list[tuple[int, SkippedFile]]:
    """Fill in the images; those that cannot be read are named with their indices."""
    skipped = []
    for k, index in enumerate(piece.indices.tolist()):
        try:
            image = views.view(index)
        except DataError as error:
            skipped.append((index, SkippedFile.from_error(views.paths[index], error)))
            continue
        piece.images[k] = image if alter is None else alter(index, image)
    return skipped


def _assemble(
    indices: Ints, images: UInt8Image, skipped: Sequence[tuple[int, SkippedFile]]
) -> ViewBatch:
    if not skipped:
        return ViewBatch(indices, images)
    kept = ~np.isin(indices, [index for index, _ in skipped])
    return ViewBatch(indices[kept], images[kept], tuple(item for _, item in skipped))
