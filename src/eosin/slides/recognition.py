"""Which files are slides, by their content and cheaply."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from eosin.errors import DataError
from eosin.slides.tiff_source import level_sides

GENERIC: Final = "generic-tiff"  # OpenSlide's name for a tiled TIFF of nobody in particular
_DICOM: Final = "dicom"
_LARGE: Final = 8192  # pixels a side: a tiled TIFF beyond it is a slide though it has one level
_PLAIN: Final = (b"\x89PNG", b"\xff\xd8\xff", b"BM")
_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MIRAX: Final = ".mrxs"  # a slide whose own file may be a plain thumbnail
_NAMES: Final = (_MIRAX, ".svs", ".ndpi", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".czi")
_SERIES: Final = re.compile(rb"\x20\x00\x0e\x00UI..([0-9.]{1,64})", re.DOTALL)
_DICOM_HEAD: Final = 2**20  # bytes in which the tag of the series lies


def is_slide(path: Path) -> bool:
    """Whether a file, or a folder of DICOM files, is a whole slide; False where there is none.

    What OpenSlide knows is one; of tiled TIFFs of no vendor, those with several levels or more
    than 8192 pixels a side. Where the extra ``slides`` is not installed, the name decides.
    """
    try:
        files = sorted(path.glob("*.dcm")) if path.is_dir() else [path]
        return any(_is_slide(file, _head(file)) for file in files)
    except (OSError, DataError):
        return False


def _is_slide(file: Path, head: bytes) -> bool:
    if head.startswith(_PLAIN) and file.suffix.lower() != _MIRAX:
        return False
    try:
        vendor = vendor_of(file)
    except ModuleNotFoundError:
        return file.suffix.lower() in _NAMES or _is_dicom(head)
    if vendor != GENERIC:
        return vendor is not None
    sides = level_sides(file)
    return len(sides) > 1 or any(max(each) > _LARGE for each in sides)


def vendor_of(path: Path) -> str | None:
    """OpenSlide's name for the format of a file; None where it knows none."""
    from openslide import OpenSlide

    found: str | None = OpenSlide.detect_format(path)
    return found


def slide_file(path: Path) -> Path:
    """The file to open: ``path`` itself, or one of a folder that holds a DICOM slide.

    Raises:
        DataError: the folder holds no DICOM slide, or several.
    """
    if not path.is_dir():
        return path
    files = [file for file in sorted(path.glob("*.dcm")) if vendor_of(file) == _DICOM]
    if not files:
        raise DataError(f"{path}: is a folder without a DICOM slide; name the slide's file")
    series = {_series_of(file) for file in files}
    if len(series) > 1:
        raise DataError(f"{path}: holds {len(series)} DICOM slides; name a file of one of them")
    return files[0]


def why_no_slide(file: Path) -> str:
    """What a file is that OpenSlide knows no format of, and what to do with it."""
    head = _head(file)
    if _is_dicom(head):
        return "is DICOM but no whole-slide image; name a file of a slide, or give it as an image"
    if not head.startswith(_TIFF):
        return "is no slide in a format that OpenSlide knows; name a slide, or give it as an image"
    if level_sides(file):
        return "is a truncated TIFF (a directory lies beyond its end); copy or download it again"
    return "is a flat TIFF without tiles: an image field, not a slide; give it as an image"


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(132)


def _is_dicom(head: bytes) -> bool:
    return head[128:] == b"DICM"


def _series_of(file: Path) -> bytes:
    """The series that a DICOM file says it belongs to; empty where its head does not."""
    with file.open("rb") as stream:
        found = _SERIES.search(stream.read(_DICOM_HEAD))
    return found[1] if found else b""
