"""What shows work: a bar where there is a terminal, notes everywhere, each once."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from eosin.cli.console import showing
from eosin.progress import Shown


def shown(*, terminal: bool) -> tuple[Shown, io.StringIO]:
    screen = io.StringIO()
    return Shown(Console(file=screen, width=120, force_terminal=terminal)), screen


def test_where_output_is_no_terminal_only_notes_are_printed_and_none_twice() -> None:
    progress, screen = shown(terminal=False)
    progress.begin("fold 1", total=4)
    progress.advance(4, errors=1)
    progress.note("no cache [here]")
    progress.begin("fold 2", total=4)
    progress.note("no cache [here]")
    progress.end()
    assert screen.getvalue() == "no cache [here]\n"


def test_what_was_done_before_counts_for_the_bar_and_errors_are_told() -> None:
    progress, screen = shown(terminal=True)
    progress.begin("scoring", total=1200, done=1000)
    progress.advance(0, errors=2)
    progress.advance(100, errors=1, said="loss 0.500")
    assert (progress.done, progress.total) == (1100, 1200)
    progress.end()
    assert "1,100/1,200  loss 0.500" in screen.getvalue()
    assert "3 errors" in screen.getvalue()


def test_the_bar_is_taken_away_whatever_ends_the_work() -> None:
    progress, screen = shown(terminal=True)

    def work() -> None:
        with showing(progress):
            progress.begin("scoring", total=2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert screen.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K")  # the cursor is back
