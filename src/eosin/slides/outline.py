"""The outline of a TIFF in a store: its directories in a file here, and holes for its pixels."""

from __future__ import annotations

import os
import struct
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eosin.files import drafted
from eosin.remote import RemotePath
from eosin.store import tried

if TYPE_CHECKING:
    from eosin.store import Stored

TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# What tifffile raises where a directory is damaged; its own errors are ValueErrors.
DAMAGE: Final = (ValueError, LookupError, TypeError, ArithmeticError, struct.error)
_HEAD: Final = 132  # bytes that tell what a file is
_BLOCK: Final = 2**15  # bytes that are fetched at once


def outline(path: Path) -> Path:
    """A file with the directories of a slide, as long as the slide, for whoever needs no pixels.

    It is ``path`` itself on a disk, and a copy of all of it where what lies at a URL is no TIFF.
    """
    if not isinstance(path, RemotePath):
        return path
    found = path.stored
    place = found.home / "outline" / path.name
    if place.exists():
        return place
    head = head_of(path)
    if head.startswith(TIFF) and not is_dicom(head):
        place.parent.mkdir(parents=True, exist_ok=True)
        with drafted(place) as draft:
            if tried(partial(_draw, found, draft), found.url):
                found.require_unchanged()
                return draft.replace(place)
    return here(path)


def here(path: Path) -> Path:
    """The file or folder on a disk: what lies at a URL is fetched whole."""
    return Path(os.fspath(path))


def head_of(path: Path) -> bytes:
    """The first bytes of a file."""
    if isinstance(path, RemotePath):
        end = min(_HEAD, path.stored.facts.st_size)
        return path.stored.read([(0, end)])[0] if end else b""
    with path.open("rb") as stream:
        return stream.read(_HEAD)


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins so is DICOM."""
    return head[128:] == b"DICM"


def _draw(found: Stored, draft: Path) -> bool:
    """Fetch every directory with the values of its tags; False where one is damaged."""
    from tifffile import TiffFile

    os.truncate(draft, found.facts.st_size)
    kept = {"cache_type": "mmap", "cache_options": {"location": str(draft)}}  # what was read
    try:
        with (
            found.fs.open(found.place, "rb", block_size=_BLOCK, **kept) as stream,
            TiffFile(stream) as file,
        ):
            waiting = [*file.pages]
            while waiting:
                page = waiting.pop().aspage()
                _ = [tag.value for tag in page.tags]  # which reads it
                waiting += page.pages or ()
    except DAMAGE:
        return False
    return True
