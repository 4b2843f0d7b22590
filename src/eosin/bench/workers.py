"""The side of a timing that asks: processes that are kept alive, and their turns."""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin import errors
from eosin.errors import EosinError, ModelError
from eosin.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Seconds = tuple[float, float]  # of one batch: by the clock, of all cores together
WARM_UP = 2  # batches


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast batches were."""

    batch: int  # images in one
    seconds: tuple[Seconds, ...]  # of each, by the clock and of all cores together

    @property
    def ms(self) -> float:
        """Median milliseconds an image, by the clock."""
        return self._percentile(50, 0)

    @property
    def p95_ms(self) -> float:
        """Milliseconds an image that 19 batches in 20 keep within."""
        return self._percentile(95, 0)

    @property
    def core_ms(self) -> float:
        """Median milliseconds an image, of all cores together."""
        return self._percentile(50, 1)

    @property
    def images_per_second(self) -> float:
        """At the median."""
        return 1000 / self.ms

    def _percentile(self, percent: float, column: int) -> float:
        seconds = np.array(self.seconds)[:, column]
        return float(np.percentile(seconds, percent)) / self.batch * 1000


class Worker:
    """A process that does one job when it is asked, and sleeps in between.

    Attributes:
        name: what it is called in errors and tables.
        said: what it said about itself when it was loaded.
    """

    def __init__(self, name: str, words: Sequence[str], settings: Mapping[str, str]) -> None:
        self.name, self.said = name, ""
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  # closed in stop
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **settings},
        )

    def load(self) -> None:
        """Wait until it is loaded.

        Raises:
            EosinError: it could not be; the error is of the class that it met.
        """
        answer = self._read()
        if not isinstance(answer, dict) or "error" in answer:
            found = answer if isinstance(answer, dict) else {}
            kind = getattr(errors, str(found.get("kind")), None)
            if isinstance(kind, type) and issubclass(kind, EosinError):
                raise kind(str(found["error"]))
            raise ModelError(f"{self.name}: {found.get('kind', '')}: {found.get('error', answer)}")
        self.said = str(answer["ready"])

    def turn(self, batches: int) -> list[Seconds]:
        """Let it do its job so many times."""
        answer = self._ask(f"turn {batches}")
        if not isinstance(answer, list):
            raise ModelError(f"{self.name}: answered {answer!r} instead of its seconds")
        return [(float(clock), float(cores)) for clock, cores in answer]

    def memory(self) -> float:
        """By how many MB its resident memory has grown at the most since before it was loaded."""
        return float(str(self._ask("memory")))

    def stop(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def _ask(self, line: str) -> object:
        assert self._process.stdin is not None  # a pipe was asked for
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        return self._read()

    def _read(self) -> object:
        assert self._process.stdout is not None  # a pipe was asked for
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        found: object = json.loads(line)
        return found

    def _ended(self) -> ModelError:
        code = self._process.wait()
        self._errors.seek(0)
        last = (self._errors.read().strip().splitlines() or ["it said nothing"])[-1]
        why = "; it may have run out of memory, try a smaller batch" if code == -9 else ""
        return ModelError(f"{self.name}: its process ended with code {code} ({last}){why}")


@contextmanager
def started(
    words: Mapping[str, Sequence[str]], settings: Mapping[str, str]
) -> Iterator[Callable[[str], Worker]]:
    """Yield what starts and loads a worker by its name in ``words``; all end with the block.

    One is loaded at a time, and only when it is asked for.
    """
    with ExitStack() as stack:

        def start(name: str) -> Worker:
            worker = Worker(name, words[name], settings)
            stack.callback(worker.stop)
            worker.load()
            return worker

        yield start


def take_turns(
    workers: Sequence[Worker],
    *,
    batch: int,
    rounds: int,
    seconds: float,
    progress: Progress = SILENT,
) -> dict[str, Pace]:
    """Time workers in turn, A B A B, so that what else runs on the machine slows all alike.

    Args:
        workers: loaded.
        batch: images of each batch, for the record.
        rounds: turns of each worker.
        seconds: of one turn, about; one batch at least. Batches before that to warm up.
        progress: told the number of the round, from 1, and the worker whose turn it is.
    """
    counts = {worker.name: _batches(worker, seconds) for worker in workers}
    found: dict[str, list[Seconds]] = {worker.name: [] for worker in workers}
    for number in range(1, rounds + 1):
        for worker in workers:
            progress.begin(f"batch {batch}: round {number} of {rounds}, {worker.name}")
            found[worker.name] += worker.turn(counts[worker.name])
    return {name: Pace(batch, tuple(times)) for name, times in found.items()}


def _batches(worker: Worker, seconds: float) -> int:
    fastest = min(clock for clock, _ in worker.turn(WARM_UP))
    return max(1, math.ceil(seconds / fastest))
