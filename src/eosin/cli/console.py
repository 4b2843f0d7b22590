"""How the commands speak: tables, progress bars, notes, and the last word on skipped files."""

from __future__ import annotations

import codecs
import io
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from eosin.artefacts.estimate import Estimate
    from eosin.artefacts.evaluation import Evaluation
    from eosin.pixels.reading import SkippedFile
    from eosin.protocol import Protocol

EXIT_SKIPPED = 3
# What stands for our own signs where the terminal's encoding lacks them.
_SPELLED = {"✓": "ok", "✗": "x", "·": "-", "→": "->", "–": "-", "…": "...", "×": "x", "±": "+/-"}


def show_everything() -> None:
    """From here on, what standard output and error cannot encode is spelled out: no crash."""
    codecs.register_error("eosin.spelled", _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="eosin.spelled")


def _spelled(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    escaped = (sign.encode("ascii", "backslashreplace").decode("ascii") for sign in signs)
    said = [_SPELLED.get(sign, escape) for sign, escape in zip(signs, escaped, strict=True)]
    return "".join(said), error.end


EXIT_STOPPED = 130  # 128 and the number of the signal, as shells have it
EXIT_TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """Another process asks this one to end (SIGTERM)."""


@contextmanager
def stoppable(
    again: str = "run the same command again",
    kept: Callable[[], str] = lambda: "it was not done yet",
) -> Iterator[None]:
    """End with one sentence and the exit code on Ctrl-C and SIGTERM.

    Args:
        again: how to go on.
        kept: what of the work is kept.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        say(f"stopped; {kept()}: {again}", style="yellow")
        raise typer.Exit(exit_code(stop)) from None


def exit_code(stop: KeyboardInterrupt) -> int:
    """Of a command that was stopped."""
    return EXIT_TERMINATED if isinstance(stop, Terminated) else EXIT_STOPPED


def console() -> Console:
    """Standard output, as wide as the terminal, or 120 columns where it is none."""
    from rich.console import Console

    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=120)


def say(*parts: str | tuple[str, str], style: str = "") -> None:
    """One line to standard output, as it stands: brackets in a user's names are no markup.

    Args:
        parts: joined without a space; a pair is a text and its style, e.g. ``(name, "bold")``.
        style: of the whole line.
    """
    from rich.text import Text

    console().print(Text.assemble(*parts, style=style), soft_wrap=True)


def print_frame(frame: pd.DataFrame, *, title: str = "") -> None:
    """A small table; the first column is text, the others are right-aligned. No text is markup.

    One whose words do not fit on the page is turned on its side; no word is cut even then.
    """
    from rich.measure import Measurement

    out = console()
    upright = [[*map(str, frame.columns)], *frame.astype(str).values.tolist()]
    shapes = [_rich_table(rows, title) for rows in (upright, [*zip(*upright, strict=True)])]
    widths = [Measurement.get(out, out.options.update(max_width=10**6), each) for each in shapes]
    turned = widths[0].minimum > max(out.width, widths[1].minimum)
    if widths[turned].minimum > out.width:
        out.width = widths[turned].maximum
    out.print(shapes[turned])


def _rich_table(rows: Sequence[Sequence[str]], title: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    caption = Text(title, style="bold") if title else None
    table = Table(title=caption, title_justify="left", box=None)
    for place, name in enumerate(rows[0]):
        table.add_column(Text(name), justify="left" if place == 0 else "right")
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    return table


def print_evaluation(evaluation: Evaluation) -> None:
    """Every figure with its interval and its n: metrics down, the overall scope first.

    Below each table stands what must be known of its figures, once for those it is true of.
    """
    import pandas as pd

    from eosin.reporting.wording import interval, number

    for scope in evaluation.scopes:
        if scope.magnification is not None and scope.class_name is not None:
            continue
        estimates = [each for each in evaluation.estimates if each.scope == scope]
        rows = [
            {
                "metric": each.metric,
                "value": "-" if each.value is None else number(each.value),
                "95 % interval": interval(each, space=" ") or "none",
                "images": each.images,
                **({"patients": each.patients} if evaluation.patient_table else {}),
            }
            for each in estimates
        ]
        print_frame(pd.DataFrame(rows), title=f"{evaluation.level} level, {scope}")
        for note in dict.fromkeys(each.note for each in estimates if each.note):
            metrics = [each.metric for each in estimates if each.note == note]
            say(f"  {', '.join(metrics)}: {note}", style="dim")
    for sentence in evaluation.notes:
        say(sentence, style="dim")


def plain_figure(found: Estimate) -> str:
    """A figure with its interval, in characters that every terminal has."""
    from eosin.reporting.wording import figure

    return "undefined" if found.value is None else figure(found, space=" ")


def print_protocol(protocol: Protocol, notes: Sequence[str] = ()) -> None:
    """The protocol's name, its warning where it has one, and the notes."""
    colour = "red" if protocol.leaky else "yellow" if protocol.warning else "green"
    say("protocol: ", (protocol.name, f"bold {colour}"))
    for sentence in (protocol.warning, *notes):
        if sentence:
            say(sentence, style=colour if sentence == protocol.warning else "dim")


class Shown:
    """A bar with count, images/s, errors, time left and what is said of the work; notes above it.

    What was done before the work began counts for the bar, not for the speed. Where output is no
    terminal only notes are printed, and none twice, such as fold after fold.

    Attributes:
        done: steps done of the work under way.
        total: how many it takes, where that is known.
    """

    def __init__(self, out: Console | None = None) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        out = out or console()
        self.done, self.total, self._errors = 0, None, 0  # type: int, int | None, int
        self._noted: set[str] = set()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            TextColumn("[yellow]{task.fields[errors]}"),  # our own words, with a colour
            TimeRemainingColumn(compact=True),
            console=out,
            disable=not out.is_terminal,
            transient=True,
            speed_estimate_period=120,
        )

    def begin(self, work: str, *, total: int | None = None, done: int = 0) -> None:
        """Show a bar over this work in place of the one before."""
        self.done, self.total, self._errors = done, total, 0
        for before in self._bar.task_ids:
            self._bar.remove_task(before)
        self._bar.add_task(work, total=total, completed=done, figures="", errors="")
        self._bar.start()

    def advance(self, steps: int = 1, *, errors: int = 0, said: str = "") -> None:
        """Move the bar."""
        self.done, self._errors = self.done + steps, self._errors + errors
        for task in self._bar.tasks:
            count = f"{self.done:,}" if self.total is None else f"{self.done:,}/{self.total:,}"
            rate = f"{task.speed:.0f} images/s" if task.speed else ""
            wrong = f"{self._errors} errors" if self._errors else ""
            figures = "  ".join(filter(None, (count, said, rate)))
            self._bar.update(task.id, advance=steps, figures=figures, errors=wrong)

    def note(self, sentence: str) -> None:
        """Print the sentence, above the bar where there is one."""
        if sentence not in self._noted:
            self._noted.add(sentence)
            self._bar.console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def end(self) -> None:
        """Take the bar away."""
        self._bar.stop()


@contextmanager
def showing(progress: Shown | None = None) -> Iterator[Shown]:
    """What shows work, taken away when the block is left."""
    progress = progress or Shown()
    try:
        yield progress
    finally:
        progress.end()


def finish(skipped: Sequence[SkippedFile], table: Path) -> None:
    """Exit with code 3, saying how many files were skipped and where they are named."""
    if not skipped:
        return
    say(f"{len(skipped)} files were skipped; their names and reasons: {table}", style="yellow")
    for item in skipped[:3]:
        say(f"  {item.path}: {item.reason}", style="dim")
    raise typer.Exit(EXIT_SKIPPED)
