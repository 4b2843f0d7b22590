"""What a terminal cannot show is spelled out: no verb ends in an error for it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from eosin.artefacts.manifest import read_manifest
from eosin.cli.console import say, show_everything


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", r"ok -> - \u0416 caf\udce9"),
        ("cp1252", r"ok -> · \u0416 caf\udce9"),
        ("utf-8", r"✓ → · Ж caf\udce9"),
    ],
)
def test_signs_that_the_encoding_lacks_are_spelled_out(
    monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str
) -> None:
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(data, encoding=encoding))
    show_everything()
    say("✓ → · Ж ", "caf\udce9")
    sys.stdout.flush()
    assert data.getvalue().decode(encoding) == f"{shown}\n"


def test_a_class_in_cyrillic_and_a_name_in_no_encoding_are_read_on_an_ascii_terminal(
    tmp_path: Path,
) -> None:
    done, image = cv2.imencode(".png", np.full((8, 8, 3), 200, np.uint8))
    assert done
    for name in ("Ж/1.png", "b/2.png", os.fsdecode(b"b/caf\xe9.png")):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_bytes(image.tobytes())
    os.mkfifo(os.fsencode(tmp_path) + b"/d/b/caf\xe9.tif")
    command = [sys.executable, "-m", "eosin", "data", "folder", "d", "-o", "m.csv"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert (said.returncode, said.stderr) == (3, b"")
    assert rb"\u0416" in said.stdout
    assert rb"d/b/caf\udce9.tif: is a pipe, not a file" in said.stdout
    assert read_manifest(tmp_path / "m.csv").task.classes == ("b", "Ж")
