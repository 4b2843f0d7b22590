"""Images decoded once and kept at training size, so that later epochs and trainings decode nothing.

A folder a preprocessing (as far as it decides about bytes: not mean and std, which come later) and
version of what decodes; in it an image is known by the SHA-256 of its file's bytes, and where its
stain is brought from another source than itself, by that too.

Every row's hash is checked when the cache is opened, and what does not agree is decoded again.
Files are hashed when they are packed; later a file is taken for the same while its path, size and
inode and the times of its last change of content and of status are the same to the nanosecond,
which spares reading a whole dataset at each start. A file changed within two seconds of being
hashed is hashed again next time, since clocks of file systems are coarse.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Self

from eosin.artefacts.preprocessing import Preprocessing
from eosin.errors import ConfigError, DataError
from eosin.files import sha256_of
from eosin.machine import reading_threads
from eosin.pixels.pixel_store import PixelStore, Row, append_lines, is_sound, read_lines
from eosin.pixels.read_ahead import read_ahead
from eosin.pixels.stain_normalizer import source_key
from eosin.pixels.views import Views
from eosin.progress import SILENT, Progress
from eosin.slides.tile import file_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from eosin.pixels.reading import UInt8Image

FILES_NAME = "files.index"
_LAYOUT = "1"
_HEX = 64  # digits of a SHA-256
_AHEAD = 64  # images
_SPARED = 2**30  # bytes of the disk that are left free
_TOGETHER = 16 * 2**20  # bytes decoded before they are written
_SETTLED = 2 * 10**9  # nanoseconds


class CacheError(ConfigError):
    """The cache cannot be written; whoever wanted it can do without."""


@dataclass(frozen=True)
class PixelCache:
    """Decoded images under one preprocessing.

    Attributes:
        folder: where they are kept; processes may share it.
        spec: the preprocessing.
    """

    folder: Path
    spec: Preprocessing

    @classmethod
    def of(cls, spec: Preprocessing, *, root: Path) -> Self:
        """The cache for this preprocessing among all of those below ``root``."""
        said = json.dumps({**_bytes_of(spec), **_decoders()}, sort_keys=True)
        return cls(root / "pixels" / hashlib.sha256(said.encode()).hexdigest()[:32], spec)

    def pack(
        self,
        views: Views,
        *,
        workers: int | None = None,
        progress: Progress = SILENT,
    ) -> Views:
        """The same views, decoded ahead; a file that cannot be read is left to whoever asks for it.

        Args:
            views: the images, under this cache's preprocessing.
            workers: decoding threads.
            progress: told of files found or decoded, and noted where another process is filling
                this cache and is waited for.

        Raises:
            CacheError: the disk has no room or the folder cannot be written; names the folder, the
                room that is needed and the fix. What was decoded until then is kept.
        """
        store = PixelStore(self.folder, self.spec.size)
        views = replace(views, packed=None, rows=())
        packing = _Packing(store, views, workers=reading_threads(workers), progress=progress)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            missing = packing.find(range(len(views)))
            if missing:
                with store.locked(progress):
                    packing.fill(packing.find(missing))
            return packing.packed()
        except CacheError:
            raise
        except (OSError, ConfigError) as error:
            raise CacheError(f"{self.folder}: {error}; {_ELSEWHERE}") from error


_ELSEWHERE = "name a folder with room in EOSIN_CACHE, or set cache = false"


@dataclass(frozen=True, slots=True)
class _Met:
    """A file as it was met: its key, and its row where it has a sound one, else its image."""

    index: int
    key: str
    row: Row | None
    image: UInt8Image | None
    line: str = ""  # what the file may be known by from now on


@dataclass
class _Packing:
    """Views on their way into the cache."""

    store: PixelStore
    views: Views
    workers: int = field(kw_only=True)
    progress: Progress = field(kw_only=True)
    rows: dict[int, int] = field(default_factory=dict)
    fresh: dict[str, Row] = field(default_factory=dict)

    def find(self, indices: Sequence[int]) -> list[int]:
        """Take the rows of files known by their stamps; return the indices of the others."""
        known, held = _read_known(self.store.folder / FILES_NAME), self.store.index()
        images = self.store.images()

        def row_of(index: int) -> int | None:
            key = known.get(_line_start(self.views.paths[index]), "") + _source_key(
                self.views, index
            )
            row = held.get(key)
            return row.index if row and is_sound(images, key, row) else None

        found = read_ahead(row_of, indices, workers=self.workers, ahead=_AHEAD)
        rows = {index: row for index, row in zip(indices, found, strict=True) if row is not None}
        self.rows.update(rows)
        self.progress.advance(len(rows))
        return [index for index in indices if index not in rows]

    def fill(self, indices: Sequence[int]) -> None:
        """Hash these files, and decode and append those whose content has no sound row."""
        self._require_room(len(indices))
        held, images = self.store.index(), self.store.images()
        together = max(1, min(_AHEAD, _TOGETHER // self.store.row_bytes))

        def meet(index: int) -> _Met | None:
            return _meet(self.views, index, held=held, images=images)

        waiting: list[_Met] = []
        for met in read_ahead(meet, indices, workers=self.workers, ahead=2 * together):
            waiting += [met] if met else []
            if len(waiting) >= together:
                self._keep(waiting)
                waiting = []
            self.progress.advance()
        self._keep(waiting)

    def packed(self) -> Views:
        """The views with the rows that were found or filled."""
        rows = tuple(self.rows.get(index, -1) for index in range(len(self.views)))
        return replace(self.views, packed=self.store.images(), rows=rows)

    def _keep(self, waiting: Sequence[_Met]) -> None:
        images = {met.key: met.image for met in waiting if met.image is not None}
        new = {key: image for key, image in images.items() if key not in self.fresh}
        if new:
            self.fresh.update(self.store.append(new))
        append_lines(self.store.folder / FILES_NAME, [met.line for met in waiting if met.line])
        self.rows.update({met.index: (met.row or self.fresh[met.key]).index for met in waiting})

    def _require_room(self, images: int) -> None:
        needed = images * self.store.row_bytes
        free = shutil.disk_usage(self.store.folder).free - _SPARED
        if needed > free:
            raise CacheError(
                f"{self.store.folder}: {images:,} decoded images take {needed / 1e9:.1f} GB and "
                f"{max(free, 0) / 1e9:.1f} GB are free beside the {_SPARED / 1e9:.1f} GB that are "
                f"spared; {_ELSEWHERE}"
            )


def _meet(views: Views, index: int, *, held: Mapping[str, Row], images: UInt8Image) -> _Met | None:
    """The file as it is; None where it cannot be read: whoever asks for its pixels names it."""
    path = views.paths[index]
    try:
        start, before = _line_start(path), file_of(path).stat()
        content = _content(path, start)
        key = content + _source_key(views, index)
        row = held.get(key)
        row = row if row and is_sound(images, key, row) else None
        image = None if row else views.view(index)
        if _line_start(path) != start:  # it changed while it was read
            return None
    except (DataError, OSError):
        return None
    changed = max(before.st_mtime_ns, before.st_ctime_ns)
    settled = time.time_ns() - changed > _SETTLED
    return _Met(index, key, row, image, f"{start}{content}" if settled else "")


def _line_start(path: Path) -> str:
    """A file's line in the index of files, up to its content; empty where there is no file."""
    try:
        facts = file_of(path).stat()
    except OSError:
        return ""
    stamp = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
    # JSON, since a path may hold line ends.
    return f"{json.dumps(str(path.absolute()))} {' '.join(map(str, stamp))} "


def _content(path: Path, start: str) -> str:
    """What stands for an image's bytes: their SHA-256, or of a tile that of its slide's stamp."""
    if file_of(path) == path:
        return sha256_of(path)
    return hashlib.sha256(start.encode("utf-8", "surrogateescape")).hexdigest()


def _read_known(path: Path) -> dict[str, str]:
    """The SHA-256 of files by the start of their lines."""
    return {line[:-_HEX]: line[-_HEX:] for line in read_lines(path) if len(line) > _HEX}


def _source_key(views: Views, index: int) -> str:
    """What of an image's key comes from the stain it is brought from."""
    return source_key(views.sources[index] if views.sources else None)


def _bytes_of(spec: Preprocessing) -> dict[str, object]:
    """The settings that decide about bytes: mean and std come after them."""
    return {key: value for key, value in asdict(spec).items() if key not in ("mean", "std")}


def _decoders() -> dict[str, str]:
    """What takes part in decoding, with its version: another one may round another way."""
    import cv2
    import numpy as np
    import PIL

    from eosin.pixels.decoding import libvips_version
    from eosin.version import __version__

    versions = {"eosin": __version__, "opencv": cv2.__version__, "libvips": libvips_version()}
    return {**versions, "pillow": PIL.__version__, "numpy": np.__version__, "layout": _LAYOUT}
