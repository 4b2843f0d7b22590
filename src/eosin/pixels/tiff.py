"""What the tags of a TIFF say: whether it is whole, whether it is read, which sample is alpha."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Self

from eosin.pixels.completeness import IncompleteError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _STRIP_ROWS, _STRIP_COUNTS, _PLANAR = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_INKS, _EXTRA, _FORMAT, _SUBSAMPLING = 332, 338, 339, 530
_WANTED = {
    *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIP_OFFSETS, _SAMPLES, _STRIP_ROWS),
    *(_STRIP_COUNTS, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS, _INKS),
    *(_EXTRA, _FORMAT, _SUBSAMPLING),
}
_DEFAULTS = {_BITS: 1, _COMPRESSION: 1, _SAMPLES: 1, _PLANAR: 1, _INKS: 1, _FORMAT: 1}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # bytes, shorts, longs and 64-bit longs
_MOST_TAGS, _MOST_BYTES = 1024, 16 * 2**20  # of a directory, and of one tag's value
# None, CCITT fax in its three forms, LZW, JPEG, deflate by two numbers, packed bits.
_COMPRESSIONS = {1, 2, 3, 4, 5, 7, 8, 32946, 32773}
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}  # of each photometric interpretation
_CMYK, _YCBCR = 5, 6
_JPEG = 7
_ALPHA = (1, 2)  # premultiplied, which the decoder divides out, and not


@dataclass(frozen=True, slots=True)
class TiffTags:
    """The whole numbers of a TIFF's first directory that decide about its pixels, by tag."""

    values: Mapping[int, Sequence[int]]

    @classmethod
    def read(cls, stream: BinaryIO, size: int) -> Self:
        """Read the tags of a file of ``size`` bytes, in the classic or the 64-bit form.

        Raises:
            IncompleteError: the directory, or a value that it names, is beyond the file's end.
            UnsupportedError: there are more tags, or longer ones, than any picture has.
        """
        try:
            return cls(_read_directory(stream, size))
        except (struct.error, OSError, OverflowError) as fault:
            raise IncompleteError("truncated TIFF (it ends inside its header)") from fault

    @property
    def side_lengths(self) -> tuple[int, int]:
        """Width and height, pixels; IncompleteError where they are not said."""
        width, height = self._first(_WIDTH), self._first(_HEIGHT)
        if not width or not height:
            raise IncompleteError("damaged TIFF (its directory says no width or height)")
        return width, height

    @property
    def alpha(self) -> bool:
        """Whether the sample behind the colours is alpha: one that is unspecified is not."""
        return self._first(_EXTRA) in _ALPHA

    @property
    def colours(self) -> int:
        """How many samples of a pixel are colour."""
        return _COLOURS[self._first(_PHOTOMETRIC, -1)]

    def require_supported(self) -> None:
        """UnsupportedError, with the tag at fault, where the pixels would be guessed."""
        samples, photometric = self._first(_SAMPLES), self._first(_PHOTOMETRIC, -1)
        bits, formats = set(self._of(_BITS)), set(self._of(_FORMAT))
        faults = {
            f"compression {self._first(_COMPRESSION)}": self._first(_COMPRESSION)
            not in _COMPRESSIONS,
            f"photometric interpretation {photometric}": photometric not in _COLOURS,
            f"sample format {sorted(formats)}, not unsigned integers": formats != {1},
            f"{sorted(bits)} bits a sample": len(bits) > 1 or not bits <= {1, 2, 4, 8, 16},
            f"{samples} samples a pixel": samples - _COLOURS.get(photometric, samples)
            not in (0, 1),
            "inks other than CMYK": photometric == _CMYK and self._first(_INKS) != 1,
            "YCbCr that is not JPEG": photometric == _YCBCR and self._first(_COMPRESSION) != _JPEG,
        }
        for fault, met in faults.items():
            if met:
                raise UnsupportedError(f"this kind of TIFF is not supported ({fault})")

    def require_whole(self, size: int) -> None:
        """IncompleteError where strips or tiles are missing, empty, or beyond ``size`` bytes."""
        tiled = _TILE_OFFSETS in self.values
        offsets = self._of(_TILE_OFFSETS if tiled else _STRIP_OFFSETS)
        counts = self._of(_TILE_COUNTS if tiled else _STRIP_COUNTS)
        ends = [start + count for start, count in zip(offsets, counts, strict=False)]
        if ends and max(ends) > size:
            raise IncompleteError(f"truncated TIFF ({size} of at least {max(ends)} bytes)")
        missing = self._pieces(tiled=tiled) - sum(start > 0 for start in offsets)
        if missing > 0 or 0 in counts:
            part = "tiles" if tiled else "strips"
            raise IncompleteError(f"truncated TIFF (some of its {part} are missing or empty)")

    def _pieces(self, *, tiled: bool) -> int:
        """How many strips or tiles the picture takes."""
        (width, height), planes = self.side_lengths, 1
        if self._first(_PLANAR) == 2:
            planes = self._first(_SAMPLES)
        across = width if tiled and self._first(_TILE_WIDTH) else 0
        down = self._first(_TILE_HEIGHT if tiled else _STRIP_ROWS) or height
        return planes * -(-height // down) * (-(-across // self._first(_TILE_WIDTH, 1)) or 1)

    def _of(self, tag: int) -> Sequence[int]:
        return self.values.get(tag) or ((_DEFAULTS[tag],) if tag in _DEFAULTS else ())

    def _first(self, tag: int, default: int = 0) -> int:
        return next(iter(self._of(tag)), default)


def _read_directory(stream: BinaryIO, size: int) -> dict[int, tuple[int, ...]]:
    stream.seek(0)
    head = stream.read(16)
    order = "<" if head.startswith(b"II") else ">"
    big = head[2:4] in (b"+\x00", b"\x00+")
    offset, number, entry = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")
    (start,) = struct.unpack_from(order + offset, head, 8 if big else 4)
    stream.seek(start)
    (count,) = struct.unpack(order + number, stream.read(struct.calcsize("<" + number)))
    step, room = struct.calcsize("<" + entry), struct.calcsize("<" + offset)
    if start + count * step > size:
        raise IncompleteError("truncated TIFF (it ends inside its directory)")
    if count > _MOST_TAGS:
        raise UnsupportedError(f"a TIFF with {count:,} tags is not supported")
    found: dict[int, tuple[int, ...]] = {}
    for tag, kind, length, inside in list(
        struct.iter_unpack(order + entry, stream.read(count * step))
    ):
        wide = length * _SIZES.get(kind, 0)
        (where,) = struct.unpack(order + offset, inside)
        if wide > room and where + wide > size:
            raise IncompleteError("truncated TIFF (it ends before a value of its directory)")
        if wide > _MOST_BYTES:
            raise UnsupportedError(f"a TIFF tag of {wide:,} bytes is not supported")
        if tag in _WANTED and kind in _WHOLE_NUMBERS:
            if wide > room:
                stream.seek(where)
                inside = stream.read(wide)
            found[tag] = struct.unpack(f"{order}{length}{_WHOLE_NUMBERS[kind]}", inside[:wide])
    return found
