"""The record of reviews: rows are appended to SQLite or PostgreSQL and never changed.

An answer is acknowledged once it is on the disk: SQLite writes ahead with ``synchronous = FULL``,
PostgreSQL commits synchronously. One writer at a time, across processes, so rows are numbered in
the order in which they were committed.
"""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from eosin.artefacts.codec import Strict
from eosin.artefacts.values import NamedProtocol
from eosin.errors import DataError
from eosin.server.connecting import connected, database_errors, hidden, record_url
from eosin.server.standing import Standing, held, standings, undone
from eosin.server.tables import Answer, CaseRow, Offer, Source
from eosin.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eosin.artefacts.manifest import Manifest
    from eosin.files import StrPath

Filter = Literal["unanswered", "second", "flagged", "disagreement", "mine"]
Ordering = Literal["doubt", "random", "direct"]  # direct: opened by itself, from no list
_OF_LIST = ("ordering", "seed", "blind", "run")


class SourceFields(Strict):
    """What a manifest says of all its images."""

    dataset: str
    task: Task
    protocol: NamedProtocol
    notes: tuple[str, ...]
    patient_pattern: str

    @classmethod
    def of(cls, source: Source) -> Self:
        """What a row of the record says."""
        return cls.model_validate_json(json.dumps(source.fields))


@dataclass(frozen=True, slots=True)
class Listing:
    """How a list of cases was made."""

    reader: str
    ordering: Ordering
    seed: int = 0  # of a random order
    filters: tuple[Filter, ...] = ()
    label: str | None = None  # only cases of this label
    blind: bool = False  # whether the model's answer is hidden
    run: str = ""  # the hash of the Run behind it

    def offer(self, case: str, position: int) -> Offer:
        """The row that says that a case stood at a position of this list."""
        said = " ".join([*self.filters, *([] if self.label is None else [f"label={self.label}"])])
        same: dict[str, Any] = {name: getattr(self, name) for name in _OF_LIST}
        return Offer(reader=self.reader, case_id=case, position=position, filters=said, **same)


@dataclass(frozen=True, slots=True)
class Given:
    """What a reader says of a case.

    Attributes:
        reader: who.
        case: its id.
        label: a class; None with a comment alone.
        comment: free text.
        region: x, y, width and height in pixels of the image.
        adjudicates: whether the label decides between readers.
        run: the hash of the Run whose answer was at hand.
        page: what the page showed, as the page says.
        model: the model's answer; kept as shown unless the answer is blind.
        once: a name of the page's own: what comes again under it is not kept twice.
    """

    reader: str
    case: str
    label: str | None = None
    comment: str = ""
    region: tuple[float, float, float, float] | None = None
    adjudicates: bool = False
    run: str = ""
    page: Mapping[str, object] = field(default_factory=dict)
    model: Mapping[str, object] = field(default_factory=dict)
    once: str = ""


class Record:
    """An open record; may be used by several threads, and beside other processes.

    Opening brings its tables up to date, under a lock.

    Args:
        database: a file, ``sqlite:///FILE`` or ``postgresql://USER@HOST/NAME``.
        create: whether a new one may be made.

    Raises:
        ConfigError: the URL is of another kind of database.
        DataError: there is none, it is no record of eosin's, or a newer eosin made it.
        DiskError: it cannot be opened.
    """

    def __init__(self, database: StrPath, *, create: bool = True) -> None:
        url = record_url(database)
        self._engine, self._url = connected(url, create=create), hidden(url)
        self._writer = self._engine.execution_options(writes=True)
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._log: list[Answer] = []

    def close(self) -> None:
        """Let the database go."""
        self._engine.dispose()

    def add_cases(self, manifest: Manifest, ids: Mapping[str, str]) -> None:
        """Append the images of a manifest that are not there yet.

        Args:
            manifest: what is known of them; a record holds one task.
            ids: the case of each path.

        Raises:
            DataError: the record is of another task.
        """
        names = SourceFields.model_fields
        said = SourceFields(**{name: getattr(manifest, name) for name in names})
        fields = said.model_dump(mode="json")
        digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
        with self._appending() as session:
            sources = session.scalars(select(Source).order_by(Source.number)).all()
            other = next(iter(map(SourceFields.of, sources)), said).task
            if other != said.task:
                raise DataError(
                    f"{self._url}: is a record of the task {other.name!r} {other.classes}, the "
                    f"images are of {said.task.name!r} {said.task.classes}; name another --db"
                )
            source = next((each for each in sources if each.digest == digest), None)
            if source is None:
                source = Source(digest=digest, fields=fields)
                session.add(source)
                session.flush()
            known = set(session.scalars(select(CaseRow.id)))
            for row in manifest.frame.to_dict("records"):
                case = ids.get(row["path"])
                if case is not None and case not in known:
                    session.add(CaseRow(id=case, source=source.number, row=row))

    def offered(self, listing: Listing, cases: Sequence[str], *, first: int = 0) -> None:
        """Append which cases a reader is shown and how; one shown so before is not noted twice.

        Args:
            listing: how the list was made.
            cases: the ids, in order.
            first: the position of the first of them in the list, from 0.
        """
        chosen = (Offer.reader == listing.reader) & Offer.case_id.in_(cases)
        latest = select(func.max(Offer.number)).where(chosen).group_by(Offer.case_id)
        with self._appending() as session:
            found = session.scalars(select(Offer).where(Offer.number.in_(latest)))
            noted = {each.case_id: each for each in found}
            for position, case in enumerate(cases, first):
                last, row = noted.get(case), listing.offer(case, position)
                kept = (*_OF_LIST, "filters")
                if last is None or any(getattr(last, k) != getattr(row, k) for k in kept):
                    session.add(row)

    def answer(self, given: Given) -> Answer:
        """Append an answer, or a change, comment or adjudication; it is on the disk on return.

        Raises:
            DataError: the case is unknown, nothing is said, or nobody disagrees about it.
        """
        if given.label is None and not given.comment.strip() and given.region is None:
            raise DataError("nothing is said: give a label, a comment or a region")
        with self._appending() as session:
            own = select(Answer).where(Answer.case_id == given.case).order_by(Answer.number)
            log = session.scalars(own).all()
            if (kept := _kept(log, given.reader, given.once)) is not None:
                return kept
            state = standings(log).get(given.case, Standing())
            if given.adjudicates and (len(state.labels) < 2 or given.label is None):
                raise DataError("an adjudication needs a label, and two readers who have answered")
            offers = _offers(session, given.reader, given.case)
            blind = _blind(given.reader, log, offers)
            row = Answer(
                reader=given.reader,
                case_id=given.case,
                kind=_kind(given, state),
                label=given.label,
                comment=given.comment,
                region=None if given.region is None else list(given.region),
                run=given.run,
                shown={
                    "page": dict(given.page),
                    "model": None if blind else dict(given.model),
                    **({"once": given.once} if given.once else {}),
                },
                blind=blind,
                ordering=_ordering(offers),
            )
            session.add(row)
        return row

    def undo(self, reader: str, number: int | None = None, *, once: str = "") -> Answer:
        """Append that a row of the reader's own is taken back; it is on the disk on return.

        Args:
            reader: who.
            number: of the row, which may be an undo; their latest that holds where None.
            once: as of an answer.

        Raises:
            DataError: there is no such row, or it is taken back already.
        """
        with self._appending() as session:
            own = select(Answer).where(Answer.reader == reader).order_by(Answer.number)
            log = session.scalars(own).all()
            if (kept := _kept(log, reader, once)) is not None:
                return kept
            found = next(reversed(held(log)), None)
            if number is not None:
                found = next((each for each in log if each.number == number), None)
            if found is None or found.number in undone(log):
                which = "answer" if number is None else f"answer {number}"
                raise DataError(f"{reader} has no {which} that can be undone")
            row = Answer(
                reader=reader,
                case_id=found.case_id,
                kind="undo",
                run=found.run,
                shown={"once": once} if once else {},
                blind=found.blind,
                ordering=found.ordering,
                undoes=found.number,
            )
            session.add(row)
        return row

    def hides(self, reader: str, case: str) -> bool:
        """Whether the model is hidden from a reader: an answer of theirs would be blind."""
        with self._asking() as session:
            log = session.scalars(select(Answer).where(Answer.case_id == case)).all()
            return _blind(reader, log, _offers(session, reader, case))

    def log(self) -> list[Answer]:
        """Every row that was ever appended, in order; rows of other processes too."""
        with self._reading, self._asking() as session:
            last = self._log[-1].number if self._log else 0
            new = select(Answer).where(Answer.number > last).order_by(Answer.number)
            self._log += session.scalars(new).all()
            return list(self._log)

    def standings(self) -> dict[str, Standing]:
        """What holds now of every case that has an answer."""
        return standings(self.log())

    def cases(self) -> list[tuple[CaseRow, Source]]:
        """Every case with what its manifest said, in the order in which they came."""
        asked = select(CaseRow, Source).join(Source, Source.number == CaseRow.source)
        with self._asking() as session:
            rows = session.execute(asked.order_by(CaseRow.source, CaseRow.id)).all()
            return [(case, source) for case, source in rows]

    @contextmanager
    def _appending(self) -> Iterator[Session]:
        at = Session(self._writer, expire_on_commit=False)
        with self._writing, database_errors(self._url), at as session:
            yield session
            session.commit()

    @contextmanager
    def _asking(self) -> Iterator[Session]:
        with database_errors(self._url), Session(self._engine, expire_on_commit=False) as session:
            yield session


def _offers(session: Session, reader: str, case: str) -> Sequence[Offer]:
    chosen = (Offer.reader == reader) & (Offer.case_id == case)
    return session.scalars(select(Offer).where(chosen).order_by(Offer.number)).all()


def _blind(reader: str, log: Sequence[Answer], offers: Sequence[Offer]) -> bool:
    """Whether a reader who was offered a case so never saw what the model says of it."""
    answered = any(each.reader == reader and each.label for each in log)
    return not answered and all(each.blind for each in offers) and len(offers) > 0


def _kept(log: Sequence[Answer], reader: str, once: str) -> Answer | None:
    """The reader's row that came under this name before, if it did."""
    own = (each for each in log if once and each.reader == reader)
    return next((each for each in own if each.shown.get("once") == once), None)


def _kind(given: Given, state: Standing) -> str:
    if given.adjudicates:
        return "adjudication"
    if given.label is None:
        return "comment"
    return "change" if given.reader in state.labels else "answer"


def _ordering(offers: Sequence[Offer]) -> str:
    """Of the latest list that had the case; ``"direct"`` where none had."""
    lists = [each.ordering for each in offers if each.ordering != "direct"]
    return lists[-1] if lists else "direct"
