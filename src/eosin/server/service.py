"""What every page and endpoint asks: the Runs that are served, their answers and explanations."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from eosin.errors import ConfigError
from eosin.explanation.options import PREDICTED
from eosin.machine import reading_threads
from eosin.server.metrics import Metrics
from eosin.server.scoring import Busy as Busy
from eosin.server.scoring import Room, Scoring
from eosin.server.served import open_served
from eosin.server.uploads import SEEN, read_upload

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from eosin.server.explaining import Explained
    from eosin.server.scoring import Answers
    from eosin.server.served import Served
    from eosin.server.settings import ServeOptions
    from eosin.server.uploads import Sent


class Service:
    """The Runs, opened once, and the threads that answer for them.

    Reading threads read images; one thread scores, so that networks never compete; one explains.

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
        self._images = Room(options.limits.queued_images)
        self._explanations = Room(options.limits.queued_explanations)
        self._reading = ThreadPoolExecutor(reading_threads(), "reading")
        self._explaining = ThreadPoolExecutor(1, "explaining")
        self.metrics.watch("eosin_ready", "Networks are open.", lambda: float(self.ready))
        self.metrics.watch(
            "eosin_queued_images", "Received, not yet answered.", lambda: self._images.taken
        )

    @property
    def ready(self) -> bool:
        """Whether networks are open."""
        return self.scoring.ready.is_set()

    def start(self) -> None:
        """Begin to open networks."""
        self.scoring.start()

    def stop(self) -> None:
        """End all threads, once what waits is answered."""
        self._reading.shutdown(cancel_futures=True)
        self._explaining.shutdown(cancel_futures=True)
        self.scoring.stop()

    def named(self, names: Sequence[str]) -> list[Served]:
        """The Runs of these names, all where none is named; ConfigError where one is unknown."""
        known = {served.name: served for served in self.runs}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ConfigError(f"no Run {unknown[0][:100]!r} is served; want some of {list(known)}")
        return [known[name] for name in dict.fromkeys(names)] or list(self.runs)

    async def predict(
        self, images: Sequence[tuple[Sent, BinaryIO]], runs: Sequence[Served]
    ) -> list[Answers]:
        """What Runs say of each image; Busy where too many wait already."""
        self._images.take(len(images))
        try:
            found = list(await asyncio.gather(*(self._answers(*each, runs) for each in images)))
        finally:
            self._images.leave(len(images))
        for answers in found:
            for name, answer in answers.items():
                self.metrics.count_image(name, error=isinstance(answer, str))
        return found

    async def _answers(self, sent: Sent, data: BinaryIO, runs: Sequence[Served]) -> Answers:
        read = partial(read_upload, sent, data, runs, allow_seen=self.options.allow_seen)
        upload = await asyncio.get_running_loop().run_in_executor(self._reading, read)
        if len(upload.refused) == len(runs):
            return dict(upload.refused)
        return await asyncio.wrap_future(self.scoring.submit(upload, runs))

    async def explain(
        self,
        sent: Sent,
        data: BinaryIO,
        served: Served,
        *,
        target: str = PREDICTED,
        score: bool = False,
    ) -> Explained:
        """An image's map.

        Raises:
            Busy: too many wait already.
            ConfigError: as ``explain_upload``, or the Run was trained on the patient.
            DataError: the image cannot be read.
            NoMapError: the Run has no maps.
        """
        from eosin.server.explaining import explain_upload

        if not self.options.allow_seen and served.met(served.patient_of(sent.called)):
            raise ConfigError(SEEN)
        work = partial(
            explain_upload, served, sent, data, self.scoring.networks, target=target, score=score
        )
        self._explanations.take(1)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._explaining, work)
        finally:
            self._explanations.leave(1)
