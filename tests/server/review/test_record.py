"""The record: append-only, on SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from eosin.errors import ConfigError, DataError, DiskError
from eosin.server.record import Given, Listing, Record
from eosin.server.standing import biased
from eosin.server.worklist import Worklist, make_worklist
from eosin.tasks import Task

Reviewed = tuple[Record, list[str]]


def label_of(record: Record, case: str, reader: str = "ada") -> str | None:
    row = record.standings()[case].labels.get(reader) if case in record.standings() else None
    return None if row is None else row.label


def test_answers_changes_comments_undos_and_adjudications_emit_no_update_and_no_delete(
    database: str, worklist: Worklist
) -> None:
    with closing(Record(database)) as record:
        said: list[str] = []
        event.listen(record._engine, "before_cursor_execute", lambda *a: said.append(a[2]))
        record.add_cases(worklist.manifest, worklist.ids)
        case = worklist.cases[0].id
        record.offered(Listing("ada", "doubt"), [case])
        record.answer(Given("ada", case, "1+"))
        record.answer(Given("ada", case, "2+", comment="on reflection"))
        record.answer(Given("bea", case, "3+"))
        record.answer(Given("ada", case, comment="faint"))
        record.answer(Given("eva", case, "3+", adjudicates=True))
        record.undo("ada")
        assert [each.kind for each in record.log()] == [
            *("answer", "change", "answer", "comment", "adjudication", "undo")
        ]
    verbs = {text.strip().split()[0].upper() for text in said}
    assert "INSERT" in verbs
    assert not verbs & {"UPDATE", "DELETE", "MERGE", "REPLACE", "TRUNCATE", "DROP", "ALTER"}
    assert not [text for text in said if "ON CONFLICT" in text.upper()]


@pytest.mark.parametrize("act", ["UPDATE answers SET label = '3+'", "DELETE FROM answers"])
def test_the_database_itself_refuses_to_change_or_delete_an_answer(
    reviewed: Reviewed, act: str
) -> None:
    record, ids = reviewed
    record.answer(Given("ada", ids[0], "0"))
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), record._engine.begin() as other:
        other.exec_driver_sql(act)
    assert label_of(record, ids[0]) == "0"


def test_undo_takes_back_the_latest_that_holds_and_an_undo_can_be_undone(
    reviewed: Reviewed,
) -> None:
    record, (first, second, *_) = reviewed
    one = record.answer(Given("ada", first, "1+"))
    record.answer(Given("ada", second, "2+"))
    record.answer(Given("bea", first, "3+"))
    change = record.answer(Given("ada", first, "0"))
    undo = record.undo("ada")
    assert (undo.kind, undo.undoes, label_of(record, first)) == ("undo", change.number, "1+")
    again = record.undo("ada", undo.number)
    assert (again.undoes, label_of(record, first)) == (undo.number, "0")
    record.undo("ada", again.number)
    assert label_of(record, first) == "1+"
    assert record.undo("ada").case_id == second
    assert record.undo("ada").undoes == one.number
    assert label_of(record, first) is None
    assert label_of(record, first, "bea") == "3+"
    with pytest.raises(DataError, match="ada has no answer that can be undone"):
        record.undo("ada")
    with pytest.raises(DataError, match=f"ada has no answer {one.number} that can be undone"):
        record.undo("ada", one.number)
    with pytest.raises(DataError, match="ada has no answer 3 that"):  # it is bea's
        record.undo("ada", 3)
    assert len(record.log()) == 9


def test_a_row_says_who_when_what_was_shown_and_from_which_order(reviewed: Reviewed) -> None:
    record, (first, second, third, *_) = reviewed
    record.offered(Listing("ada", "random", 7, blind=True, run="r1"), [second, first])
    record.offered(Listing("ada", "doubt", run="r1"), [third])
    model = {"decision": "3+"}
    given = {"run": "r1", "page": {"zoom": 2}, "model": model, "region": (1.0, 2.0, 3.5, 4.0)}
    hidden = record.answer(Given("ada", first, "1+", **given))
    changed = record.answer(Given("ada", first, "2+", **given))
    shown = record.answer(Given("ada", third, "2+", **given))
    unlisted = record.answer(Given("bea", third, "2+", **given))
    rows = record.log()
    assert [(r.ordering, r.blind) for r in rows] == [
        *(("random", True), ("random", False), ("doubt", False), ("direct", False))
    ]
    assert [r.number for r in rows] == [each.number for each in (hidden, changed, shown, unlisted)]
    assert rows[0].shown == {"page": {"zoom": 2}, "model": None}
    assert rows[1].shown == {"page": {"zoom": 2}, "model": model}
    assert (rows[0].run, rows[0].region) == ("r1", [1.0, 2.0, 3.5, 4.0])
    assert rows[0].made.endswith("+00:00")
    assert rows[0].made <= rows[1].made
    assert biased(rows)[0].startswith("1 of 4 answers were given in an order by doubt")
    assert biased(rows)[1].startswith("3 of 4 answers were not blind")
    assert biased(rows[:1]) == ()


def test_a_case_that_was_once_shown_with_the_model_is_never_blind_again(
    reviewed: Reviewed,
) -> None:
    record, (first, *_) = reviewed
    record.offered(Listing("ada", "doubt"), [first])
    record.offered(Listing("ada", "doubt", blind=True), [first])
    assert record.answer(Given("ada", first, "0")).blind is False


def test_the_same_list_twice_is_noted_once(reviewed: Reviewed) -> None:
    record, ids = reviewed
    listing = Listing("ada", "random", 3)
    for each in (listing, listing, Listing("ada", "random", 4), listing):
        record.offered(each, ids[:5], first=10)
    with record._engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT seed, position FROM offers ORDER BY number").all()
    assert [tuple(row) for row in rows] == [(s, 10 + k) for s in (3, 4, 3) for k in range(5)]


def test_nothing_said_and_an_adjudication_of_nothing_are_refused(reviewed: Reviewed) -> None:
    record, ids = reviewed
    with pytest.raises(DataError, match="nothing is said"):
        record.answer(Given("ada", ids[0], comment="  "))
    record.answer(Given("ada", ids[0], "0"))
    with pytest.raises(DataError, match="two readers"):
        record.answer(Given("eva", ids[0], "0", adjudicates=True))
    with pytest.raises(DiskError, match=r"(?i)foreign key"):
        record.answer(Given("ada", "f" * 32, "0"))
    assert len(record.log()) == 1


def test_consensus_is_the_majority_a_tie_is_empty_until_it_is_adjudicated(
    reviewed: Reviewed,
) -> None:
    record, (first, *_) = reviewed
    record.answer(Given("ada", first, "1+"))
    assert record.standings()[first].consensus == "1+"
    record.answer(Given("bea", first, "2+"))
    state = record.standings()[first]
    assert (state.consensus, state.disagreement) == ("", True)
    record.answer(Given("cem", first, "2+"))
    assert record.standings()[first].consensus == "2+"
    record.answer(Given("eva", first, "3+", adjudicates=True))
    state = record.standings()[first]
    assert (state.consensus, state.disagreement) == ("3+", False)
    record.undo("eva")
    assert record.standings()[first].consensus == "2+"


def test_a_new_database_gets_its_tables_and_an_old_one_keeps_its_rows(
    database: str, worklist: Worklist
) -> None:
    with closing(Record(database)) as record:
        record.add_cases(worklist.manifest, worklist.ids)
        record.answer(Given("ada", worklist.cases[0].id, "0"))
    with closing(Record(database)) as again:
        again.add_cases(worklist.manifest, worklist.ids)
        assert [each.label for each in again.log()] == ["0"]
        assert len(again.cases()) == 12
        tables = set(sa.inspect(again._engine).get_table_names())
        from eosin.server.tables import Base

        assert tables == {*Base.metadata.tables, "eosin_record_version"}
        for name, table in Base.metadata.tables.items():  # the models say what the migrations made
            found = {each["name"]: each for each in sa.inspect(again._engine).get_columns(name)}
            assert set(found) == set(table.columns.keys())
            assert {k: v["nullable"] for k, v in found.items()} == {
                each.name: each.nullable for each in table.columns
            }


def test_a_record_of_a_newer_eosin_is_refused(database: str) -> None:
    with closing(Record(database)) as record, record._engine.begin() as other:
        other.exec_driver_sql("UPDATE eosin_record_version SET version_num = '9999'")
    with pytest.raises(DataError, match="newer eosin \\(version 9999\\); update eosin"):
        Record(database)


def test_the_database_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    database = tmp_path / "other.db"
    with closing(sqlite3.connect(database)) as other:
        other.execute("CREATE TABLE patients (name TEXT)")
        other.commit()
    with pytest.raises(DataError, match="no record of eosin's"):
        Record(database)
    with closing(sqlite3.connect(database)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("patients",)]


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    database = tmp_path / "notes.txt"
    database.write_text("these are my notes, and no database\n" * 9)
    with pytest.raises(DataError, match="no SQLite database"):
        Record(database)
    assert database.read_text().startswith("these are my notes")


def test_addresses_that_cannot_be_are_refused_without_showing_a_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="postgresql://USER@HOST/NAME"):
        Record("mysql://eosin@localhost/db")
    with pytest.raises(ConfigError, match="want FILE"):
        Record("sqlite://")
    with pytest.raises(DataError, match="no such record"):
        Record(tmp_path / "none.db", create=False)
    with pytest.raises(DiskError, match="cannot be read or written") as refused:
        Record("postgresql://eosin:secret-word@127.0.0.1:9/none?connect_timeout=2")
    assert "secret-word" not in str(refused.value)


def test_a_record_holds_one_task(reviewed: Reviewed, draw) -> None:
    record, _ = reviewed
    manifest, predictions = draw(task=Task("binary", ("benign", "malignant"), positive="malignant"))
    other = make_worklist(predictions, manifest)
    with pytest.raises(DataError, match="is a record of the task 'her2'"):
        record.add_cases(manifest, other.ids)


def test_sqlite_writes_ahead_and_waits_for_the_disk(tmp_path: Path) -> None:
    with closing(Record(tmp_path / "r.db")) as record, record._engine.connect() as connection:
        asked = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        }
    assert asked == {
        "journal_mode": "wal",
        "synchronous": 2,  # FULL
        "busy_timeout": 30_000,
        "foreign_keys": 1,
    }
