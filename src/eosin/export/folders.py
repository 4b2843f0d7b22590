"""The folder an export goes to: whether it may, and all or nothing of it."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.artefacts.reference import REFERENCE_NAME
from eosin.artefacts.run import ATTENTION_NAME
from eosin.errors import ConfigError, DiskError
from eosin.files import contents, disk_errors, drafted
from eosin.networks.run import HISTORY_NAME, RECORD_NAME, read_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eosin.networks.run import Run

MEMBERS_NAME = "members"


def require_free(run: Run, folder: Path, *, overwrite: bool) -> None:
    """ConfigError where ``folder`` holds anything but, to be overwritten, this Run's own export."""
    if not contents(folder):
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
    own = (RECORD_NAME, HISTORY_NAME, MEMBERS_NAME, REFERENCE_NAME, ATTENTION_NAME)
    others = [
        name for name in contents(folder) if name not in own and not name.startswith("model.")
    ]
    if others:
        raise ConfigError(f"{folder}: also holds {others[0]}, which would be lost; move it away")


@contextmanager
def drafting(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``folder``, which takes its place when the block ends well.

    What lies at ``folder`` stays whole until both change places in one step; where the system
    cannot do that, it bears its name with ``.earlier`` behind it until the other one lies there.
    Whoever calls this holds the lock of ``folder``.

    Raises:
        DiskError: the disk will not take it; what lay there is left as it was.
    """
    target = Path(os.path.realpath(folder))
    with disk_errors(folder), drafted(target, folder=True) as draft:
        if target.is_mount():
            raise DiskError(f"{folder}: another disk begins here; name a folder inside it")
        yield draft
        if not contents(target):
            shutil.rmtree(target, ignore_errors=True)
            draft.rename(target)
        elif not _exchange(draft, target):
            earlier = target.with_name(f"{target.name}.earlier")
            target.rename(earlier)
            draft.rename(target)
            shutil.rmtree(earlier)


def _exchange(first: Path, second: Path) -> bool:
    """Let two folders change places in one step; whether the system could."""
    if sys.platform not in ("linux", "darwin"):
        return False
    libc, names = ctypes.CDLL(None), (os.fsencode(first), os.fsencode(second))
    if hasattr(libc, "renameat2"):  # -100: paths as they are; 2: exchange
        return bool(libc.renameat2(-100, names[0], -100, names[1], 2) == 0)
    return hasattr(libc, "renamex_np") and bool(libc.renamex_np(*names, 2) == 0)


def _same(export: Run, run: Run) -> bool:
    """Whether ``export`` was made from ``run`` as it is now."""
    own = {"kind", "graph", "members", "reference"}
    if export.record.model_dump(exclude=own) != run.record.model_dump(exclude=own):
        return False
    inside, wanted = export.open_members(), run.open_members()
    return len(inside) == len(wanted) and all(map(_same, inside, wanted))
