"""The review's own API: cases in an order, answers, undo, agreement and progress."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, HTTPException, Query
from fastapi import Path as InPath
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from eosin.artefacts.glossary import GLOSSARY
from eosin.errors import ConfigError, DataError, DiskError
from eosin.evaluation.agreement import reader_agreement
from eosin.server.record import Filter, Given, Listing, Record
from eosin.server.standing import Standing, biased, undone
from eosin.server.worklist import READERS, Case, Worklist, read_worklist

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastapi import FastAPI

    from eosin.server.tables import Answer

_MOST_SHOWN = 65_536  # characters of JSON


def _within(shown: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        size = len(json.dumps(shown, allow_nan=False))
    except ValueError:
        raise ValueError("holds a number that is not finite") from None
    if size > _MOST_SHOWN:
        raise ValueError(f"takes {size} characters; at most {_MOST_SHOWN} are kept")
    return shown


Reader = Annotated[
    str,
    Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$", description="Who reads."),
]
AskedReader = Annotated[Reader, Query()]
CaseId = Annotated[str, InPath(pattern=r"^[0-9a-f]{32}$")]
Side = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]
Once = Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]*$")]  # sent again, kept once
Listed = Literal["doubt", "random"]


class AnswerBody(BaseModel):
    """An answer, a comment or an adjudication."""

    model_config = ConfigDict(extra="forbid")
    reader: Reader
    label: Annotated[str, Field(max_length=200)] | None = None
    comment: Annotated[str, Field(max_length=4000, pattern=r"^[^\x00]*$")] = ""
    region: tuple[Side, Side, Side, Side] | None = None  # x, y, width, height in pixels
    adjudicate: bool = False
    once: Once = ""
    shown: Annotated[dict[str, JsonValue], AfterValidator(_within)] = Field(default_factory=dict)


class UndoBody(BaseModel):
    """Which row is taken back: the reader's latest where none is named."""

    model_config = ConfigDict(extra="forbid")
    reader: Reader
    answer: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    once: Once = ""


def register(app: FastAPI) -> None:
    """Add the review to a server that has data and a record; errors as of opening either."""
    options = app.state.options
    if options.data is not None and options.db is not None:
        worklist = app.state.worklist = read_worklist(options.data, options.runs)
        record = app.state.record = Record(options.db)
        shown = options.show_patients
        app.include_router(review_router(record, worklist, show_patients=shown))


def review_router(record: Record, worklist: Worklist, *, show_patients: bool = False) -> APIRouter:
    """The routes below ``/review/api``.

    Args:
        record: where answers go; the cases of the worklist are added to it here.
        worklist: what is offered.
        show_patients: whether patients and file names, which may name them, leave the server.
    """
    record.add_cases(worklist.manifest, worklist.ids)
    desk = _Desk(record, worklist, show_patients)
    router = APIRouter(prefix="/review/api", tags=["review"])
    router.add_api_route("/cases", desk.cases, methods=["GET"])
    router.add_api_route("/cases/{case}", desk.case, methods=["GET"])
    router.add_api_route("/cases/{case}/answers", desk.answer, methods=["POST"], status_code=201)
    router.add_api_route("/undo", desk.undo, methods=["POST"], status_code=201)
    router.add_api_route("/agreement", desk.agreement, methods=["GET"])
    router.add_api_route("/progress", desk.progress, methods=["GET"])
    return router


@dataclass(frozen=True)
class _Desk:
    """The handlers, which run in threads: none holds up another client."""

    record: Record
    worklist: Worklist
    show_patients: bool

    def cases(
        self,
        reader: AskedReader,
        order: Listed = "doubt",
        seed: Annotated[int, Query(ge=0, lt=2**31)] = 0,
        filter: Annotated[list[Filter] | None, Query()] = None,
        label: Annotated[str | None, Query(max_length=200)] = None,
        blind: bool = False,
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> dict[str, object]:
        """Cases in an order: a page of them, which the record notes as offered."""
        self._require_class(label)
        filters, shuffle = tuple(sorted(set(filter or ()))), seed if order == "random" else 0
        listing = Listing(reader, order, shuffle, filters, label, blind, self.worklist.run)
        with as_answers():
            standing = self.record.standings()
            found = self.worklist.listed(listing, standing)
            page = found[offset : offset + limit]
            self.record.offered(listing, [case.id for case in page], first=offset)
        return {
            "order": order,
            "seed": seed,
            "blind": blind,
            "total": len(found),
            "notes": [*self.worklist.notes, *_of_order(order)],
            "classes": list(self.worklist.manifest.task.classes),
            "cases": [
                {"position": position, **self._view(case, standing, reader, blind)}
                for position, case in enumerate(page, offset)
            ],
        }

    def case(
        self, case: CaseId, reader: AskedReader, blind: bool = False, adjudicate: bool = False
    ) -> dict[str, object]:
        """One case and the reader's own history; others' answers after their own, or to adjudicate.

        Whoever adjudicates is not blind.
        """
        found, blind = case_of(self.worklist, case), blind and not adjudicate
        with as_answers():
            if not blind:
                listing = Listing(reader, "direct", run=self.worklist.run)
                self.record.offered(listing, [case])
            log = self.record.log()
            view = self._view(found, self.record.standings(), reader, blind, adjudicate)
        own = [each for each in log if each.case_id == case and each.reader == reader]
        gone = undone(log)
        return {**view, "history": [{**_row(each), "undone": each.number in gone} for each in own]}

    def answer(self, case: CaseId, body: AnswerBody) -> dict[str, object]:
        """Answer, change, comment or adjudicate; what is acknowledged is on the disk."""
        found = case_of(self.worklist, case)
        self._require_class(body.label)
        given = Given(
            reader=body.reader,
            case=case,
            label=body.label,
            comment=body.comment,
            region=body.region,
            adjudicates=body.adjudicate,
            run=self.worklist.run,
            page=body.shown,
            model=found.model(),
            once=body.once,
        )
        with as_answers():
            row = self.record.answer(given)
            standing, hide = self.record.standings(), row.label is None
            view = self._view(found, standing, body.reader, hide, body.adjudicate)
        return {"answer": _row(row), "case": view}

    def undo(self, body: UndoBody) -> dict[str, object]:
        """Take back the reader's latest row, or one by its number, which may be an undo."""
        with as_answers():
            row = self.record.undo(body.reader, body.answer, once=body.once)
        return {"answer": _row(row)}

    def agreement(self) -> dict[str, object]:
        """How far each two readers agree on the cases that both answered."""
        with as_answers():
            standing = self.record.standings()
        known = {case.id: case for case in self.worklist.cases}
        own: dict[str, dict[str, Answer]] = {}
        for case, state in standing.items():
            for reader, row in state.labels.items() if case in known else ():
                own.setdefault(reader, {})[case] = row
        pairs = []
        for first, second in combinations(sorted(own), 2):
            both = sorted(own[first].keys() & own[second].keys())
            if both:
                rows = [own[reader][case] for case in both for reader in (first, second)]
                pairs.append({"readers": [first, second], **self._figures(both, rows)})
        return {"readers": {name: len(rows) for name, rows in sorted(own.items())}, "pairs": pairs}

    def progress(self, reader: Annotated[str, Query(max_length=80)] = "") -> dict[str, object]:
        """How many cases are read, by whom, and how many are in dispute."""
        with as_answers():
            return dict(self.worklist.progress(self.record.standings(), reader=reader))

    def _figures(self, cases: list[str], rows: list[Answer]) -> dict[str, object]:
        """Agreement on some cases, whose rows are those of the first reader and of the second."""
        labels = [row.label or "" for row in rows]
        patients = [self.worklist.by_id[case].patient for case in cases]
        task = self.worklist.manifest.task
        found = reader_agreement((labels[::2], labels[1::2]), patients, task)
        figures = [{**asdict(each), "name": GLOSSARY[each.metric].title} for each in found]
        return {"cases": len(cases), "figures": figures, "notes": list(biased(rows))}

    def _require_class(self, label: str | None) -> None:
        classes = self.worklist.manifest.task.classes
        if label not in (None, *classes):
            raise HTTPException(422, f"the label is none of {list(classes)}")

    def _view(
        self,
        case: Case,
        standing: Mapping[str, Standing],
        reader: str,
        blind: bool,
        adjudicate: bool = False,
    ) -> dict[str, object]:
        """What a reader may know of a case: of other readers nothing before their own answer."""
        state = standing.get(case.id, Standing())
        own = state.labels.get(reader)
        opened = own is not None or (adjudicate and len(state.labels) >= READERS)
        others = [_row(row) for name, row in sorted(state.labels.items()) if name != reader]
        comments = [_row(row) for row in state.comments if opened or row.reader == reader]
        whose = {"name": case.path.rsplit("/", 1)[-1], "patient": case.patient}
        return {
            "id": case.id,
            **(whose if self.show_patients else {}),
            "model": case.model() if own or not blind else None,
            "mine": _row(own) if own else None,
            "others": others if opened else None,
            "readers": len(state.labels),
            "comments": comments,
            "disagreement": state.disagreement if opened else None,
            "adjudication": _row(state.adjudication) if opened and state.adjudication else None,
        }


def case_of(worklist: Worklist, case: str) -> Case:
    """The case of an id; 404 where there is none."""
    if case not in worklist.by_id:
        raise HTTPException(404, "no such case")
    return worklist.by_id[case]


@contextmanager
def as_answers() -> Iterator[None]:
    """What went wrong as an answer with its sentence."""
    try:
        yield
    except ConfigError as error:
        raise HTTPException(422, str(error)) from error
    except DiskError as error:
        raise HTTPException(503, str(error)) from error
    except DataError as error:
        raise HTTPException(409, str(error)) from error


def _row(row: Answer) -> dict[str, object]:
    names = ("number", "made", "reader", "kind", "label", "comment", "region", "blind", "ordering")
    return {name: getattr(row, name) for name in names} | {
        "case": row.case_id,
        "undoes": row.undoes,
    }


def _of_order(order: Listed) -> list[str]:
    said = "Ordered by doubt: figures from these cases are biased; a random order gives others."
    return [said] if order == "doubt" else []
