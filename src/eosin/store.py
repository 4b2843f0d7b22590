"""Objects in stores (s3://, gs://, az://): what is known of them, and their bytes by ranges."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from eosin.errors import ConfigError, EosinError
from eosin.machine import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from fsspec import AbstractFileSystem

T = TypeVar("T")
_WAITS: Final = (0.25, 1.0, 4.0)  # seconds before each further try
# What the libraries of the stores raise without credentials.
_CREDENTIALS: Final = (
    *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"),
    *("DefaultCredentialsError", "RefreshError", "ClientAuthenticationError"),
)
_TIMES: Final = ("lastmodified", "last_modified", "updated", "mtime")
_STATES: Final = ("etag", "md5hash", "generation", *_TIMES)  # the first that a store gives counts
_GAP: Final = 4096  # bytes between two ranges that are rather fetched than asked for apart
_LONGEST: Final = 8 * 2**20  # bytes of ranges that are fetched as one
_STORED: Final[dict[str, Stored]] = {}  # each object is looked at once a command
_LISTED: Final[dict[str, set[str]]] = {}  # the names in each folder


@dataclass(frozen=True)
class Stored:
    """An object or a folder in a store, as this command first saw it."""

    url: str
    fs: AbstractFileSystem
    target: str  # what ``fs`` calls it
    home: Path  # the folder of copies of it as it was
    facts: os.stat_result  # what a disk would say; fractions of a second tell its states apart

    @classmethod
    def of(cls, url: str, fs: AbstractFileSystem, info: Mapping[str, object]) -> Stored:
        """What fsspec says of it."""
        known = {key.lower(): str(value).strip('"') for key, value in info.items() if value}
        state = next((known[name] for name in _STATES if name in known), "")
        changed = next((known[name] for name in _TIMES if name in known), "1970-01-01T00:00Z")
        size, seconds = int(known.get("size", 0)), int(datetime.fromisoformat(changed).timestamp())
        home = home_of([url, state, str(size)])
        number = int(home.name[:15], 16)
        mode = stat.S_IFDIR | 0o555 if known.get("type") == "directory" else stat.S_IFREG | 0o444
        stamps = ("st_atime_ns", "st_mtime_ns", "st_ctime_ns")
        facts = os.stat_result(
            (mode, number, 0, 1, 0, 0, size, *[seconds] * 3),
            dict.fromkeys(stamps, seconds * 10**9 + number % 10**9),
        )
        return cls(url, fs, str(info["name"]), home, facts)

    def require_unchanged(self) -> None:
        """EosinError where other bytes lie there by now; else raises as ``stored`` does."""
        with suppress(FileNotFoundError):
            info = tried(partial(self.fs.info, self.target), self.url)
            if Stored.of(self.url, self.fs, info).home == self.home:
                return
        _STORED.pop(self.url, None)
        raise EosinError(f"{self.url}: has changed while it was read; run the command again")

    def read(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes from each start up to each end, in few requests; EosinError if it changed."""
        joined, block = list[list[int]](), dict[tuple[int, int], int]()
        for start, end in sorted(spans):
            if joined and start <= joined[-1][1] + _GAP and end <= joined[-1][0] + _LONGEST:
                joined[-1][1] = max(end, joined[-1][1])
            else:
                joined.append([start, end])
            block[start, end] = len(joined) - 1
        starts, ends = map(list, zip(*joined, strict=True))
        try:
            found = tried(partial(self._ranges, starts, ends), self.url)
        except OSError:  # perhaps because other bytes lie there by now
            self.require_unchanged()
            raise
        self.require_unchanged()
        wanted = [(block[span], *span) for span in spans]
        return [found[k][start - starts[k] : end - starts[k]] for k, start, end in wanted]

    def _ranges(self, starts: list[int], ends: list[int]) -> list[bytes]:
        found = self.fs.cat_ranges([self.target] * len(starts), starts, ends)
        for data, start, end in zip(found, starts, ends, strict=True):
            if isinstance(data, Exception):
                raise data
            if len(data) != end - start:
                raise OSError(errno.EIO, f"{len(data):,} bytes came of {end - start:,}")
        return [*found]


def stored(url: str) -> Stored:
    """The object or folder at ``url``; raises as ``fetched`` does."""
    if url not in _STORED:
        above = _STORED.get(url.rpartition("/")[0])
        if above and stat.S_ISREG(above.facts.st_mode):  # as the path of a tile
            raise NotADirectoryError(errno.ENOTDIR, "lies in no folder", url)
        fs, target = opened_store(url)
        _STORED[url] = Stored.of(url, fs, tried(partial(fs.info, target), url))
    return _STORED[url]


def names_in(url: str) -> set[str]:
    """The names in the folder at ``url``, all below it listed at once; raises as ``stored``."""
    if url not in _LISTED:
        top = stored(url)
        found = tried(partial(top.fs.find, top.target, detail=True), url)
        top.fs.invalidate_cache()
        _LISTED[url] = set()
        for target, info in found.items():
            path, about = url + target.removeprefix(top.target), info
            while path != url and not target.endswith("/"):  # that stands for a folder
                _STORED.setdefault(path, Stored.of(path, top.fs, about))
                path, _, name = path.rpartition("/")
                _LISTED.setdefault(path, set()).add(name)
                about = {"name": top.target + path.removeprefix(url), "type": "directory"}
    return _LISTED[url]


def home_of(facts: list[str]) -> Path:
    """The folder of copies of what these facts identify."""
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return cache_folder() / "remote" / digest[:32]


def opened_store(url: str) -> tuple[AbstractFileSystem, str]:
    """The store of a URL, and what it calls the object there; ConfigError where there is none."""
    from fsspec.core import url_to_fs

    try:
        fs, target = url_to_fs(url)
    except ImportError as error:
        raise ConfigError(f'{url}: {error}: pip install "eosin[storage]"') from error
    except ValueError as error:  # adlfs, where no account is named
        raise ConfigError(f"{url}: the store cannot be reached: {error}") from error
    fs.invalidate_cache()
    return fs, str(target)


def tried(work: Callable[[], T], url: str) -> T:
    """What ``work`` gives, at the latest at the fourth try; what no try will mend is raised."""
    for wait in (*_WAITS, None):
        try:
            return work()
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "no such object", url) from error
        except Exception as error:  # each store's library has its own
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise  # of the disk here
            refused = getattr(error, "status_code", 0) in (401, 403)  # of Azure; then of Google
            refused = refused or isinstance(error, PermissionError) or "Forbidden: " in str(error)
            if refused or type(error).__name__ in _CREDENTIALS:
                raise ConfigError(
                    f"{url}: access is refused ({error}); give the credentials of this store, for "
                    "s3:// in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or ~/.aws/credentials"
                ) from error
            if wait is None:
                said = f"{error}; tried {len(_WAITS) + 1} times"
                raise OSError(errno.EIO, said, url) from error
        time.sleep(wait)
    raise AssertionError  # the last try returns or raises
