"""From an image file to RGB bytes: content decides, limits come first, and a bad file is named."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition
from typing import TYPE_CHECKING, Self

import numpy as np

from eosin.arrays import UInt8Image as UInt8Image
from eosin.artefacts.tables import ERRORS, companion, write_csv
from eosin.errors import DataError
from eosin.files import disk_errors
from eosin.machine import MOST_MEGAPIXELS
from eosin.pixels.completeness import IncompleteError, UnsupportedError
from eosin.pixels.decoding import Encoded, format_of, open_encoded
from eosin.slides.opening import opened, read_tile
from eosin.slides.tile import Tile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_COPY_AGAIN = "copy or download it again, or remove it"


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What a file may cost; all are looked at before a pixel is decoded.

    Attributes:
        max_bytes: size of the file.
        max_pixels: width times height.
        max_side: width, and height, pixels.
    """

    max_bytes: int = 256 * 2**20
    max_pixels: int = round(MOST_MEGAPIXELS * 1e6)
    max_side: int = 65_500


_limits = ReadLimits()
_ANY_SLIDE = ReadLimits(max_bytes=2**63)


def limit_megapixels(most: float) -> None:
    """Let this process read images of up to ``most`` million pixels."""
    global _limits
    _limits = ReadLimits(max_pixels=round(most * 1_000_000))


def most_megapixels() -> float:
    """Of an image that this process reads, in million pixels."""
    return _limits.max_pixels / 1_000_000


_refused: dict[str, str] = {}


def refuse_files(reasons: Mapping[str, str]) -> None:
    """From here on this process reads none of these files, and says why; those before, it may."""
    _refused.clear()
    _refused.update(reasons)


def require_not_refused(path: Path) -> None:
    """DataError where this process shall not read ``path``."""
    if str(path) in _refused:
        raise DataError(f"{path}: {_refused[str(path)]}")


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the header of an image says: sides as stored (pixels), format, size of the file."""

    width: int
    height: int
    format: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file, or the folder of a Run, that was left out, and why."""

    path: Path
    reason: str

    @classmethod
    def from_error(cls, path: Path, error: DataError) -> Self:
        """The row for ``path`` from what ``read_image`` or ``inspect_image`` raised on it."""
        return cls(path, str(error).removeprefix(f"{path}: "))


def is_image_name(path: Path) -> bool:
    """Whether a name ends like an image (any case) and is not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def inspect_image(path: Path, *, limits: ReadLimits | None = None) -> ImageFacts:
    """Read the header only.

    Args:
        path: a file.
        limits: what it may cost; None for those of this process.

    Raises:
        DataError: the file is missing, empty, no PNG, JPEG, TIFF or BMP, evidently truncated,
            or larger than ``limits``; names the file, the reason and the fix.
    """
    tile = Tile.of(path)
    if tile is not None:
        opened(tile.slide)
        return ImageFacts(tile.size, tile.size, "tile", _size(tile.slide, _ANY_SLIDE))
    with _opened(path, limits or _limits) as (image, size):
        image.require_sound_header()
        return ImageFacts(image.width, image.height, image.format, size)


def read_image(path: Path, *, limits: ReadLimits | None = None) -> UInt8Image:
    """An image as RGB bytes, shape (height, width, 3), contiguous, 0 to 255, upright.

    PNG, JPEG, TIFF (its first page) and BMP, told apart by content. 16-bit values are divided by
    257 and rounded, grey and palettes become RGB, alpha is laid on white, CMYK is converted
    without a colour profile, and the EXIF orientation is applied. A tile is read from its slide.

    Raises:
        DataError: as ``inspect_image``, and where pixels are damaged, missing, or of a kind that
            is not read.
    """
    tile = Tile.of(path)
    if tile is not None:
        return read_tile(tile)
    with _opened(path, limits or _limits) as (image, _):
        return image.decode()


@contextmanager
def image_in_turn(path: Path) -> Iterator[UInt8Image]:
    """``read_image`` for threads: large images wait until others are let go of.

    Whoever holds one must not ask for another.
    """
    require_not_refused(path)
    tile = Tile.of(path)
    if tile is not None:
        with _ROOM.held(tile.size**2):
            yield read_tile(tile)
        return
    with ExitStack() as room:
        with _opened(path, _limits) as (image, _):
            room.enter_context(_ROOM.held(image.width * image.height))
            pixels = image.decode()
        yield pixels


def reduced(image: UInt8Image, *, most: int) -> UInt8Image:
    """The image, averaged to about ``most`` pixels where it has more."""
    import cv2

    height, width = image.shape[:2]
    scale = (most / (height * width)) ** 0.5
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


class _Room:
    """How many pixels all threads together may hold decoded; one image always may be."""

    def __init__(self, most: int) -> None:
        self._most, self._held, self._changed = most, 0, Condition()

    @contextmanager
    def held(self, pixels: int) -> Iterator[None]:
        """Wait for room for an image, and keep it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + pixels <= self._most)
            self._held += pixels
        try:
            yield
        finally:
            with self._changed:
                self._held -= pixels
                self._changed.notify_all()


_ROOM = _Room(_limits.max_pixels)


def error_table_path(table: Path) -> Path:
    """Where the skipped files of a table are listed: ``bh.csv`` has ``bh.csv.errors.csv``."""
    return companion(table, ERRORS)


def write_error_table(skipped: Sequence[SkippedFile], path: Path) -> None:
    """Write ``file,reason`` rows; where nothing was skipped, remove an older table instead.

    A name that is not UTF-8 is written as the bytes that it is.
    """
    if not skipped:
        with disk_errors(path, doing="removed"):
            if os.path.lexists(path):  # on a read-only disk even nothing cannot be removed
                path.unlink()
        return
    import pandas as pd

    rows = [(str(item.path), item.reason) for item in skipped]
    write_csv(pd.DataFrame(rows, columns=["file", "reason"]), path)


def kind_of_file(mode: int) -> str:
    """What a file is by its ``st_mode``: nothing for a regular one, which alone may be opened."""
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return "" if stat.S_ISREG(mode) else kinds.get(stat.S_IFMT(mode), "a device")


def _size(path: Path, limits: ReadLimits) -> int:
    try:
        facts = path.stat()
    except OSError as fault:
        raise DataError(f"{path}: cannot be opened ({fault.strerror}); correct the path") from fault
    size, kind = facts.st_size, kind_of_file(facts.st_mode)
    if kind:
        raise DataError(f"{path}: is {kind}, not an image; name a file")
    if size == 0:
        raise DataError(f"{path}: is empty (0 bytes); {_COPY_AGAIN}")
    if size > limits.max_bytes:
        raise DataError(
            f"{path}: has {size:,} bytes, more than the limit of {limits.max_bytes:,}; "
            "cut it into smaller images"
        )
    return size


@contextmanager
def _opened(path: Path, limits: ReadLimits) -> Iterator[tuple[Encoded, int]]:
    """An image with its sides known and no pixel decoded, and the size of its file.

    What is wrong with the file, here or where its pixels are asked for, becomes a DataError.
    """
    size = _size(path, limits)
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
            form = format_of(head)
            if form is None:
                raise DataError(
                    f"{path}: is not an image that eosin reads (it starts with {head[:8]!r}); "
                    "convert it to PNG, JPEG, TIFF or BMP, or remove it"
                )
            image = open_encoded(stream, size, form)
            _require_within(path, image, limits)
            yield image, size
    except UnsupportedError as fault:
        raise DataError(f"{path}: {fault}; convert it to 8-bit RGB, or remove it") from fault
    except IncompleteError as fault:
        raise DataError(f"{path}: {fault}; {_COPY_AGAIN}") from fault
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault}); {_COPY_AGAIN}") from fault


def _require_within(path: Path, image: Encoded, limits: ReadLimits) -> None:
    said = f"{path}: is {image.width} x {image.height}, more than the limit of"
    if max(image.width, image.height) > limits.max_side:
        raise DataError(f"{said} {limits.max_side:,} pixels a side; cut it into smaller images")
    if image.width * image.height > limits.max_pixels:
        raise DataError(
            f"{said} {limits.max_pixels / 1e6:g} megapixels; cut it into smaller images or raise "
            "--max-megapixels"
        )
