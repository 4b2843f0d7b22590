"""Whether an image file evidently ends early: looked at where only the header is read."""

from __future__ import annotations

import mmap
import struct
from typing import BinaryIO

_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = 0xDA
_JPEG_BARE = {0x01, *range(0xD0, 0xD9)}  # markers that no length follows
_MOST_MARKERS = 10_000
_BMP_UNCOMPRESSED = {0, 3}
_TAIL = 4096


class IncompleteError(ValueError):
    """A file is not whole; the text says where it ends or what does not fit."""


class UnsupportedError(ValueError):
    """A sound file of a kind that is not read; the text says what of it."""


def require_png_end(stream: BinaryIO, size: int) -> None:
    """IncompleteError where a PNG of ``size`` bytes has no IEND chunk."""
    _require(_PNG_END, stream, size, "truncated PNG (it ends before its IEND chunk)")


def require_jpeg_end(stream: BinaryIO, size: int) -> None:
    """IncompleteError where a JPEG of ``size`` bytes has no end marker after its pixels."""
    scan = _jpeg_scan(stream)
    said = "truncated JPEG (it ends before its end-of-image marker)"
    _require(_JPEG_END, stream, size, said, start=scan)


def _require(end: bytes, stream: BinaryIO, size: int, said: str, *, start: int = 0) -> None:
    """IncompleteError, with what is ``said``, where ``end`` is not found behind ``start``."""
    stream.seek(max(start, size - _TAIL))
    if end in stream.read():
        return
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        if whole.find(end, start) < 0:  # something long was appended to it, or it is cut
            raise IncompleteError(said)


def _jpeg_scan(stream: BinaryIO) -> int:
    """Where the pixels of a JPEG begin: behind its first start-of-scan marker."""
    stream.seek(2)
    for _ in range(_MOST_MARKERS):
        head = stream.read(2)
        if head == b"\xff\xff":  # markers may be padded
            stream.seek(-1, 1)
            continue
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
    raise IncompleteError("damaged JPEG (there is no end to its header)")


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
