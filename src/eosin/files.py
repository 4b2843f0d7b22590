"""Writing files so that an interruption leaves the old one or the new one, never half of either."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; move it there when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` in one step, making its folder."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, fields: Mapping[str, object]) -> None:
    """Write ``fields`` as indented JSON in one step; NaN and infinity are refused."""
    text = json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path, *, what: str, fix: str) -> dict[str, object]:
    """Read a JSON object; DataError naming the file, what it should be, and the fix."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file ({what}); {fix}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: not a readable {what} ({error}); {fix}") from error
    if not isinstance(fields, dict):
        raise DataError(f"{path}: not a {what} (want a JSON object); {fix}")
    return fields


def legible(text: str) -> str:
    """A name as valid text: bytes that are no UTF-8 as backslash, x and two digits."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
