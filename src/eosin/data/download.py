"""Public datasets from where their authors give them out: resumed, checked, unpacked."""

from __future__ import annotations

import json
import tarfile
import time
import zipfile
import zlib
from dataclasses import dataclass, replace
from gzip import BadGzipFile
from http.client import HTTPException
from ssl import SSLError
from typing import TYPE_CHECKING, Final, Literal
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from eosin.errors import ConfigError, DataError
from eosin.files import disk_errors, drafted, sha256_of, sweep, write_json
from eosin.locks import one_writer
from eosin.progress import SILENT, Progress, working
from eosin.version import __version__

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from pathlib import Path

RECORD_NAME: Final = "download.json"
_CHUNK: Final = 2**20  # bytes
_ATTEMPTS: Final = 8  # in a row that brought nothing new
_PATIENCE: Final = 60.0  # seconds that a server may be silent
_LONGEST_WAIT: Final = 30.0  # seconds between two attempts
_RANGE_PAST_END, _PARTIAL = 416, 206
_LOOK: Final = "look whether its authors have moved it"
_FINAL: Final = frozenset({400, 401, 403, 404, 410})  # answers that no second attempt changes


@dataclass(frozen=True, slots=True)
class Source:
    """Where a dataset is given out, and on what terms.

    Attributes:
        name: of the dataset, and of the folder of its files.
        page: of its authors, to read first.
        address: of the archive; empty where the authors hand it out on request.
        archive: its format.
        terms: licence and whom to cite, as plain sentences.
        next_step: the command that reads what was unpacked; ``{}`` is its folder.
        sha256: of the archive; None where nobody has published one.
    """

    name: str
    page: str
    address: str
    archive: Literal["tar", "zip"]
    terms: str
    next_step: str
    sha256: str | None = None


SOURCES: Final = {
    each.name: each
    for each in (
        Source(
            "breakhis",
            "https://web.inf.ufpr.br/vri/databases/"
            "breast-cancer-histopathological-database-breakhis/",
            "http://www.inf.ufpr.br/vri/databases/BreaKHis_v1.tar.gz",
            "tar",
            "For research, CC BY 4.0. Cite F. A. Spanhol, L. S. Oliveira, C. Petitjean, L. Heutte, "
            '"A Dataset for Breast Cancer Histopathological Image Classification", IEEE TBME '
            "63(7), 2016. 4 GB.",
            "eosin data breakhis {} -o bh.csv",
        ),
        Source(
            "bci",
            "https://bupt-ai-cz.github.io/BCI/",
            "",
            "zip",
            "Free for non-commercial research, handed out by its authors on request. Cite S. Liu "
            'et al., "BCI: Breast Cancer Immunohistochemical Image Generation through Pyramid '
            'Pix2pix", CVPR Workshops 2022.',
            "eosin data bci {} -o bci.csv",
        ),
        Source(
            "idc",
            "http://www.andrewjanowczyk.com/use-case-6-invasive-ductal-carcinoma-idc-segmentation/",
            "http://andrewjanowczyk.com/wp-static/IDC_regular_ps50_idx5.zip",
            "zip",
            "For research. Cite A. Cruz-Roa et al., SPIE Medical Imaging 2014, and A. Janowczyk, "
            "A. Madabhushi, J. Pathol. Inform. 7:29, 2016. 1.6 GB.",
            "eosin data folder {} -o idc.csv --patient '^(\\d+)_'",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What lies unpacked, and which archive it came from."""

    folder: Path
    sha256: str  # of the archive
    size: int  # of the archive, bytes


def download(
    source: Source, out: Path, *, sha256: str | None = None, progress: Progress = SILENT
) -> Downloaded:
    """Fetch the archive of a dataset, check and unpack it; what an interruption left is used.

    Args:
        source: the dataset.
        out: a folder; the files come to ``out/<name>``, the archive is removed at the end.
        sha256: that the archive must have; ``source``'s own by default.
        progress: told of megabytes.

    Raises:
        ConfigError: the authors hand the dataset out on request; says where.
        DataError: the server cannot be reached or refuses; the archive, also one that was unpacked
            before, is another one, or is damaged.
        DiskError: the folder cannot be written, or is full.
    """
    if not source.address:
        raise ConfigError(
            f"{source.name}: its authors hand it out at {source.page} - ask there, unpack it, then "
            f"run `{source.next_step.format('FOLDER')}`"
        )
    folder, part = out / source.name, out / f"{source.name}.part"
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with one_writer(folder), disk_errors(out, then="run the same command again to continue"):
        sweep(out)
        wanted = (sha256 or source.sha256 or "").lower()
        known = _finished(folder, source, wanted)
        if known is not None:
            return known
        with working(progress, f"fetching {source.name} (MB)"):
            _fetch(source.address, part, progress)
        found = Downloaded(folder, sha256_of(part), part.stat().st_size)
        if wanted and found.sha256 != wanted:
            part.unlink()
            raise DataError(
                f"{source.address}: SHA-256 {found.sha256}, want {wanted}; the archive changed or "
                "was damaged on the way and is removed: fetch it again"
            )
        progress.note(f"unpacking {found.size / 1e6:,.0f} MB")
        _unpack(part, source, found)
    return found


def _finished(folder: Path, source: Source, wanted: str) -> Downloaded | None:
    """What an earlier call brought; DataError where something else lies there, by SHA-256 too."""
    if not folder.exists():
        return None
    try:
        said = json.loads((folder / RECORD_NAME).read_text("utf-8"))
        known = Downloaded(folder, str(said["sha256"]), int(said["size"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        known = None
    if known is None or said.get("address") != source.address:
        raise DataError(f"{folder}: holds something else; name another --out, or move it away")
    if wanted and known.sha256 != wanted:
        raise DataError(f"{folder}: has SHA-256 {known.sha256}, want {wanted}; move it away")
    return known


def _fetch(address: str, part: Path, progress: Progress) -> None:
    """Append to ``part`` until the whole archive is there; a few attempts in vain end it."""
    tag_file, left = part.with_suffix(".tag"), _ATTEMPTS
    while left:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _fetch_once(address, part, tag_file, progress):
                tag_file.unlink(missing_ok=True)
                return
            fault: Exception = DataError("the connection ended early")
        except HTTPError as error:
            error.close()
            if error.code in _FINAL:
                raise DataError(f"{address}: the server answers {error.code}; {_LOOK}") from error
            fault = error
        except (URLError, HTTPException, ConnectionError, TimeoutError, SSLError) as error:
            fault = error
        brought = part.exists() and part.stat().st_size > before
        left = _ATTEMPTS if brought else left - 1
        if left:
            progress.note(f"{fault}; {left} more attempts")
            time.sleep(0.0 if brought else min(2.0 ** (_ATTEMPTS - left) / 4, _LONGEST_WAIT))
    raise DataError(f"{address}: cannot be fetched ({fault}); run the command again to continue")


def _fetch_once(address: str, part: Path, tag_file: Path, progress: Progress) -> bool:
    """Fetch what is missing of one and the same archive; whether all is there now."""
    have = part.stat().st_size if part.exists() else 0
    tag = tag_file.read_text("utf-8") if tag_file.exists() else ""
    headers = {"User-Agent": f"eosin/{__version__}"}
    if have and tag:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag}
    try:
        asked = Request(address, headers=headers)
        response: HTTPResponse = urlopen(asked, timeout=_PATIENCE)
    except HTTPError as error:
        error.close()
        if error.code == _RANGE_PAST_END and error.headers["Content-Range"] == f"bytes */{have}":
            return True
        raise
    with response:
        resumed = response.status == _PARTIAL
        length = response.headers["Content-Length"]
        whole = int(length) + (have if resumed else 0) if length else None
        tag = response.headers["ETag"] or response.headers["Last-Modified"] or ""
        tag_file.write_text(tag, "utf-8")
        done = have if resumed else 0
        progress.begin("fetching (MB)", total=whole and whole // 10**6, done=done // 10**6)
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                progress.advance((done + len(chunk)) // 10**6 - done // 10**6)
                done += len(chunk)
    return whole is None or done == whole


def _unpack(part: Path, source: Source, found: Downloaded) -> None:
    """Unpack beside the folder, then move there in one step; nothing lands outside of it."""
    try:
        with drafted(found.folder, folder=True) as draft:
            if source.archive == "zip":
                with zipfile.ZipFile(part) as packed:
                    packed.extractall(draft)
            else:
                with tarfile.open(part) as unpacked:
                    unpacked.extractall(draft, filter="data")
                    while unpacked.fileobj and unpacked.fileobj.read(_CHUNK):
                        pass  # only at its end is the checksum of a compressed one looked at
            fields = {"address": source.address, "sha256": found.sha256, "size": found.size}
            write_json(draft / RECORD_NAME, fields | {"terms": source.terms})
            draft.rename(found.folder)
    except (tarfile.TarError, zipfile.BadZipFile, BadGzipFile, zlib.error, EOFError) as error:
        part.unlink()
        raise DataError(
            f"{source.address}: the archive is damaged ({error}) and is removed; fetch it again"
        ) from error
    part.unlink()


def at(source: Source, address: str) -> Source:
    """The same dataset from another address, such as a mirror."""
    return replace(source, address=address)
