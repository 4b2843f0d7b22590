"""Cases, offers and answers; the database itself refuses to change or to delete a row of them."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
_SAID: Final = "the record is append-only"


def upgrade() -> None:
    """Make the tables and their guards."""
    _make("sources", _number(), _text("made"), _text("digest"), _json("fields"))
    key = sa.Column("id", sa.String(32), primary_key=True)
    source = sa.Column("source", sa.Integer, sa.ForeignKey("sources.number"), nullable=False)
    _make("cases", key, _text("made"), source, _json("row"))
    listed = [_text(name) for name in ("ordering", "filters", "run")]
    counts = [_other("position", sa.BigInteger), _other("seed", sa.BigInteger)]
    blind = _other("blind", sa.Boolean)
    _make("offers", _number(), _text("made"), _text("reader"), _case(), *listed, *counts, blind)
    op.create_index("offers_of", "offers", ["reader", "case_id"])
    said = [_text(name) for name in ("made", "reader", "kind", "comment", "run", "ordering")]
    empty = [sa.Column("label", sa.Text), sa.Column("region", sa.JSON)]
    undoes = sa.Column("undoes", sa.Integer, sa.ForeignKey("answers.number"))
    blind = _other("blind", sa.Boolean)
    _make("answers", _number(), _case(), *said, *empty, _json("shown"), blind, undoes)
    op.create_index("answers_of", "answers", ["case_id", "reader"])


def _make(table: str, *columns: sa.Column[Any]) -> None:
    """A table whose rows are only added: a trigger refuses everything else."""
    op.create_table(table, *columns, sqlite_autoincrement=columns[0].name == "number")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE OR REPLACE FUNCTION eosin_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{_SAID}'; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {table}_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "EXECUTE FUNCTION eosin_append_only()"
        )
        return
    for act in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{act} BEFORE {act} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{_SAID}'); END"
        )


def _number() -> sa.Column[Any]:
    return sa.Column("number", sa.Integer, primary_key=True, autoincrement=True)


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=False)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON, nullable=False)


def _other(name: str, kind: type[sa.types.TypeEngine[Any]]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _case() -> sa.Column[Any]:
    return sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), nullable=False)
