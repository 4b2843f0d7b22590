"""CSV on disk: a table with its sidecar, and text that no spreadsheet program runs.

Whatever belongs to a table is named by the whole name of the table: ``p.csv`` has
``p.csv.meta.json``. The sidecar names its table and has the SHA-256 of its bytes.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import itertools
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from eosin.artefacts.codec import Artefact, read_artefact, write_artefact
from eosin.artefacts.values import Count, Sha256
from eosin.errors import DataError
from eosin.files import replacing, sha256_of, valid_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt
    import pandas as pd

    from eosin.arrays import Bools
    from eosin.artefacts.codec import Fields

SIDECAR, ERRORS, JOURNAL = ".meta.json", ".errors.csv", ".partial.jsonl"
_RUN = re.compile(r"'*\s*[=+\-@＝＋－＠]")  # what a spreadsheet program takes for a formula
_LOST = re.compile("[\ud800-\udfff]")  # stands for a byte that is not UTF-8
_SHARED = 1 << 17  # cells that are kept to be shared: many of a table's classes, patients and folds
_FOLD = re.compile(r"(0|[1-9][0-9]{0,5})?")
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # xlsx and ods; xls
_FORMAT_1 = re.compile(rb'"format_version"\s*:\s*1\s*[,}]')


class Sidecar(Artefact):
    """What every sidecar says of its table."""

    table: str  # the name of its file when it was written
    rows: Count  # how many it has
    sha256: Sha256  # of its bytes


class ExplanationsSidecar(Sidecar):
    """Of the index of a folder of heatmaps: how many images were explained, seen, and skipped."""

    kind: Literal["explanations"] = "explanations"
    images: Count
    seen: Count
    skipped: Count


S = TypeVar("S", bound=Sidecar)


@dataclass(frozen=True)
class StoredTable(Generic[S]):
    """A table as it was read.

    Attributes:
        frame: all columns text, ``path`` absolute; the index counts rows as a spreadsheet does.
        sidecar: what is known of it.
        unchanged: whether the bytes are those that were written; None where format 1 cannot tell.
    """

    frame: pd.DataFrame
    sidecar: S
    unchanged: bool | None


def companion(table: Path, suffix: str) -> Path:
    """A file that belongs to ``table``: ``p.csv`` has ``p.csv.meta.json``; no two share one."""
    return table.with_name(table.name + suffix)


def relative_paths(paths: Iterable[str], folder: Path) -> list[str]:
    """Paths relative to ``folder`` where they can be, with forward slashes."""
    home = folder.resolve()
    return [_relative(path, home) for path in paths]


def separator(text: str, columns: Iterable[str]) -> str:
    """What stands between the cells of a table: of comma, semicolon and tab the one that finds all
    of ``columns`` in its first line; the comma where none does.
    """
    for mark in ",;\t":
        with suppress(csv.Error):
            if {*columns} <= {*next(csv.reader(io.StringIO(text, newline=""), delimiter=mark), [])}:
                return mark
    return ","


def write_csv(frame: pd.DataFrame, path: Path, *, float_format: str | None = None) -> None:
    """Write a CSV in one step; text that a spreadsheet program would run has an apostrophe."""
    with replacing(path) as draft:
        _write_rows(frame, draft, float_format=float_format)


def write_table(
    frame: pd.DataFrame, path: Path, model: type[Sidecar], fields: Mapping[str, object]
) -> None:
    """Write a table and its sidecar.

    Args:
        frame: its ``path`` column is written relative to the table's folder.
        path: the table.
        model: of the sidecar.
        fields: of the sidecar, but for those that every sidecar has.
    """
    with replacing(path) as draft:
        _write_rows(frame.assign(path=relative_paths(frame["path"], path.parent)), draft)
        own = {"table": valid_text(path.name), "rows": len(frame), "sha256": sha256_of(draft)}
        sidecar = model.model_validate({**fields, **own})
        _remove_companions(path)  # a crash now leaves a table without a sidecar, never with another
    write_artefact(sidecar, companion(path, SIDECAR))


def read_table(path: Path, model: type[S], *, fix: str) -> StoredTable[S]:
    """Read a table and its sidecar.

    Raises:
        DataError: either is missing, damaged or of another kind; the sidecar belongs to another
            table; a row has too many cells or too few, a path that is empty, has a NUL or stands
            in an earlier row, or text that is not UTF-8. Names the file, the row and the fix.
    """
    kind = model.model_fields["kind"].default
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file ({kind}); {fix}") from None
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); {fix}") from fault
    frame = _parsed(data, path, kind=kind, fix=fix)
    own = {
        "table": valid_text(path.name),
        "rows": len(frame),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    sidecar, old = _read_sidecar(path, model, own, fix=fix)
    if not old and b"'" in data:
        frame = frame.rename(columns=_as_meant).map(_as_meant)
    unchanged = None if old else sidecar.sha256 == own["sha256"]
    return StoredTable(_with_paths(frame, path), sidecar, unchanged)


def require_columns(frame: pd.DataFrame, wanted: Sequence[str], *, what: str) -> None:
    """DataError where a column is missing."""
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise DataError(f"{what} needs the columns {list(wanted)}; missing: {missing}")


def require_cells(
    table: Path, frame: pd.DataFrame, fine: npt.ArrayLike, why: str, *, columns: Sequence[str]
) -> None:
    """DataError naming the first row where ``fine`` (shape (n,)) is not true.

    Args:
        table: the file, to be named.
        frame: its rows, the index as a spreadsheet counts them.
        fine: whether a row will do.
        why: not, and the fix.
        columns: whose values are shown.
    """
    import numpy as np

    bad: Bools = ~np.asarray(fine, dtype=bool)
    if bad.any():
        row = frame.iloc[int(bad.argmax())]
        cells = ", ".join(f"{name} = {row[name]!r}" for name in columns)
        shown = cells if len(cells) <= 200 else f"{cells[:197]}..."
        raise DataError(f"{table}, row {row.name}: {shown}: {why}")


def require_folds(table: Path, frame: pd.DataFrame) -> None:
    """DataError, naming the row, where a fold is neither a plain number nor empty."""
    fine = [bool(_FOLD.fullmatch(fold)) for fold in frame["fold"]]
    require_cells(table, frame, fine, "want a whole number such as 1, or nothing", columns=["fold"])


def _parsed(data: bytes, path: Path, *, kind: str, fix: str) -> pd.DataFrame:
    """The cells of a table, whether this or another program saved it."""
    import pandas as pd

    if data.startswith(_WORKBOOKS):
        raise DataError(f"{path}: is a workbook, not a table; save it as CSV UTF-8, or {fix}")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # "Unicode text" of Excel
    coding = ("utf-16", "strict") if wide else ("utf-8-sig", "surrogateescape")
    try:
        text = data.decode(*coding)
        mark, lost = separator(text, ["path"]), _LOST.search(text) is not None
        del text  # a million rows stand in memory once
        lines = io.TextIOWrapper(io.BytesIO(data), *coding, newline="")
        header, *rows = _sharing(csv.reader(lines, delimiter=mark, strict=True))
    except (csv.Error, ValueError) as fault:
        reason = fault if isinstance(fault, csv.Error) else "it is empty"
        raise DataError(f"{path}: not a readable {kind} table ({reason}); {fix}") from fault
    if "path" not in header:
        raise DataError(
            f"{path}: not a {kind} table: it has no column 'path' "
            f"(cells between commas, semicolons or tabs); {fix}"
        )
    header, rows = _without_empty_end(header, rows)
    names = [_as_meant(name) for name in header]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: the column {twice!r} stands twice; keep one of the two")
    numbered = {number: row for number, row in enumerate(rows, 2) if row}  # row 1 is the header
    for number, row in numbered.items():
        if len(row) != len(header):
            name = {",": "comma", ";": "semicolon"}.get(mark, "tab")
            extra = f"a cell with a {name} in it needs quotes, and a {name} at the end goes; "
            raise DataError(
                f"{path}, row {number}: has {len(row)} cells, the header {len(header)}; "
                + (extra if len(row) > len(header) else "")
                + "correct it"
            )
    frame = pd.DataFrame(list(numbered.values()), columns=header, index=list(numbered))
    for name in frame.columns.drop("path") if lost else ():
        fine = [not _LOST.search(cell) for cell in frame[name]]
        require_cells(path, frame, fine, "is not UTF-8; save the table as UTF-8", columns=[name])
    return frame


def _sharing(rows: Iterable[list[str]]) -> Iterator[list[str]]:
    """The rows, equal cells one object: a million rows name few classes, patients and folds."""
    met: dict[str, str] = {}
    for row in rows:
        share = met.setdefault if len(met) < _SHARED else met.get
        yield [share(cell, cell) for cell in row]


def _without_empty_end(
    header: list[str], rows: list[list[str]]
) -> tuple[list[str], list[list[str]]]:
    """A table without the empty cell that every row ends in, which nothing names."""
    width = len(header) - (header[-1] == "")
    if rows and all(len(row) == width + 1 and not row[width] for row in rows if row):
        return header[:width], [row[:width] for row in rows]
    return header, rows


def _with_paths(frame: pd.DataFrame, table: Path) -> pd.DataFrame:
    """The table with absolute paths, each of which can be one and stands once."""
    home = table.parent.resolve()
    fine = [bool(path) and "\0" not in path for path in frame["path"]]
    require_cells(table, frame, fine, "names no file; correct it or drop the row", columns=["path"])
    frame = frame.assign(path=[os.path.normpath(_joined(home, path)) for path in frame["path"]])
    once, why = ~frame["path"].duplicated(), "stands in an earlier row too; keep one of the two"
    require_cells(table, frame, once, why, columns=["path"])
    return frame


def _joined(home: Path, path: str) -> str | Path:
    """``home / path``, much sooner where it is plainly relative: tables have a million rows."""
    plain = path[0].isalnum() and ":" not in path
    return f"{home}{os.sep}{path}" if plain else home / path


def _read_sidecar(
    table: Path, model: type[S], own: Mapping[str, object], *, fix: str
) -> tuple[S, bool]:
    """The sidecar of a table and whether it is of format 1; DataError where it is another's.

    ``own`` is what it should say of the table.
    """
    place, old = companion(table, SIDECAR), _former(table)
    if old is None or os.path.lexists(place):
        found = read_artefact(model, place, fix=fix)
    else:
        place = old
        found = read_artefact(model, old, fix=fix, upgrade=lambda known: _upgraded(known, own, old))
    if found.sha256 != own["sha256"] and found.table != own["table"]:
        raise DataError(
            f"{place}: belongs to another table, {found.table!r}; give both files their own names "
            f"again, or {fix}"
        )
    if found.sha256 == own["sha256"] and found.rows != own["rows"]:
        raise DataError(f"{place}: rows = {found.rows}, but the table has {own['rows']}; {fix}")
    return found, place == old


def _upgraded(fields: Fields, own: Mapping[str, object], place: Path) -> Fields:
    """A sidecar of format 1, which knew its table by the number of images alone."""
    images = fields["images"]
    if type(images) is not int or images != own["rows"]:
        raise DataError(
            f"{place}: images = {images!r}, but {own['table']} has {own['rows']} rows: this may be "
            "the sidecar of another table; write the table again, or correct the number if rows "
            "were dropped by hand"
        )
    return {**fields, **own}


def _remove_companions(table: Path) -> None:
    """Remove the sidecar, and what eosin 0.1.0 wrote beside a table of this name."""
    companion(table, SIDECAR).unlink(missing_ok=True)
    former = _former(table)
    if former and _FORMAT_1.search(former.read_bytes()):  # else that of a table without an ending
        for suffix in (SIDECAR, ERRORS, JOURNAL):
            table.with_suffix(suffix).unlink(missing_ok=True)


def _former(table: Path) -> Path | None:
    """Where eosin 0.1.0 wrote the sidecar of a CSV, if something lies there."""
    path = table.with_suffix(SIDECAR)
    return path if table.suffix.lower() == ".csv" and path.is_file() else None


def _write_rows(frame: pd.DataFrame, path: Path, *, float_format: str | None = None) -> None:
    """Write text so that it is read back as it was, in any program."""
    import pandas as pd

    safe = frame.rename(columns=_as_text)
    words = [name for name in safe if not pd.api.types.is_numeric_dtype(safe[name])]
    for name in words:
        safe[name] = pd.Series(map(_as_text, safe[name]), index=safe.index, dtype=object)
    texts = itertools.chain(safe.columns, *(safe[name] for name in words))
    returns = any("\r" in cell for cell in texts if isinstance(cell, str))
    safe.to_csv(
        path,
        index=False,
        float_format=float_format,
        errors="surrogateescape",
        lineterminator="\n",
        quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL,  # else a CR ends the row
    )


def _as_text(cell: object) -> object:
    """A cell that no spreadsheet program runs; ``_as_meant`` is its inverse."""
    return f"'{cell}" if isinstance(cell, str) and _RUN.match(cell) else cell


def _as_meant(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and _RUN.match(cell) else cell


def _relative(path: str, home: Path) -> str:
    try:
        return Path(os.path.relpath(path, home)).as_posix()
    except ValueError:  # another drive: an absolute path is all there is
        return path
