"""Work on many workers: what the simulation must answer where the answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eosin.cli.app import app
from eosin.study.scaling import Times, scale, scaling


def test_without_start_stragglers_and_driver_every_worker_is_used_fully():
    times = Times(blocks=10_000, block=3.0)
    for workers in (1, 10, 100, 1000):
        found = scale(times, workers)
        assert found.seconds == pytest.approx(30_000 / workers)
        assert found.efficiency == pytest.approx(1.0)
        assert found.driver == 0.0
    assert times.limit == float("inf")


def test_a_driver_of_one_second_a_block_feeds_as_many_workers_as_a_block_has_seconds():
    times = Times(blocks=20_000, block=50.0, driver=1.0)
    assert times.limit == 50.0
    below, at, beyond = scaling(times, (25, 50, 200))
    assert below.efficiency == pytest.approx(1.0, abs=0.01)
    assert at.efficiency == pytest.approx(1.0, abs=0.01)
    assert beyond.efficiency == pytest.approx(50 / 200, abs=0.01)
    assert beyond.seconds == pytest.approx(20_000 + 50)  # one a second, and the last one's work
    assert beyond.driver == pytest.approx(1.0, abs=0.01)


def test_the_start_is_paid_once_and_more_workers_than_blocks_do_nothing():
    found = scale(Times(blocks=10, block=2.0, start=5.0), 10)
    assert found.seconds == 7.0
    assert found.efficiency == pytest.approx(2 / 7)
    assert scale(Times(blocks=10, block=2.0, start=5.0), 40).seconds == 7.0


def test_stragglers_cost_their_share_on_one_worker_and_the_last_one_the_end_on_many():
    one = scale(Times(blocks=5_000, block=1.0, stragglers=0.1, slowness=3.0), 1)
    assert one.seconds == pytest.approx(5_000 * 1.2, rel=0.03)
    many = scale(Times(blocks=1_000, block=1.0, stragglers=0.1, slowness=3.0), 1_000)
    assert many.seconds == 3.0  # all begin at once, and wait for the slow ones
    assert Times(blocks=9, block=10.0, driver=1.0, stragglers=0.5, slowness=3.0).limit == 20.0


def test_the_verb_prints_the_plan_with_its_cost_and_keeps_it(
    images: Path, miniature: str, tmp_path: Path
) -> None:
    study, out, figure = (tmp_path / name for name in ("s.toml", "plan.json", "plan.png"))
    study.write_text(miniature)
    words = ["--nodes", "4", "--cores", "8", "--price", "2.5", "-o", out, "--figure", figure]
    given = ["plan", study, "--data", images, *words, "--start", "3600"]
    result = CliRunner().invoke(app, [str(word) for word in given])
    assert result.exit_code == 0, result.output
    assert "12 blocks of" in result.output
    assert "4 machines, 32 workers: 1 hours, 0% efficiency" in result.output
    assert "cost: 10.00 at 2.5 a machine and hour" in result.output
    kept = json.loads(out.read_text())
    assert kept["kind"] == "plan"
    assert kept["times"]["blocks"] == 12
    assert kept["asked"]["workers"] == 32
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_scoring_a_manifest_is_planned_by_images_read_and_scored_here(
    drawn_breakhis, tmp_path: Path
) -> None:
    drawn_breakhis.write(tmp_path / "m.csv")
    words = ["--nodes", 1, "--cores", 2, "--backbone", "test_resnet", "--block", 10]
    result = CliRunner().invoke(app, [str(w) for w in ("plan", tmp_path / "m.csv", *words)])
    assert result.exit_code == 0, result.output
    assert f"{-(-len(drawn_breakhis) // 10)} blocks of" in result.output
    assert "1 machine, 2 workers: " in result.output
    assert "the driver is the limit from " in result.output
    free = CliRunner().invoke(
        app, [str(w) for w in ("plan", tmp_path / "m.csv", *words, "--driver", 0)]
    )
    assert "the driver is the limit" not in free.output  # nor from "inf" workers on
    gone = drawn_breakhis.paths[0]
    gone.rename(gone.with_suffix(".away"))
    result = CliRunner().invoke(app, [str(w) for w in ("plan", tmp_path / "m.csv", *words)])
    gone.with_suffix(".away").rename(gone)
    assert result.exit_code == 1
    assert "cannot be opened" in str(result.exception)
