"""Turns are fair, figures are those of the job, and a process that fails says why."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import pytest

from eosin.bench.workers import Pace, Worker, started, take_turns
from eosin.errors import ConfigError, ModelError

_SLEEPS = "import time\ndef prepare():\n    return lambda: time.sleep({seconds})\n"
_COUNTS = (
    "def prepare():\n    def job():\n        total = 0\n"
    "        while total < 2_000_000:\n            total += 1\n    return job\n"
)
_HOLDS = "def prepare():\n    held = bytearray(b'x' * {size})\n    return lambda: held[0]\n"
_REFUSES = (
    "from eosin.errors import ConfigError\n"
    "def prepare():\n    raise ConfigError('engine is not installed: pip install it')\n"
)
_CHATTERS = "def prepare():\n    return lambda: print('working hard')\n"
_DIES = (
    "import os, sys\ndef prepare():\n    return job\n"
    "def job():\n    global calls\n    calls += 1\n"
    "    if calls > 1:\n        print('out of luck', file=sys.stderr, flush=True)\n"
    "        os._exit(7)\n"
    "calls = 0\n"
)


def words(code: str) -> Sequence[str]:
    """A command that serves what ``code`` prepares."""
    return (sys.executable, "-c", f"{code}\nfrom eosin.bench.serving import serve\nserve(prepare)")


def paces(jobs: Mapping[str, str], *, rounds: int, seconds: float) -> dict[str, Pace]:
    with started({name: words(code) for name, code in jobs.items()}, {}) as start:
        workers = [start(name) for name in jobs]
        return take_turns(workers, batch=4, rounds=rounds, seconds=seconds)


def test_medians_and_95_percent_are_per_image() -> None:
    pace = Pace(4, tuple((0.1 * n, 0.2 * n) for n in range(1, 22)))
    assert pace.ms == pytest.approx(275.0)  # the 11th of 21 batches: 1.1 s for 4 images
    assert pace.p95_ms == pytest.approx(500.0)  # the 20th
    assert pace.core_ms == pytest.approx(550.0)
    assert pace.images_per_second == pytest.approx(1000 / 275)


def test_sleeping_takes_time_by_the_clock_and_none_of_the_cores() -> None:
    found = paces({"short": _SLEEPS.format(seconds=0.01), "work": _COUNTS}, rounds=2, seconds=0.05)
    assert found["short"].ms >= 10 / 4
    assert found["short"].core_ms < 1
    assert found["work"].core_ms > 1
    assert found["work"].ms >= 0.5 * found["work"].core_ms


def test_workers_take_turns_and_a_turn_lasts_as_long_as_asked(told) -> None:
    jobs = {"a": _SLEEPS.format(seconds=0.06), "b": _SLEEPS.format(seconds=0.2)}
    with started({name: words(code) for name, code in jobs.items()}, {}) as start:
        found = take_turns(
            [start("a"), start("b")],
            batch=1,
            rounds=2,
            seconds=0.1,
            progress=told,
        )
    assert [work for work, *_ in told.works] == [
        f"batch 1: round {number} of 2, {name}" for number in (1, 2) for name in "ab"
    ]
    assert len(found["a"].seconds) == 2 * 2  # two of 60 ms make 100
    assert len(found["b"].seconds) == 2 * 1


def test_memory_is_what_the_job_holds_and_not_what_was_there_before() -> None:
    before = f"there = bytearray(b'x' * {100 * 2**20})\n"
    with started({"holder": words(before + _HOLDS.format(size=64 * 2**20))}, {}) as start:
        grown = start("holder").memory()
    assert 64 <= grown < 64 * 2.5  # a copy of the bytes may live for a moment


def test_a_worker_that_cannot_load_raises_its_own_error_here() -> None:
    with (
        started({"sad": words(_REFUSES)}, {}) as start,
        pytest.raises(ConfigError, match="pip install it"),
    ):
        start("sad")


def test_what_a_job_prints_does_not_get_in_the_way() -> None:
    assert len(paces({"loud": _CHATTERS}, rounds=1, seconds=0.001)["loud"].seconds) >= 1


def test_a_worker_that_dies_is_named_with_its_last_words() -> None:
    with started({"frail": words(_DIES)}, {}) as start:
        worker: Worker = start("frail")
        with pytest.raises(ModelError, match=r"frail: its process ended with code 7 \(out of luck"):
            worker.turn(1)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_no_process_outlives_whatever_ends_the_timing(stop: type[BaseException]) -> None:
    workers: list[Worker] = []

    def begin() -> None:
        with started({"sleep": words(_SLEEPS.format(seconds=30))}, {}) as start:
            monkey = pytest.MonkeyPatch()
            with monkey.context() as patch:
                patch.setattr(Worker, "load", lambda self: workers.append(self))
                start("sleep")
            raise stop

    with pytest.raises(stop):
        begin()
    assert workers[0]._process.poll() is not None
