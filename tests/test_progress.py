"""Progress is one protocol: begun, advanced, ended whatever happens, and shown where wanted."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from eosin.progress import SILENT, Shown, Silent, console, shown, working


def on_a_screen(*, terminal: bool) -> tuple[Shown, io.StringIO]:
    screen = io.StringIO()
    return Shown(Console(file=screen, width=120, force_terminal=terminal)), screen


class Calls(Silent):
    """Writes down the order in which it is called."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def begin(self, work: str, *, total: int | None = None, done: int = 0) -> None:
        self.said.append(f"begin {work} {done}/{total}")

    def advance(self, steps: int = 1, *, errors: int = 0, said: str = "") -> None:
        self.said.append(f"advance {steps} {errors} {said}")

    def end(self) -> None:
        self.said.append("end")


def test_work_is_ended_also_where_an_error_ended_it_and_the_error_goes_on() -> None:
    calls = Calls()

    def work() -> None:
        with working(calls, "scoring", total=4, done=1):
            calls.advance(2, said="half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert calls.said == ["begin scoring 1/4", "advance 2 0 half", "end"]


def test_true_shows_false_is_silent_and_a_progress_of_ones_own_is_taken() -> None:
    calls = Calls()
    assert shown(calls) is calls
    assert shown(False) is SILENT
    assert isinstance(shown(True), Shown)


def test_silence_says_nothing_whatever_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with working(SILENT, "scoring", total=2):
        SILENT.advance(1, errors=1, said="loss 0.5")
        SILENT.note("One image could not be read.")
    assert capsys.readouterr() == ("", "")


def test_a_piped_output_is_wide_enough_for_a_table_and_a_terminal_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "61")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert console().width == 120
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes the output for a terminal then
    assert console().width == 61


def test_counts_are_those_of_the_work_under_way_and_begin_anew_with_the_next() -> None:
    progress, screen = on_a_screen(terminal=True)
    progress.begin("reading", total=10, done=4)
    progress.advance(3, errors=2)
    assert (progress.done, progress.total) == (7, 10)
    progress.end()
    progress.begin("scoring")
    assert (progress.done, progress.total) == (0, None)
    progress.advance(1500)
    progress.end()
    assert "7/10" in screen.getvalue()
    assert "2 errors" in screen.getvalue()
    last = screen.getvalue().rpartition("scoring")[2]
    assert "1,500" in last
    assert "1,500/" not in last  # nobody knows of how many
    assert "errors" not in last


def test_a_note_is_text_and_stands_unbroken_on_a_line_of_its_own() -> None:
    progress, screen = on_a_screen(terminal=False)
    sentence = "[bold]One[/bold] of the images " + "was left out, " * 20 + "see errors.csv"
    progress.note(sentence)
    progress.note("another")
    progress.note(sentence)
    assert screen.getvalue() == f"{sentence}\nanother\n"


def test_steps_before_anything_began_are_counted_and_break_nothing() -> None:
    progress, screen = on_a_screen(terminal=False)
    progress.advance(2)
    progress.end()
    assert progress.done == 2
    assert screen.getvalue() == ""


def test_names_of_work_with_brackets_are_shown_as_they_are() -> None:
    progress, screen = on_a_screen(terminal=True)
    progress.begin("fold [1]", total=1)
    progress.advance(1, said="loss [0.5]")
    progress.end()
    assert "fold [1]" in screen.getvalue()
    assert "loss [0.5]" in screen.getvalue()
