"""Files at URLs (s3://, gs://, az://, file://): a URL to a local file, an output to a URL."""

from __future__ import annotations

import errno
import hashlib
import json
import posixpath
import re
import shutil
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PosixPath, PurePosixPath
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import unquote

from eosin.errors import ConfigError, DiskError
from eosin.files import contents, replacing
from eosin.machine import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fsspec import AbstractFileSystem

    from eosin.files import StrPath

T = TypeVar("T")
_URL: Final = re.compile(r"(s3|gs|gcs|az|abfs|abfss|file)://?")  # pathlib leaves one slash
_WAITS: Final = (0.25, 1.0, 4.0)  # seconds before each further try
# What the libraries of the stores raise without credentials.
_CREDENTIALS: Final = (
    *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"),
    *("DefaultCredentialsError", "RefreshError", "ClientAuthenticationError"),
)
_STATES: Final = ("etag", "md5hash", "size", "lastmodified", "last_modified", "updated", "mtime")
_SIDECAR: Final = ".meta.json"
_LAST: Final = (_SIDECAR, "run.json")  # what says that all the others are there
_FETCHED: Final[dict[str, Path]] = {}  # each object is looked at once a command
_ORIGINS: Final[dict[Path, str]] = {}  # of inputs
_OUTGOING: Final[dict[Path, str]] = {}  # folders of outputs


class RemotePath(PosixPath):
    """A path that reads as a URL and is opened as the local copy, fetched when it is first used."""

    def __str__(self) -> str:
        return _spelled(PurePosixPath(*self.parts))

    def __fspath__(self) -> str:
        return str(fetched(str(self)))

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
    if url not in _FETCHED:
        fs, target = _store(url)
        facts = {key.lower(): value for key, value in _tried(partial(fs.info, target), url).items()}
        if facts.get("type") == "directory":
            raise IsADirectoryError(errno.EISDIR, "is a folder", url)
        home = _home([url, *(str(facts.get(name)) for name in _STATES)])
        _FETCHED[url] = _get(fs, target, url, home)
    return _FETCHED[url]


def brought(given: StrPath) -> Path:
    """An input on this machine: of a URL a file with its sidecar, or a folder such as a Run.

    Raises:
        ConfigError: as ``fetched``, or there is no such object.
    """
    url = _spelled(given)
    if not is_url(url) or _local(url):
        return _local(url) or Path(given)
    try:
        path = fetched(url)
        with suppress(FileNotFoundError):
            _copy(fetched(url + _SIDECAR), path.with_name(path.name + _SIDECAR))
    except (FileNotFoundError, IsADirectoryError) as error:
        fs, target = _store(url)
        below = [posixpath.relpath(each, target) for each in _tried(partial(fs.find, target), url)]
        if not below:
            raise ConfigError(f"{url}: there is no such object; correct the URL") from error
        copies = {name: fetched(f"{url.rstrip('/')}/{name}") for name in below}
        path = _home([url, *map(str, copies.values())]) / PurePosixPath(url).name
        for name, copy in copies.items():
            _copy(copy, path / name)
    _ORIGINS[path] = url
    return path


@contextmanager
def sent(given: StrPath) -> Iterator[Path]:
    """A path to write an output to, which goes to its URL whole when the block ends well, or not.

    It is the same path when the same command is run again, so that an interrupted one continues.

    Raises:
        ConfigError: as ``fetched``, or there is a folder at the URL already.
        DiskError: it cannot be sent; what was written stays here, and nothing of it there.
    """
    url = _spelled(given)
    if local := _local(url):
        yield local
        return
    fs, target = _store(url)
    folder = cache_folder() / "outgoing" / hashlib.sha256(url.encode()).hexdigest()[:16]
    path = folder / PurePosixPath(target).name
    if _tried(partial(fs.isdir, target), url):
        raise ConfigError(f"{url}: holds objects already; name another place")
    if not path.exists() and _tried(partial(fs.isfile, target), url):
        _get(fs, target, url, folder)  # so that what may not be replaced is seen before it is
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
            if path.name.endswith(_LAST) and _tried(partial(fs.exists, target), url):
                _tried(partial(fs.rm_file, target), url)
        for path, target in targets.items():
            begun.append(target)
            _tried(partial(fs.put_file, str(path), target), url)
    except (OSError, ConfigError) as error:
        for target in begun:
            with suppress(Exception):  # the store may be out of reach
                fs.rm_file(target)
        raise DiskError(
            f"{url}: cannot be sent ({error}); all of it lies in {folder}: run the same command "
            "again, or copy it yourself"
        ) from error


def _home(facts: list[str]) -> Path:
    """The folder of what these facts identify."""
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return cache_folder() / "remote" / digest[:32]


def _copy(source: Path, path: Path) -> None:
    with replacing(path) as draft:
        shutil.copyfile(source, draft)


def _get(fs: AbstractFileSystem, target: str, url: str, folder: Path) -> Path:
    """The object at ``target`` in ``folder``, under its own name; there whole or not at all."""
    path = folder / PurePosixPath(target).name
    if not path.exists():
        with replacing(path) as draft:
            _tried(partial(fs.get_file, target, str(draft)), url)
    return path


def _store(url: str) -> tuple[AbstractFileSystem, str]:
    from fsspec.core import url_to_fs

    try:
        fs, target = url_to_fs(url)
    except ImportError as error:
        raise ConfigError(f'{url}: {error}: pip install "eosin[storage]"') from error
    except ValueError as error:  # adlfs, where no account is named
        raise ConfigError(f"{url}: the store cannot be reached: {error}") from error
    fs.invalidate_cache()
    return fs, str(target)


def _tried(work: Callable[[], T], url: str) -> T:
    """What ``work`` gives, at the latest at the fourth try; what no try will mend is raised."""
    for wait in (*_WAITS, None):
        try:
            return work()
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "no such object", url) from error
        except Exception as error:  # each store's library has its own
            if isinstance(error, PermissionError) or type(error).__name__ in _CREDENTIALS:
                raise ConfigError(
                    f"{url}: access is refused ({error}); give the credentials of this store, for "
                    "s3:// in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or ~/.aws/credentials"
                ) from error
            if wait is None:
                said = f"{error}; tried {len(_WAITS) + 1} times"
                raise OSError(errno.EIO, said, url) from error
        time.sleep(wait)
    raise AssertionError  # the last try returns or raises


def _spelled(given: StrPath) -> str:
    """A URL with both its slashes."""
    return _URL.sub(r"\1://", str(given), count=1)


def _local(url: str) -> Path | None:
    """The file that a file:// URL names; None for a URL of a store."""
    scheme, _, path = url.partition(":")
    return Path("/", unquote(path).lstrip("/")) if scheme == "file" else None
