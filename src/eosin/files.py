"""Writing files so that an interruption leaves the old one or the new one, never half of either.

What is being written lies beside its target as a draft, hidden and of an unguessable name, and is
locked until it is done. A draft that nobody has locked was left by a process that was killed; the
next writer into that folder removes it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from eosin.errors import DiskError, EosinError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

StrPath: TypeAlias = str | os.PathLike[str]  # what the public names take for a path
LOCK_SUFFIX: Final = ".eosin.lock"
_DRAFT = re.compile(r"\..*\.[0-9a-f]{16}\.part", re.DOTALL)
_LONGEST = 180  # bytes of a draft's or lock's name that are those of its target
_ROOM, _RIGHTS = "make room, or name a path on another disk", "name a path that you may write to"
_A_FILE = "a file lies where a folder is wanted: name another path"
_FIXES: Final = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: _RIGHTS,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.ENOTDIR: _A_FILE,
    errno.EEXIST: _A_FILE,
    errno.EISDIR: "name a file, not a folder",
    errno.ENAMETOOLONG: "name a shorter one",
    errno.ELOOP: "its links lead in a circle: name another path",
}
_OTHERS: Final = ((stat.S_ISDIR, "folder"), (stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"))


def as_paths(paths: StrPath | Iterable[StrPath]) -> list[Path]:
    """One path or several as a list; a lone text is a path, not its letters."""
    if isinstance(paths, str | os.PathLike):
        return [Path(paths)]
    return [Path(path) for path in paths]


@dataclass(frozen=True, slots=True)
class Held:
    """An output that this process has locked: by which thread, and the folders swept since."""

    thread: int
    swept: set[Path] = field(default_factory=set)


HELD: Final[dict[Path, Held]] = {}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a draft beside ``path``, an empty file; move it there when the block ends well.

    A link at ``path`` stays: what it leads to is written.

    Raises:
        DiskError: something that is no regular file lies there, or the disk will not take it.
    """
    with disk_errors(path):
        target = Path(os.path.realpath(path))
        require_file(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep_once(target)
        with drafted(target) as draft:
            yield draft
            require_file(target)
            draft.replace(target)


@contextmanager
def drafted(target: Path, *, folder: bool = False) -> Iterator[Path]:
    """Yield a new file or folder beside ``target`` that is gone when the block ends."""
    draft, handle = _begin(target, folder=folder)
    try:
        yield draft
    finally:
        if handle is not None:
            os.close(handle)
        if folder:
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the drafts that killed processes left in ``folder``; those being written stay."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if _DRAFT.fullmatch(path.name):
            with suppress(OSError):  # gone by now, or another user's
                _remove_dead(path)


def contents(folder: Path) -> list[str]:
    """The names in a folder, sorted, but for drafts and locks; none where there is no folder."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(
        name for name in names if not _DRAFT.fullmatch(name) and not name.endswith(LOCK_SUFFIX)
    )


@contextmanager
def disk_errors(path: object, *, doing: str = "written", then: str = "") -> Iterator[None]:
    """Turn what the disk refuses into a DiskError that names the path, the reason and the fix.

    Args:
        path: named where the error itself names no path that the user knows.
        doing: what cannot be done with it.
        then: what to do once that is mended.
    """
    try:
        yield
    except DiskError as error:
        if not then:
            raise
        raise DiskError(f"{error}, {then}") from error
    except Exception as error:
        fault = _fault_in(error)
        if fault is None:
            raise
        named = fault.filename
        if not isinstance(named, str | bytes) or _DRAFT.fullmatch(Path(os.fsdecode(named)).name):
            named = path
        shown = os.fsdecode(named) if isinstance(named, bytes) else named
        fix = _FIXES.get(fault.errno or 0, "correct the path, or name another")
        raise DiskError(
            f"{shown}: cannot be {doing} ({fault.strerror or fault}); {fix}"
            + (f", {then}" if then else "")
        ) from error


def require_file(path: Path) -> None:
    """DiskError where something that is no regular file lies at ``path``: none is replaced."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        other = next((name for test, name in _OTHERS if test(mode)), "device")
        raise DiskError(f"{path}: is a {other}, and a file is to be written; name another path")


def require_writable(path: Path, *, names: Sequence[str] = ()) -> None:
    """DiskError unless ``path`` can be written: a file is made where it will lie, and removed.

    Args:
        path: a file, or a folder that is there or is to come.
        names: of files that will lie beside that file, or in that folder.
    """
    with disk_errors(path):
        target = Path(os.path.realpath(path))
        within = target if target.is_dir() else target.parent
        home = next(folder for folder in (within, *within.parents) if folder.exists())
        longest = os.pathconf(home, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
        for name in (*target.relative_to(home).parts, *names):
            if len(os.fsencode(name)) > longest:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), name)
        with drafted(home / "probe") as draft:
            draft.write_bytes(bytes(4096))


def shortened(name: str, most: int = _LONGEST) -> str:
    """``name`` where it takes no more bytes than ``most``, else its beginning and a digest."""
    data = os.fsencode(name)
    if len(data) <= most:
        return name
    return f"{data[: most - 9].decode(errors='ignore')}~{hashlib.sha256(data).hexdigest()[:8]}"


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


def _sweep_once(target: Path) -> None:
    """Sweep the folder of ``target``: in an output that is locked, only the first time."""
    held = next((HELD[parent] for parent in target.parents if parent in HELD), None)
    if held is None or target.parent not in held.swept:
        sweep(target.parent)
    if held is not None:
        held.swept.add(target.parent)


def _begin(target: Path, *, folder: bool) -> tuple[Path, int | None]:
    """A new draft, locked; without a lock where a file in use can be neither moved nor removed."""
    while True:
        name = f".{shortened(target.name)}.{secrets.token_hex(8)}.part"
        draft = target.with_name(name)
        try:
            draft.mkdir() if folder else draft.touch(exist_ok=False)  # neither follows a link there
            if os.name == "nt":
                return draft, None
            with suppress(FileNotFoundError):  # swept in the moment before it was locked
                handle = _locked(draft, folder=folder)
                if os.fstat(handle).st_nlink:
                    return draft, handle
                os.close(handle)
        except FileExistsError:  # another's
            raise
        except BaseException:  # stopped in between: nobody else would remove it now
            with suppress(OSError):
                draft.rmdir() if folder else draft.unlink(missing_ok=True)
            raise


def _locked(draft: Path, *, folder: bool) -> int:
    """A handle on a draft that holds its lock."""
    from filelock import lock_descriptor

    handle = os.open(draft, (os.O_RDONLY if folder else os.O_RDWR) | os.O_NOFOLLOW)
    with suppress(OSError):  # a disk without locks: nobody will sweep there either
        lock_descriptor(handle, blocking=False)
    return handle


def _remove_dead(draft: Path) -> None:
    """Remove a draft that nobody has locked; OSError where that cannot be known."""
    from filelock import lock_descriptor

    if os.name == "nt":
        return
    kind = draft.lstat().st_mode
    handle = os.open(draft, (os.O_RDONLY if stat.S_ISDIR(kind) else os.O_RDWR) | os.O_NOFOLLOW)
    try:
        if lock_descriptor(handle, blocking=False):
            shutil.rmtree(draft) if stat.S_ISDIR(kind) else draft.unlink()
    finally:
        os.close(handle)


def _fault_in(error: Exception) -> OSError | None:
    """What the disk said: ``error`` itself, or what a library made an error of its own of."""
    if isinstance(error, EosinError | BrokenPipeError):  # of a pipe no disk is at fault
        return None
    if isinstance(error, OSError):
        return error
    if isinstance(error.__context__, OSError) and error.__context__.errno in _FIXES:
        return error.__context__
    number = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else None
