"""The fast reader: tiled TIFFs with 8-bit RGB, Aperio's among them, decoded as OpenSlide does."""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from eosin.arrays import UInt8Image
from eosin.errors import DataError
from eosin.slides.slide import Level
from eosin.slides.tile_cache import TILES

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_Decode: TypeAlias = Callable[[bytes, int], UInt8Image]  # of a tile's bytes and its index

COPY_AGAIN: Final = "copy or download it again"
_WHITE: Final = 255
_RGB, _YCBCR = 2, 6
_JPEG, _APERIO_RGB = 7, 33005
_LOSSLESS: Final = (1, 5, 8, 32946)  # none, LZW, deflate by two numbers
_END_OF_JPEG: Final = b"\xff\xd9"
_PADDING = 64  # bytes that may follow the end of a JPEG tile
_TURN: Final = Lock()  # where the system reads at no stated offset
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class TiledLevel:
    """Where the tiles of one level lie in the file, row by row, and what decodes them."""

    width: int
    height: int
    tile_width: int
    tile_height: int
    offsets: Sequence[int]
    counts: Sequence[int]
    compression: str
    decode: _Decode

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.width // self.tile_width)


class TiffSource:
    """The tiles of a TIFF, each read from the disk when it is wanted."""

    reader = "eosin"

    def __init__(self, path: Path, levels: Sequence[TiledLevel], ome_xml: str | None) -> None:
        self._path, self._levels, self._number = path, tuple(levels), next(_numbers)
        self.ome_xml = ome_xml
        full = levels[0].width, levels[0].height
        self.levels = tuple(Level.below((each.width, each.height), full) for each in levels)
        self.tile_sides = (levels[0].tile_width, levels[0].tile_height)
        self.compression = levels[0].compression
        self.missing = sum(not count for level in levels for count in level.counts)
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._file)
        self._require_whole()

    def _require_whole(self) -> None:
        size = os.fstat(self._file).st_size
        for number, level in enumerate(self._levels):
            ends = np.add(level.offsets, level.counts, dtype=np.int64)
            if len(ends) and ends.max() > size:
                raise DataError(
                    f"{self._path}: is truncated: {self._place(number, int(ends.argmax()))} ends "
                    f"at byte {ends.max():,} of a file that has {size:,}; {COPY_AGAIN}"
                )

    def pixels(self, level: int, box: tuple[int, int, int, int]) -> UInt8Image:
        """RGB (height, width, 3) of the box (left, top, width, height), white outside the level."""
        left, top, width, height = box
        found = self._levels[level]
        out = np.full((height, width, 3), _WHITE, np.uint8)
        right, bottom = min(left + width, found.width), min(top + height, found.height)
        first_column, first_row = max(left, 0) // found.tile_width, max(top, 0) // found.tile_height
        for row in range(first_row, -(-bottom // found.tile_height)):
            y = row * found.tile_height
            upper, lower = max(y, top), min(y + found.tile_height, bottom)
            for column in range(first_column, -(-right // found.tile_width)):
                x = column * found.tile_width
                near, far = max(x, left), min(x + found.tile_width, right)
                tile = self._tile(level, row * found.columns + column)
                if tile is not None:
                    part = tile[upper - y : lower - y, near - x : far - x]
                    out[upper - top : lower - top, near - left : far - left] = part
        return out

    def _tile(self, level: int, index: int) -> UInt8Image | None:
        """A decoded tile; None for one that the file leaves out."""
        if not self._levels[level].counts[index]:
            return None
        return TILES.get((self._number, level, index), partial(self._decode, level, index))

    def _decode(self, level: int, index: int) -> UInt8Image:
        found = self._levels[level]
        raw = _read(self._file, found.offsets[index], found.counts[index])
        try:
            return found.decode(raw, index)
        except (RuntimeError, ValueError, TypeError) as fault:  # of imagecodecs and of tifffile
            raise DataError(
                f"{self._path}: {self._place(level, index)} cannot be decoded ({fault}); "
                f"{COPY_AGAIN}"
            ) from fault

    def _place(self, level: int, index: int) -> str:
        row, column = divmod(index, self._levels[level].columns)
        return f"the tile in column {column} and row {row} of level {level}"


def open_tiff(path: Path, *, aperio: bool) -> TiffSource | None:
    """The source over a tiled TIFF; None where it holds what OpenSlide had better decode.

    Levels are those that OpenSlide takes: of Aperio every tiled directory, of others the first
    and those marked as reduced; and the first one's sub-directories, where OME-TIFF keeps them.

    Raises:
        DataError: the file is truncated, or its directories are damaged.
    """
    from tifffile import TiffFile, TiffFileError

    try:
        with TiffFile(path) as file:
            pages = _level_pages(file, aperio=aperio)
            levels = [_tiled(page) for page in pages]
            ome_xml = file.ome_metadata
    except (TiffFileError, ValueError, IndexError, KeyError, TypeError) as fault:
        raise DataError(
            f"{path}: its directories cannot be read ({fault}); {COPY_AGAIN}"
        ) from fault
    known = [each for each in levels if each is not None]
    return TiffSource(path, known, ome_xml) if known and len(known) == len(levels) else None


def _level_pages(file: TiffFile, *, aperio: bool) -> list[TiffPage]:
    pages = [page.aspage() for page in file.pages]
    first = pages[0]
    if not first.is_tiled:
        return []
    rest = [page for page in pages[1:] if page.is_tiled and (aperio or page.is_reduced)]
    below = [] if first.pages is None else [page.aspage() for page in first.pages]
    found = [first, *rest, *(page for page in below if page.is_tiled)]
    return sorted(found, key=lambda page: -page.imagewidth)


def _tiled(page: TiffPage) -> TiledLevel | None:
    """One level; None where its pixels are none that are decoded here."""
    decode = _decoder(page)
    if decode is None:
        return None
    return TiledLevel(
        page.imagewidth,
        page.imagelength,
        page.tilewidth,
        page.tilelength,
        page.dataoffsets,
        page.databytecounts,
        page.compression.name.replace("_", " ").replace("APERIO JP2000", "JPEG 2000"),
        decode,
    )


def _decoder(page: TiffPage) -> _Decode | None:
    import imagecodecs

    plain = (page.bitspersample, page.samplesperpixel, page.planarconfig) == (8, 3, 1)
    if not plain or page.imagedepth != 1 or page.photometric not in (_RGB, _YCBCR):
        return None
    shape = (page.tilelength, page.tilewidth, 3)
    if page.compression == _JPEG:
        space = "YCBCR" if page.photometric == _YCBCR else "RGB"
        jpeg = partial(
            imagecodecs.jpeg8_decode,
            tables=page.jpegtables,
            colorspace=space,
            outcolorspace="RGB",
        )
        return lambda raw, _: _shaped(jpeg(_whole_jpeg(raw)), shape)
    if page.photometric != _RGB:
        return None
    if page.compression == _APERIO_RGB:
        return lambda raw, _: _shaped(imagecodecs.jpeg2k_decode(raw), shape)
    if page.compression in _LOSSLESS:
        decode = page.decode
        return lambda raw, index: np.array(decode(raw, index)[0][0], np.uint8)
    return None


def _whole_jpeg(raw: bytes) -> bytes:
    """The bytes; ValueError where their end is missing, which the decoder fills with grey."""
    if raw.rfind(_END_OF_JPEG, -_PADDING) < 0:
        raise ValueError("the JPEG ends too early")
    return raw


def _shaped(tile: UInt8Image, shape: tuple[int, int, int]) -> UInt8Image:
    if tile.shape != shape or tile.dtype != np.uint8:
        raise ValueError(f"it holds {tile.shape} values of {tile.dtype}, not {shape} bytes")
    return tile


def _read(file: int, offset: int, count: int) -> bytes:
    """Bytes of an open file, whatever other threads read of it."""
    if hasattr(os, "pread"):
        return os.pread(file, count, offset)
    with _TURN:
        os.lseek(file, offset, os.SEEK_SET)
        return os.read(file, count)
