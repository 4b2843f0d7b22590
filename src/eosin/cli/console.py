"""How the commands speak: tables, progress, protocols, notes, skipped files and exit codes."""

from __future__ import annotations

import codecs
import io
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from eosin.machine import launched
from eosin.progress import Shown, console
from eosin.remote import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pandas as pd
    from rich.table import Table

    from eosin.artefacts.estimate import Estimate
    from eosin.artefacts.evaluation import Evaluation
    from eosin.pixels.reading import SkippedFile
    from eosin.protocol import Protocol
    from eosin.spread import Spread

EXIT_SKIPPED = 3
RESUME = "run the same command with --resume"
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
        again: how to continue.
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


def say(*parts: str | tuple[str, str], style: str = "") -> None:
    """One line to standard output, as it stands: brackets in a user's names are no markup.

    Args:
        parts: joined without a space; a pair is a text and its style, e.g. ``(name, "bold")``.
        style: of the whole line.
    """
    from rich.text import Text

    if launched()[0]:  # of processes that work together the first one speaks
        return
    told = [named(part) if isinstance(part, str) else (named(part[0]), part[1]) for part in parts]
    console().print(Text.assemble(*told, style=style), soft_wrap=True)


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
    for column, name in enumerate(rows[0]):
        table.add_column(Text(name), justify="left" if column == 0 else "right")
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    return table


def print_evaluation(evaluation: Evaluation) -> None:
    """Every figure with its interval and its n: metrics down, the overall scope first.

    Below each table stands what must be known of its figures, once for those it is true of.
    """
    import pandas as pd

    from eosin.artefacts.glossary import GLOSSARY
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
                "decided by": GLOSSARY[each.metric].rule or "-",
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


@contextmanager
def showing(progress: Shown | None = None) -> Iterator[Shown]:
    """What shows work, taken away when the block is left."""
    progress = progress or Shown()
    try:
        yield progress
    finally:
        progress.end()


@contextmanager
def spreading(
    cluster: str | None,
    device: str,
    *,
    again: str = "run the same command again",
    kept: Callable[[Shown], str] = lambda _: "it was not done yet",
) -> Iterator[tuple[Spread, Shown]]:
    """Who does the work, and what shows it; stopped, it ends as ``stoppable`` says."""
    from eosin.cluster.connecting import spread_over

    progress = Shown()
    with (
        stoppable(again, lambda: kept(progress)),
        showing(progress),
        spread_over(cluster, device=device, progress=progress) as spread,
    ):
        yield spread, progress


def finish(skipped: Sequence[SkippedFile], table: Path) -> None:
    """Exit with code 3, saying how many files were skipped and where they are named."""
    if not skipped:
        return
    many = f"{len(skipped):,} files were skipped; their names and reasons"
    said = "1 file was skipped; its name and reason" if len(skipped) == 1 else many
    say(f"{said}: {table}", style="yellow")
    for item in skipped[:3]:
        say(f"  {item.path}: {item.reason}", style="dim")
    raise typer.Exit(EXIT_SKIPPED)
