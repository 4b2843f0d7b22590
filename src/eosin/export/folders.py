"""The folder an export goes to: whether it may, and all or nothing of it."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from eosin.errors import ConfigError, ModelError
from eosin.networks.run import RECORD_NAME, read_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eosin.networks.run import Run


def require_free(run: Run, folder: Path, *, overwrite: bool) -> None:
    """ConfigError where ``folder`` holds anything but, to be overwritten, this Run's own export.

    Raises:
        ConfigError: as said; the message says what lies there.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: a file; name a folder for the export")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / RECORD_NAME).is_file():
        raise ConfigError(f"{folder}: not empty; export into a new folder")
    there = read_run(folder)
    if not there.exported or not _same(there, run):
        raise ConfigError(
            f"{folder}: holds another Run; export into a new folder, or delete that one first"
        )
    if not overwrite:
        raise ConfigError(
            f"{folder}: already a finished export of {run.folder}; use it, or write it again with "
            "--overwrite"
        )


@contextmanager
def drafting(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``folder``, which takes its place when the block ends well.

    Raises:
        ModelError: a file could not be written; nothing is left behind.
    """
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        draft.mkdir(parents=True)
        yield draft
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
    except OSError as error:
        raise ModelError(
            f"{folder}: the export could not be written ({error.strerror or error}); nothing was "
            "left there. Free some space, or name a folder that may be written to"
        ) from error
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        for leftover in (draft, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _same(export: Run, run: Run) -> bool:
    """Whether ``export`` was made from ``run`` as it is now."""
    own = {"kind", "graph", "members"}
    if export.record.model_dump(exclude=own) != run.record.model_dump(exclude=own):
        return False
    inside, wanted = export.open_members(), run.open_members()
    return len(inside) == len(wanted) and all(map(_same, inside, wanted))
