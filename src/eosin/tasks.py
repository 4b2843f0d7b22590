"""What is being classified: the ordered classes, and what they mean to an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from eosin.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping


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

    def to_dict(self) -> dict[str, object]:
        """The task as plain JSON values."""
        return {
            "name": self.name,
            "classes": list(self.classes),
            "positive": self.positive,
            "ordinal": self.ordinal,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> Self:
        """Read what ``to_dict`` wrote; DataError where a field is missing or of the wrong type."""
        classes, positive = fields.get("classes"), fields.get("positive")
        if not isinstance(classes, list | tuple) or not all(isinstance(c, str) for c in classes):
            raise DataError(f"a task needs a list of class names, got {classes!r}")
        return cls(
            name=str(fields.get("name", "task")),
            classes=tuple(classes),
            positive=None if positive is None else str(positive),
            ordinal=bool(fields.get("ordinal", False)),
        )
