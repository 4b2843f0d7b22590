"""Writing files so that an interruption leaves the old one or the new one, never half of either."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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
    r"""Write ``text`` (UTF-8) to ``path`` in one step, making its folder.

    The surrogates of a path that is not UTF-8 become ``\udce9``, which JSON reads back as it was.
    """
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, fields: Mapping[str, object]) -> None:
    """Write ``fields`` as indented JSON in one step; NaN and infinity are refused."""
    text = json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def valid_text(name: str) -> str:
    r"""A path or a part of one as text that every file and page can hold.

    A name that is not UTF-8 keeps its stray bytes as surrogates, which no encoding has; here they
    become escapes: the byte E9 of an old encoding is ``\xe9``. Other names stay as they are.
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
