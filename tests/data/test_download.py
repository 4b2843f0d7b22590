"""Datasets are fetched from a server on loopback that breaks connections and changes files."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from ssl import SSLEOFError

import numpy as np
import pytest
from typer.testing import CliRunner

from eosin.cli.app import app
from eosin.data import download as module
from eosin.data.download import SOURCES, Source, at, download
from eosin.errors import ConfigError, DataError


@dataclass
class Host:
    """What a server gives out, and how badly."""

    body: bytes = b""
    tag: str = '"1"'
    breaks_after: list[int] = field(default_factory=list)  # bytes of each of the next answers
    status: int = 0  # answered instead
    asked: list[str | None] = field(default_factory=list)  # the Range of each request
    address: str = ""


class Handler(BaseHTTPRequestHandler):
    host: Host

    def do_GET(self) -> None:
        host, span = self.host, self.headers["Range"]
        host.asked.append(span)
        if host.status:
            self.send_error(host.status)
            return
        same = self.headers["If-Range"] in (None, host.tag)
        start = int(span.removeprefix("bytes=").rstrip("-")) if span and same else 0
        self.send_response(206 if start else 200)
        rest = host.body[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.send_header("ETag", host.tag)
        self.end_headers()
        most = host.breaks_after.pop(0) if host.breaks_after else len(rest)
        self.wfile.write(rest[:most])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture
def host(listen: Callable[[type[Handler]], str]) -> Host:
    said = Host()
    said.address = f"{listen(type('Its', (Handler,), {'host': said}))}/archive"
    return said


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda _: None)


def tarred(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def breakhis(host: Host) -> Source:
    return at(SOURCES["breakhis"], host.address)


def test_an_archive_comes_whole_over_a_line_that_breaks_three_times(
    host: Host, tmp_path: Path
) -> None:
    host.body = tarred(**{"BreaKHis_v1/a.png": bytes(range(256)) * 40})
    host.breaks_after = [50, 60, 70]
    found = download(breakhis(host), tmp_path)
    assert host.asked == [None, "bytes=50-", "bytes=110-", "bytes=180-"]
    assert (found.folder / "BreaKHis_v1" / "a.png").read_bytes() == bytes(range(256)) * 40
    assert found.sha256 == hashlib.sha256(host.body).hexdigest()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["breakhis"]


def test_a_second_call_finds_it_and_asks_nobody(host: Host, tmp_path: Path) -> None:
    host.body = tarred(a=b"1")
    first = download(breakhis(host), tmp_path)
    assert download(breakhis(host), tmp_path) == first
    assert len(host.asked) == 1


def test_what_an_earlier_call_left_is_used(host: Host, tmp_path: Path) -> None:
    host.body, host.breaks_after = tarred(a=b"0123456789"), [20] + [0] * 8
    with pytest.raises(DataError, match="run the command again to continue"):
        download(breakhis(host), tmp_path)
    assert (tmp_path / "breakhis.part").stat().st_size == 20
    assert (download(breakhis(host), tmp_path).folder / "a").read_bytes() == b"0123456789"
    assert host.asked[-1] == "bytes=20-"


def test_an_archive_that_changed_in_between_is_fetched_from_its_start(
    host: Host, tmp_path: Path
) -> None:
    host.body, host.breaks_after = tarred(a=b"old" * 50), [20] + [0] * 8
    with pytest.raises(DataError):
        download(breakhis(host), tmp_path)
    host.body, host.tag = tarred(a=b"new" * 60), '"2"'
    assert (download(breakhis(host), tmp_path).folder / "a").read_bytes() == b"new" * 60


@pytest.mark.parametrize("status", [404, 403])
def test_a_refusal_is_told_at_once(host: Host, tmp_path: Path, status: int) -> None:
    host.status = status
    with pytest.raises(DataError, match=rf"answers {status}; look whether its authors have moved"):
        download(breakhis(host), tmp_path)
    assert len(host.asked) == 1


def test_a_server_that_fails_is_asked_a_few_times(host: Host, tmp_path: Path) -> None:
    host.status = 503
    with pytest.raises(DataError, match="503"):
        download(breakhis(host), tmp_path)
    assert len(host.asked) == 8


def test_a_secure_connection_that_breaks_is_tried_again(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.body, breaks, fetch = tarred(a=b"1"), [True], module._fetch_once

    def once(*given: object) -> bool:
        if breaks and breaks.pop():
            raise SSLEOFError(8, "EOF occurred in violation of protocol")
        return fetch(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_fetch_once", once)
    assert (download(breakhis(host), tmp_path).folder / "a").read_bytes() == b"1"


def test_another_archive_than_the_one_wanted_is_removed(host: Host, tmp_path: Path) -> None:
    host.body = tarred(a=b"1")
    with pytest.raises(DataError, match=r"SHA-256 .* want 00"):
        download(breakhis(host), tmp_path, sha256="00")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside"])
def test_nothing_is_unpacked_outside_of_the_folder(host: Host, tmp_path: Path, name: str) -> None:
    host.body = tarred(**{name: b"1"})
    inside = tmp_path / "data"
    with suppress(DataError):
        download(breakhis(host), inside)
    assert not (tmp_path / "outside").exists()
    assert not Path("/tmp/outside").exists()


def test_a_damaged_archive_leaves_nothing_behind(host: Host, tmp_path: Path) -> None:
    host.body = tarred(a=b"1" * 5000)[:-30]
    with pytest.raises(DataError, match="is damaged"):
        download(breakhis(host), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["breakhis", "idc"])
def test_an_archive_whose_bytes_changed_on_the_way_is_called_damaged(
    host: Host, tmp_path: Path, name: str
) -> None:
    data = bytes(np.random.default_rng(0).integers(0, 64, 50_000, np.uint8))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", data)
    body = bytearray(tarred(a=data) if name == "breakhis" else packed.getvalue())
    body[20_000:20_100] = b"\xff" * 100
    host.body = bytes(body)
    with pytest.raises(DataError, match="the archive is damaged"):
        download(at(SOURCES[name], host.address), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_was_unpacked_from_another_archive_than_the_one_wanted_is_refused(
    host: Host, tmp_path: Path
) -> None:
    host.body = tarred(a=b"1")
    found = download(breakhis(host), tmp_path)
    assert download(breakhis(host), tmp_path, sha256=found.sha256.upper()) == found
    with pytest.raises(DataError, match=f"has SHA-256 {found.sha256}, want 00; move it away"):
        download(breakhis(host), tmp_path, sha256="00")
    assert (found.folder / "a").read_bytes() == b"1"


def test_what_lies_there_already_is_left_alone(host: Host, tmp_path: Path) -> None:
    (tmp_path / "idc").mkdir()
    (tmp_path / "idc" / "mine.png").write_bytes(b"1")
    with pytest.raises(DataError, match="holds something else"):
        download(at(SOURCES["idc"], host.address), tmp_path)
    assert (tmp_path / "idc" / "mine.png").read_bytes() == b"1"
    assert host.asked == []


def test_the_command_shows_the_terms_and_the_next_step(host: Host, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("8863/0/8863_idx5_x1_y1_class0.png", b"1")
    host.body = packed.getvalue()
    done = CliRunner().invoke(
        app, ["data", "download", "idc", "-o", str(tmp_path), "--address", host.address]
    )
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "Cite A. Cruz-Roa et al." in said
    assert hashlib.sha256(host.body).hexdigest() in said.replace(" ", "")
    assert "next: eosin data folder" in said
    record = json.loads((tmp_path / "idc" / "download.json").read_text())
    assert record["address"] == host.address


def test_a_dataset_that_is_handed_out_on_request_says_where(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bupt-ai-cz\.github\.io/BCI"):
        download(SOURCES["bci"], tmp_path)
