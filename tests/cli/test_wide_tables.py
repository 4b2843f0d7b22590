"""A table of the terminal: one row a class where there are many, and never a word cut short."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest
from eosin.cli.app import app
from eosin.cli.console import print_frame


def wide(classes: int) -> pd.DataFrame:
    names = [f"class{number:02d}" for number in range(classes)]
    rows = [{"part": part, **dict.fromkeys(names, count)} for part, count in (("a", 1), ("b", 2))]
    return pd.DataFrame(rows)


def test_a_table_of_many_classes_has_one_row_a_class(capsys: pytest.CaptureFixture[str]) -> None:
    print_frame(wide(60))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["part", "a", "b"]
    assert lines[1] == ["class00", "1", "2"]
    assert len(lines) == 61


def test_a_table_of_few_classes_has_one_column_a_class(capsys: pytest.CaptureFixture[str]) -> None:
    print_frame(wide(8))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["part", *(f"class{number:02d}" for number in range(8))]
    assert lines[2] == ["b", *"22222222"]


def test_a_table_too_wide_either_way_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"class{number:02d}" for number in range(40)]
    print_frame(pd.DataFrame([["fold", *names]] * 40, columns=["part", *names]))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 41
    assert all(line.split()[-1] == "class39" for line in lines)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ((), "Option '--fractions' requires 3 arguments"),
        (("-o", "s.csv"), "three shares, of train, val and test, e.g. 0.85 0.15 0"),
    ],
)
def test_two_shares_for_three_splits_are_refused_in_plain_words(
    drawn_breakhis: Manifest, tmp_path: Path, after: tuple[str, ...], said: str
) -> None:
    drawn_breakhis.write(tmp_path / "m.csv")
    words = ["split", str(tmp_path / "m.csv"), "--fractions", "0.85", ".15", *after]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "300", "TERMINAL_WIDTH": "300"})
    assert result.exit_code == 2
    assert said in result.output
