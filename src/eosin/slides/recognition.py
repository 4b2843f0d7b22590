"""Which files are slides, by their content and cheaply."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from eosin.errors import DataError

GENERIC = "generic-tiff"  # OpenSlide's name for a tiled TIFF of nobody in particular
_LARGE: Final = 8192  # pixels a side: a tiled TIFF beyond it is a slide though it has one level
_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OTHERS: Final = (b"SQLite format 3", b"ZISRAWFILE")
_BY_NAME: Final = (".mrxs", ".vms", ".vmu")  # an index or a thumbnail beside the slide itself
_KIND, _WIDTH, _HEIGHT, _TILE_WIDTH, _SUB_DIRECTORIES = 254, 256, 257, 322, 330
_WHOLE: Final = {3: "H", 4: "I", 16: "Q"}  # shorts, longs and 64-bit longs
_MOST_DIRECTORIES, _MOST_TAGS = 64, 1024
_SERIES: Final = re.compile(rb"\x20\x00\x0e\x00UI(.)\x00([0-9.]{1,64})", re.DOTALL)
_DICOM_HEAD: Final = 1 << 20  # bytes in which the tag of the series lies


def is_slide(path: Path) -> bool:
    """Whether a file, or a folder of DICOM files, is a whole slide; False where there is none.

    What OpenSlide knows is one, but for tiled TIFFs of no vendor: those with several levels or
    more than 8192 pixels a side are. A plain image of any format is none.

    Raises:
        ModuleNotFoundError: it looks like one, and the extra ``slides`` is not installed.
    """
    try:
        if path.is_dir():
            return any(vendor_of(file) == "dicom" for file in dicom_files(path))
        head = head_of(path)
        if is_tiff(head) and _is_pyramid(path):
            return True
        return _may_be(path, head) and vendor_of(path) not in (None, GENERIC)
    except OSError:
        return False


def vendor_of(path: Path) -> str | None:
    """OpenSlide's name for the format of a file; None where it knows none."""
    from openslide import OpenSlide

    found = OpenSlide.detect_format(path)
    return None if found is None else str(found)


def why_no_slide(file: Path) -> str:
    """What a file is that OpenSlide knows no format of, and what to do with it."""
    head = head_of(file)
    if is_dicom(head):
        return "is DICOM but no whole-slide image; name a file of the slide's own series"
    if not is_tiff(head):
        return "is no slide in a format that OpenSlide knows; name a slide, or give it as an image"
    with file.open("rb") as stream:
        first = next(_directories(stream), None)
    if first is None:
        return "is a truncated TIFF (it ends before its directory); copy or download it again"
    if _TILE_WIDTH not in first:
        return "is a flat TIFF without tiles: an image field, not a slide; give it as an image"
    return "is a tiled TIFF that OpenSlide cannot read; convert it to one with 8-bit RGB"


def slide_file(path: Path) -> Path:
    """The file to open: ``path`` itself, or one of a folder that holds a DICOM slide.

    Raises:
        DataError: the folder holds no DICOM slide, or several.
    """
    if not path.is_dir():
        return path
    files = [file for file in dicom_files(path) if vendor_of(file) == "dicom"]
    if not files:
        raise DataError(f"{path}: is a folder without a DICOM slide; name the slide's file")
    series = {_series_of(file) for file in files}
    if len(series) > 1:
        raise DataError(
            f"{path}: holds {len(series)} DICOM slides; name one file of the one to read"
        )
    return files[0]


def dicom_files(folder: Path) -> Iterator[Path]:
    """The DICOM files of a folder by name."""
    for file in sorted(folder.glob("*.dcm")):
        if is_dicom(head_of(file)):
            yield file


def head_of(path: Path) -> bytes:
    """What a file begins with."""
    with path.open("rb") as stream:
        return stream.read(132)


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins so is a TIFF, classic or with 64-bit offsets."""
    return head.startswith(_TIFF)


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins so is DICOM."""
    return head[128:132] == b"DICM"


def _may_be(path: Path, head: bytes) -> bool:
    """Whether OpenSlide is worth asking: it needs the extra, which plain images do not."""
    known = is_tiff(head) or is_dicom(head) or head.startswith(_OTHERS)
    return known or path.suffix.lower() in _BY_NAME


def _is_pyramid(path: Path) -> bool:
    """Whether a TIFF's first directory is tiled, and is large or has smaller ones below it."""
    with path.open("rb") as stream:
        found = list(islice(_directories(stream), _MOST_DIRECTORIES))
    if not found or _TILE_WIDTH not in found[0]:
        return False
    first, *rest = found
    large = max(first.get(_WIDTH, 0), first.get(_HEIGHT, 0)) > _LARGE
    reduced = any(_TILE_WIDTH in each and each.get(_KIND, 0) & 1 for each in rest)
    return large or reduced or _SUB_DIRECTORIES in first


def _directories(stream: BinaryIO) -> Iterator[dict[int, int]]:
    """The tags of each directory of a TIFF with their first values where those are whole numbers.

    Nothing outside the directories is read. It ends where the file is damaged.
    """
    head = stream.read(16)
    order, big = ("<" if head[:2] == b"II" else ">"), b"+" in head[2:4]
    count, entry, place = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    with suppress(struct.error):
        (offset,) = struct.unpack_from(order + place, head, 8 if big else 4)
        while offset:
            stream.seek(offset)
            (tags,) = _unpack(stream, order + count)
            entries = [_unpack(stream, order + entry) for _ in range(min(tags, _MOST_TAGS))]
            yield {
                tag: struct.unpack_from(order + _WHOLE.get(kind, "B"), value)[0]
                for tag, kind, _, value in entries
            }
            (offset,) = _unpack(stream, order + place)


def _unpack(stream: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack(form, stream.read(struct.calcsize(form)))


def _series_of(file: Path) -> bytes:
    """The series that a DICOM file belongs to, as its head says; empty where it does not."""
    with file.open("rb") as stream:
        found = _SERIES.search(stream.read(_DICOM_HEAD))
    return b"" if found is None else found[2].rstrip(b"\0")


def find_slides(root: Path) -> tuple[Path, ...]:
    """Every slide in a folder and below it, by path; a folder of one DICOM slide counts as it.

    Raises:
        DataError: there is no such folder, or no slide in it.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; name the folder that holds the slides")
    found: list[Path] = []
    for folder, folders, files in os.walk(root.resolve()):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        place = Path(folder)
        dicom = is_slide(place)
        if dicom:
            found.append(place)
        shown = (place / name for name in sorted(files) if not name.startswith("."))
        found += [
            file for file in shown if not (dicom and is_dicom(head_of(file))) and is_slide(file)
        ]
    if not found:
        raise DataError(f"{root}: no slide found; want .svs, .tiff, .ndpi, .mrxs, DICOM or such")
    return tuple(sorted(found))
