"""Files at URLs (s3://, gs://, az://, file://): a URL to a local file, an output to a URL."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import shutil
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PosixPath, PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from eosin.errors import ConfigError, DiskError
from eosin.files import contents, replacing
from eosin.machine import cache_folder
from eosin.store import home_of, names_in, opened_store, stored, tried

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fsspec import AbstractFileSystem

    from eosin.files import StrPath

_URL: Final = re.compile(r"(s3|gs|gcs|az|abfs|abfss|file)://?")  # pathlib leaves one slash
_SIDECAR: Final = ".meta.json"
_LAST: Final = (_SIDECAR, "run.json")  # what says that all the others are there
_ORIGINS: Final[dict[Path, str]] = {}  # of inputs
_OUTGOING: Final[dict[Path, str]] = {}  # folders of outputs


class RemotePath(PosixPath):
    """A path that reads as a URL; a local copy is fetched when it is first opened."""

    def __str__(self) -> str:
        return _spelled(PurePosixPath(*self.parts))

    def __fspath__(self) -> str:
        return str((brought if self.is_dir() else fetched)(str(self)))

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:  # noqa: ARG002 - no links
        """What a disk would say of it; nothing is fetched."""
        return stored(str(self)).facts

    def iterdir(self) -> Iterator[RemotePath]:  # type: ignore[override]
        """What lies in this folder, by name."""
        return iter([self / name for name in sorted(names_in(str(self)))])

    def absolute(self) -> RemotePath:
        """Itself."""
        return self

    def resolve(self, strict: bool = False) -> RemotePath:  # noqa: ARG002 - of every path
        """Itself: there are no links."""
        return self


def is_url(text: str) -> bool:
    """Whether a cell or an argument is a URL."""
    return _URL.match(text) is not None


def as_path(text: str) -> Path:
    """The path that a cell names; an object in a store is fetched when it is opened."""
    if not is_url(text):
        return Path(text)
    return _local(text) or RemotePath(text)


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """As ``os.walk``, which it is for a folder on a disk."""
    if not isinstance(root, RemotePath):
        yield from ((Path(folder), folders, files) for folder, folders, files in os.walk(root))
        return
    inside = [*root.iterdir()] if root.is_dir() else []
    folders = [path.name for path in inside if path.is_dir()]
    yield root, folders, [path.name for path in inside if not path.is_dir()]
    for name in folders:
        yield from walk(root / name)


def origin(path: Path) -> str:
    """The URL that an input was fetched from; empty for any other."""
    return _ORIGINS.get(path, "")


def named(text: str) -> str:
    """A path or a sentence with URLs in place of copies of inputs, and of outputs to be sent."""
    for path, url in (*_ORIGINS.items(), *_OUTGOING.items()):
        text = text.replace(str(path), url)
    return text


def joined(table: str, row: str) -> str:
    """What a row names of a table at the URL ``table``; one that is absolute stays as it is."""
    if is_url(row) or posixpath.isabs(row):
        return row
    scheme, path = table.split("://", 1)
    return f"{scheme}://{posixpath.normpath(posixpath.join(posixpath.dirname(path), row))}"


def is_outgoing(folder: Path) -> bool:
    """Whether what is written there will be sent elsewhere, so that no path counts from it."""
    return any(path in _OUTGOING for path in (folder, *folder.parents))


def fetched(url: str) -> Path:
    """A local copy of the object at ``url``, kept until the object changes.

    Raises:
        ConfigError: the extra ``storage`` or credentials are missing, or access is refused.
        OSError: there is no such object, or it cannot be fetched after four tries.
    """
    seen = stored(url)
    path = seen.home / PurePosixPath(url).name
    if not path.exists():
        with replacing(path) as draft:
            tried(partial(seen.fs.get_file, seen.target, str(draft)), url)
            seen.require_unchanged()
    return path


def brought(given: StrPath) -> Path:
    """An input on this machine: of a URL a file with its sidecar, or a folder such as a Run.

    Raises:
        ConfigError: as ``fetched``, or there is no such object.
    """
    url = _spelled(given)
    if not is_url(url) or _local(url):
        return _local(url) or Path(given)
    top = RemotePath(url)
    if not top.exists():
        raise ConfigError(f"{url}: there is no such object; correct the URL")
    if top.is_file():
        path = fetched(url)
        with suppress(FileNotFoundError):
            _copy(fetched(url + _SIDECAR), path.with_name(path.name + _SIDECAR))
    else:
        files = [folder / name for folder, _, names in walk(top) for name in names]
        copies = [fetched(str(file)) for file in files]
        path = home_of([url, *map(str, copies)]) / top.name
        for file, copy in zip(files, copies, strict=True):
            _copy(copy, path / file.relative_to(top))
    _ORIGINS[path] = url
    return path


@contextmanager
def sent(given: StrPath) -> Iterator[Path]:
    """A path to write an output to, which goes to its URL whole, once the block ends well.

    It is the same path when the same command is run again, so that an interrupted one continues.

    Raises:
        ConfigError: as ``fetched``, or there is a folder at the URL already.
        DiskError: it cannot be sent; what was written stays here, and nothing of it there.
    """
    url = _spelled(given)
    if local := _local(url):
        yield local
        return
    fs, target = opened_store(url)
    folder = cache_folder() / "outgoing" / hashlib.sha256(url.encode()).hexdigest()[:16]
    path = folder / PurePosixPath(target).name
    if RemotePath(url).is_dir():
        raise ConfigError(f"{url}: holds objects already; name another URL")
    if not path.exists() and RemotePath(url).is_file():
        _copy(fetched(url), path)  # so that what may not be replaced is seen before it is
    _OUTGOING[folder] = posixpath.dirname(url)
    try:
        yield path
    finally:
        del _OUTGOING[folder]
    _send(fs, folder, posixpath.dirname(target), url)
    shutil.rmtree(folder)


def _send(fs: AbstractFileSystem, folder: Path, parent: str, url: str) -> None:
    written = [path for path in folder.rglob("*") if path.is_file()]
    files = [path for path in written if path.name in contents(path.parent)]
    files.sort(key=lambda path: (path.name.endswith(_LAST), path))
    targets = {path: f"{parent}/{path.relative_to(folder).as_posix()}" for path in files}
    begun: list[str] = []
    try:
        for path, target in targets.items():  # no table is ever beside the sidecar of another one
            if path.name.endswith(_LAST) and tried(partial(fs.exists, target), url):
                tried(partial(fs.rm_file, target), url)
        for path, target in targets.items():
            begun.append(target)
            tried(partial(fs.put_file, str(path), target), url)
    except (OSError, ConfigError) as error:
        for target in begun:
            with suppress(Exception):  # the store may be out of reach
                fs.rm_file(target)
        raise DiskError(
            f"{url}: cannot be sent ({error}); all of it lies in {folder}: run the same command "
            "again, or copy it yourself"
        ) from error


def _copy(source: Path, path: Path) -> None:
    with replacing(path) as draft:
        shutil.copyfile(source, draft)


def _spelled(given: StrPath) -> str:
    """A URL with both its slashes."""
    return _URL.sub(r"\1://", str(given), count=1)


def _local(url: str) -> Path | None:
    """The file that a file:// URL names; None for a URL of a store."""
    scheme, _, path = url.partition(":")
    return Path("/", unquote(path).lstrip("/")) if scheme == "file" else None
