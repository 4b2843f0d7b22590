"""The tables of the record; rows are added and read, never changed."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import JSON, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Base(MappedAsDataclass, DeclarativeBase):
    """What all tables have in common. ``made`` is when, UTC in ISO 8601 as text."""


class Source(Base, kw_only=True):
    """What a manifest said of all its images."""

    __tablename__ = "sources"
    number: Mapped[int] = mapped_column(init=False, primary_key=True)
    made: Mapped[str] = mapped_column(default_factory=_now)
    digest: Mapped[str]  # SHA-256 of the fields
    fields: Mapped[dict[str, object]] = mapped_column(JSON)  # dataset, task, protocol, notes, ...


class CaseRow(Base, kw_only=True):
    """An image that can be offered, with its row of the manifest."""

    __tablename__ = "cases"
    id: Mapped[str] = mapped_column(primary_key=True)
    made: Mapped[str] = mapped_column(default_factory=_now)
    source: Mapped[int] = mapped_column(ForeignKey("sources.number"))
    row: Mapped[dict[str, str]] = mapped_column(JSON)


class Offer(Base, kw_only=True):
    """A case that a reader was offered: how the list was ordered, and whether the model was hidden.

    ``position`` counts from 0 in that list. ``run`` is the hash of the Run behind the order.
    """

    __tablename__ = "offers"
    number: Mapped[int] = mapped_column(init=False, primary_key=True)
    made: Mapped[str] = mapped_column(default_factory=_now)
    reader: Mapped[str]
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"))
    position: Mapped[int]
    ordering: Mapped[str]  # "doubt", "random" or "direct"
    seed: Mapped[int]
    filters: Mapped[str]
    blind: Mapped[bool]
    run: Mapped[str]


class Answer(Base, kw_only=True):
    """What a reader did: an answer, a change of it, a comment, an adjudication or an undo.

    ``blind`` says that neither the model's answer nor an earlier one of theirs was before them.
    ``region`` is x, y, width and height in pixels.
    """

    __tablename__ = "answers"
    number: Mapped[int] = mapped_column(init=False, primary_key=True)
    made: Mapped[str] = mapped_column(default_factory=_now)
    reader: Mapped[str]
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"))
    kind: Mapped[str]
    label: Mapped[str | None] = mapped_column(default=None)
    comment: Mapped[str] = mapped_column(default="")
    region: Mapped[list[float] | None] = mapped_column(JSON(none_as_null=True), default=None)
    run: Mapped[str]
    shown: Mapped[dict[str, object]] = mapped_column(JSON, default_factory=dict)
    blind: Mapped[bool]
    ordering: Mapped[str]  # of the list that the case came from; "direct" where it came from none
    undoes: Mapped[int | None] = mapped_column(ForeignKey("answers.number"), default=None)
