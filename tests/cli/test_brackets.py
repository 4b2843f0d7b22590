"""What a user named with brackets is printed as it stands: never markup, never an error."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest
from eosin.cli.app import app
from eosin.cli.console import print_frame, say

PROBE = ["--freeze", "--backbone", "test_efficientnet", "--weights", "none", "--image-size", "32"]
CLASSES = ("0 [x]", "1")


def run(*words: object, code: int = 0) -> str:
    """Run a command in this process; its output, once its exit code is what it should be."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result.output


@pytest.fixture
def lab(drawn_breakhis: Manifest, tmp_path: Path) -> Path:
    """A folder ``lab [a] [/b]`` (a folder in a folder) with the images of two classes."""
    top = tmp_path / "lab [a] [" / "b]"
    for number, path in enumerate(drawn_breakhis.paths):
        folder = top / "set [red]" / CLASSES[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number // 4}_{number} [b].png").write_bytes(path.read_bytes())
    return top


def test_a_lab_whose_folders_have_brackets_reads_its_own_names(lab: Path) -> None:
    first = lab / "set [red]" / CLASSES[0] / "0_0 [b].png"
    (first.parent / "9_99 [b].png").write_bytes(first.read_bytes())
    (first.parent / "9_98 [i].png").touch()
    m, s, made = lab / "m.csv", lab / "s.csv", lab / "run [u]"
    said = run("data", "folder", lab / "set [red]", "-o", m, "--patient", r"^(\d+)_", code=3)
    assert "set [red]: 49 images, 12 patients" in said
    assert "0 [x]" in said
    assert f"written: {m}\n" in said
    assert f"{first.parent / '9_98 [i].png'}: " in said
    said = run("data", "audit", m, "-o", lab / "audit.html")
    assert re.search(r"identical file +0_0 \[b\]\.png +9_99 \[b\]\.png ", said)
    assert f"page written: {lab / 'audit.html'}\n" in said
    said = run("split", m, "-o", s, "--folds", 3)
    assert "0 [x]" in said
    assert f"written: {s}\n" in said
    said = run("train", s, "-o", made, *PROBE, "--fold", "all")
    assert f"run written: {made}\n" in said
    assert f"out-of-fold predictions: {made / 'predictions.csv'}\n" in said
    said = run("evaluate", made / "predictions.csv", "-o", lab / "e.json", "--resamples", 100)
    assert f"written: {lab / 'e.json'}\n" in said


def test_models_with_brackets_in_their_names_are_compared_under_them(lab: Path) -> None:
    run("data", "folder", lab / "set [red]", "-o", lab / "m.csv", "--patient", r"^(\d+)_")
    run("split", lab / "m.csv", "-o", lab / "s.csv")
    for seed in ("1", "2"):
        run("train", lab / "s.csv", "-o", lab / f"run-{seed}", *PROBE, "--seed", seed)
        table = lab / f"p{seed}.csv"
        said = run("predict", lab / f"run-{seed}", lab / "s.csv", "-o", table)
        assert f"images scored, written: {table}\n" in said
    names = ["--name", "one [/x]", "--name", "two [bold]"]
    tables = [lab / "p1.csv", lab / "p2.csv"]
    said = run("compare", *tables, *names, "-o", lab / "page", "--resamples", 100)
    assert {"one [/x]", "two [bold]"} <= {
        name for line in said.splitlines() for name in ("one [/x]", "two [bold]") if name in line
    }
    assert f"written: {lab / 'page'}" in said


def test_an_error_and_a_wrong_usage_show_the_name_they_are_about(lab: Path) -> None:
    result = CliRunner().invoke(app, ["split", str(lab / "no [/x].csv"), "-o", "s.csv"])
    assert "no [/x].csv: no such file" in str(result.exception)
    assert "[/x]" in run("split", "m.csv", "[/x]", "-o", "s.csv", code=2)


def test_a_style_colours_its_part_and_nothing_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    say("page: ", ("[/x] :x:", "bold"))
    say("[red]stopped", style="yellow")
    assert capsys.readouterr().out == (
        "page: \x1b[1m[/x] :x:\x1b[0m\n"  # a name of an emoji stays one too
        "\x1b[33m[red]stopped\x1b[0m\n"
    )


def test_the_cells_headings_and_title_of_a_table_are_plain_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_frame(pd.DataFrame({"[b]": ["[/x]"], "n [i]": [3]}), title="of [red] [/]")
    title, heading, row = capsys.readouterr().out.splitlines()
    assert title.strip() == "of [red] [/]"
    assert heading.split("  ") == [" [b]", " n [i] "]
    assert row.split() == ["[/x]", "3"]
