"""From files to batches of network input, read ahead in threads, bad files set aside."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from eosin.errors import DataError
from eosin.pixels.preprocessing import Preprocessing, normalise, view_with_note
from eosin.pixels.reading import SkippedFile, read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from eosin.pixels.stain_normalizer import Source

    Alter = Callable[[int, npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Batch:
    """Some images of a sequence of files.

    Attributes:
        places: positions of the images in the sequence, shape (n,).
        pixels: network input, shape (n, 3, size, size).
        skipped: files met on the way that could not be read.
        notes: of each image, what its stain step had to say: a reason code, or nothing.
    """

    places: npt.NDArray[np.int64]
    pixels: npt.NDArray[np.float32]
    skipped: tuple[SkippedFile, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> int:
        """How many files this batch accounts for, read or skipped."""
        return len(self.places) + len(self.skipped)


@dataclass(frozen=True)
class _Loaded:
    """One image as network input, and the note of its stain step."""

    pixels: npt.NDArray[np.float32]
    note: str


def read_batches(
    paths: Sequence[Path],
    spec: Preprocessing,
    *,
    batch_size: int = 32,
    workers: int = 2,
    alter: Alter | None = None,
    sources: Sequence[Source | None] | None = None,
) -> Iterator[Batch]:
    """Yield prepared batches in order; an unreadable file is named in its batch, never raised.

    Args:
        paths: image files.
        spec: the preprocessing.
        batch_size: files a batch; a batch with skipped files is that much smaller, even empty.
        workers: reading threads; at most two batches are read ahead.
        alter: given a file's position and its resized RGB bytes (size, size, 3), the bytes to
            normalise instead: training's augmentation. It runs in the reading threads.
        sources: of each file, the stain of its patient, for a stain step that goes by patient
            (see ``patient_sources``).

    """

    def load(place: int) -> _Loaded | SkippedFile:
        change = None if alter is None else partial(alter, place)
        return _load(paths[place], spec, change, source=sources[place] if sources else None)

    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[_Loaded | SkippedFile]] = deque()
        coming = iter(range(len(paths)))
        waiting.extend(pool.submit(load, place) for place in islice(coming, 2 * batch_size))
        try:
            for start in range(0, len(paths), batch_size):
                size = min(batch_size, len(paths) - start)
                loaded = [waiting.popleft().result() for _ in range(size)]
                waiting.extend(pool.submit(load, place) for place in islice(coming, size))
                yield _assemble(loaded, start, spec)
        finally:
            for future in waiting:
                future.cancel()


def _load(
    path: Path,
    spec: Preprocessing,
    alter: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]] | None,
    *,
    source: Source | None,
) -> _Loaded | SkippedFile:
    try:
        image, note = view_with_note(read_image(path), spec, source=source)
        return _Loaded(normalise(image if alter is None else alter(image), spec), note)
    except DataError as error:
        return SkippedFile.from_error(path, error)


def _assemble(loaded: Sequence[_Loaded | SkippedFile], start: int, spec: Preprocessing) -> Batch:
    import numpy as np

    images = [(start + k, x) for k, x in enumerate(loaded) if not isinstance(x, SkippedFile)]
    pixels = np.empty((len(images), 3, spec.size, spec.size), np.float32)
    for row, (_, image) in enumerate(images):
        pixels[row] = image.pixels
    return Batch(
        places=np.array([place for place, _ in images], dtype=np.int64),
        pixels=pixels,
        skipped=tuple(x for x in loaded if isinstance(x, SkippedFile)),
        notes=tuple(image.note for _, image in images),
    )
