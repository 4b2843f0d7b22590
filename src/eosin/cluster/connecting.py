"""Who does the work of a command: this process, or the workers of a cluster that it connects to."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from eosin.errors import ConfigError
from eosin.machine import available_cores
from eosin.progress import SILENT, Progress
from eosin.spread import Here, Spread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_ANSWER = 10  # seconds that a cluster has to answer
_ASK = """
import sys
from ray.scripts.scripts import cli
print(flush=True)
cli(["status", "--address", sys.argv[1]])
"""
_STORE = 512 * 2**20  # bytes of results that wait to be taken, of a cluster on this machine alone


def spread_over(
    where: str | None, *, device: str = "auto", progress: Progress = SILENT
) -> AbstractContextManager[Spread]:
    """Who does the work; when the block is left, however, the cluster is free again.

    Args:
        where: ``"local"`` for workers on this machine, the address of a Ray cluster that this
            machine belongs to, or None for this process alone.
        device: of networks: auto, cpu or cuda.
        progress: told of workers that come and go.

    Raises:
        ConfigError: the cluster does not answer, or runs another Ray or Python.
        ModuleNotFoundError: Ray is not installed.
    """
    return nullcontext(Here()) if where is None else _connected(where, device, progress)


@contextmanager
def _connected(where: str, device: str, progress: Progress) -> Iterator[Spread]:
    import ray

    from eosin.cluster.blocks import Cluster
    from eosin.cluster.crew import Crew

    crew = Crew(device, progress)
    _connect(where)  # where that fails, a connection that another part of the program has stays
    try:
        yield Cluster(crew)
    finally:
        crew.dismiss()
        ray.shutdown()


def _connect(where: str) -> None:
    """Connect to a cluster, or start one here; ConfigError where that cannot be."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    before = signal.getsignal(signal.SIGTERM)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    own: dict[str, Any] = {"num_cpus": available_cores(), "include_dashboard": False}
    try:
        if where == "local":
            ray.init(where, object_store_memory=_STORE, **quiet, **own)
        else:
            _require_answer(where)
            ray.init(where, **quiet)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(
            f"--cluster {where}: {said}; start eosin on a machine of the cluster, under its Ray "
            "and Python"
        ) from error
    finally:  # Ray takes SIGTERM for itself; eosin ends in its own way
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _require_answer(address: str) -> None:
    """ConfigError where no cluster answers; Ray itself would ask for minutes."""
    with subprocess.Popen(
        [sys.executable, "-c", _ASK, address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as asked:
        assert asked.stdout is not None
        try:
            asked.stdout.readline()  # Ray is imported, which takes long on a busy machine: it asks
            fault = asked.communicate(timeout=_ANSWER)[1].strip() or "no answer"
            if asked.returncode == 0:
                return
            said = fault.splitlines()[-1]
        except subprocess.TimeoutExpired:
            asked.kill()
            said = f"no answer within {_ANSWER} s"
        except BaseException:  # stopped: nobody waits for the answer
            asked.kill()
            raise
    raise ConfigError(
        f"--cluster {address}: no Ray cluster there ({said}); give HOST:PORT as "
        "`ray start --head` says it, or local"
    )
