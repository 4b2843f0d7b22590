"""Images of one shape in one growing file, and an index that never runs ahead of it.

The folder holds ``images.pixels`` (rows of equal length, appended and never changed),
``images.index`` (a line a row: key, row, SHA-256) and ``lock``. A row's bytes are on the disk
before its line is written, so a kill at any moment leaves lines that are true, and at most some
bytes that no line speaks of. The hash is over the key and the bytes together: a line that was
damaged, or that points at another row, no longer agrees with what it points at.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eosin.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eosin.pixels.reading import UInt8Image

PIXELS_NAME = "images.pixels"
INDEX_NAME = "images.index"
LOCK_NAME = "lock"
_LINE = re.compile(r"(\S+) (\d+) ([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Row:
    """Where an image lies, and the SHA-256 of its key and bytes."""

    index: int
    digest: str


@dataclass(frozen=True)
class PixelStore:
    """Images of shape (size, size, 3) by key."""

    folder: Path  # where the files are
    size: int  # side of an image in pixels

    @property
    def row_bytes(self) -> int:
        """Bytes of an image."""
        return 3 * self.size**2

    def index(self) -> dict[str, Row]:
        """Every row that a whole line speaks of; a key's last line counts."""
        lines = map(_LINE.fullmatch, read_lines(self.folder / INDEX_NAME))
        return {found[1]: Row(int(found[2]), found[3]) for found in lines if found}

    def images(self) -> UInt8Image:
        """All rows there are now, memory-mapped and read-only, shape (rows, size, size, 3)."""
        path = self.folder / PIXELS_NAME
        rows = path.stat().st_size // self.row_bytes if path.exists() else 0
        shape = (rows, self.size, self.size, 3)
        if not rows:
            return np.empty(shape, np.uint8)
        return np.asarray(np.memmap(path, np.uint8, mode="r", shape=shape))

    def append(self, images: Mapping[str, UInt8Image]) -> dict[str, Row]:
        """Add images (size, size, 3); whoever calls this holds the lock."""
        rows: dict[str, Row] = {}
        with (self.folder / PIXELS_NAME).open("ab") as stream:
            # A kill or a full disk may have left half a row: begin after it.
            stream.write(bytes(-stream.tell() % self.row_bytes))
            for index, (key, image) in enumerate(images.items(), stream.tell() // self.row_bytes):
                stream.write(_flat(image))
                rows[key] = Row(index, _digest(key, image))
            stream.flush()
            os.fsync(stream.fileno())
        lines = [f"{key} {row.index} {row.digest}" for key, row in rows.items()]
        append_lines(self.folder / INDEX_NAME, lines)
        return rows

    @contextmanager
    def locked(self, progress: Progress = SILENT) -> Iterator[None]:
        """Keep other processes from appending; the system lets go of the lock of a killed one."""
        from filelock import lock_descriptor

        with (self.folder / LOCK_NAME).open("ab") as stream:
            if not lock_descriptor(stream.fileno(), blocking=False):
                progress.note(
                    f"waiting for another training that decodes images into {self.folder}"
                )
                lock_descriptor(stream.fileno())
            yield


def is_sound(images: UInt8Image, key: str, row: Row) -> bool:
    """Whether the row of ``images`` is there and, with its key, has the hash it was given."""
    return row.index < len(images) and _digest(key, images[row.index]) == row.digest


def read_lines(path: Path) -> list[str]:
    """The whole lines of a file that is only appended to; none where there is no file."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    return text.split("\n")[:-1]  # what follows the last line end was cut, or is being written


def append_lines(path: Path, lines: Sequence[str]) -> None:
    """Append lines, each of them whole even where an earlier writer was cut."""
    with path.open("ab+") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        stream.write("".join(f"{line}\n" for line in lines).encode())


def _digest(key: str, image: UInt8Image) -> str:
    digest = hashlib.sha256(key.encode())
    digest.update(_flat(image))
    return digest.hexdigest()


def _flat(image: UInt8Image) -> memoryview:
    return np.ascontiguousarray(image).reshape(-1).data
