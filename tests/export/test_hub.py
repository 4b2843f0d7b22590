"""Runs go to a stand-in of a model hub on loopback and come back byte for byte, or not at all."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote

import pytest

pytest.importorskip("huggingface_hub", reason="needs eosin[hub]")

from typer.testing import CliRunner

from eosin.cli.app import app
from eosin.errors import ConfigError, DataError, ModelError
from eosin.networks.hub import CARD_NAME, files_of, pull_run, push_run
from eosin.networks.run import Run, read_run

# huggingface_hub sends files to Git LFS in a way that httpx means to give up.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

COMMIT = "c" * 40
REPOSITORY = "lab/model"


@dataclass
class Hub:
    """Repositories of one commit each, and what was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)  # large ones, by SHA-256
    private: bool | None = None
    refuses: int = 0
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def answer(self, body: object, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(self.hub.refuses or 200)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def do_POST(self) -> None:
        hub, body = self.hub, self.body()
        if self.path.endswith("/repos/create"):
            said = json.loads(body)
            hub.private = said.get("private") or said.get("visibility") == "private"
            self.answer({"url": f"{hub.url}/{REPOSITORY}", "id": REPOSITORY})
        elif self.path.endswith("/validate-yaml"):
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            modes = [
                {
                    "path": each["path"],
                    "uploadMode": "regular" if each["path"].endswith((".json", ".md")) else "lfs",
                    "shouldIgnore": False,
                }
                for each in json.loads(body)["files"]
            ]
            self.answer({"files": modes})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**each, "actions": {"upload": {"href": f"{hub.url}/put/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self.answer({"transfer": "basic", "objects": objects})
        elif "/commit/" in self.path:
            for line in body.splitlines():
                said = json.loads(line)
                if said["key"] == "file":
                    hub.files[said["value"]["path"]] = base64.b64decode(said["value"]["content"])
                elif said["key"] == "lfsFile":
                    hub.files[said["value"]["path"]] = hub.stored[said["value"]["oid"]]
            self.answer(
                {"commitUrl": f"{hub.url}/{REPOSITORY}/commit/{COMMIT}", "commitOid": COMMIT}
            )
        else:
            self.send_error(404)

    def do_PUT(self) -> None:
        data = self.body()
        self.hub.stored[hashlib.sha256(data).hexdigest()] = data
        self.answer({})

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        found = re.fullmatch(rf"/{REPOSITORY}/resolve/[^/]+/(.+)", path)
        if found and found[1] in self.hub.files:
            data = self.hub.files[found[1]]
            etag = f'"{hashlib.sha256(data).hexdigest()}"'
            self.answer(data, X_Repo_Commit=COMMIT, ETag=etag)
        elif f"/api/models/{REPOSITORY}/tree/" in path:
            rows = [
                {
                    "type": "file",
                    "path": name,
                    "size": len(data),
                    "oid": hashlib.sha1(data).hexdigest(),
                }
                for name, data in self.hub.files.items()
            ]
            self.answer(rows)
        elif path.startswith(f"/api/models/{REPOSITORY}"):
            siblings = [{"rfilename": name} for name in self.hub.files]
            self.answer({"id": REPOSITORY, "sha": COMMIT, "siblings": siblings})
        else:
            self.send_error(404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, listen: Callable[[type[Handler]], str]) -> Hub:
    # The stand-in takes large files as Git LFS has them; Hugging Face's own storage it cannot be.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    said = Hub()
    said.url = listen(type("Its", (Handler,), {"hub": said}))
    return said


def copied(run: Run, to: Path) -> Run:
    shutil.copytree(run.folder, to)
    return read_run(to)


def test_a_run_comes_back_byte_for_byte(hub: Hub, trained: Run, tmp_path: Path) -> None:
    said = push_run(trained, REPOSITORY, card="# Card\n", endpoint=hub.url)
    assert said.endswith(COMMIT)
    assert hub.private is True
    names = files_of(trained)
    assert hub.files.keys() == {*names, CARD_NAME}
    assert hub.files[CARD_NAME] == b"# Card\n"
    back = pull_run(REPOSITORY, tmp_path / "back", sha256=trained.sha256, endpoint=hub.url)
    assert back.sha256 == trained.sha256
    back.require_intact()
    for name, path in names.items():
        assert (tmp_path / "back" / name).read_bytes() == path.read_bytes()


def test_nothing_but_weights_and_records_leaves_or_comes(
    hub: Hub, trained: Run, tmp_path: Path
) -> None:
    push_run(trained, REPOSITORY, endpoint=hub.url)
    assert not [name for name in hub.files if name.endswith((".csv", ".pt", ".pkl"))]
    hub.files["evil.pkl"] = hub.files["run.py"] = b"import os"
    pull_run(REPOSITORY, tmp_path / "back", endpoint=hub.url)
    assert not [*(tmp_path / "back").rglob("*.pkl"), *(tmp_path / "back").rglob("*.py")]


def test_weights_that_were_changed_on_the_hub_are_refused(
    hub: Hub, trained: Run, tmp_path: Path
) -> None:
    push_run(trained, REPOSITORY, endpoint=hub.url)
    name = next(each for each in hub.files if each.endswith(".safetensors"))
    hub.files[name] = hub.files[name][:-1] + b"x"
    with pytest.raises(ModelError, match="changed since"):
        pull_run(REPOSITORY, tmp_path / "back", endpoint=hub.url)
    assert not (tmp_path / "back").exists()


def test_another_run_than_the_one_wanted_is_refused(hub: Hub, trained: Run, tmp_path: Path) -> None:
    push_run(trained, REPOSITORY, endpoint=hub.url)
    with pytest.raises(ModelError, match="want 00"):
        pull_run(REPOSITORY, tmp_path / "back", sha256="00", endpoint=hub.url)
    assert not (tmp_path / "back").exists()


def test_a_run_that_is_not_whole_is_not_pushed(hub: Hub, trained: Run, tmp_path: Path) -> None:
    run = copied(trained, tmp_path / "run")
    next(run.folder.rglob("*.safetensors")).unlink()
    with pytest.raises(ModelError, match="missing"):
        push_run(run, REPOSITORY, endpoint=hub.url)
    assert hub.files == {}


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_hub_that_refuses_is_told_with_the_fix(
    hub: Hub, trained: Run, tmp_path: Path, status: int
) -> None:
    hub.refuses = status
    with pytest.raises((ConfigError, DataError), match=r"HF_TOKEN|cannot be reached"):
        push_run(trained, REPOSITORY, endpoint=hub.url)
    with pytest.raises((ConfigError, DataError), match=r"HF_TOKEN|cannot be reached"):
        pull_run(REPOSITORY, tmp_path / "back", endpoint=hub.url)


def test_a_hub_that_is_not_there_is_told(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be reached"):
        pull_run(REPOSITORY, tmp_path / "back", endpoint="http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="want OWNER/NAME"):
        pull_run("a/b/c", tmp_path / "back", endpoint="http://127.0.0.1:9")


def test_patients_are_made_public_only_where_that_is_said(trained: Run) -> None:
    done = CliRunner().invoke(app, ["push", str(trained.folder), REPOSITORY, "--public"])
    assert isinstance(done.exception, ConfigError)
    assert "--publish-patients" in str(done.exception)
