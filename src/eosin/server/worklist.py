"""The worklist: cases of a predictions table in an order, filtered, for one reader."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from eosin.artefacts.manifest import read_manifest
from eosin.artefacts.outputs import PREDICTIONS
from eosin.artefacts.prediction_columns import JOIN
from eosin.artefacts.predictions import read_predictions
from eosin.errors import ConfigError, DataError
from eosin.files import sha256_of
from eosin.inference.doubt import rows_of
from eosin.networks.run import PREDICTIONS_NAME, RECORD_NAME
from eosin.reporting.wording import counted
from eosin.server.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.predictions import Predictions
    from eosin.server.record import Listing

READERS = 2  # a case wants so many


@dataclass(frozen=True, slots=True)
class Case:
    """An image to be read, with the model's answer.

    Attributes:
        id: opaque; of its path.
        path, patient: of the manifest.
        decision: the class chosen at the locked threshold.
        probabilities: of each class.
        flags, classes: the words and the set of a table with trust columns; else none.
        familiarity: in [0, 1]; None where it is not known.
        answer: the decision or ``"abstain"``; empty without trust columns.
    """

    id: str
    path: str
    patient: str
    decision: str
    probabilities: Mapping[str, float]
    flags: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    familiarity: float | None = None
    answer: str = ""

    @property
    def doubt(self) -> tuple[bool, int, float, str]:
        """Sorts the most doubtful first: flagged, then the larger set, then the lesser margin.

        The margin lies between the two most probable classes; without trust columns it alone
        decides.
        """
        first, second = sorted(self.probabilities.values(), reverse=True)[:2]
        return not self.flags, -len(self.classes), first - second, self.id

    def model(self) -> dict[str, object]:
        """What the model says, as plain JSON values."""
        return {
            "decision": self.decision,
            "probabilities": dict(self.probabilities),
            "set": list(self.classes),
            "flags": list(self.flags),
            "familiarity": self.familiarity,
            "answer": self.answer or self.decision,
        }


def case_id(path: str) -> str:
    """The opaque id of an image: 32 hexadecimal digits of the SHA-256 of its absolute path."""
    data = b"eosin case\0" + path.encode("utf-8", "surrogateescape")
    return hashlib.sha256(data).hexdigest()[:32]


@dataclass(frozen=True)
class Worklist:
    """The cases that readers are offered.

    Attributes:
        manifest: what is known of the images.
        cases: those that have a prediction, in the order of the table.
        run: the hash of the Run that answered.
        notes: plain sentences, e.g. on images without a prediction.
    """

    manifest: Manifest
    cases: tuple[Case, ...]
    run: str = ""
    notes: tuple[str, ...] = ()

    @cached_property
    def by_id(self) -> dict[str, Case]:
        """Each case by its id."""
        return {case.id: case for case in self.cases}

    @property
    def ids(self) -> dict[str, str]:
        """The id of each path."""
        return {case.path: case.id for case in self.cases}

    def listed(self, listing: Listing, standing: Mapping[str, Standing]) -> list[Case]:
        """The cases in an order, the most doubtful first or at random, that pass every filter.

        A random order sorts by a hash of seed and id: it depends on nothing that the model says,
        and cases that come later do not change the order of the others. Filters: ``unanswered`` by
        the reader; ``second``: answered by others, but fewer than two, and not by the reader;
        ``flagged`` by the model; ``disagreement`` between readers; ``mine``: answered by the
        reader; a label: the reader's own where there is one, else the model's decision.

        Raises:
            ConfigError: a filter shows what a blind reader must not see.
        """
        if listing.blind and "flagged" in listing.filters:
            raise ConfigError("the filter 'flagged' shows what the model says; leave blind mode")
        passing = [case for case in self.cases if _passes(case, listing, standing)]
        if listing.ordering == "doubt":
            return sorted(passing, key=lambda case: case.doubt)
        return sorted(passing, key=lambda case: _shuffled(listing.seed, case.id))

    def progress(self, standing: Mapping[str, Standing], *, reader: str = "") -> dict[str, int]:
        """Counts of cases: all, by the reader, by at least one and two readers, in dispute."""
        states = [standing[case.id] for case in self.cases if case.id in standing]
        return {
            "cases": len(self.cases),
            "mine": sum(reader in each.labels for each in states),
            "answered": sum(len(each.labels) >= 1 for each in states),
            "twice": sum(len(each.labels) >= READERS for each in states),
            "disagreements": sum(each.disagreement for each in states),
            "adjudicated": sum(each.adjudication is not None for each in states),
            "commented": sum(bool(each.comments) for each in states),
        }


def _passes(case: Case, listing: Listing, standing: Mapping[str, Standing]) -> bool:
    state = standing.get(case.id, Standing())
    row = state.labels.get(listing.reader)
    passed = {
        "unanswered": row is None,
        "second": row is None and 0 < len(state.labels) < READERS,
        "flagged": bool(case.flags),
        "disagreement": state.disagreement,
        "mine": row is not None,
    }
    label = row.label if row else None if listing.blind else case.decision
    return all(passed[name] for name in listing.filters) and listing.label in (None, label)


def _shuffled(seed: int, case: str) -> bytes:
    return hashlib.sha256(f"{seed} {case}".encode()).digest()


def make_worklist(predictions: Predictions, manifest: Manifest, *, run: str = "") -> Worklist:
    """The worklist of a predictions table and the manifest of its images.

    Args:
        predictions: of the images, with or without the columns of trust.
        manifest: of the same task; images without a prediction are left out, and noted.
        run: the hash of the Run that made the predictions.

    Raises:
        DataError: the task differs, or no image has a prediction.
    """
    if predictions.task != manifest.task:
        raise DataError(
            f"the predictions are of the task {predictions.task.name!r} {predictions.task.classes},"
            f" the manifest of {manifest.task.name!r} {manifest.task.classes}; predict again"
        )
    listed = dict(zip(manifest.frame["path"], manifest.frame["patient"], strict=True))
    cases = tuple(case for case in _cases(predictions) if case.path in listed)
    if not cases:
        raise DataError("no image of the manifest has a prediction; predict on this manifest")
    lost = len(listed) - len(cases)
    of = counted(lost, "image")
    notes = (f"Without a prediction, and not offered: {of} of the manifest.",)
    return Worklist(manifest, cases, run, notes if lost else ())


def read_worklist(data: Path, runs: Sequence[Path]) -> Worklist:
    """The worklist of what a server shows, of the Run that made its predictions.

    Args:
        data: a predictions table, or a manifest whose images a Run has answered already: those
            of its test split or its folds.
        runs: the folders of the Runs that are served.

    Raises:
        ConfigError: there are no predictions, or none of the Runs made them; says how to make them.
    """
    digests = {sha256_of(run / RECORD_NAME): run for run in runs}
    if data.is_file() and PREDICTIONS.known(data):
        predictions = read_predictions(data)
        run = _made_by(data, predictions, digests)
        return make_worklist(
            predictions, rows_of(predictions, {*predictions.frame["path"]}), run=run
        )
    for run, folder in digests.items() if data.is_file() else ():
        if (own := folder / PREDICTIONS_NAME).is_file():
            return make_worklist(read_predictions(own), read_manifest(data), run=run)
    raise ConfigError(
        f"{data}: a review needs predictions; make them with `eosin predict {runs[0]} {data} -o "
        "P.csv`, then give --data P.csv"
    )


def _made_by(table: Path, predictions: Predictions, digests: Mapping[str, Path]) -> str:
    """The hash of the served Run that made a table: named by it, or the one whose folder it is."""
    named, home = predictions.run_hashes, table.resolve().parent
    for digest, folder in digests.items():
        if digest in named or (not named and folder.resolve() == home):
            return digest
    who = ", ".join(predictions.provenance.runs) or "a Run that it does not name"
    if named:
        who += f" (run.json {', '.join(digest[:12] for digest in named)})"
    raise ConfigError(
        f"{table}: was predicted by {who}, which is none of the Runs served "
        f"({', '.join(map(str, digests.values()))}); serve that Run, or predict again with these"
    )


def _cases(predictions: Predictions) -> Iterator[Case]:
    for row in predictions.frame.to_dict("records"):
        share = row["familiarity"] if predictions.trust else math.nan
        yield Case(
            id=case_id(row["path"]),
            path=row["path"],
            patient=row["patient"],
            decision=row["decision"],
            probabilities={name: float(row[f"p_{name}"]) for name in predictions.task.classes},
            flags=tuple(row["flags"].split()) if predictions.trust else (),
            classes=tuple(row["set"].split(JOIN)) if predictions.trust else (),
            familiarity=None if math.isnan(share) else float(share),
            answer=row["answer"] if predictions.trust else "",
        )
