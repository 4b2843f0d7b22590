"""The cells of a CSV: what separates them, what a spreadsheet program makes of them, and checks."""

from __future__ import annotations

import codecs
import csv
import io
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from eosin.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd

    from eosin.arrays import Bools

_RUN = re.compile(r"'*\s*[=+\-@＝＋－＠]")  # what a spreadsheet program takes for a formula
_LOST = re.compile("[\ud800-\udfff]")  # stands for a byte that is not UTF-8
_SHARED = 1 << 17  # cells that are kept to be shared: many of a table's classes, patients and folds
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # xlsx and ods; xls


def separator(text: str, columns: Iterable[str]) -> str:
    """What stands between the cells of a table: of comma, semicolon and tab the one that finds all
    of ``columns`` in its first line; the comma where none does.
    """
    for mark in ",;\t":
        with suppress(csv.Error):
            if {*columns} <= {*next(csv.reader(io.StringIO(text, newline=""), delimiter=mark), [])}:
                return mark
    return ","


def parse_cells(data: bytes, path: Path, *, kind: str, fix: str, key: str = "path") -> pd.DataFrame:
    """The cells of a table with a column ``key``, whether this or another program saved it."""
    import pandas as pd

    if data.startswith(_WORKBOOKS):
        raise DataError(f"{path}: is a workbook, not a table; save it as CSV UTF-8, or {fix}")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # "Unicode text" of Excel
    coding = ("utf-16", "strict") if wide else ("utf-8-sig", "surrogateescape")
    try:
        text = data.decode(*coding)
        mark, lost = separator(text, [key]), _LOST.search(text) is not None
        del text  # a million rows stand in memory once
        lines = io.TextIOWrapper(io.BytesIO(data), *coding, newline="")
        header, *rows = _sharing(csv.reader(lines, delimiter=mark, strict=True))
    except (csv.Error, ValueError) as fault:
        reason = "it is empty" if type(fault) is ValueError else fault
        raise DataError(f"{path}: not a readable {kind} table ({reason}); {fix}") from fault
    if key not in header:
        raise DataError(
            f"{path}: not a {kind} table: it has no column {key!r} "
            f"(cells between commas, semicolons or tabs); {fix}"
        )
    header, rows = _without_empty_end(header, rows)
    names = [as_meant(name) for name in header]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: the column {twice!r} stands twice; keep one of the two")
    numbered = {number: row for number, row in enumerate(rows, 2) if row}  # row 1 is the header
    _require_width(path, numbered, len(header), mark)
    frame = pd.DataFrame(list(numbered.values()), columns=header, index=list(numbered))
    for name in frame.columns.drop(key) if lost else ():  # a file's name may be any bytes
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


def _require_width(path: Path, rows: Mapping[int, list[str]], width: int, mark: str) -> None:
    """DataError naming the first row, by its number, that has not as many cells as the header."""
    wrong = next((number for number, row in rows.items() if len(row) != width), None)
    if wrong is not None:
        name, found = {",": "comma", ";": "semicolon"}.get(mark, "tab"), len(rows[wrong])
        extra = f"a cell with a {name} in it needs quotes, and a {name} at the end goes; "
        raise DataError(
            f"{path}, row {wrong}: has {found} cells, the header {width}; "
            f"{extra if found > width else ''}correct it"
        )


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


def as_text(cell: object) -> object:
    """A cell that no spreadsheet program runs; ``as_meant`` is its inverse."""
    return f"'{cell}" if isinstance(cell, str) and _RUN.match(cell) else cell


def as_meant(cell: str) -> str:
    """What ``as_text`` made it from."""
    return cell[1:] if cell[:1] == "'" and _RUN.match(cell) else cell
