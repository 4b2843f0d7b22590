"""From files to batches of network input, read ahead in threads, bad files set aside."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from eosin.errors import DataError
from eosin.pixels.preprocessing import Preprocessing, normalise, resize
from eosin.pixels.reading import SkippedFile, read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    Alter = Callable[[int, npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Batch:
    """Some images of a sequence of files.

    Attributes:
        places: positions of the images in the sequence, shape (n,).
        pixels: network input, shape (n, 3, size, size).
        skipped: files met on the way that could not be read.
    """

    places: npt.NDArray[np.int64]
    pixels: npt.NDArray[np.float32]
    skipped: tuple[SkippedFile, ...] = ()

    @property
    def files(self) -> int:
        """How many files this batch accounts for, read or skipped."""
        return len(self.places) + len(self.skipped)


def read_batches(
    paths: Sequence[Path],
    spec: Preprocessing,
    *,
    batch_size: int = 32,
    workers: int = 2,
    alter: Alter | None = None,
) -> Iterator[Batch]:
    """Yield prepared batches in order; an unreadable file is named in its batch, never raised.

    Args:
        paths: image files.
        spec: the preprocessing.
        batch_size: files a batch; a batch with skipped files is that much smaller, even empty.
        workers: reading threads; at most two batches are read ahead.
        alter: given a file's position and its resized RGB bytes (size, size, 3), the bytes to
            normalise instead: training's augmentation. It runs in the reading threads.

    """

    def load(place: int) -> npt.NDArray[np.float32] | SkippedFile:
        return _load(paths[place], spec, None if alter is None else partial(alter, place))

    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[npt.NDArray[np.float32] | SkippedFile]] = deque()
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
) -> npt.NDArray[np.float32] | SkippedFile:
    try:
        image = resize(read_image(path), spec)
        return normalise(image if alter is None else alter(image), spec)
    except DataError as error:
        return SkippedFile(path, str(error).removeprefix(f"{path}: "))


def _assemble(
    loaded: Sequence[npt.NDArray[np.float32] | SkippedFile], start: int, spec: Preprocessing
) -> Batch:
    import numpy as np

    images = [(start + k, x) for k, x in enumerate(loaded) if not isinstance(x, SkippedFile)]
    pixels = np.empty((len(images), 3, spec.size, spec.size), np.float32)
    for row, (_, image) in enumerate(images):
        pixels[row] = image
    return Batch(
        places=np.array([place for place, _ in images], dtype=np.int64),
        pixels=pixels,
        skipped=tuple(x for x in loaded if isinstance(x, SkippedFile)),
    )
