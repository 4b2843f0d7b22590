"""The side of a timing that works: a process that is told how often to do its job.

It says one JSON line when it is loaded, then answers each line that it reads: ``turn N`` with the
seconds of N batches, by the clock and of all cores together; ``memory`` with its peak in MB.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Job = Callable[[], object]

_STATUS = Path("/proc/self/status")
_MB = 2**20


def serve(prepare: Callable[[], Job], *, said: Callable[[], str] = lambda: "") -> None:
    """Load a job with ``prepare``, do it once, and then as often as standard input says.

    Args:
        prepare: what is loaded by it counts as memory; what was there before does not.
        said: one line about the job, once it is loaded.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries may print what they like

    def answer(value: object) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    forget_peak()
    before = peak_memory()
    try:
        job = prepare()
        job()
    except Exception as error:
        answer({"error": str(error) or type(error).__name__, "kind": type(error).__name__})
        return
    answer({"ready": said()})
    for line in sys.stdin:
        word, _, count = line.partition(" ")
        if word == "turn":
            answer([timed(job) for _ in range(int(count))])
        else:
            answer((peak_memory() - before) / _MB)


def timed(job: Job) -> tuple[float, float]:
    """Seconds of one call, by the clock and of all cores together."""
    clock, cores = time.perf_counter(), time.process_time()
    job()
    return time.perf_counter() - clock, time.process_time() - cores


def forget_peak() -> None:
    """Let the peak be what is resident now; where the system has no such thing it stays."""
    if not _STATUS.is_file():
        return
    with suppress(PermissionError):  # some containers forbid it
        _STATUS.with_name("clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> int:
    """The most bytes that this process has held resident at once."""
    if _STATUS.is_file():  # Linux: getrusage would count the process that started this one
        return int(_STATUS.read_text().split("VmHWM:")[1].split()[0]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
