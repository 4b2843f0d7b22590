"""What is embedded so far, kept beside the file to come, so that a stopped embedding goes on."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import DataError
from eosin.files import disk_errors, replacing, write_json
from eosin.pixels.reading import SkippedFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from eosin.arrays import Floats, Ints

EACH = 128  # images that are kept together, and so at most lost
_ANEW = "start anew with --overwrite, or name another output"


@dataclass(frozen=True)
class Part:
    """Some files in order: which were read, their features, and why the others were not."""

    places: Ints  # among all files
    rows: npt.NDArray[np.floating]  # (n, channels)
    measures: Floats  # how each was taken, (n, names)
    skipped: tuple[SkippedFile, ...]


@dataclass(frozen=True)
class Parts:
    """What is computed so far, one file each ``EACH`` images, and what it was computed with."""

    folder: Path
    paths: Sequence[Path]  # of all images

    def begin(self, head: dict[str, str], *, resume: bool, overwrite: bool) -> None:
        """Go on with what lies there, or begin; DataError where neither may be."""
        begun = self.folder / "head.json"
        with disk_errors(self.folder):
            if overwrite and self.folder.exists():
                shutil.rmtree(self.folder)
            if not begun.exists():
                self.folder.mkdir(parents=True, exist_ok=True)
                write_json(begun, dict(head))
            elif not resume:
                reason = "left by an interrupted embedding; go on with --resume, or"
                raise DataError(f"{self.folder}: {reason} {_ANEW}")
            before = json.loads(begun.read_text(encoding="utf-8"))
        differing = [name for name in head if before.get(name) != head[name]]
        if differing:
            raise DataError(
                f"{self.folder}: cannot go on, what differs is {', '.join(differing)}; {_ANEW}"
            )

    @property
    def starts(self) -> range:
        """Place of the first file of each part."""
        return range(0, len(self.paths), EACH)

    def of(self, start: int) -> Sequence[Path]:
        """The files of a part."""
        return self.paths[start : start + EACH]

    def file(self, start: int) -> Path:
        """Where a part lies."""
        return self.folder / f"{start:08d}.npz"

    def write(self, start: int, part: Part) -> None:
        """Keep a part."""
        order = {path: place for place, path in enumerate(self.of(start))}
        names = np.array([order[item.path] for item in part.skipped], np.int64) + start
        reasons = np.array([item.reason for item in part.skipped], dtype=np.str_)
        with replacing(self.file(start)) as draft, draft.open("wb") as stream:
            np.savez(
                stream,
                places=part.places,
                rows=part.rows,
                measures=part.measures,
                skipped=names,
                reasons=reasons,
            )

    def read(self, start: int) -> Part:
        """A part that was kept."""
        with np.load(self.file(start), allow_pickle=False) as kept:
            pairs = zip(kept["skipped"].tolist(), kept["reasons"].tolist(), strict=True)
            skipped = tuple(SkippedFile(self.paths[place], reason) for place, reason in pairs)
            return Part(kept["places"], kept["rows"], kept["measures"], skipped)
