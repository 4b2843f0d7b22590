"""Opening a slide: which reader takes it, what it states, and a few slides kept open."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Final

from eosin.arrays import UInt8Image
from eosin.errors import ConfigError, DataError
from eosin.files import disk_errors
from eosin.slides.facts import facts_of, is_sensible
from eosin.slides.openslide_source import OpenSlideSource, open_with_openslide
from eosin.slides.pyramid import PyramidSlide, Source
from eosin.slides.recognition import (
    GENERIC,
    find_slides,
    is_slide,
    slide_file,
    vendor_of,
    why_no_slide,
)
from eosin.slides.slide import Slide
from eosin.slides.tiff_source import open_tiff
from eosin.slides.tile import Tile

__all__ = ["find_slides", "is_slide", "open_slide", "opened", "read_tile"]

_APERIO: Final = "aperio"
_MOST_OPEN: Final = 8
_OPEN: Final[OrderedDict[Path, tuple[tuple[int, int], PyramidSlide]]] = OrderedDict()
_LOCK: Final = Lock()


def open_slide(path: Path, *, mpp: float | None = None) -> Slide:
    """Open a slide; its pixels are read when they are asked for.

    Tiled TIFFs with 8-bit RGB, Aperio's among them, are decoded by eosin; the rest by OpenSlide.

    Args:
        path: a file, or a folder that holds one DICOM slide.
        mpp: um/px of level 0, which overrides the file's own. It is never guessed from the
            objective.

    Raises:
        ConfigError: ``mpp`` is outside 0.05 to 10.
        DataError: the file is no slide, truncated, or damaged; names it and the fix.
        ModuleNotFoundError: the extra ``slides`` is not installed.
    """
    if mpp is not None and not is_sensible(mpp):
        raise ConfigError(f"--slide-mpp {mpp:g} um/px is no scanner's; name one of 0.05 to 10")
    with disk_errors(path, doing="read"):
        path.stat()
        slide = _open(path, slide_file(path))
    return slide if mpp is None else replace(slide, mpp=mpp, mpp_fault="")


def opened(path: Path) -> Slide:
    """The slide at ``path``, kept open for who asks next: the 8 used last, of all threads.

    One that has changed on the disk since is opened anew.

    Raises:
        DataError: as ``open_slide``.
    """
    with disk_errors(path, doing="read"):
        facts = path.stat()
    state = facts.st_size, facts.st_mtime_ns
    with _LOCK:
        kept = _OPEN.get(path)
        if kept is None or kept[0] != state:
            kept = _OPEN[path] = state, _open(path, slide_file(path))
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


def _open(path: Path, file: Path) -> PyramidSlide:
    vendor = vendor_of(file)
    if vendor is None:
        raise DataError(f"{path}: {why_no_slide(file)}")
    fast = open_tiff(file, aperio=vendor == _APERIO) if vendor in (_APERIO, GENERIC) else None
    handle = open_with_openslide(file, path)
    facts = facts_of(handle.properties, fast.ome_xml if fast else None)
    source: Source = OpenSlideSource(handle, file, path)
    if fast is not None and _agree(fast, source):
        handle.close()
        source = fast
    return PyramidSlide(path, vendor, facts.mpp, facts.mpp_fault, facts.objective, source)


def _agree(fast: Source, slow: Source) -> bool:
    """Whether both readers see the same level 0, and ours every level that OpenSlide sees."""
    return fast.levels[0] == slow.levels[0] and set(slow.levels) <= set(fast.levels)
