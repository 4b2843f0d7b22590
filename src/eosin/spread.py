"""Work on the rows of a list: what it is, and who does it; here that is this process alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from pathlib import Path

Opened = TypeVar("Opened")
Part = TypeVar("Part")
Part_co = TypeVar("Part_co", covariant=True)


class Work(Protocol[Opened, Part_co]):
    """Something to be done to rows, which can be pickled, so that other processes can do it too."""

    @property
    def key(self) -> str:
        """What ``open`` depends on: works of one key share what it opens."""

    @property
    def step(self) -> int:
        """Rows of a batch: whoever is given some rows begins at a multiple, counted from 0."""

    @property
    def inputs(self) -> Sequence[Path]:
        """The files and folders that it reads."""

    def file(self, row: int) -> Path:
        """The file that a row is about."""

    def after(self, row: int) -> Sequence[int]:  # noqa: ARG002
        """Rows, all before it, that must be done before this one is begun."""
        return ()

    def require_unchanged(self) -> None:
        """ModelError where a Run that it uses is not what it was when the work began."""

    def open(self) -> Opened:
        """What ``do`` needs and takes long to load: networks."""

    def do(self, opened: Opened, rows: range) -> Iterator[Part_co]:
        """What is found of these rows, in order; the same whoever is asked."""


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
