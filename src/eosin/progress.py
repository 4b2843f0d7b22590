"""How work tells how far it is: one protocol, in steps forward; whoever shows them adds them up."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Progress(Protocol):
    """Told how work goes on: begun, any number of steps, ended; notes at any time."""

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
