"""Reporting checklists filled from a Run and its predictions; what no artefact shows stays open."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from eosin.errors import ConfigError
from eosin.reporting.answers import Answers
from eosin.reporting.html import render

if TYPE_CHECKING:
    from eosin.artefacts.predictions import Predictions
    from eosin.networks.run import Run


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a standard.

    Attributes:
        number: as the standard has it, e.g. ``"12c"``.
        ask: what it asks for, in our own words.
        answer: what the artefacts show of it; None where only the authors can answer.
    """

    number: str
    ask: str
    answer: str | None


@dataclass(frozen=True, slots=True)
class Checklist:
    """A standard's items, each answered by the artefacts or left open.

    Attributes:
        title, source: of the standard.
        subject: the model and data that it was filled for.
        items: in the standard's order.
    """

    title: str
    source: str
    subject: str
    items: tuple[Item, ...]

    @property
    def open_items(self) -> tuple[Item, ...]:
        """Those that only the authors can answer."""
        return tuple(item for item in self.items if item.answer is None)

    @property
    def summary(self) -> str:
        """How many items are filled."""
        filled = len(self.items) - len(self.open_items)
        return (
            f"{filled} of {len(self.items)} items are filled from the Run and its predictions; "
            f"{len(self.open_items)} are open and can only be answered by the authors. A filled "
            "item says what the artefacts show; whether that suffices is for the authors to judge."
        )

    def markdown(self) -> str:
        """The checklist as a Markdown page."""
        lines = [f"# {self.title}: {_cell(self.subject)}", "", self.source, "", self.summary, ""]
        lines += ["| item | asked | answer |", "| --- | --- | --- |"]
        for item in self.items:
            cells = (item.number, item.ask, item.answer or "**Open: for the authors**")
            lines.append("| " + " | ".join(_cell(text) for text in cells) + " |")
        return "\n".join([*lines, "", "<!-- eosin -->"]) + "\n"

    def page(self) -> str:
        """The checklist as one HTML page without links to anything outside."""
        return render("checklist.html", {"title": f"{self.title}: {self.subject}", "list": self})


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def fill_checklist(run: Run, predictions: Predictions, standard: str) -> Checklist:
    """Fill a reporting standard from a Run and labelled predictions of it.

    Args:
        run: the model.
        predictions: labelled; their figures are what is reported.
        standard: ``"tripod-ai"``, ``"claim"`` or ``"metrics"``.

    Raises:
        ConfigError: there is no such standard.
        DataError: an image has no label.
    """
    text = resources.files("eosin.reporting").joinpath("standards.toml").read_text("utf-8")
    standards = tomllib.loads(text)
    if standard not in standards:
        raise ConfigError(f"standard {standard!r} is not one of {list(standards)}")
    known = standards[standard]
    answers = Answers(run, predictions)
    items = tuple(
        Item(each["n"], each["ask"], answers.to(each["from"]) if "from" in each else None)
        for each in known["items"]
    )
    return Checklist(known["title"], known["source"], answers.subject, items)
