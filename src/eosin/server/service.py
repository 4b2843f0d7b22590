"""What every page and endpoint asks: the Runs that are served, their answers and explanations."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from eosin.errors import ConfigError
from eosin.explanation.options import PREDICTED
from eosin.machine import reading_threads
from eosin.server.batching import Scoring
from eosin.server.guard import AGAIN, Refusal
from eosin.server.metrics import Metrics
from eosin.server.served import open_served
from eosin.server.uploads import SEEN, read_upload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eosin.server.batching import Answers
    from eosin.server.served import Served
    from eosin.server.settings import ServeOptions
    from eosin.server.uploads import Sent

T = TypeVar("T")
_BUSY: Final = "too many images wait already; try again"


class Service:
    """The Runs, opened once, and the threads that answer for them.

    Reading threads read images; one thread scores, so that networks never compete; one explains.
    All of this is called in the event loop's thread.

    Attributes:
        options: how the server was started.
        runs: those that are served.
        metrics: the figures.
        scoring: the queue and its thread.

    Raises:
        ModelError: a folder is no finished Run, or one that is not whole.
    """

    def __init__(self, options: ServeOptions) -> None:
        self.options, self.metrics = options, Metrics()
        self.runs = open_served(options.runs)
        self.scoring = Scoring(self.runs, options, self.metrics)
        self._images = self._explanations = 0
        self._reading = ThreadPoolExecutor(reading_threads(), "reading")
        self._explaining = ThreadPoolExecutor(1, "explaining")

    def stop(self) -> None:
        """End all threads, once what waits is answered."""
        self._reading.shutdown(cancel_futures=True)
        self._explaining.shutdown(cancel_futures=True)
        self.scoring.stop()

    def named(self, names: Sequence[str]) -> list[Served]:
        """The Runs of these names, all where none is named; 404 where one is unknown."""
        known = {served.name: served for served in self.runs}
        for name in names:
            if name not in known:
                said = f"no Run {name[:100]!r} is served; want some of {list(known)}"
                raise Refusal(404, said)
        return [known[name] for name in dict.fromkeys(names)] or list(self.runs)

    def require_ready(self) -> None:
        """503 where networks are not open yet."""
        if not self.scoring.ready.is_set():
            raise Refusal(503, "the networks are not open yet; try again", AGAIN)

    async def predict(self, images: Sequence[Sent], runs: Sequence[Served]) -> list[Answers]:
        """What Runs say of each image; 429 where too many wait already."""
        if self._images + len(images) > self.options.limits.queued_images:
            raise Refusal(429, _BUSY, AGAIN)
        self._count(len(images))
        try:
            found = list(await asyncio.gather(*(self._answers(sent, runs) for sent in images)))
        finally:
            self._count(-len(images))
        for name, answer in (pair for answers in found for pair in answers.items()):
            self.metrics.images.labels(name, "error" if isinstance(answer, str) else "answer").inc()
        return found

    async def explain(
        self,
        sent: Sent,
        served: Served,
        *,
        beside: Sequence[Served] = (),
        target: str = PREDICTED,
        score: bool = False,
    ) -> dict[str, object]:
        """An image's map as JSON has it, merged with those of the Runs ``beside``.

        Raises:
            Refusal: 429, too many wait already.
            ConfigError: no such class, Runs of several tasks, or one was trained on the patient.
            DataError: the image cannot be read.
            NoMapError: the Runs have no maps.
        """
        from eosin.server.explaining import explain_upload

        runs = (served, *beside)
        if not self.options.allow_seen and any(each.met(sent.called) for each in runs):
            raise ConfigError(SEEN)
        networks = self.scoring.networks
        return await self._explained(
            partial(explain_upload, runs, sent, networks, target=target, score=score)
        )

    async def stains(self, sent: Sent) -> dict[str, object]:
        """The two stains of an image; raises as ``explain`` does."""
        from eosin.server.explaining import stains_of_upload

        return await self._explained(partial(stains_of_upload, self.runs[0], sent))

    async def _explained(self, work: Callable[[], dict[str, object]]) -> dict[str, object]:
        if self._explanations >= self.options.limits.queued_explanations:
            raise Refusal(429, _BUSY, AGAIN)
        self._explanations += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._explaining, work)
        finally:
            self._explanations -= 1

    async def read(self, work: Callable[[], T]) -> T:
        """What ``work`` finds in a reading thread; there are a few, so the rest waits."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, work)

    async def _answers(self, sent: Sent, runs: Sequence[Served]) -> Answers:
        read = partial(read_upload, sent, runs, allow_seen=self.options.allow_seen)
        upload = await self.read(read)
        if len(upload.refused) == len(runs):
            return dict(upload.refused)
        return await asyncio.wrap_future(self.scoring.submit((upload, runs)))

    def _count(self, images: int) -> None:
        self._images += images
        self.metrics.queued.set(self._images)
