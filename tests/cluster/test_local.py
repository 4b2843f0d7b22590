"""`--cluster local`: as without it; stopped, it leaves no process and can be gone on with."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from acts import tree
from nodes import _below, wait_for

from eosin.errors import missing_extra
from eosin.inference.journal import journal_path
from eosin.networks.run import Run


def predict(run: Run, images: Path, out: Path, *more: str) -> list[str]:
    words = ["predict", str(run.folder), str(images), "-o", str(out), "--batch-size", "2"]
    how = ["--device", "cpu", "--allow-seen", "--cluster", "local", *more]
    return [sys.executable, "-m", "eosin", *words, *how]


def test_stopped_it_frees_the_cluster_and_goes_on_to_the_same_bytes(
    run: Run, images: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "p.csv"
    command = predict(run, images, out)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    journal = journal_path(out)
    wait_for(
        lambda: process.poll() is not None or (journal.exists() and journal.stat().st_size > 2000),
        "a batch in the journal",
        seconds=120,
    )
    started = _below(process.pid)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    if process.returncode == 130:
        assert "files are done and kept: run the same command with --resume" in said
        assert journal.exists()
    for child in started:
        wait_for(lambda child=child: not Path(f"/proc/{child}/exe").exists(), f"the end of {child}")
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr  # one image is damaged
    assert "workers: " in done.stdout
    assert tree(tmp_path) == whole


def test_without_ray_the_verb_says_which_extra_to_install(
    run: Run, images: Path, tmp_path: Path
) -> None:
    blocked = "import sys; sys.modules['ray'] = None; from eosin.cli.app import main; main()"
    words = predict(run, images, tmp_path / "p.csv")[3:]
    done = subprocess.run(
        [sys.executable, "-c", blocked, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert 'needs ray, which is not installed: pip install "eosin[cluster]"' in (
        done.stdout + done.stderr
    )
    assert missing_extra(ModuleNotFoundError(name="ray.util"))
    assert not (tmp_path / "p.csv").exists()


@pytest.mark.parametrize("verb", ["predict", "embed", "explain", "study", "stress"])
def test_each_verb_knows_the_option(verb: str) -> None:
    from typer.testing import CliRunner

    from eosin.cli.app import app

    assert "--cluster" in CliRunner().invoke(app, [verb, "--help"]).output
