"""Work on the rows of a list: what it is, and who does it; here that is this process alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from pathlib import Path

Opened = TypeVar("Opened")
Part = TypeVar("Part")


class Source(Protocol):
    """A Run, as far as it matters here."""

    @property
    def folder(self) -> Path:
        """Where it lies."""

    def require_unchanged(self) -> None:
        """ModelError where it is not what it was."""


@dataclass(frozen=True)
class Work(Generic[Opened, Part]):
    """Something to be done to rows; it can be pickled, so that other processes can do it too."""

    key: str  # what ``open`` depends on: works of one key share what it opens
    step: int  # rows of a batch: whoever is given some rows begins at a multiple, counted from 0
    files: Sequence[Path]  # what each row is about
    open: Callable[[], Opened]  # loads what takes long: networks
    do: Callable[[Opened, range], Iterator[Part]]  # what is found of some rows, in order
    runs: Sequence[Source] = ()  # that it uses
    reads: Sequence[Path] = ()  # more files and folders that it needs
    # of a row, those before it that must be done first
    after: Mapping[int, Sequence[int]] = field(default_factory=dict)


class Spread(Protocol):
    """Does work, and gives what is found in the order of the rows."""

    def each(self, work: Work[Opened, Part], rows: range) -> Generator[Part, None, None]:
        """What ``work`` finds of ``rows``, which begin at a multiple of its step."""


class Here:
    """The process itself: what one work opened is there for the next of its key."""

    def __init__(self, opened: Mapping[str, object] | None = None) -> None:
        self._opened = dict(opened or {})

    def each(self, work: Work[Opened, Part], rows: range) -> Generator[Part, None, None]:
        """What ``work`` finds of ``rows``."""
        if not rows:
            return
        if work.key not in self._opened:
            self._opened[work.key] = work.open()
        yield from work.do(cast("Opened", self._opened[work.key]), rows)
