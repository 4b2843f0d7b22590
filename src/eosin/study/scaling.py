"""How work in blocks scales to many workers: a simulation that is fed with measured times."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

WORKERS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True, slots=True)
class Times:
    """What was measured, or is assumed, of the work, in seconds."""

    blocks: int  # pieces of equal work
    block: float  # that a worker takes for a piece
    driver: float = 0.0  # that the one driver takes to hand a piece out and to take it in
    start: float = 0.0  # until a worker can begin
    stragglers: float = 0.0  # share of the pieces that take longer
    slowness: float = 2.0  # how many times as long

    @property
    def limit(self) -> float:
        """Workers from which the driver sets the pace; infinite where it takes no time."""
        mean = self.block * (1 + self.stragglers * (self.slowness - 1))
        return mean / self.driver if self.driver else float("inf")


@dataclass(frozen=True, slots=True)
class Scale:
    """The work on so many workers."""

    workers: int
    seconds: float  # until the last piece is done
    efficiency: float  # share of the workers' time that an undisturbed worker would need, in (0, 1]
    driver: float  # share of the time in which the driver was busy


def scale(times: Times, workers: int, *, seed: int = 0) -> Scale:
    """Simulate the work: each piece goes to the worker that is free first.

    The driver prepares one piece after the other, ahead of the workers where it can.
    """
    import numpy as np

    slow = np.random.default_rng(seed).random(times.blocks) < times.stragglers
    free = [times.start] * workers
    for number, late in enumerate(slow.tolist(), 1):
        begun = max(heapq.heappop(free), number * times.driver)
        heapq.heappush(free, begun + times.block * (times.slowness if late else 1.0))
    seconds = max(free)
    done, busy = times.blocks * times.block, times.blocks * times.driver
    return Scale(workers, seconds, done / (workers * seconds), busy / seconds)


def scaling(times: Times, workers: Sequence[int] = WORKERS, *, seed: int = 0) -> tuple[Scale, ...]:
    """The work on each number of workers; the same pieces are slow everywhere."""
    return tuple(scale(times, count, seed=seed) for count in workers)
