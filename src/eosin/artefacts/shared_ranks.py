"""Rankings in groups: models that the images cannot tell apart share a rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.artefacts.values import PositiveCount

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Ranked:
    """A model's rank."""

    # from 1, the best; models that share it cannot be told apart from its first model
    rank: PositiveCount
    model: str  # its name
    value: float  # of the metric


def rank_in_groups(
    values: Mapping[str, float], *, apart: Callable[[str, str], bool], higher_is_better: bool
) -> tuple[Ranked, ...]:
    """The models from best to worst, those that cannot be told apart on one rank.

    Walk from the best: a model starts a new rank when its difference to the first model of the
    current rank is ``apart`` from zero. So two neighbours on different ranks may well not be apart
    from each other, and a rank is no proof that its models are equal: only that they were not told
    apart from its best. Intervals are not corrected for the number of comparisons.

    Args:
        values: the metric of each model.
        apart: whether the interval of the difference of two models excludes zero.
        higher_is_better: of the metric.
    """
    sign = -1 if higher_is_better else 1
    order = sorted(values, key=lambda name: sign * values[name])
    ranked: list[Ranked] = []
    leader, rank = "", 0
    for name in order:
        if not leader or apart(leader, name):
            leader, rank = name, rank + 1
        ranked.append(Ranked(rank, name, values[name]))
    return tuple(ranked)
