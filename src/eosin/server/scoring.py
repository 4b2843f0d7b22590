"""One queue and one scoring thread for all clients; networks are opened once.

Images that wait share a forward pass only in networks whose answers do not depend on the company in
a batch, to the last bit; this is tried when they are opened. Others take one image at a time.
"""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from eosin.artefacts.trust_columns import JOIN
from eosin.errors import EosinError
from eosin.inference.images import unlabelled
from eosin.inference.predict import Chosen, make_scored
from eosin.inference.readings import Reading, gathered, noted
from eosin.inference.scoring import PredictOptions, judged
from eosin.networks.run import open_networks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eosin.arrays import Floats, Pixels
    from eosin.networks.run import Network, Run
    from eosin.pixels.batches import Batch
    from eosin.server.metrics import Metrics
    from eosin.server.served import Served
    from eosin.server.settings import ServeOptions
    from eosin.server.uploads import Upload


@dataclass(frozen=True)
class Answer:
    """What a Run says of an image: a row of ``eosin predict``."""

    probabilities: dict[str, float]
    decision: str
    set: list[str] | None  # None where the Run cannot make sets; so are the next two
    answer: str | None
    familiarity: float | None
    flags: list[str]
    note: str  # of the stain step


Answers: TypeAlias = "dict[str, Answer | str]"  # by the name of a Run; or why there is none


class Busy(Exception):  # noqa: N818  # no fault: a client is to come back
    """The queue is full."""


@dataclass(frozen=True, eq=False)
class _Asked:
    """An image that waits."""

    upload: Upload
    runs: Sequence[Served]
    answers: Future[Answers]


class Room:
    """How many may be inside at once."""

    def __init__(self, most: int) -> None:
        self.most, self.taken, self._lock = most, 0, threading.Lock()

    def take(self, count: int) -> None:
        """Let ``count`` in; Busy where they do not fit."""
        with self._lock:
            if self.taken + count > self.most:
                raise Busy
            self.taken += count

    def leave(self, count: int) -> None:
        """Let ``count`` out."""
        with self._lock:
            self.taken -= count


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
        self._queue: queue.Queue[_Asked | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="scoring", daemon=True)
        self.networks: dict[str, Network] = {}
        self._sharing: dict[str, bool] = {}
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

    def submit(self, upload: Upload, runs: Sequence[Served]) -> Future[Answers]:
        """Let ``runs`` answer for an image."""
        asked = _Asked(upload, runs, Future())
        self._queue.put(asked)
        return asked.answers

    def _work(self) -> None:
        try:
            opened = open_networks(
                [served.run for served in self._runs],
                engine=self._options.engine,
                device=self._options.device,
            )
            self._sharing = {
                each.run.sha256: shares_a_pass(each, self._options.batch_size) for each in opened
            }
        except EosinError as error:
            self.fault = error
            self.when_broken()
            return
        self.networks = {network.run.sha256: network for network in opened}
        self.ready.set()
        while asked := self._next():
            self._answer([each for each in asked if each.answers.set_running_or_notify_cancel()])

    def _next(self) -> list[_Asked]:
        """What waits, up to a batch, a few milliseconds after the first came; empty at the end."""
        first = self._queue.get()
        if first is None:
            return []
        found, until = [first], time.monotonic() + self._options.wait_ms / 1000
        while len(found) < self._options.batch_size:
            try:
                more = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if more is None:
                self._queue.put(None)  # the end is for the next turn
                break
            found.append(more)
        return found

    def _answer(self, asked: Sequence[_Asked]) -> None:
        self._metrics.count_batch(len(asked))
        try:
            said = score_uploads(
                [(each.upload, each.runs) for each in asked], self.networks, self._sharing
            )
        except BaseException as error:
            for each in asked:
                each.answers.set_exception(error)
            return
        for each, answers in zip(asked, said, strict=True):
            each.answers.set_result(answers)


def shares_a_pass(network: Network, most: int) -> bool:
    """Whether a network says the same of an image alone and in a batch of up to ``most``.

    Found out on noise, to the last bit of logits and features: first and last of a whole batch, and
    of two.
    """
    size = network.preprocessing.size
    noise = np.random.default_rng(0).standard_normal((most, 3, size, size)).astype(np.float32)
    if most == 1:
        return False
    whole, two = network.answers(noise), network.answers(noise[:2])
    first, last = network.answers(noise[:1]), network.answers(noise[-1:])
    return all(
        np.array_equal(many[row], alone[0])
        for batch, row, single in ((whole, 0, first), (whole, -1, last), (two, 0, first))
        for many, alone in zip(batch, single, strict=True)
    )


def score_uploads(
    asked: Sequence[tuple[Upload, Sequence[Served]]],
    networks: Mapping[str, Network],
    sharing: Mapping[str, bool],
) -> list[Answers]:
    """What Runs say of images, by the functions of ``eosin predict``, each image as if alone.

    Args:
        asked: images and who is to answer.
        networks: all that are needed, by the SHA-256 of their Run's record.
        sharing: which of them take several images at once.
    """
    said: list[Answers] = [dict(upload.refused) for upload, _ in asked]
    waiting: dict[str, list[int]] = {}
    served_by = {served.name: served for _, runs in asked for served in runs}
    for row, (_, runs) in enumerate(asked):
        for served in runs:
            if served.name not in said[row]:
                waiting.setdefault(served.name, []).append(row)
    kept = _Kept([upload for upload, _ in asked], networks, sharing)
    for name, rows in waiting.items():
        served = served_by[name]
        for part in [[row] for row in rows] if served.alone else [rows]:
            for row, answer in zip(part, _said(served, part, kept), strict=True):
                said[row][name] = answer
    return said


def _said(served: Served, rows: Sequence[int], kept: _Kept) -> list[Answer | str]:
    """What a Run says of images, or why it says nothing; where one spoils a batch, each alone."""
    try:
        kept.ask(served, rows)
        return _scored(served, rows, kept)
    except EosinError as error:
        if len(rows) == 1:
            return [served.plain(error)]
        return [answer for row in rows for answer in _said(served, [row], kept)]


def _scored(served: Served, rows: Sequence[int], kept: _Kept) -> list[Answer | str]:
    files = [_file(row) for row in rows]
    images = unlabelled(served.run, files, [kept.uploads[row].sent.called for row in rows])
    readings = []
    for place, row in enumerate(rows):
        # One image at a time: the sums of a familiarity depend on how many rows a matrix has.
        found = judged(served.scorer, served.judge, [_file(row)], _OneImage(kept, row))
        readings.append(replace(found, places=found.places + place))
    scored = make_scored(served.run, Chosen(images), PredictOptions(), gathered(readings))
    frame = scored.predictions.frame
    classes = served.run.record.task.classes
    return [_answer(row, classes) for row in frame.to_dict("records")]


def _answer(row: Mapping[str, Any], classes: Sequence[str]) -> Answer:
    familiarity = row.get("familiarity", np.nan)
    return Answer(
        probabilities={name: float(row[f"p_{name}"]) for name in classes},
        decision=row["decision"],
        set=row["set"].split(JOIN) if "set" in row else None,
        answer=row.get("answer"),
        familiarity=None if np.isnan(familiarity) else float(familiarity),
        flags=row.get("flags", "").split(),
        note=row.get("stain_note", ""),
    )


def _file(row: int) -> Path:
    """What stands for the file of an image, which is gone."""
    return Path(f"/{row}")


class _Kept:
    """What networks said of the images of a batch, each network asked once."""

    def __init__(
        self,
        uploads: Sequence[Upload],
        networks: Mapping[str, Network],
        sharing: Mapping[str, bool],
    ) -> None:
        self.uploads, self._networks, self._sharing = uploads, networks, sharing
        self._rows: dict[tuple[str, int], tuple[Floats, Floats]] = {}

    def ask(self, served: Served, rows: Sequence[int]) -> None:
        """Ask the networks of a Run for these images."""
        for leaf in served.leaves:
            new = [row for row in rows if (leaf.sha256, row) not in self._rows]
            if not new:
                continue
            spec = leaf.record.preprocessing
            pixels = np.concatenate([self.uploads[row].batches[spec].pixels for row in new])
            logits, features = self._answers(leaf.sha256, pixels)
            for k, row in enumerate(new):
                self._rows[leaf.sha256, row] = logits[k : k + 1], features[k : k + 1]

    def said(self, run: Run, row: int) -> tuple[Floats, Floats]:
        """Logits (1, classes) and features (1, channels)."""
        return self._rows[run.sha256, row]

    def _answers(self, sha256: str, pixels: Pixels) -> tuple[Floats, Floats]:
        network = self._networks[sha256]
        if self._sharing[sha256]:
            return network.answers(pixels)
        logits, features = zip(
            *(network.answers(pixels[k : k + 1]) for k in range(len(pixels))), strict=True
        )
        return np.concatenate(logits), np.concatenate(features)


_FIRST: Final = np.zeros(1, np.int64)


@dataclass(frozen=True, eq=False)
class _OneImage:
    """``Readings`` of a list of one file, whose networks have answered."""

    kept: _Kept
    row: int

    def logits(self, run: Run) -> Reading:
        """Logits (1, classes)."""
        return Reading(_FIRST, self.kept.said(run, self.row)[0], (), self._batch(run).notes)

    def features(self, run: Run) -> Reading:
        """Pooled features (1, channels)."""
        return Reading(_FIRST, self.kept.said(run, self.row)[1], (), self._batch(run).notes)

    def measures(self, run: Run) -> Reading:
        """How the image was taken (1, names)."""
        return Reading(_FIRST, self._batch(run).measures)

    def stain_notes(self, run: Run) -> Mapping[Path, str]:
        """What the Run's stain step noted."""
        return noted([_file(self.row)], _FIRST, self._batch(run).notes)

    def _batch(self, run: Run) -> Batch:
        return self.kept.uploads[self.row].batches[run.record.preprocessing]
