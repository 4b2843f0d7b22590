"""Nodes of a Ray cluster on this machine, each a process group that is ended by its own number."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"
# These nodes know each other by a word of their own, whatever lies in the user's home.
OWN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": f"{SOURCE}{os.pathsep}{Path(__file__).parent}",
}
# `ray start`, without Ray Serve, which its command line imports for longer than all else.
_RAY = "import sys; sys.modules['ray.serve.scripts'] = None; from ray.scripts import scripts"
START = [sys.executable, "-c", f"{_RAY}; scripts.main()", "start", "--block"]
# A node that ended is known as lost within two seconds, not half a minute; one that is slow is not.
QUICK = {
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(holds: Callable[[], object], what: str, *, seconds: float = 60) -> None:
    """Until it holds; a failure that says what was waited for, where it never does."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"{seconds} s passed without {what}"
        time.sleep(0.05)


class Nodes:
    """A head without a worker of its own, and nodes of one core each, that come and go."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # sockets want short paths
        self.address = f"127.0.0.1:{free_port()}"
        self._started: list[subprocess.Popen[bytes]] = []
        self._numbers = count(1)
        port = self.address.rpartition(":")[2]
        client = f"--ray-client-server-port={free_port()}"
        self.start("--head", f"--port={port}", client, "--include-dashboard=false", cores=0)

    def start(
        self,
        *words: str,
        cores: int = 1,
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> subprocess.Popen[bytes]:
        """Another node, there once it says so.

        Args:
            words: of the head; a node that joins it has none.
            cores: workers of one thread that it has room for.
            environment: what is another there.
            within: the command that starts it, before its own words.
        """
        if not words:
            words = (f"--address={self.address}",)
        number = next(self._numbers)
        # An address of its own, or a driver would take any node for that of its machine.
        host = f"--node-ip-address=127.0.0.{number}"
        temp = f"--temp-dir={self.folder / str(number)}"
        log = self.folder / f"{number}.log"
        ports = [f"--dashboard-agent-listen-port={free_port()}", host]
        small = ["--object-store-memory=80000000", f"--num-cpus={cores}", "--disable-usage-stats"]
        with log.open("wb") as out:
            node = subprocess.Popen(
                [*within, *START, *words, temp, *ports, *small],
                env={**os.environ, **OWN, **QUIET, **QUICK, **(environment or {})},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._started.append(node)
        wait_for(lambda: b"Ray runtime started" in log.read_bytes() or node.poll(), f"{log}")
        assert node.poll() is None, log.read_text()
        return node

    @property
    def alive(self) -> list[subprocess.Popen[bytes]]:
        """Nodes that run, but for the head."""
        return [node for node in self._started[1:] if node.poll() is None]

    def fill(self) -> None:
        """Two nodes, whatever a test before has left."""
        for node in self.alive[2:]:
            self.kill(node)
        with ThreadPoolExecutor() as both:
            list(both.map(lambda _: self.start(), range(len(self.alive), 2)))

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """End a node as a power cut does, with all that runs on it."""
        for child in _below(node.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        node.wait()

    def close(self) -> None:
        """End what was started here, and nothing else."""
        for node in reversed(self._started):
            if node.poll() is None:
                self.kill(node)


def workers(node: subprocess.Popen[bytes]) -> list[int]:
    """The processes on a node that do eosin's work."""
    found = []
    for child in _below(node.pid):
        with contextlib.suppress(OSError):
            if b"ray::Worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


def _below(process: int) -> list[int]:
    """A process and all that it started, and those started."""
    found = [process]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text().split())
    return found
