"""The form that Manifest and Predictions share on disk: a CSV table with a JSON sidecar."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.errors import DataError
from eosin.files import read_json, replacing, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd


def sidecar_path(table: Path) -> Path:
    """Where the metadata of a CSV table lies: ``bh.csv`` has ``bh.meta.json``."""
    return table.with_suffix(".meta.json")


def write_table(frame: pd.DataFrame, path: Path, *, meta: Mapping[str, object]) -> None:
    """Write ``frame`` as CSV, its ``path`` column relative to the CSV's folder, and its sidecar."""
    home = path.parent.resolve()
    relative = frame.assign(path=[_relative(place, home) for place in frame["path"]])
    with replacing(path) as draft:
        relative.to_csv(draft, index=False, errors="surrogateescape")
    write_json(sidecar_path(path), meta)


def read_table(path: Path, *, what: str, fix: str) -> pd.DataFrame:
    """Read a CSV as text columns, its ``path`` column made absolute from the CSV's folder."""
    import pandas as pd

    try:
        frame = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding_errors="surrogateescape"
        )
    except FileNotFoundError:
        raise DataError(f"{path}: no such file ({what}); {fix}") from None
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise DataError(f"{path}: not a readable {what} ({error}); {fix}") from error
    if "path" not in frame.columns:
        raise DataError(f"{path}: not a {what}: it has no column 'path'; {fix}")
    home = path.parent.resolve()
    frame["path"] = [os.path.normpath(home / place) for place in frame["path"]]
    return frame


def read_sidecar(table: Path, *, kind: str, newest: int, fix: str) -> dict[str, object]:
    """Metadata of a CSV table; DataError where it is missing, of another kind or too new."""
    path = sidecar_path(table)
    meta = read_json(path, what=f"{kind} sidecar", fix=fix)
    require_format(meta, path, kind=kind, newest=newest)
    return meta


def require_format(meta: dict[str, object], path: Path, *, kind: str, newest: int) -> None:
    """DataError where metadata is of another kind or of a newer format than this eosin reads."""
    if meta.get("kind") != kind:
        raise DataError(f"{path}: want a {kind}, found a {meta.get('kind', 'nameless file')}")
    version = meta.get("format_version")
    if not isinstance(version, int) or version > newest:
        raise DataError(
            f"{path}: {kind} format {version!r}; this eosin reads up to {newest}: update eosin"
        )


def section(meta: dict[str, object], name: str) -> dict[str, object]:
    """An object inside metadata, or an empty one."""
    value = meta.get(name)
    return value if isinstance(value, dict) else {}


def text_list(meta: dict[str, object], name: str) -> tuple[str, ...]:
    """A list of texts inside metadata, or an empty one."""
    value = meta.get(name)
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _relative(path: str, home: Path) -> str:
    try:
        return Path(os.path.relpath(path, home)).as_posix()
    except ValueError:  # another drive: an absolute path is all there is
        return path
