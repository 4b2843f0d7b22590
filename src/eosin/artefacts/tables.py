"""CSV on disk: a table with its sidecar, and text that no spreadsheet program runs.

Whatever belongs to a table is named by the whole name of the table: ``p.csv`` has
``p.csv.meta.json``. The sidecar names its table and has the SHA-256 of its bytes.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from eosin.artefacts.cells import as_meant, as_text, parse_cells, require_cells
from eosin.artefacts.codec import Artefact, read_artefact, write_artefact
from eosin.artefacts.values import Count, Sha256
from eosin.errors import DataError
from eosin.files import replacing, sha256_of, valid_text
from eosin.remote import is_outgoing, is_url, joined, named, origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from eosin.artefacts.codec import Fields

SIDECAR, ERRORS, JOURNAL = ".meta.json", ".errors.csv", ".partial.jsonl"
ATTENTION = ".attention.csv"
_FOLD = re.compile(r"(0|[1-9][0-9]{0,5})?")
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
    home, stays = folder.resolve(), is_outgoing(folder)
    paths = map(named, paths)
    return [path if stays or is_url(path) else _relative(path, home) for path in paths]


def write_csv(frame: pd.DataFrame, path: Path, *, float_format: str | None = None) -> None:
    """Write a CSV in one step; text that a spreadsheet program would run has an apostrophe."""
    with replacing(path) as draft:
        _write_rows(frame, draft, float_format=float_format)


def write_attention(frame: pd.DataFrame | None, table: Path) -> None:
    """Write what tiles weigh beside the ``table`` of their slides; None removes an older one."""
    path = companion(table, ATTENTION)
    if frame is None:
        path.unlink(missing_ok=True)
    else:
        write_csv(frame.assign(path=relative_paths(frame["path"], table.parent)), path)


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


def read_table(
    path: Path, model: type[S], *, fix: str, since: Mapping[str, object] | None = None
) -> StoredTable[S]:
    """Read a table and its sidecar.

    Args:
        path: the table.
        model: of its sidecar.
        fix: what the user can do where the table will not do.
        since: fields of the sidecar that format 1 did not have, with what they are then.

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
    frame = parse_cells(data, path, kind=kind, fix=fix)
    own = {
        "table": valid_text(path.name),
        "rows": len(frame),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    sidecar, old = _read_sidecar(path, model, own, fix=fix, since=since or {})
    if not old and b"'" in data:
        frame = frame.rename(columns=as_meant).map(as_meant)
    unchanged = None if old else sidecar.sha256 == own["sha256"]
    return StoredTable(_with_paths(frame, path), sidecar, unchanged)


def require_folds(table: Path, frame: pd.DataFrame) -> None:
    """DataError, naming the row, where a fold is neither a plain number nor empty."""
    fine = [bool(_FOLD.fullmatch(fold)) for fold in frame["fold"]]
    require_cells(table, frame, fine, "want a whole number such as 1, or nothing", columns=["fold"])


def _with_paths(frame: pd.DataFrame, table: Path) -> pd.DataFrame:
    """The table with absolute paths, each of which can be one and stands once."""
    paths, home, base = frame["path"].tolist(), table.parent.resolve(), origin(table)
    fine = [bool(path) and "\0" not in path for path in paths]
    require_cells(table, frame, fine, "names no file; correct it or drop the row", columns=["path"])
    frame = frame.assign(
        path=[
            joined(base, path)
            if base or (":" in path and is_url(path))
            else os.path.normpath(os.path.join(home, path))  # noqa: PTH118, a million of them
            for path in paths
        ]
    )
    once, why = ~frame["path"].duplicated(), "stands in an earlier row too; keep one of the two"
    require_cells(table, frame, once, why, columns=["path"])
    return frame


def _read_sidecar(
    table: Path,
    model: type[S],
    own: Mapping[str, object],
    *,
    fix: str,
    since: Mapping[str, object],
) -> tuple[S, bool]:
    """The sidecar of a table and whether it is of format 1; DataError where it is another's.

    ``own`` is what it should say of the table.
    """
    sidecar, old = companion(table, SIDECAR), _former(table)
    if old is None or os.path.lexists(sidecar):
        found = read_artefact(model, sidecar, fix=fix)
    else:
        sidecar = old
        found = read_artefact(
            model, old, fix=fix, upgrade=lambda known: _upgraded({**known, **since}, own, old)
        )
    if found.sha256 != own["sha256"] and found.table != own["table"]:
        raise DataError(
            f"{sidecar}: belongs to another table, {found.table!r}; give both files their own "
            f"names again, or {fix}"
        )
    if found.sha256 == own["sha256"] and found.rows != own["rows"]:
        raise DataError(f"{sidecar}: rows = {found.rows}, but the table has {own['rows']}; {fix}")
    return found, sidecar == old


def _upgraded(fields: Fields, own: Mapping[str, object], sidecar: Path) -> Fields:
    """A sidecar of format 1, which knew its table by the number of images alone."""
    images = fields["images"]
    if type(images) is not int or images != own["rows"]:
        raise DataError(
            f"{sidecar}: images = {images!r}, but {own['table']} has {own['rows']} rows: this may "
            "be the sidecar of another table; write the table again, or correct the number if rows "
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

    safe = frame.rename(columns=as_text)
    words = [name for name in safe if not pd.api.types.is_numeric_dtype(safe[name])]
    for name in words:
        safe[name] = pd.Series(map(as_text, safe[name]), index=safe.index, dtype=object)
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


def _relative(path: str, home: Path) -> str:
    try:
        return Path(os.path.relpath(path, home)).as_posix()
    except ValueError:  # another drive: an absolute path is all there is
        return path
