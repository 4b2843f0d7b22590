"""`eosin serve` as a process: ready soon, without torch, and ended by one sentence."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from eosin.networks.run import Run

_CODE = """
import sys
for name in {blocked}:
    sys.modules[name] = None
sys.argv = ["eosin", "serve", *{arguments}]
from eosin.cli.app import main
main()
"""
_TORCH = ("torch", "timm", "torchvision", "openvino_telemetry")
_PATIENCE = 60.0  # seconds


@contextmanager
def started(*arguments: object, blocked: tuple[str, ...] = _TORCH) -> Iterator[subprocess.Popen]:
    code = _CODE.format(blocked=blocked, arguments=[str(each) for each in arguments])
    command = [sys.executable, "-W", "error", "-u", "-c", code]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def address(process: subprocess.Popen) -> str:
    """Where it says that it listens."""
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"(?:1 Run|[2-9] Runs) at (http://127\.0\.0\.1:\d+)", line)
    assert found, line + (process.stderr.read() if process.stderr else "")
    return found[1]


def wait_until_ready(url: str) -> None:
    until = time.monotonic() + _PATIENCE
    while httpx.get(f"{url}/ready").status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_export_is_served_without_torch_until_it_is_stopped(
    exported: Run, new_images: list[Path], sign: signal.Signals, code: int
) -> None:
    with started(exported.folder, "--port", "0") as process:
        url = address(process)
        wait_until_ready(url)
        name = new_images[0].name
        files = {"images": (name, new_images[0].read_bytes())}
        assert httpx.post(f"{url}/predict", files=files).status_code == 200
        assert httpx.post(f"{url}/explain", files=files).json()["method"] == "Grad-CAM"
        process.send_signal(sign)
        out, err = process.communicate(timeout=_PATIENCE)
    assert process.returncode == code
    assert out.splitlines() == ["stopped; what was asked is answered: run the same command again"]
    assert err == ""  # no name of an image either


def test_an_export_is_ready_within_three_seconds_of_a_core(exported: Run) -> None:
    """Which are those of the clock where no other program wants the core."""
    took = []
    for _ in range(3):
        with started(exported.folder, "--port", "0") as process:
            wait_until_ready(address(process))
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            took.append(sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK"))
        if 0.1 < took[-1] < 3:
            return
    pytest.fail(f"ready after {took} seconds")


@pytest.mark.parametrize(
    ("arguments", "blocked", "said"),
    [
        (["--host", "0.0.0.0"], _TORCH, "--token-file"),
        (["--engine", "openvino", "--port", "0"], (*_TORCH, "openvino"), "openvino"),
        (["--token-file", "nowhere"], _TORCH, "nowhere: cannot be read"),
        ([], (*_TORCH, "fastapi"), 'pip install "eosin[serve]"'),
    ],
    ids=["host", "engine", "token", "extra"],
)
def test_what_cannot_be_served_is_one_sentence(
    exported: Run, arguments: list[str], blocked: tuple[str, ...], said: str
) -> None:
    with started(exported.folder, *arguments, blocked=blocked) as process:
        _, err = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 1
    assert err.startswith("error: ")
    assert said in err
    assert "Traceback" not in err


def test_a_port_that_is_taken_and_a_folder_that_is_no_run_are_named(
    exported: Run, tmp_path: Path
) -> None:
    with started(exported.folder, "--port", "0") as process:
        port = address(process).rpartition(":")[2]
        with started(exported.folder, "--port", port) as second:
            _, err = second.communicate(timeout=_PATIENCE)
    assert second.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in err
    with started(tmp_path) as process:
        _, err = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 1
    assert "not a finished Run" in err


def test_a_run_with_weights_says_without_torch_that_it_needs_it(trained: Run) -> None:
    with started(trained.folder, "--port", "0") as process:
        _, err = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 1
    assert 'pip install "eosin[train]"' in err
