"""Who does the work of a command: this process, or the workers of a cluster that it connects to."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from eosin.errors import ConfigError
from eosin.machine import available_cores
from eosin.progress import SILENT, Progress
from eosin.spread import Here, Spread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

LOCAL = "local"
_ANSWER = 10  # seconds that a cluster has to answer
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

    _connect(where)
    crew = Crew(device, progress)
    try:
        yield Cluster(crew)
    finally:
        crew.dismiss()
        ray.shutdown()


def _connect(where: str) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    before = signal.getsignal(signal.SIGTERM)
    try:
        if where == LOCAL:
            cores = available_cores()
            ray.init(
                LOCAL,
                num_cpus=cores,
                object_store_memory=_STORE,
                include_dashboard=False,
                **quiet,
            )
        else:
            _require_answer(where)
            ray.init(where, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(
            f"--cluster {where}: {said}; run the command on a machine of the cluster, with its "
            "Ray and Python"
        ) from error
    finally:  # Ray takes SIGTERM for itself; eosin ends in its own way
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _require_answer(address: str) -> None:
    """ConfigError where no cluster answers; Ray itself would ask for minutes."""
    ask = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
    try:
        found = subprocess.run(ask, capture_output=True, timeout=_ANSWER, check=False)
        answers = found.returncode == 0
    except subprocess.TimeoutExpired:
        answers = False
    if not answers:
        raise ConfigError(
            f"--cluster {address}: no Ray cluster answered within {_ANSWER} s; give HOST:PORT as "
            "`ray start --head` says it, or local"
        )
