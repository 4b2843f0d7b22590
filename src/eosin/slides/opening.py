"""Opening a slide: which reader takes it, what it states, and a few slides kept open."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Final

from eosin.arrays import UInt8Image
from eosin.errors import ConfigError, DataError
from eosin.files import disk_errors
from eosin.slides.openslide_source import open_handle, openslide_source
from eosin.slides.recognition import GENERIC, is_slide, slide_file, vendor_of, why_no_slide
from eosin.slides.slide import Slide, Source
from eosin.slides.tiff_source import tiff_source
from eosin.slides.tile import Tile

__all__ = ["is_slide", "open_slide", "opened", "read_tile"]

_APERIO: Final = "aperio"
_FINEST, _COARSEST = 0.05, 10.0  # um/px that a scanner may have
_MOST_APART: Final = 0.02  # of the um/px across and down
_MOST_OPEN: Final = 8
_OPEN: Final[OrderedDict[Path, tuple[tuple[int, int], Slide]]] = OrderedDict()
_LOCK: Final = Lock()


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
        file = slide_file(path)
        vendor = vendor_of(file)
        if vendor is None:
            raise DataError(f"{path}: {why_no_slide(file)}")
        fast = tiff_source(file, aperio=vendor == _APERIO) if vendor in (_APERIO, GENERIC) else None
    handle = open_handle(file, path)
    source = openslide_source(handle, file, path)
    stated, fault = _stated_mpp(handle.properties) if mpp is None else (mpp, "")
    power = handle.properties.get("openslide.objective-power")
    if fast is not None and _agree(fast, source):
        handle.close()
        source = fast
    return Slide(path, vendor, stated, fault, float(power) if power else None, source)


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
