"""What is already scored, kept beside the table to come, so that a prediction can be resumed.

``p.csv`` has ``p.csv.partial.jsonl``: first a line that says what is being scored and how, then one
line a file, in order, appended batch by batch. Numbers are written so that they read back exactly.
A line that a crash cut short or that cannot be right does not count, nor does any after it, nor a
batch that is not whole: scored again in other company its last digits could differ.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import FiniteFloat

from eosin.artefacts.codec import Fields, Strict, parse_fields, sealed
from eosin.artefacts.reference import Flag
from eosin.artefacts.tables import JOURNAL, companion
from eosin.artefacts.values import Share
from eosin.errors import DataError
from eosin.files import disk_errors, valid_text
from eosin.inference.journal_head import require_same
from eosin.inference.readings import Reading
from eosin.pixels.reading import SkippedFile
from eosin.slides.tile import file_of
from eosin.trust.reference import Look

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from eosin.artefacts.journal import JournalHead

_SYNC_EVERY = 5.0  # seconds; only a power cut loses what is not yet synced
_ANEW = "start anew with --overwrite"


def journal_path(table: Path) -> Path:
    """Where the journal of a predictions table lies: ``p.csv`` has ``p.csv.partial.jsonl``."""
    return companion(table, JOURNAL)


class Journal:
    """A journal open for appending; leaving it closes it, and removes it where nothing is scored.

    Attributes:
        path: the file.
        kept: what it held already, of the first ``done`` files.
        done: how many files are accounted for.
    """

    def __init__(
        self, path: Path, paths: Sequence[Path], rows: Sequence[_Row] = (), *, end: int = 0
    ) -> None:
        self.path, self.done = path, len(rows)
        self.kept = _reading(rows, paths)
        self._paths, self._synced = paths, time.monotonic()
        self._scored = len(self.kept.indices)
        with keeping(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
            self._file = os.open(path, flags, 0o666)
            os.ftruncate(self._file, end)

    @classmethod
    def begin(cls, path: Path, head: JournalHead, paths: Sequence[Path]) -> Self:
        """A new journal in place of any that lies there."""
        journal = cls(path, paths)
        journal._write([sealed(head)])
        return journal

    @classmethod
    def resume(
        cls,
        path: Path,
        head: JournalHead,
        paths: Sequence[Path],
        *,
        classes: int,
        networks: int = 0,
    ) -> Self:
        """Continue the journal that lies there, or begin one.

        Args:
            path: the journal.
            head: of this prediction.
            paths: the files to score.
            classes: how many the task has; a line with another number of them does not count.
            networks: whose logits the lines hold, where neighbours count; 0 for probabilities.

        Raises:
            DataError: the Run, the images or the options are not those that it was begun with, or
                a file that it holds has changed since; says which.
        """
        found = _read(path, classes=classes, networks=networks)
        if not found.rows:
            return cls.begin(path, head, paths)
        require_same(head, found.head, path)
        rows = found.rows[: len(paths)]
        whole = len(rows) // head.batch_size * head.batch_size  # only the last batch may be less
        done = len(rows) if len(rows) == len(paths) else whole
        for row, file in zip(rows[:done], paths, strict=False):
            row.require_unchanged(file, path)
        if not done:
            return cls.begin(path, head, paths)
        return cls(path, paths, rows[:done], end=found.ends[done - 1])

    def append(self, part: Reading) -> None:
        """Keep what was found of the next files; DataError where the disk will not take it."""
        rows = {index: row for row, index in enumerate(part.indices.tolist())}
        reasons = {item.path: item.reason for item in part.skipped}
        lines = []
        for index in range(self.done, self.done + len(rows) + len(reasons)):
            file, row = self._paths[index], rows.get(index)
            said = (
                {"p": None, "words": valid_text(reasons[file])}
                if row is None
                else {"p": part.values[row].tolist(), "words": part.notes[row]}
            )
            look = part.looks[row] if row is not None and part.looks else None
            said |= {"familiarity": look and look.familiarity, "flags": look and look.flags}
            lines.append({"file": valid_text(str(file)), "stamp": _stamp(file), **said})
        self._write(lines)
        self.done += len(lines)
        self._scored += len(rows)

    def remove(self) -> None:
        """Once the table is written, there is nothing left to resume."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)
        if not self._scored:
            self.remove()

    def _write(self, lines: Sequence[dict[str, object]]) -> None:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        with keeping(self.path):
            append_bytes(self._file, text.encode())
            if time.monotonic() - self._synced > _SYNC_EVERY:
                os.fsync(self._file)
                self._synced = time.monotonic()


def require_none_begun(path: Path) -> None:
    """DataError where a journal with scored files lies at ``path``: they shall not be lost."""
    scored = sum(row.p is not None for row in _read(path).rows)
    if scored:
        raise DataError(
            f"{path}: an unfinished prediction lies here, {scored:,} images scored; go on with "
            f"it with --resume, or {_ANEW}"
        )


def keeping(journal: Path) -> AbstractContextManager[None]:
    """Turn what the disk refuses into a DiskError that says what is kept and how to go on."""
    then = f"then run the same command with --resume: what is scored is kept in {journal}"
    return disk_errors(journal, then=then)


def append_bytes(file: int, data: bytes) -> None:
    """Write all of ``data`` to an open file, nothing held back."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


class _Row(Strict):
    """What a journal says of a file."""

    file: str  # its path
    stamp: tuple[int, int] | tuple[()]  # its size and time of change, or nothing
    # its probabilities, or where neighbours count the logits of every network; None where it could
    # not be read
    p: tuple[FiniteFloat, ...] | None
    words: str  # the stain step's note, or why it could not be read
    familiarity: Share | None  # None where the Run cannot tell
    flags: tuple[Flag, ...] | None  # None where it has no reference

    def fits(self, classes: int, networks: int) -> bool:
        """Whether these are answers of this kind."""
        if self.p is None or networks:
            return self.p is None or len(self.p) == classes * networks
        return len(self.p) == classes and min(self.p) >= 0 and abs(sum(self.p) - 1) <= 1e-3

    def require_unchanged(self, file: Path, journal: Path) -> None:
        """DataError where ``file`` is not what this row was made from."""
        if self.file != valid_text(str(file)) or list(self.stamp) != _stamp(file):
            raise DataError(
                f"{file}: has changed since it was scored; {journal} cannot go on: {_ANEW}"
            )


@dataclass(frozen=True)
class _Found:
    """What of a journal can be used: its head, its rows, and where the line of each ends."""

    head: Fields
    rows: list[_Row]
    ends: list[int]


def _read(path: Path, *, classes: int | None = None, networks: int = 0) -> _Found:
    """The head and the rows up to the first that is damaged; neither where there is no file."""
    found = _Found({}, [], [])
    if not path.exists():
        return found
    with keeping(path), path.open("rb") as stream:
        end = 0
        for line in stream:
            end += len(line)
            if not line.endswith(b"\n"):
                break
            try:
                fields = parse_fields(line, path, fix=_ANEW)
                if not found.head:
                    found.head.update(fields)
                    continue
                row = _Row.model_validate_json(line)
            except (DataError, ValueError):  # scored again, as all after it
                break
            if classes is not None and not row.fits(classes, networks):
                break
            found.rows.append(row)
            found.ends.append(end)
    return found


def _reading(rows: Sequence[_Row], paths: Sequence[Path]) -> Reading:
    scored = [(index, row) for index, row in enumerate(rows) if row.p is not None]
    skipped = [(paths[index], row) for index, row in enumerate(rows) if row.p is None]
    return Reading(
        np.array([index for index, _ in scored], dtype=np.int64),
        np.array([row.p for _, row in scored]) if scored else np.empty((0, 0)),
        tuple(SkippedFile(path, row.words) for path, row in skipped),
        tuple(row.words for _, row in scored),
        tuple(Look(row.familiarity, row.flags) for _, row in scored if row.flags is not None),
    )


def _stamp(file: Path) -> list[int]:
    """Size and time of change; nothing where the file is gone."""
    try:
        facts = file_of(file).stat()
    except OSError:
        return []
    return [facts.st_size, facts.st_mtime_ns]
