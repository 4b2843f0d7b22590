"""One writer at a time: the lock that a process holds while it writes an output."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eosin.errors import DataError, EosinWarning
from eosin.files import HELD, LOCK_SUFFIX, Held, disk_errors, shortened, sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE: Final = 0.5  # seconds for another process to write down who it is, or to let go
_NO_LOCKS: Final = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
_FLAGS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@contextmanager
def one_writer(path: Path, *, then: str = "") -> Iterator[None]:
    """Keep every other process from writing ``path``, a file or a folder, during the block.

    The lock is a hidden file beside the output that says who holds it; where nothing may be made
    there, one in the folder. It is removed while it is still held, and whoever was waiting for it
    sees that and makes a new one. That of a process that was killed is let go by the system.
    An output inside one that this thread holds already needs no lock of its own.

    Args:
        path: the output.
        then: what to do once whatever the disk refused in the block is mended.

    Raises:
        DataError: another process holds it; names the process and when it began.
        DiskError: whatever the disk refuses, in the block too.
    """
    output = Path(os.path.realpath(path))
    thread = threading.get_ident()
    if any(HELD[each].thread == thread for each in (output, *output.parents) if each in HELD):
        with disk_errors(path, doing="read or written", then=then):
            sweep(output)
            yield
        return
    with disk_errors(path, doing="read or written", then=then):
        lock, handle = _locked(output, path)
        try:
            HELD[output] = Held(thread)
            sweep(output.parent)
            sweep(output)
            yield
        finally:
            HELD.pop(output, None)
            _let_go(lock, handle)


def _locked(output: Path, path: Path) -> tuple[Path, int | None]:
    """The lock file, and its handle once it is locked; no handle where the disk knows no locks."""
    output.parent.mkdir(parents=True, exist_ok=True)
    lock = output.with_name(f".{shortened(output.name)}{LOCK_SUFFIX}")
    try:
        return lock, _take(lock, path)
    except OSError as fault:
        if fault.errno in _NO_LOCKS:
            warnings.warn(
                f"{lock.parent}: this disk has no locks; see to it that no second process writes "
                f"{path} meanwhile",
                EosinWarning,
                stacklevel=5,
            )
            return lock, None
        refused = fault.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        if not refused or not output.is_dir() or lock.exists():
            raise
    lock = output / LOCK_SUFFIX
    return lock, _take(lock, path)


def _take(lock: Path, path: Path) -> int:
    from filelock import lock_descriptor

    deadline = time.monotonic() + _PATIENCE
    while True:
        handle, signable = _open(lock)
        try:
            if not lock_descriptor(handle, blocking=False):
                _refuse(handle, path, waiting=time.monotonic() < deadline)
            elif not os.fstat(handle).st_nlink:
                pass  # whoever held it has just removed it
            elif signable:
                _sign(handle)
                return handle
            else:
                lock.unlink()
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        time.sleep(0.02)


def _open(lock: Path) -> tuple[int, bool]:
    """The open lock file, and whether it may be written: another user's may not."""
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT | _FLAGS, 0o666), True
    except PermissionError:
        if not lock.exists():
            raise
        return os.open(lock, os.O_RDONLY | _FLAGS), False


def _sign(handle: int) -> None:
    began = datetime.now().astimezone().isoformat(timespec="seconds")
    record = {"pid": os.getpid(), "host": socket.gethostname(), "began": began}
    os.ftruncate(handle, 0)
    os.write(handle, json.dumps(record).encode())


def _refuse(handle: int, path: Path, *, waiting: bool) -> None:
    """DataError that says who holds the lock; nothing yet where that is still being written."""
    try:
        record = json.loads(os.read(handle, 4096))
        who = f"process {record['pid']} on {record['host']}, begun at {record['began']},"
    except (OSError, ValueError, KeyError, TypeError):
        if waiting:
            return
        who = "another process"
    raise DataError(
        f"{path}: {who} is writing here; wait until it has ended, or name another output"
    )


def _let_go(lock: Path, handle: int | None) -> None:
    if handle is None:
        return
    with suppress(OSError):  # removed by hand, or where no open file can be: it does no harm
        if os.path.samestat(os.fstat(handle), lock.stat()):
            lock.unlink()
    os.close(handle)
