"""From an open image file to RGB bytes; decoders raise where pixels are missing or damaged.

libvips reads PNG, JPEG and TIFF, Pillow BMP. What each raises becomes an ``IncompleteError``.
"""

from __future__ import annotations

import os
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from eosin.pixels.completeness import (
    IncompleteError,
    require_bmp_pixels,
    require_jpeg_end,
    require_png_end,
)
from eosin.pixels.tiff import TiffTags

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    import pyvips
    from PIL.BmpImagePlugin import BmpImageFile

    from eosin.arrays import UInt8Image

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
)
# What stops a decoder. Of JPEG any warning: a cut scan is no more. Of the others errors, of
# checksums too: sound PNGs carry colour profiles, and sound TIFFs tags, that are found odd.
_STRICT = {"PNG": "error", "JPEG": "warning", "TIFF": "error"}
_ORIENTATION = "orientation"


@dataclass(frozen=True, slots=True)
class Encoded:
    """An image whose header was read and no pixel decoded; of use while its file is open."""

    stream: BinaryIO
    format: str
    width: int  # pixels, as stored
    height: int
    tags: TiffTags | None = None  # of a TIFF

    def require_sound_header(self) -> None:
        """IncompleteError where the decoder cannot make sense of the header."""
        with _damage(self.format):
            _pillow_bmp(self.stream) if self.format == "BMP" else _vips_image(self)

    def decode(self) -> UInt8Image:
        """RGB bytes (height, width, 3), contiguous, upright; else IncompleteError."""
        with _damage(self.format):
            return _decode_bmp(self.stream) if self.format == "BMP" else _decode_vips(self)


def format_of(head: bytes) -> str | None:
    """The format of a file that starts with these 16 bytes; None for one that is not read."""
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


def open_encoded(stream: BinaryIO, size: int, form: str) -> Encoded:
    """Read the sides of an image of ``size`` bytes, and whether it evidently ends early.

    Raises:
        IncompleteError: it does, or the header is damaged.
        UnsupportedError: a sound file of a kind that is not read.
    """
    if form == "TIFF":
        tags = TiffTags.read(stream, size)
        tags.require_supported()
        tags.require_whole(size)
        return Encoded(stream, form, *tags.side_lengths, tags)
    if form == "PNG":
        require_png_end(stream, size)
        stream.seek(16)
        with _damage(form):
            return Encoded(stream, form, *struct.unpack(">II", stream.read(8)))
    if form == "BMP":
        require_bmp_pixels(stream, size)
        with _damage(form):
            return Encoded(stream, form, *_pillow_bmp(stream).size)
    require_jpeg_end(stream, size)
    with _damage(form):
        image = _vips_image(Encoded(stream, form, 0, 0))
        return Encoded(stream, form, image.width, image.height)


def libvips_version() -> str:
    """The version of the library that decodes, e.g. ``"8.18.7"``."""
    return ".".join(str(_vips().version(part)) for part in range(3))


@contextmanager
def _damage(form: str) -> Iterator[None]:
    """Whatever a decoder raises becomes an IncompleteError: one odd file must not stop a command.

    Libraries raise what they like on damaged bytes, assertions and type errors too.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as fault:
        said = " ".join(str(getattr(fault, "detail", fault)).split())[:200]
        reason = f" ({said})" if said else ""
        raise IncompleteError(f"truncated or damaged {form}{reason}") from fault


@cache
def _vips() -> ModuleType:
    """Libvips as it is used here: one thread an image, and nothing remembered of files."""
    vips = import_module("pyvips")
    vips.cache_set_max(0)
    vips.concurrency_set(1)
    return vips


def _vips_image(encoded: Encoded) -> pyvips.Image:
    vips, descriptor = _vips(), encoded.stream.fileno()
    os.lseek(descriptor, 0, os.SEEK_SET)
    source = vips.Source.new_from_descriptor(descriptor)
    load = getattr(vips.Image, f"{encoded.format.lower()}load_source")
    return load(source, access="sequential", fail_on=_STRICT[encoded.format])


def _decode_vips(encoded: Encoded) -> UInt8Image:
    image = _vips_image(encoded)
    turn = image.get(_ORIENTATION) if image.get_typeof(_ORIENTATION) else 1
    if image.format == "ushort":  # of 16 bits 65535 is white
        image = _rounded(image / 257)
    if image.interpretation == "cmyk":
        image = _rounded((255 - image[:3]) * (255 - image[3]) / 255)
    colours = encoded.tags.colours if encoded.tags else 3 - 2 * (image.bands < 3)
    alpha = encoded.tags.alpha if encoded.tags else True
    if image.bands > colours and colours < 4:
        image = _on_white(image[:colours], image[colours]) if alpha else image[:colours]
    pixels = image.numpy().reshape(image.height, image.width, -1)  # of one value it makes a list
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(_upright(pixels, turn))


def _on_white(colours: pyvips.Image, alpha: pyvips.Image) -> pyvips.Image:
    return _rounded((colours * alpha + 255 * (255 - alpha)) / 255)


def _rounded(image: pyvips.Image) -> pyvips.Image:
    return image.rint().cast("uchar")


def _pillow_bmp(stream: BinaryIO) -> BmpImageFile:
    """Pillow's reader, called by its class: ``Image.open`` would guess the format again."""
    from PIL.BmpImagePlugin import BmpImageFile

    stream.seek(0)
    return BmpImageFile(stream)


def _decode_bmp(stream: BinaryIO) -> UInt8Image:
    from PIL import Image

    image: Image.Image = _pillow_bmp(stream)
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), layers)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _upright(image: UInt8Image, orientation: object) -> UInt8Image:
    """Turn by the EXIF orientation 1 to 8 (mirror, then quarter turns)."""
    turned = image.transpose(1, 0, 2) if orientation in (5, 6, 7, 8) else image
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return turned
