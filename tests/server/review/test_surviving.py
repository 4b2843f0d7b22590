"""What was acknowledged is kept: killed processes, several writers, backup and restore."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from eosin.errors import ConfigError, DataError
from eosin.server.connecting import copy_record
from eosin.server.record import Given, Record
from eosin.server.worklist import Worklist

WRITER = Path(__file__).with_name("writer.py")
Reviewed = tuple[Record, list[str]]
MOMENTS = 50


def started(database: str, reader: str, count: int, cases: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, str(WRITER), database, reader, str(count), *cases]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def forked(database: str, cases: list[str], after: int, wait: float) -> list[str]:
    """Comments that a forked writer had acknowledged when it was killed.

    That is ``wait`` seconds behind its answer number ``after``, so that a slow machine answers too.
    """
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            record = Record(database)
            os.write(write, b"ready\n")
            for turn in range(100_000):
                said = f"{os.getpid()}-{turn}"
                record.answer(Given("ada", cases[turn % len(cases)], "0", comment=said))
                os.write(write, f"{said}\n".encode())
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as lines:
        assert lines.readline() == "ready\n"
        said = [lines.readline() for _ in range(after)]
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        return [line.strip() for line in (*said, *lines) if line.endswith("\n")]


@pytest.mark.slow
def test_kill_9_at_fifty_moments_loses_no_acknowledged_answer(
    database: str, worklist: Worklist
) -> None:
    cases = [case.id for case in worklist.cases]
    with closing(Record(database)) as record:
        record.add_cases(worklist.manifest, worklist.ids)
    draw = random.Random(11)
    moments = [(draw.randrange(9), draw.uniform(0, 0.015)) for _ in range(MOMENTS)]
    acknowledged = [forked(database, cases, *moment) for moment in moments]
    with closing(Record(database)) as record:
        kept = [each.comment for each in record.log()]
        numbers = [each.number for each in record.log()]
    assert all(len(said) >= after for said, (after, _) in zip(acknowledged, moments, strict=True))
    for said in acknowledged:
        assert [each for each in kept if each in set(said)] == said  # all of it, in its order
    assert len(kept) - sum(map(len, acknowledged)) <= MOMENTS  # at most the one in flight of each
    assert len(kept) == len(set(kept))
    assert numbers == sorted(numbers)


def test_two_readers_at_once_from_two_processes_lose_nothing(reviewed: Reviewed, database) -> None:
    record, ids = reviewed
    both = [started(database, reader, 60, ids) for reader in ("ada", "bea")]
    said = [process.communicate(timeout=60)[0].split("\n")[1:-1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    log = record.log()
    kept = {f"{each.number} {each.comment}" for each in log}
    assert kept == {*said[0], *said[1]}
    assert len(log) == 120
    for reader in ("ada", "bea"):
        own = [each for each in log if each.reader == reader]
        assert [each.comment for each in own] == [f"{reader} {turn}" for turn in range(60)]
        assert [each.kind for each in own] == ["answer"] * 12 + ["change"] * 48


def test_four_processes_that_start_at_once_on_a_new_database_all_find_it_ready(
    database: str, worklist: Worklist
) -> None:
    together = [started(database, f"r{number}", 0, []) for number in range(4)]
    for process in together:
        assert process.communicate(timeout=60)[0] == "ready\n"
        assert process.returncode == 0
    with closing(Record(database, create=False)) as record:
        assert record.log() == []


def test_a_backup_made_while_another_writes_and_its_restoration_are_equal(
    tmp_path: Path, worklist: Worklist
) -> None:
    database, copy, back = (tmp_path / name for name in ("r.db", "copy.db", "back.db"))
    cases = [case.id for case in worklist.cases]
    with closing(Record(database)) as record:
        record.add_cases(worklist.manifest, worklist.ids)
        before = [record.answer(Given("ada", case, "1+")).number for case in cases]
    with started(str(database), "bea", 200, cases) as writing:
        assert writing.stdout is not None
        assert writing.stdout.readline() == "ready\n"
        copy_record(database, copy)
        assert writing.wait(60) == 0
    copy_record(copy, back)
    rows = []
    for each in (database, copy, back):
        with closing(Record(each, create=False)) as record:
            rows.append([(r.number, r.made, r.reader, r.label, r.comment) for r in record.log()])
            assert len(record.cases()) == 12
    assert rows[1] == rows[2]
    assert rows[1] == rows[0][: len(rows[1])]
    assert [row[0] for row in rows[1]][:12] == before
    assert len(rows[0]) == 212
    with closing(Record(back)) as restored:  # it goes on from there
        assert restored.answer(Given("eva", cases[0], "3+")).number == len(rows[1]) + 1


def test_no_record_is_replaced_and_nothing_else_is_copied(
    tmp_path: Path, worklist: Worklist
) -> None:
    database, notes = tmp_path / "r.db", tmp_path / "notes.txt"
    Record(database).close()
    notes.write_text("no database")
    with pytest.raises(DataError, match=r"notes\.txt: is there already, and no record is replaced"):
        copy_record(database, notes)
    left = tmp_path / "gone.db-wal"
    left.write_bytes(b"of a record that is gone")
    with pytest.raises(DataError, match=r"gone\.db-wal: is there already"):
        copy_record(database, tmp_path / "gone.db")
    with pytest.raises(DataError, match="no SQLite database"):
        copy_record(notes, tmp_path / "copy.db")
    with pytest.raises(DataError, match="no such record"):
        copy_record(tmp_path / "none.db", tmp_path / "copy.db")
    with pytest.raises(ConfigError, match="pg_dump"):
        copy_record("postgresql://eosin@localhost/review", tmp_path / "copy.db")
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["r.db"]


def test_a_record_in_postgresql_is_copied_by_its_own_tools(
    postgres: str, tmp_path: Path, worklist: Worklist
) -> None:
    tools = Path(sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1])
    if not (tools / "pg_restore").exists():
        pytest.skip("pg_dump and pg_restore are not installed (Debian: postgresql-client)")
    for name in ("one", "two"):
        with psycopg.connect(f"{postgres}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
    with closing(Record(f"{postgres}/one")) as record:
        record.add_cases(worklist.manifest, worklist.ids)
        record.answer(Given("ada", worklist.cases[0].id, "1+", comment="clear"))
        record.undo("ada")
        before = [(row.number, row.made, row.kind, row.undoes) for row in record.log()]
    dump, to = tmp_path / "review.dump", f"{postgres}/two"
    saved = [tools / "pg_dump", "--format=custom", f"--file={dump}", f"{postgres}/one"]
    subprocess.run(saved, check=True)
    subprocess.run([tools / "pg_restore", f"--dbname={to}", dump], check=True)
    with closing(Record(to, create=False)) as record:
        assert [(row.number, row.made, row.kind, row.undoes) for row in record.log()] == before
        assert record.answer(Given("ada", worklist.cases[0].id, "2+")).number == 3
