"""Work done by threads a little ahead of whoever takes it, in order and within bounds."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

Work = TypeVar("Work")
Done = TypeVar("Done")


def read_ahead(
    task: Callable[[Work], Done], work: Iterable[Work], *, workers: int, ahead: int
) -> Generator[Done, None, None]:
    """Yield ``task`` of each piece of work, in order.

    Args:
        task: runs in a thread; what it raises is raised here, when its turn comes.
        work: the pieces.
        workers: threads; 0 for the caller's own, in which nothing is read ahead.
        ahead: pieces that are begun and not yet taken, at most.
    """
    if workers == 0:
        yield from map(task, work)
        return
    coming = iter(work)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Done]] = deque()
        waiting.extend(pool.submit(task, piece) for piece in islice(coming, ahead))
        try:
            while waiting:
                done = waiting.popleft().result()
                waiting.extend(pool.submit(task, piece) for piece in islice(coming, 1))
                yield done
        finally:
            for future in waiting:
                future.cancel()
