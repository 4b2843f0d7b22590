"""Rows spread over workers come in order, once each, whatever becomes of the workers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from acts import rows_work
from nodes import Nodes, wait_for, workers

from eosin.errors import DataError, ModelError
from eosin.spread import Here, Spread


def numbers(spread: Spread, folder: Path, count: int, **how: object) -> list[int]:
    return [row for row, _ in spread.each(rows_work(folder, count, **how), range(count))]


def begun(folder: Path, row: int) -> int:
    """How often a row was begun."""
    return len(list(folder.glob(f"{row}.*.begun")))


def test_rows_come_in_order_from_both_workers_as_from_one_process(
    spread: Spread, tmp_path: Path
) -> None:
    found = list(spread.each(rows_work(tmp_path, 200), range(8, 200)))
    assert [row for row, _ in found] == list(range(8, 200))
    assert len({process for _, process in found}) == 2
    here = Here().each(rows_work(tmp_path, 200), range(8, 200))
    assert [row for row, _ in here] == [row for row, _ in found]
    assert not list(spread.each(rows_work(tmp_path, 8), range(8, 8)))


def test_no_worker_runs_far_ahead_of_a_row_that_takes_long(
    spread: Spread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of blocks of at most 256 rows seven are under way or done while the first is not."""
    (tmp_path / "0.wait").touch()
    refresh, grew = spread.crew.refresh, {}

    def look() -> None:
        """Once nothing more is begun, let the first row go."""
        ahead = [int(path.name.split(".")[0]) for path in tmp_path.glob("*.begun")]
        since = grew.setdefault(len(ahead), time.monotonic())
        if len(ahead) > 1 and time.monotonic() - since > 1.5 and (tmp_path / "0.wait").exists():
            assert 200 <= max(ahead) < 7 * 256
            (tmp_path / "0.wait").unlink()
        refresh()

    monkeypatch.setattr(spread.crew, "refresh", look)
    assert numbers(spread, tmp_path, 3000, step=1) == list(range(3000))
    assert not (tmp_path / "0.wait").exists()


def test_a_row_waits_for_those_it_comes_after(spread: Spread, tmp_path: Path) -> None:
    work = rows_work(tmp_path, 6, step=1, after={3: [0, 1], 5: [3]})
    assert [row for row, _ in spread.each(work, range(6))] == list(range(6))
    times = [int(next(tmp_path.glob(f"{row}.*.begun")).read_text()) for row in range(6)]
    assert max(times[:2]) < times[3] < times[5]


def test_what_goes_wrong_in_a_row_is_raised_in_its_turn(spread: Spread, tmp_path: Path) -> None:
    (tmp_path / "21.error").touch()
    coming, found = spread.each(rows_work(tmp_path, 400), range(400)), []
    with pytest.raises(DataError, match="row 21 is wrong"):
        found += [row for row, _ in coming]
    assert found == list(range(len(found)))
    assert numbers(spread, tmp_path / "..", 8) == list(range(8))  # the workers are still good


def test_a_worker_that_is_killed_costs_a_second_try_and_no_row(
    nodes: Nodes, spread: Spread, tmp_path: Path
) -> None:
    (tmp_path / "10.wait").touch()
    coming = spread.each(rows_work(tmp_path, 64), range(64))
    first = [next(coming)[0] for _ in range(4)]
    wait_for(lambda: begun(tmp_path, 10), "row 10 begun")
    victim = int(next(tmp_path.glob("10.*.begun")).name.split(".")[1])
    (tmp_path / "10.wait").unlink()
    assert any(victim in workers(node) for node in nodes.alive)
    os.kill(victim, signal.SIGKILL)
    assert first + [row for row, _ in coming] == list(range(64))


def test_a_row_that_kills_its_workers_is_found_alone_and_named_not_tried_for_ever(
    spread: Spread, tmp_path: Path
) -> None:
    (tmp_path / "5.fatal").touch()
    found = list(spread.each(rows_work(tmp_path, 64), range(64)))
    assert [row for row, _ in found] == list(range(64))
    assert [row for row, process in found if not process] == [5]
    assert begun(tmp_path, 5) == 4  # twice with its block, twice alone
    assert len(spread.crew.ready) >= 1


def test_rows_whose_workers_end_only_together_are_given_up_with_a_sentence(
    spread: Spread, tmp_path: Path
) -> None:
    (tmp_path / "together.fatal").touch()
    with pytest.raises(ModelError, match=r"0\.png to .*7\.png: their workers end"):
        numbers(spread, tmp_path, 8, step=8)
