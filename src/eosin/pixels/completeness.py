"""Whether an image file is whole: it ends where its format says, and its checksums hold.

Decoders fill what is missing with grey or black and say nothing, so this is looked at first.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Mapping

_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = 0xDA
_JPEG_BARE = {0x01, *range(0xD0, 0xD9)}  # markers that no length follows
_TIFF_PLACES = ((273, 279), (324, 325))  # offsets and byte counts of strips, and of tiles
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TIFF_SIZES |= {16: 8, 17: 8, 18: 8}
_BMP_UNCOMPRESSED = {0, 3}
_TAIL = 4096


class IncompleteError(ValueError):
    """A file is not whole; the text says where it ends or what does not fit."""


def require_png_end(stream: BinaryIO, size: int) -> None:
    """IncompleteError where a PNG of ``size`` bytes has no IEND chunk."""
    stream.seek(max(0, size - len(_PNG_END)))
    if stream.read() == _PNG_END:
        return
    place = 8
    while place + 12 <= size:
        stream.seek(place)
        length, kind = struct.unpack(">I4s", stream.read(8))
        if kind == b"IEND":
            return
        place += 12 + length
    raise IncompleteError("truncated PNG (it ends before its IEND chunk)")


def png_chunks(data: bytes) -> set[bytes]:
    """The kinds of chunk in a PNG; IncompleteError where it is cut or a checksum is wrong."""
    kinds: set[bytes] = set()
    view, place = memoryview(data), 8
    while b"IEND" not in kinds:
        if place + 12 > len(data):
            raise IncompleteError("truncated PNG (it ends before its IEND chunk)")
        length, kind = struct.unpack_from(">I4s", data, place)
        stored = view[place + 8 + length : place + 12 + length]
        if len(stored) < 4:
            raise IncompleteError("truncated PNG (it ends before its IEND chunk)")
        if zlib.crc32(view[place + 4 : place + 8 + length]) != int.from_bytes(stored, "big"):
            raise IncompleteError(f"damaged PNG (the checksum of a chunk {kind!r} is wrong)")
        kinds.add(kind)
        place += 12 + length
    return kinds


def require_jpeg_end(stream: BinaryIO, size: int) -> None:
    """IncompleteError where a JPEG of ``size`` bytes has no end marker after its pixels."""
    scan = _jpeg_scan(stream)
    stream.seek(max(scan, size - _TAIL))
    if _JPEG_END in stream.read():
        return
    stream.seek(scan)  # something long was appended to it, or it is cut
    if _JPEG_END not in stream.read():
        raise IncompleteError("truncated JPEG (it ends before its end-of-image marker)")


def _jpeg_scan(stream: BinaryIO) -> int:
    """Where the pixels of a JPEG begin: behind its first start-of-scan marker."""
    stream.seek(2)
    while True:
        head = stream.read(2)
        while len(head) == 2 and head[1] == 0xFF:  # markers may be padded with 0xFF
            head = head[1:] + stream.read(1)
        if len(head) < 2 or head[0] != 0xFF:
            raise IncompleteError("truncated JPEG (it ends inside its header)")
        if head[1] in _JPEG_BARE:
            continue
        if head[1] == _JPEG_SCAN:
            return stream.tell()
        length = stream.read(2)
        if len(length) < 2:
            raise IncompleteError("truncated JPEG (it ends inside its header)")
        stream.seek(int.from_bytes(length, "big") - 2, 1)


def require_bmp_pixels(stream: BinaryIO, size: int) -> None:
    """IncompleteError where an uncompressed BMP of ``size`` bytes is too short for its pixels."""
    stream.seek(0)
    head = stream.read(34)
    if len(head) < 34:
        raise IncompleteError("truncated BMP (it ends inside its header)")
    offset, header, width, height, _, depth, packing = struct.unpack_from("<IIiiHHI", head, 10)
    if header < 40 or packing not in _BMP_UNCOMPRESSED:
        return  # an OS/2 header or a packed one: the decoder finds the cut
    wanted = offset + (width * depth + 31) // 32 * 4 * abs(height)
    if size < wanted:
        raise IncompleteError(f"truncated BMP ({size} of {wanted} bytes)")


def require_tiff_directory(stream: BinaryIO, size: int) -> None:
    """IncompleteError where the first directory of a TIFF, or a value it names, is beyond its end.

    Reads both the classic and the 64-bit form.
    """
    stream.seek(0)
    head = stream.read(16)
    order = "<" if head.startswith(b"II") else ">"
    big = head[2:4] in (b"+\x00", b"\x00+")
    place, number, entry = ("Q", "Q", "HHQQ") if big else ("I", "H", "HHII")
    try:
        (start,) = struct.unpack_from(order + place, head, 8 if big else 4)
        stream.seek(start)
        (count,) = struct.unpack(order + number, stream.read(struct.calcsize("<" + number)))
        step = struct.calcsize("<" + entry)
        if start + count * step > size:
            raise IncompleteError("truncated TIFF (it ends inside its directory)")
        for _, kind, values, where in struct.iter_unpack(order + entry, stream.read(count * step)):
            length = values * _TIFF_SIZES.get(kind, 0)
            if length > struct.calcsize(place) and where + length > size:
                raise IncompleteError("truncated TIFF (it ends before a value of its directory)")
    except (struct.error, OSError, OverflowError) as fault:
        raise IncompleteError("truncated TIFF (it ends inside its header)") from fault


def require_tiff_strips(tags: Mapping[int, object], size: int) -> None:
    """IncompleteError where a TIFF of ``size`` bytes names strips or tiles beyond its end."""
    for offset_tag, count_tag in _TIFF_PLACES:
        offsets, counts = _numbers(tags.get(offset_tag)), _numbers(tags.get(count_tag))
        ends = [start + count for start, count in zip(offsets, counts, strict=False)]
        if ends and max(ends) > size:
            raise IncompleteError(f"truncated TIFF ({size} of at least {max(ends)} bytes)")


def _numbers(value: object) -> list[int]:
    if isinstance(value, int):
        return [value]
    if not isinstance(value, tuple | list):
        return []
    return [item for item in value if isinstance(item, int)]
