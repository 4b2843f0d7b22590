"""What is remembered of a picture, to know it again when it was turned, rescaled or re-encoded."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from eosin.errors import DataError
from eosin.machine import reading_threads
from eosin.pixels.reading import SkippedFile, UInt8Image, image_in_turn
from eosin.progress import SILENT, Progress, working

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from eosin.arrays import Floats32

T = TypeVar("T")

SIDE = 32  # pixels of the square that every picture is averaged to
KEPT = 12  # frequencies kept along each axis: what JPEG and rescaling leave alone
_BLANK_TEXTURE = 1.0  # grey levels
_UNIFORM_SPREAD = 1.0  # grey levels


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """One picture in some 600 bytes.

    Attributes:
        pixels: digest of size and bytes: equal for equal pictures, whatever their file format.
        colours: digest of the three histograms: equal also for a picture that was only turned.
        shape: height and width, pixels.
        means: mean luma, red and blue chroma (YCrCb), 0 to 255, shape (3,).
        waves: cosine coefficients of luma, shape (KEPT, KEPT), in grey levels, mean removed.
        blank: whether there is too little structure to tell two pictures apart.
        uniform: whether it is one flat colour, so that even equal bytes prove nothing.
    """

    pixels: bytes
    colours: bytes
    shape: tuple[int, int]
    means: Floats32
    waves: Floats32
    blank: bool
    uniform: bool


def fingerprint(image: UInt8Image) -> Fingerprint:
    """The fingerprint of an RGB image (height, width, 3)."""
    import cv2

    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    colour = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    # Over SIDE: an orthonormal coefficient becomes the root mean square of its wave.
    waves = np.asarray(cv2.dct(np.ascontiguousarray(colour[:, :, 0])), np.float32)
    waves = waves[:KEPT, :KEPT] / np.float32(SIDE)
    waves[0, 0] = 0.0
    # A lamp lights the middle more than the rim: slow waves, and those along one axis only, are
    # no sign of tissue. The emptiest of 7,375 real patches and fields reaches 2.1 in the others.
    tissue = frequency() >= 4
    tissue[0, :] = tissue[:, 0] = False
    texture = float(np.sqrt(np.square(waves[tissue]).sum()))
    return Fingerprint(
        pixels=_digest(np.array(image.shape, np.int64), image),
        colours=_digest(_histograms(image)),
        shape=(image.shape[0], image.shape[1]),
        means=colour.mean(axis=(0, 1)),
        waves=waves,
        blank=texture < _BLANK_TEXTURE,
        uniform=bool(max(cv2.meanStdDev(image)[1]) < _UNIFORM_SPREAD),
    )


def read_each(
    paths: Sequence[Path],
    look: Callable[[UInt8Image], T],
    *,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> list[T | SkippedFile]:
    """What ``look`` says of every image; a file that cannot be read gives its reason instead.

    Args:
        paths: the images, in any order; the answer keeps it.
        look: called in threads.
        workers: threads that decode.
        progress: told of images read.
    """

    def read(path: Path) -> T | SkippedFile:
        try:
            with image_in_turn(path) as image:
                return look(image)
        except DataError as error:
            return SkippedFile.from_error(path, error)

    found: list[T | SkippedFile] = []
    work = working(progress, "looking", total=len(paths))
    with work, ThreadPoolExecutor(reading_threads(workers)) as pool:
        for result in pool.map(read, paths):
            found.append(result)
            progress.advance(errors=isinstance(result, SkippedFile))
    return found


def frequency() -> Floats32:
    """Distance of each kept wave from the constant one, shape (KEPT, KEPT)."""
    along = np.arange(KEPT, dtype=np.float32)
    return np.hypot(along[:, None], along[None, :])


def _histograms(image: UInt8Image) -> Floats32:
    import cv2

    return np.stack([cv2.calcHist([image], [k], None, [256], [0, 256]) for k in range(3)])


def _digest(*arrays: npt.NDArray[np.generic]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
