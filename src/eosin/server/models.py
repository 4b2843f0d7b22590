"""What there is to know of each Run that is served: its card, the leakage table, its report."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from fastapi import Request
from fastapi.responses import Response

from eosin.artefacts.predictions import read_predictions
from eosin.errors import EosinError
from eosin.networks.run import PREDICTIONS_NAME
from eosin.reporting.answers import Answers
from eosin.reporting.model_card import card_parts, model_card
from eosin.reporting.report import write_report
from eosin.reporting.tables import Table
from eosin.reporting.verdict import verdict_sentence, what_was_seen
from eosin.reporting.wording import counted, figure
from eosin.server.frame import show
from eosin.server.guard import Refusal
from eosin.trust.summary import promise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI

    from eosin.server.served import Served
    from eosin.server.service import Service

_REPORT_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
    )
}


def register(app: FastAPI) -> None:
    """Add the pages; the figures are made when they are first asked for, in a thread."""
    service: Service = app.state.service
    models = {served.name: Model(served) for served in service.runs}
    app.state.tabs.add("Models")

    def found(name: str) -> Model:
        if name not in models:
            raise Refusal(404, "no such Run is served; /models lists those that are")
        return models[name]

    @app.get("/models", include_in_schema=False)
    def all_models(request: Request) -> Response:
        known = list(models.values())
        options = service.options
        told = {"reports": options.show_patients, "allow_seen": options.allow_seen}
        return show(request, "models.html", models=known, leakage=leakage_table(known), **told)

    @app.get("/models/{name}/card", include_in_schema=False)
    def card(name: str) -> Response:
        return Response(found(name).card, media_type="text/markdown; charset=utf-8")

    @app.get("/models/{name}/report", include_in_schema=False)
    def report(name: str) -> Response:
        if not service.options.show_patients:
            said = "a report names patients: start the server with --show-patients to see it here"
            raise Refusal(403, said)
        return Response(found(name).report(), media_type="text/html", headers=_REPORT_HEADERS)


@dataclass(frozen=True, eq=False)
class Model:
    """A Run with its own predictions, which lie in its folder where it was trained."""

    served: Served
    _lock: Lock = field(default_factory=Lock)  # the report is made by one thread

    @cached_property
    def answers(self) -> Answers | None:
        """What Run and predictions show; None without readable, labelled ones in the folder."""
        path = self.served.run.folder / PREDICTIONS_NAME
        if not path.is_file():
            return None
        try:
            answers = Answers(self.served.run, read_predictions(path))
            _ = answers.evaluation
        except EosinError:
            return None
        return answers

    @property
    def sentence(self) -> str:
        """The figure that counts, in one sentence, with whom it speaks of."""
        if self.answers is None:
            return (
                "Its folder holds no labelled predictions that can be read, so nothing can be said "
                "here of how good it is. Serve the Run as it was trained to see its figures."
            )
        found = self.answers
        return verdict_sentence(found.run, found.predictions, found.evaluation.value("accuracy"))

    @property
    def trust(self) -> tuple[str, ...]:
        """What its sets promise, and what it can tell of an image."""
        if self.answers is None or self.answers.predictions.trust is None:
            if self.served.judge is None:
                return ("It cannot tell whether it knows such tissue.",)
            return ("It flags images that are unlike its own.",)
        trust = self.answers.predictions.trust
        return (
            f"{promise(trust)}.",
            f"Familiarity is calibrated on {counted(trust.familiar_patients or 0, 'patient')}; "
            f"below {100 * trust.unfamiliar_below:g} % an image counts as unfamiliar.",
        )

    @property
    def parts(self) -> Sequence[tuple[str, str]]:
        """The model card, part by part."""
        return card_parts(self.answers) if self.answers else ()

    @property
    def card(self) -> str:
        """The model card as Markdown."""
        if self.answers is None:
            raise Refusal(404, self.sentence)
        return model_card(self.answers.run, self.answers.predictions)

    def report(self) -> bytes:
        """The report of its predictions, made once."""
        if self.answers is None:
            raise Refusal(404, self.sentence)
        try:
            with self._lock:
                return self._report
        except EosinError as error:
            raise Refusal(422, self.served.plain(error)) from None

    @cached_property
    def _report(self) -> bytes:
        assert self.answers is not None
        found = self.answers
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "report.html"
            write_report(found.run, found.predictions, path, evaluation=found.evaluation)
            return path.read_bytes()


def leakage_table(models: Sequence[Model]) -> Table:
    """Each Run's own figures beside whether they can speak of new patients."""
    rows = []
    for model in models:
        record, answers = model.served.run.record, model.answers
        protocol = record.protocol
        row = [model.served.name, protocol.name, "yes" if protocol.leaky else "no"]
        if answers is None:
            rows.append((*row, "not known", "", ""))
            continue
        met = len(what_was_seen(answers.run, answers.predictions).patients)
        patients = answers.predictions.frame["patient"].nunique()
        area = answers.headlines[-1] if answers.headlines else None
        accuracy = answers.evaluation.value("accuracy")
        shown = [figure(each, space=" ") if each else "" for each in (accuracy, area)]
        rows.append((*row, f"{met} of {patients}", *shown))
    return Table(
        "What each Run's own figures are worth. Where its own patients stand on both sides, they "
        "reward memory of patients and say nothing of new ones. 95 % intervals resample patients.",
        ("Run", "Protocol", "Leaky", "Patients scored and seen", "Accuracy", "ROC AUC"),
        tuple(rows),
        prose=frozenset({1}),
    )
