"""What holds now, computed from the log of answers: labels, comments, consensus, adjudication."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eosin.server.tables import Answer


@dataclass
class Standing:
    """What holds of one case.

    Attributes:
        labels: each reader's own latest answer.
        adjudication: the latest decision on a disagreement; None where there is none.
        comments: the rows with one, oldest first.
    """

    labels: dict[str, Answer] = field(default_factory=dict)
    adjudication: Answer | None = None
    comments: list[Answer] = field(default_factory=list)

    @property
    def votes(self) -> Counter[str]:
        """How many readers gave each label."""
        return Counter(each.label or "" for each in self.labels.values())

    @property
    def disagreement(self) -> bool:
        """Whether readers gave several labels and nobody has decided between them."""
        return len(self.votes) > 1 and self.adjudication is None

    @property
    def consensus(self) -> str:
        """The adjudicated label, else that of more than half of the readers; empty where neither
        is there.
        """
        if self.adjudication is not None:
            return self.adjudication.label or ""
        most = self.votes.most_common(1)
        return most[0][0] if most and 2 * most[0][1] > self.votes.total() else ""


def undone(log: Sequence[Answer]) -> set[int]:
    """The numbers of the rows that an undo takes back which itself holds.

    An undo can be undone in turn: then what it had taken back holds again.
    """
    found: set[int] = set()
    for each in reversed(log):
        if each.undoes is not None and each.number not in found:
            found.add(each.undoes)
    return found


def held(log: Sequence[Answer]) -> list[Answer]:
    """The rows, in order, that are not taken back; without undos themselves."""
    gone = undone(log)
    return [each for each in log if each.undoes is None and each.number not in gone]


def standings(log: Sequence[Answer]) -> dict[str, Standing]:
    """What holds of every case that has a row."""
    found: dict[str, Standing] = {}
    for each in held(log):
        case = found.setdefault(each.case_id, Standing())
        if each.comment:
            case.comments.append(each)
        if each.kind == "adjudication":
            case.adjudication = each
        elif each.label is not None:
            case.labels[each.reader] = each
    return found


def biased(answers: Iterable[Answer]) -> tuple[str, ...]:
    """Sentences on how the answers behind a figure came about; none where nothing need be said."""
    rows = list(answers)
    doubt = sum(each.ordering == "doubt" for each in rows)
    seen = sum(not each.blind for each in rows)
    said = []
    if doubt:
        said.append(
            f"{doubt} of {len(rows)} answers were given in an order by doubt: such cases are "
            "harder than most, so figures from them are biased; a random order gives unbiased ones."
        )
    if seen:
        said.append(
            f"{seen} of {len(rows)} answers were not blind: the model's answer or an earlier "
            "reading was before the reader, who may have followed it."
        )
    return tuple(said)
