"""One queue and one scoring thread for all clients; networks are opened once.

Images that wait share a forward pass only in networks whose answers do not depend, to the last bit,
on the other images of a batch; this is tried when they are opened. Others take one at a time.
"""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from eosin.artefacts.prediction_columns import JOIN
from eosin.errors import EosinError
from eosin.inference.images import unlabelled
from eosin.inference.predict import Chosen, make_scored
from eosin.inference.readings import BatchReadings, Reading, gathered
from eosin.inference.scoring import PredictOptions, judged
from eosin.networks.run import open_networks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eosin.arrays import Floats, Pixels
    from eosin.networks.run import Network
    from eosin.server.metrics import Metrics
    from eosin.server.served import Served
    from eosin.server.settings import ServeOptions
    from eosin.server.uploads import Upload

# What a Run says of an image, a row of ``eosin predict`` as JSON has it; or why it says nothing.
Answer: TypeAlias = "dict[str, object] | str"
Answers: TypeAlias = "dict[str, Answer]"  # by the name of a Run
Asked: TypeAlias = "tuple[Upload, Sequence[Served]]"  # an image, and who is to answer
_Waiting: TypeAlias = "tuple[Asked, Future[Answers]]"


@dataclass(frozen=True, eq=False)
class Opened:
    """A network, and whether several images may share a pass through it."""

    network: Network
    shares: bool

    def answers(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """Logits and features of each image as if it were alone."""
        step = len(pixels) if self.shares else 1
        parts = [self.network.answers(pixels[k : k + step]) for k in range(0, len(pixels), step)]
        logits, features = zip(*parts, strict=True)
        return np.concatenate(logits), np.concatenate(features)


class Scoring:
    """The scoring thread.

    Attributes:
        networks: once they are open, by the SHA-256 of their Run's record.
        ready: set then.
        fault: why they could not be opened.
        when_broken: called then.
    """

    def __init__(self, runs: Sequence[Served], options: ServeOptions, metrics: Metrics) -> None:
        self._runs, self._options, self._metrics = runs, options, metrics
        self._queue: queue.Queue[_Waiting | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="scoring", daemon=True)
        self.networks: dict[str, Opened] = {}
        self.ready = threading.Event()
        self.fault: EosinError | None = None
        self.when_broken: Callable[[], object] = lambda: None

    def start(self) -> None:
        """Open the networks and begin to score, both in the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Answer what waits, then end."""
        self._queue.put(None)
        self._thread.join()

    def submit(self, asked: Asked) -> Future[Answers]:
        """Let Runs answer for an image."""
        answers: Future[Answers] = Future()
        self._queue.put((asked, answers))
        return answers

    def _work(self) -> None:
        runs, options = [served.run for served in self._runs], self._options
        try:
            for each in open_networks(runs, engine=options.engine, device=options.device):
                shares = shares_a_pass(each, options.batch_size)
                self.networks[each.run.sha256] = Opened(each, shares)
        except EosinError as error:
            self.fault = error
            self.when_broken()
            return
        self.ready.set()
        self._metrics.ready.set(1)
        while found := self._next():
            waiting = [each for each in found if each[1].set_running_or_notify_cancel()]
            if waiting:
                self._answer(waiting)

    def _next(self) -> list[_Waiting]:
        """What waits, up to a batch, a few milliseconds after the first came; empty at the end."""
        found, until = [self._queue.get()], time.monotonic() + self._options.wait_ms / 1000
        while found[-1] is not None and len(found) < self._options.batch_size:
            try:
                found.append(self._queue.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        if found[-1] is None and len(found) > 1:
            self._queue.put(None)  # the end is for the next turn
        return [each for each in found if each is not None]

    def _answer(self, waiting: Sequence[_Waiting]) -> None:
        self._metrics.batches.observe(len(waiting))
        try:
            said = score_uploads([asked for asked, _ in waiting], self.networks)
        except BaseException as error:
            for _, answers in waiting:
                answers.set_exception(error)
            return
        for (_, answers), found in zip(waiting, said, strict=True):
            answers.set_result(found)


def shares_a_pass(network: Network, most: int) -> bool:
    """Whether a network says the same of an image alone and in a batch of up to ``most``.

    Found out on noise, to the last bit of logits and features: first and last of a whole batch, and
    the first of two.
    """
    size = network.preprocessing.size
    noise = np.random.default_rng(0).standard_normal((most, 3, size, size)).astype(np.float32)
    one, last, two, whole = (
        network.answers(part) for part in (noise[:1], noise[-1:], noise[:2], noise)
    )
    return all(
        np.array_equal(many[row], alone[0])
        for batch, row, single in ((whole, 0, one), (whole, -1, last), (two, 0, one))
        for many, alone in zip(batch, single, strict=True)
    )


def score_uploads(asked: Sequence[Asked], networks: Mapping[str, Opened]) -> list[Answers]:
    """What Runs say of images, by the functions of ``eosin predict``, each image as if alone.

    Args:
        asked: the images.
        networks: all that are needed, by the SHA-256 of their Run's record.
    """
    uploads = [upload for upload, _ in asked]
    said: list[Answers] = [dict(upload.refused) for upload in uploads]
    kept = [BatchReadings([_file(row)], each.batches, {}) for row, each in enumerate(uploads)]
    for served in dict.fromkeys(served for _, runs in asked for served in runs):
        rows = [
            row
            for row, (upload, runs) in enumerate(asked)
            if served in runs and served.name not in upload.refused
        ]
        for part in [[row] for row in rows] if served.alone else [rows] * bool(rows):
            answers = _said(served, part, (uploads, kept, networks))
            for row, answer in zip(part, answers, strict=True):
                said[row][served.name] = answer
    return said


_Batch: TypeAlias = "tuple[Sequence[Upload], Sequence[BatchReadings], Mapping[str, Opened]]"


def _said(served: Served, rows: Sequence[int], batch: _Batch) -> list[Answer]:
    """What a Run says of images, or why it says nothing; where one spoils a batch, each alone."""
    try:
        _ask(served, rows, batch)
        return _scored(served, rows, batch)
    except EosinError as error:
        if len(rows) == 1:
            return [served.plain(error)]
        return [answer for row in rows for answer in _said(served, [row], batch)]


def _ask(served: Served, rows: Sequence[int], batch: _Batch) -> None:
    """Let the networks of a Run answer for images, each network once."""
    uploads, kept, networks = batch
    for leaf in served.leaves:
        new = [row for row in rows if leaf.sha256 not in kept[row].known]
        if new:
            inputs = [uploads[row].batches[leaf.record.preprocessing] for row in new]
            found = networks[leaf.sha256].answers(np.concatenate([each.pixels for each in inputs]))
            for k, (row, each) in enumerate(zip(new, inputs, strict=True)):
                logits, features = (
                    Reading(each.indices, values[k : k + 1], (), each.notes) for values in found
                )
                kept[row].known[leaf.sha256] = logits, features


def _scored(served: Served, rows: Sequence[int], batch: _Batch) -> list[Answer]:
    uploads, kept, _ = batch
    called = [uploads[row].sent.called for row in rows]
    images = unlabelled(served.run, [_file(row) for row in rows], called)
    readings = []
    for index, row in enumerate(rows):
        # One image at a time: the sums of a familiarity depend on how many rows a matrix has.
        found = judged(served.scorer, served.judge, [_file(row)], kept[row])
        readings.append(replace(found, indices=found.indices + index))
    scored = make_scored(served.run, Chosen(images), PredictOptions(), gathered(readings))
    classes = served.run.record.task.classes
    return [_answer(row, classes) for row in scored.predictions.frame.to_dict("records")]


def _answer(row: Mapping[str, Any], classes: Sequence[str]) -> Answer:
    familiarity = float(row.get("familiarity", np.nan))
    return {
        "probabilities": {name: float(row[f"p_{name}"]) for name in classes},
        "decision": row["decision"],
        "set": row["set"].split(JOIN) if "set" in row else None,
        "answer": row.get("answer"),
        "familiarity": None if np.isnan(familiarity) else familiarity,
        "flags": row.get("flags", "").split(),
        "note": row.get("stain_note", ""),
    }


def _file(row: int) -> Path:
    """What stands for the file of an image, which is gone."""
    return Path(f"/{row}")
