"""From an image file to RGB bytes: content decides, limits come first, and a bad file is named."""

from __future__ import annotations

import io
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from eosin.artefacts.tables import ERRORS, companion, write_csv
from eosin.errors import DataError
from eosin.files import disk_errors
from eosin.pixels.completeness import (
    IncompleteError,
    png_chunks,
    require_bmp_pixels,
    require_jpeg_end,
    require_png_end,
    require_tiff_directory,
    require_tiff_strips,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL.ImageFile import ImageFile

UInt8Image: TypeAlias = npt.NDArray[np.uint8]

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
)
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE, _SAMPLE_FORMAT, _UNSIGNED = 258, 339, 1
_COPY_AGAIN = "copy or download it again, or remove it"
_DECODE_FAULTS = (
    Image.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    OverflowError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What a file may cost; both are looked at before a pixel is decoded.

    Attributes:
        max_bytes: size of the file.
        max_pixels: width times height.
    """

    max_bytes: int = 256 * 2**20
    max_pixels: int = 120_000_000


DEFAULT_LIMITS = ReadLimits()


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


def inspect_image(path: Path, *, limits: ReadLimits = DEFAULT_LIMITS) -> ImageFacts:
    """Read the header only.

    Raises:
        DataError: the file is missing, empty, no PNG, JPEG, TIFF or BMP, evidently truncated,
            or larger than ``limits``; names the file, the reason and the fix.
    """
    size = _size(path, limits)
    try:
        with path.open("rb") as stream:
            image = _open(path, stream, size, limits)
            _require_whole(image, stream, size)
            return ImageFacts(image.width, image.height, str(image.format), size)
    except IncompleteError as fault:
        raise DataError(f"{path}: {fault}; {_COPY_AGAIN}") from fault
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault}); {_COPY_AGAIN}") from fault


def read_image(path: Path, *, limits: ReadLimits = DEFAULT_LIMITS) -> UInt8Image:
    """An image as RGB bytes, shape (height, width, 3), contiguous, 0 to 255, upright.

    PNG, JPEG, TIFF (its first page) and BMP, told apart by content. 16-bit values are divided by
    257 and rounded, grey and palettes become RGB, alpha is laid on white, CMYK is converted, and
    the EXIF orientation is applied.

    Raises:
        DataError: as ``inspect_image``, and where the pixels are damaged.
    """
    size = _size(path, limits)
    try:
        data = path.read_bytes()
        stream = io.BytesIO(data)
        image = _open(path, stream, size, limits)
        _require_whole(image, stream, size)
        return np.ascontiguousarray(_decode(path, image, data))
    except IncompleteError as fault:
        raise DataError(f"{path}: {fault}; {_COPY_AGAIN}") from fault
    except _DECODE_FAULTS as fault:
        raise DataError(f"{path}: cannot be decoded ({fault}); {_COPY_AGAIN}") from fault


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
            "cut it into smaller images or raise max_bytes"
        )
    return size


def _open(path: Path, stream: BinaryIO, size: int, limits: ReadLimits) -> ImageFile:
    """The image with its header read and no pixel decoded."""
    head = stream.read(16)
    kind = next((name for magic, name in _MAGIC if head.startswith(magic)), None)
    if kind is None:
        raise DataError(
            f"{path}: is not an image that eosin reads (it starts with {head[:8]!r}); "
            "convert it to PNG, JPEG, TIFF or BMP, or remove it"
        )
    if kind == "TIFF":  # Pillow only warns where a directory is cut
        require_tiff_directory(stream, size)
    stream.seek(0)
    try:
        image = _plugin(kind, stream)
    except _DECODE_FAULTS as fault:
        raise IncompleteError(f"truncated or damaged {kind} ({fault})") from fault
    if image.width * image.height > limits.max_pixels:
        raise DataError(
            f"{path}: is {image.width} x {image.height}, more than the limit of "
            f"{limits.max_pixels:,} pixels; cut it into smaller images or raise max_pixels"
        )
    return image


def _plugin(kind: str, stream: BinaryIO) -> ImageFile:
    """Pillow's reader of one format.

    Called by its class: ``Image.open`` would guess the format again and warn of large images at
    a limit of its own.
    """
    readers: dict[str, Callable[[BinaryIO], ImageFile]] = {
        "PNG": PngImageFile,
        "JPEG": JpegImageFile,
        "TIFF": TiffImageFile,
        "BMP": BmpImageFile,
    }
    return readers[kind](stream)


def _require_whole(image: ImageFile, stream: BinaryIO, size: int) -> None:
    """IncompleteError where the file is evidently cut; leaves ``image`` as it was."""
    place = stream.tell()
    if isinstance(image, TiffImageFile):
        require_tiff_strips(image.tag_v2, size)
    elif image.format == "PNG":
        require_png_end(stream, size)
    elif image.format == "JPEG":
        require_jpeg_end(stream, size)
    else:
        require_bmp_pixels(stream, size)
    stream.seek(place)


def _decode(path: Path, image: ImageFile, data: bytes) -> UInt8Image:
    chunks = png_chunks(data) if image.format == "PNG" else set()
    turn = _orientation(image, chunks)
    if _is_deep(image, data):
        return _upright(_decode_stored(data), turn)
    if image.mode == "RGB" and image.format in ("PNG", "JPEG") and b"tRNS" not in chunks:
        return _upright(_decode_fast(data), turn)
    if image.format == "TIFF" and image.mode in ("L", "RGB") and _is_large(image):
        return _decode_stored(data)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        raise DataError(
            f"{path}: pixels of mode {image.mode} are neither 8- nor 16-bit unsigned, so their "
            "white is unknown; convert the file to 8 bits"
        )
    return _upright(_decode_any(image), turn)


def _orientation(image: ImageFile, chunks: set[bytes]) -> object:
    """The EXIF orientation that is still to be applied; 1 is upright."""
    if image.format == "TIFF":  # both decoders turn a TIFF themselves
        return 1
    if image.format == "PNG" and b"eXIf" not in chunks:  # Pillow would decode it to find out
        return 1
    return image.getexif().get(_ORIENTATION, 1)


def _is_large(image: ImageFile) -> bool:
    """Whether an image is beyond the limit from which Pillow warns when it loads a TIFF."""
    return (
        Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS
    )


def _is_deep(image: ImageFile, data: bytes) -> bool:
    """Whether the image has 16 bits a channel, which Pillow would cut to 8 without rounding."""
    if image.format == "PNG":
        return data[24] == 16
    if not isinstance(image, TiffImageFile):
        return False
    samples = image.tag_v2.get(_SAMPLE_FORMAT, (_UNSIGNED,))
    return 16 in image.tag_v2.get(_BITS_PER_SAMPLE, ()) and set(samples) == {_UNSIGNED}


def _decode_fast(data: bytes) -> UInt8Image:
    import cv2

    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise IncompleteError("damaged pixels")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _decode_stored(data: bytes) -> UInt8Image:
    """Grey, RGB or RGBA as stored; of 16 bits 65535 is white, so value / 257, rounded."""
    import cv2

    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype not in (np.uint8, np.uint16):
        raise IncompleteError("damaged pixels")
    if stored.dtype == np.uint16:
        stored = (stored.astype(np.uint32) + 128) // 257
    image = stored.astype(np.uint8, copy=False)
    if image.ndim == 2:
        return np.repeat(image[:, :, None], 3, axis=2)
    rgb = image[:, :, 2::-1]
    return _on_white(rgb, image[:, :, 3]) if image.shape[2] == 4 else rgb


def _decode_any(image: ImageFile) -> UInt8Image:
    image.load()
    if image.has_transparency_data:
        layers = np.asarray(image.convert("RGBA"))
        return _on_white(layers[:, :, :3], layers[:, :, 3])
    return np.asarray(image.convert("RGB"))


def _on_white(rgb: UInt8Image, alpha: UInt8Image) -> UInt8Image:
    opaque = alpha.astype(np.uint32)[:, :, None]
    mixed = rgb * opaque + 255 * (255 - opaque)
    return ((mixed + 127) // 255).astype(np.uint8)


def _upright(image: UInt8Image, orientation: object) -> UInt8Image:
    """Turn by the EXIF orientation 1 to 8 (mirror, then quarter turns)."""
    turned = image.transpose(1, 0, 2) if orientation in (5, 6, 7, 8) else image
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return turned
