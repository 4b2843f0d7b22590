"""What is being classified: the ordered classes, and what they mean to an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from eosin.errors import DataError


@dataclass(frozen=True, slots=True)
class Task:
    """A classification task.

    Attributes:
        name: a short name, e.g. ``"binary"`` or ``"her2"``.
        classes: at least two distinct class names; their order is the order of every
            probability column.
        positive: the class that sensitivity speaks of; only for two classes.
        ordinal: whether the order of ``classes`` is a grade (HER2 0 < 1+ < 2+ < 3+).
    """

    name: str
    classes: tuple[str, ...]
    positive: str | None = None
    ordinal: bool = False

    def __post_init__(self) -> None:
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise DataError(
                f"task {self.name!r} needs at least two distinct classes, got {list(self.classes)}"
            )
        reserved = [name for name in self.classes if name == "abstain" or "|" in name]
        if reserved:  # in predictions the one is an answer, the other stands between classes
            raise DataError(
                f"task {self.name!r}: the class {reserved[0]!r} needs another name, without | and "
                "not abstain, which mean something else in tables of predictions"
            )
        if self.positive is not None and (
            len(self.classes) != 2 or self.positive not in self.classes
        ):
            raise DataError(
                f"positive class {self.positive!r} must be one of exactly two classes, "
                f"got {list(self.classes)}"
            )

    @property
    def binary(self) -> bool:
        """Whether there are two classes, one of them positive."""
        return self.positive is not None

    @property
    def positive_index(self) -> int:
        """Index of the positive class in ``classes``; DataError where the task has none."""
        if self.positive is None:
            raise DataError(f"task {self.name!r} has no positive class")
        return self.classes.index(self.positive)

    def index(self, label: str) -> int:
        """Index of ``label`` in ``classes``; DataError where it is not one of them."""
        try:
            return self.classes.index(label)
        except ValueError:
            raise DataError(
                f"label {label!r} is not a class of task {self.name!r}: {list(self.classes)}"
            ) from None
