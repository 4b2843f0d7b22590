"""Opening a slide: which files are one, who reads it, what it states, and a few kept open."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Final

from eosin.arrays import UInt8Image
from eosin.errors import ConfigError, DataError
from eosin.files import disk_errors
from eosin.remote import RemotePath, walk
from eosin.slides.openslide_source import COPY_AGAIN, open_handle, openslide_source
from eosin.slides.slide import Slide, Source
from eosin.slides.tiff_source import TIFF, head_of, here, is_dicom, outline, tiff_source
from eosin.slides.tile import Tile

_APERIO, _DICOM = "aperio", "dicom"  # OpenSlide's names
_GENERIC: Final = "generic-tiff"  # of a tiled TIFF of nobody in particular
_LARGE: Final = 8192  # pixels a side: a tiled TIFF beyond it is a slide though it has one level
_PLAIN: Final = (b"\x89PNG", b"\xff\xd8\xff", b"BM")
_MIRAX: Final = ".mrxs"  # a slide whose own file may be a plain thumbnail
SLIDE_NAMES: Final = (_MIRAX, ".svs", ".ndpi", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".czi")
_SERIES: Final = re.compile(rb"\x20\x00\x0e\x00UI..([0-9.]{1,64})", re.DOTALL)
_DICOM_HEAD: Final = 2**20  # bytes in which the tag of the series lies
_FINEST, _COARSEST = 0.05, 10.0  # um/px that a scanner may have
_MOST_APART: Final = 0.02  # of the um/px across and down
_MOST_OPEN: Final = 8
_OPEN: Final[OrderedDict[Path, tuple[tuple[int, int], Slide]]] = OrderedDict()
_LOCK: Final = Lock()


def is_slide(path: Path) -> bool:
    """Whether a file, or a folder of DICOM files, is a whole slide; False where there is none.

    What OpenSlide knows is one; of tiled TIFFs of no vendor, those with several levels or more
    than 8192 pixels a side. Where the extra ``slides`` is not installed, the name decides.
    """
    try:
        files = _dicom_files(path) if path.is_dir() else [path]
        return any(_is_slide(file, head_of(file)) for file in files)
    except (OSError, DataError):
        return False


def find_slides(root: Path) -> tuple[Path, ...]:
    """Every slide in a folder and below it, by path; a folder of one DICOM slide counts as it.

    Raises:
        DataError: there is no such folder, or no slide in it.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; name the folder that holds the slides")
    found: list[Path] = []
    for path, folders, files in walk(root.resolve()):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        dicom = is_slide(path)
        if dicom:
            found.append(path)
        shown = (path / name for name in sorted(files) if not name.startswith("."))
        found += [
            file for file in shown if not (dicom and is_dicom(head_of(file))) and is_slide(file)
        ]
    if not found:
        raise DataError(f"{root}: no slide found; want .svs, .tiff, .ndpi, .mrxs, DICOM or such")
    return tuple(sorted(found))


def open_slide(path: Path, *, mpp: float | None = None) -> Slide:
    """Open a slide; its pixels are read when they are asked for.

    Tiled TIFFs with 8-bit RGB, Aperio's among them, are decoded by eosin; the rest by OpenSlide.

    Args:
        path: a file, or a folder that holds one DICOM slide.
        mpp: um/px of level 0, overriding the file's; it is never guessed from the objective.

    Raises:
        ConfigError: ``mpp`` is outside 0.05 to 10.
        DataError: the file is no slide, truncated, or damaged; names it and the fix.
        ModuleNotFoundError: the extra ``slides`` is not installed.
    """
    if mpp is not None and not _FINEST <= mpp <= _COARSEST:
        raise ConfigError(f"{mpp:g} um/px is no scanner's: name {_FINEST:g} to {_COARSEST:g}")
    with disk_errors(path, doing="read"):
        file = _dicom_in(path) if path.is_dir() else path
        vendor = _vendor_of(file)
        if vendor is None:
            raise DataError(f"{path}: {_why_no_slide(file)}")
        plain = vendor in (_APERIO, _GENERIC)
        fast = tiff_source(file, aperio=vendor == _APERIO) if plain else None
        near = outline(file) if fast else here(file)
        handle = open_handle(near, path)
        source = openslide_source(handle, near, path)
        stated, fault = _stated_mpp(handle.properties) if mpp is None else (mpp, "")
        power = handle.properties.get("openslide.objective-power")
        if fast is not None and _agree(fast, source):
            handle.close()
            source = fast
        elif near != here(file):  # an outline has no pixels
            handle.close()
            source = openslide_source(open_handle(here(file), path), here(file), path)
    return Slide(path, vendor, stated, fault, float(power) if power else None, source)


def open_where_told(path: Path, mpp: float | None) -> Slide:
    """The slide as ``open_slide`` opens it; ``mpp`` counts where its file states none."""
    slide = open_slide(path)
    return slide if slide.mpp is not None or mpp is None else open_slide(path, mpp=mpp)


def opened(path: Path) -> Slide:
    """The slide at ``path``, kept open for who asks next: the 8 used last, of all threads.

    One that has changed on the disk since is opened anew. Raises as ``open_slide`` does.
    """
    with disk_errors(path, doing="read"):
        facts = path.stat()
    state = facts.st_size, facts.st_mtime_ns
    with _LOCK:
        kept = _OPEN.get(path)
        if kept is None or kept[0] != state:
            kept = _OPEN[path] = state, open_slide(path)
        _OPEN.move_to_end(path)
        while len(_OPEN) > _MOST_OPEN:
            _OPEN.popitem(last=False)
    return kept[1]


def read_tile(tile: Tile) -> UInt8Image:
    """The pixels of a tile as RGB (size, size, 3), for any number of threads at once.

    Raises:
        DataError: the slide cannot be opened, or a tile of its file is corrupt.
    """
    return opened(tile.slide).region(tile.x, tile.y, tile.width, tile.size)


def _vendor_of(file: Path) -> str | None:
    """OpenSlide's name for the format of a file; None where it knows none."""
    from openslide import OpenSlide

    found: str | None = OpenSlide.detect_format(outline(file))
    return found


def _is_slide(file: Path, head: bytes) -> bool:
    if head.startswith(_PLAIN) and file.suffix.lower() != _MIRAX:
        return False
    named = file.suffix.lower() in SLIDE_NAMES
    if isinstance(file, RemotePath) and not (named or head.startswith(TIFF) or is_dicom(head)):
        return False  # nothing is fetched to be asked
    try:
        vendor = _vendor_of(file)
    except ModuleNotFoundError:
        return named or is_dicom(head)
    if vendor != _GENERIC:
        return vendor is not None
    full, *smaller = open_slide(file).levels
    return bool(smaller) or max(full.width, full.height) > _LARGE


def _why_no_slide(file: Path) -> str:
    """What a file is that OpenSlide knows no format of, and what to do with it."""
    head = head_of(file)
    if is_dicom(head):
        return "is DICOM but no whole-slide image; name a file of a slide, or give it as an image"
    if not head.startswith(TIFF):
        return "is no slide in a format that OpenSlide knows; name a slide, or give it as an image"
    if tiff_source(file, aperio=False):  # a tile or a directory lies beyond its end
        return f"is a truncated TIFF; {COPY_AGAIN}"
    return "is a flat TIFF without tiles: an image field, not a slide; give it as an image"


def _dicom_files(folder: Path) -> list[Path]:
    """The files in a folder that are named like DICOM, all of them on a disk."""
    named = any(path.suffix == ".dcm" for path in folder.iterdir())
    return sorted(here(folder).glob("*.dcm")) if named else []


def _dicom_in(folder: Path) -> Path:
    """A file of the DICOM slide in a folder; DataError where that holds none, or several."""
    files = [file for file in _dicom_files(folder) if _vendor_of(file) == _DICOM]
    if not files:
        raise DataError(f"{folder}: is a folder without a DICOM slide; name the slide's file")
    series = {_series_of(file) for file in files}
    if len(series) > 1:
        raise DataError(f"{folder}: holds {len(series)} DICOM slides; name a file of one of them")
    return files[0]


def _series_of(file: Path) -> bytes:
    """The series that a DICOM file says it belongs to; empty where its head does not."""
    with file.open("rb") as stream:
        found = _SERIES.search(stream.read(_DICOM_HEAD))
    return found[1] if found else b""


def _agree(fast: Source, slow: Source) -> bool:
    """Whether both readers see the same level 0, and ours every level that OpenSlide sees."""
    return fast.levels[0] == slow.levels[0] and set(slow.levels) <= set(fast.levels)


def _stated_mpp(properties: Mapping[str, str]) -> tuple[float | None, str]:
    """The mean um/px across and down in OpenSlide's properties; None, and why, if unusable."""
    names = ("openslide.mpp-x", "openslide.mpp-y")
    stated = [float(properties[name]) for name in names if name in properties]
    if not stated:
        return None, "states no um/px"
    for each in stated:
        if not _FINEST <= each <= _COARSEST:
            return None, f"states {each:g} um/px, which no scanner has"
    if max(stated) > min(stated) * (1 + _MOST_APART):
        return None, f"states {stated[0]:g} um/px across and {stated[1]:g} down, which differ"
    return sum(stated) / len(stated), ""
