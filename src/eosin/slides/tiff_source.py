"""The fast reader: tiled TIFFs with 8-bit RGB, Aperio's among them, decoded as OpenSlide does."""

from __future__ import annotations

import itertools
import os
import struct
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
from eosin.files import disk_errors, drafted, sweep
from eosin.remote import RemotePath
from eosin.slides.openslide_source import COPY_AGAIN
from eosin.slides.slide import Box, Level, Source
from eosin.slides.tile_cache import TILES
from eosin.store import stored, tried

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

    from eosin.store import Stored

_Decode: TypeAlias = Callable[[bytes, int], UInt8Image]  # of a tile's bytes and its index
_Key: TypeAlias = tuple[int, int, int]  # the number of a file's reader, a level, a tile's index

_RGB, _YCBCR = 2, 6
_JPEG, _APERIO_RGB = 7, 33005
_LOSSLESS: Final = (1, 5, 8, 32946)  # none, LZW, deflate by two numbers
_WHITE: Final = 255
_MOST_PIXELS: Final = 2**26  # of a tile
_PADDING: Final = 64  # bytes that may follow the end of a JPEG tile
_TURN: Final = Lock()  # to read, where the system reads at no stated offset
# What tifffile raises where a directory is damaged; its own errors are ValueErrors.
_DAMAGE: Final = (ValueError, LookupError, TypeError, ArithmeticError, struct.error)
TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEAD: Final = 132  # bytes that tell what a file is
_BLOCK: Final = 2**15  # bytes of directories that are fetched at once
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class _TiledLevel:
    """Where the tiles of one level lie in the file, row by row, and what decodes them."""

    width: int
    height: int
    tile_width: int
    tile_height: int
    offsets: Sequence[int]
    counts: Sequence[int]
    decode: _Decode

    @property
    def columns(self) -> int:
        return -(-self.width // self.tile_width)


def tiff_source(path: Path, *, aperio: bool) -> Source | None:
    """The source over a tiled TIFF; None where it holds what OpenSlide had better decode.

    Levels are those that OpenSlide takes, of Aperio every tiled directory, of others the first
    and those marked as reduced; and the first one's sub-directories, where OME-TIFF keeps them.

    Raises:
        DataError: the file is truncated, or its directories are damaged.
    """
    from tifffile import COMPRESSION, TiffFile

    try:
        with TiffFile(outline(path)) as file:
            pages = _level_pages(file, aperio=aperio)
            levels = [_tiled(page, each) for page in pages if (each := _decoder(page)) is not None]
            if not levels or len(levels) < len(pages):
                return None
            name = COMPRESSION(pages[0].compression).name
    except _DAMAGE as fault:
        raise DataError(f"{path}: its directories are damaged ({fault}); {COPY_AGAIN}") from fault
    full = levels[0].width, levels[0].height
    return Source(
        "eosin",
        tuple(Level.below(full, each.width, each.height) for each in levels),
        _Tiles(path, levels),
        (levels[0].tile_width, levels[0].tile_height),
        "JPEG 2000" if name.startswith("APERIO") else name,
        sum(not count for each in levels for count in each.counts),
    )


def outline(path: Path) -> Path:
    """The file itself; of a TIFF in a store its directories, with holes instead of pixels."""
    if not isinstance(path, RemotePath):
        return path
    found = stored(str(path))
    copy = found.home / "outline" / path.name
    if not copy.exists():
        head = head_of(path)
        if not head.startswith(TIFF) or is_dicom(head):
            return here(path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        sweep(copy.parent)
        with drafted(copy) as draft:
            if not tried(partial(_draw, found, draft), found.url):
                return here(path)
            found.require_unchanged()
            draft.replace(copy)
    return copy


def here(path: Path) -> Path:
    """The file or folder on a disk: what lies at a URL is fetched whole."""
    return Path(os.fspath(path))


def head_of(path: Path) -> bytes:
    """The first bytes of a file."""
    if isinstance(path, RemotePath):
        found = stored(str(path))
        end = min(_HEAD, found.facts.st_size)
        return found.read([(0, end)])[0] if end else b""
    with path.open("rb") as stream:
        return stream.read(_HEAD)


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins so is DICOM."""
    return head[128:] == b"DICM"


def _draw(found: Stored, draft: Path) -> bool:
    """Fetch every directory with the values of its tags; False where one is damaged."""
    from tifffile import TiffFile

    os.truncate(draft, found.facts.st_size)
    kept = {"cache_type": "mmap", "cache_options": {"location": str(draft)}}  # what was read
    try:
        with (
            found.fs.open(found.target, "rb", block_size=_BLOCK, **kept) as stream,
            TiffFile(stream) as file,
        ):
            waiting = [*file.pages]
            while waiting:
                page = waiting.pop().aspage()
                _ = [tag.value for tag in page.tags]  # which reads it
                waiting += page.pages or ()
    except _DAMAGE:
        return False
    return True


def _level_pages(file: TiffFile, *, aperio: bool) -> list[TiffPage]:
    """The directories that are levels, from the finest; none where the first is not tiled."""
    first, *others = (page.aspage() for page in file.pages)
    below = [] if first.pages is None else [page.aspage() for page in first.pages]
    smaller = [page for page in others if aperio or page.is_reduced] + below
    pages = [first, *smaller] if first.is_tiled else []
    return sorted((page for page in pages if page.is_tiled), key=lambda page: -page.imagewidth)


def _tiled(page: TiffPage, decode: _Decode) -> _TiledLevel:
    width, height = int(page.imagewidth), int(page.imagelength)
    wide, high = int(page.tilewidth), int(page.tilelength)
    if min(width, height, wide, high) < 1 or wide * high > _MOST_PIXELS:
        raise ValueError(f"{width} x {height} pixels in tiles of {wide} x {high}")
    level = _TiledLevel(width, height, wide, high, page.dataoffsets, page.databytecounts, decode)
    tiles = level.columns * -(-level.height // level.tile_height)
    if (fewest := min(len(level.offsets), len(level.counts))) < tiles:
        raise ValueError(f"of {tiles} tiles only {fewest} have an offset and a size")
    return level


def _decoder(page: TiffPage) -> _Decode | None:
    """What decodes a page's tiles to the pixels that OpenSlide makes of them, if it is known."""
    import imagecodecs

    plain = (page.bitspersample, page.samplesperpixel, page.planarconfig, page.imagedepth)
    if plain != (8, 3, 1, 1):
        return None
    if page.compression == _JPEG and page.photometric in (_RGB, _YCBCR):
        space = "RGB" if page.photometric == _RGB else "YCBCR"
        jpeg = partial(imagecodecs.jpeg8_decode, tables=page.jpegtables, outcolorspace="RGB")
        return lambda raw, _: jpeg(_ended(raw), colorspace=space)
    if page.photometric != _RGB:
        return None
    if page.compression == _APERIO_RGB:
        return lambda raw, _: imagecodecs.jpeg2k_decode(_ended(raw))
    if page.compression in _LOSSLESS:
        decode = page.decode
        return lambda raw, index: np.asarray(decode(raw, index, _fullsize=True)[0])[0]
    return None


def _ended(raw: bytes) -> bytes:
    """The bytes; ValueError without JPEG's end marker, where a decoder would fill up with grey."""
    if raw.rfind(b"\xff\xd9", -_PADDING) < 0:
        raise ValueError("it ends too early")
    return raw


class _Tiles:
    """The pixels of a TIFF, each tile read from the disk or the store when it is wanted."""

    def __init__(self, path: Path, levels: Sequence[_TiledLevel]) -> None:
        self._path, self._levels, self._number = path, tuple(levels), next(_numbers)
        self._stored = stored(str(path)) if isinstance(path, RemotePath) else None
        if self._stored is None:
            self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            weakref.finalize(self, os.close, self._file)
        size = (self._stored.facts if self._stored else os.fstat(self._file)).st_size
        for number, level in enumerate(levels):
            for index, (offset, count) in enumerate(zip(level.offsets, level.counts, strict=False)):
                if count and offset + count > size:
                    raise DataError(
                        f"{path}: is truncated: {self._named(number, index)} ends at byte "
                        f"{offset + count:,} of a file that has {size:,}; {COPY_AGAIN}"
                    )

    def __call__(self, level: int, box: Box) -> UInt8Image:
        """RGB of a box of a level; white outside it, and where a tile is missing."""
        left, top, width, height = box
        found = self._levels[level]
        right, bottom = min(left + width, found.width), min(top + height, found.height)
        wide, high = found.tile_width, found.tile_height
        out = np.empty((height, width, 3), np.uint8)
        if min(box[:2]) < 0 or (right, bottom) != (left + width, top + height):
            out[:] = _WHITE
        down = range(max(top, 0) // high, -(-bottom // high))
        across = range(max(left, 0) // wide, -(-right // wide))
        wanted = [y * found.columns + x for y in down for x in across]
        keys = [(self._number, level, index) for index in wanted if found.counts[index]]
        tiles = TILES.get(keys, self._fetch)
        for row in down:
            upper, lower = max(row * high, top), min(row * high + high, bottom)
            for column in across:
                near, far = max(column * wide, left), min(column * wide + wide, right)
                rows = slice(upper - row * high, lower - row * high)
                columns = slice(near - column * wide, far - column * wide)
                tile = tiles.get((self._number, level, row * found.columns + column))
                part = _WHITE if tile is None else tile[rows, columns]
                out[upper - top : lower - top, near - left : far - left] = part
        return out

    def _fetch(self, keys: Sequence[_Key]) -> list[Callable[[], UInt8Image]]:
        """What decodes tiles of one level, whose bytes are here where they come from a store."""
        if self._stored is None:
            return [partial(self._decode, key) for key in keys]
        found = self._levels[keys[0][1]]
        spans = [(found.offsets[k], found.offsets[k] + found.counts[k]) for _, _, k in keys]
        with disk_errors(self._path, doing="read"):
            raw = self._stored.read(spans)
        return [partial(self._decode, key, data) for key, data in zip(keys, raw, strict=True)]

    def _decode(self, key: _Key, raw: bytes | None = None) -> UInt8Image:
        _, level, index = key
        found = self._levels[level]
        shape = (found.tile_height, found.tile_width, 3)
        try:
            if raw is None:
                raw = _read(self._file, found.offsets[index], found.counts[index])
            tile = found.decode(raw, index)
            if tile.shape != shape or tile.dtype != np.uint8:
                raise ValueError(f"it holds {tile.shape} values of {tile.dtype}, not {shape} bytes")
        except (RuntimeError, ValueError, TypeError, OSError) as fault:  # the decoders', the disk's
            raise DataError(
                f"{self._path}: {self._named(level, index)} cannot be decoded ({fault}); "
                f"{COPY_AGAIN}"
            ) from fault
        return tile

    def _named(self, level: int, index: int) -> str:
        row, column = divmod(index, self._levels[level].columns)
        return f"the tile in column {column} and row {row} of level {level}"


def _read(file: int, offset: int, count: int) -> bytes:
    """Bytes of an open file, whatever other threads read of it."""
    if hasattr(os, "pread"):
        return os.pread(file, count, offset)
    with _TURN:
        os.lseek(file, offset, os.SEEK_SET)
        return os.read(file, count)
