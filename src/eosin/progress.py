"""How work tells how far it is: one protocol, in steps forward; whoever shows them adds them up."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console


class Progress(Protocol):
    """Told how far work is: begun, any number of steps, ended; notes at any time."""

    def begin(self, work: str, *, total: int | None = None, done: int = 0) -> None:
        """Another piece of work begins, of ``total`` steps where that is known.

        Of these ``done`` were done before. What was begun before is over.
        """

    def advance(self, steps: int = 1, *, errors: int = 0, said: str = "") -> None:
        """``steps`` more are done, ``errors`` of them in vain; ``said`` is what holds by now."""

    def note(self, sentence: str) -> None:
        """Something that the user should know and need not act on."""

    def end(self) -> None:
        """The work is over, even where an error ended it."""


class Silent:
    """Shows nothing."""

    def begin(self, work: str, *, total: int | None = None, done: int = 0) -> None:
        """Show nothing."""

    def advance(self, steps: int = 1, *, errors: int = 0, said: str = "") -> None:
        """Show nothing."""

    def note(self, sentence: str) -> None:
        """Show nothing."""

    def end(self) -> None:
        """Show nothing."""


SILENT = Silent()


@contextmanager
def working(
    progress: Progress, work: str, *, total: int | None = None, done: int = 0
) -> Iterator[None]:
    """Begin the work, and end it whatever happens."""
    progress.begin(work, total=total, done=done)
    try:
        yield
    finally:
        progress.end()


def console() -> Console:
    """Standard output, as wide as the terminal, or 120 columns where it is none."""
    from rich.console import Console

    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=120)


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
            disable=not (out.is_terminal or out.is_jupyter),
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
            rate = f"{task.speed:.0f}/s" if task.speed else ""
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


def shown(progress: Progress | bool) -> Progress:
    """What a public function tells: True shows bars and notes here, False shows nothing."""
    if isinstance(progress, bool):
        return Shown() if progress else SILENT
    return progress
