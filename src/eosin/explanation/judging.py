"""Explanations on their way, each joined by what the checks of faithfulness say of its maps."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from eosin.explanation.heatmap import Explanation
from eosin.explanation.remapping import remap_by
from eosin.explanation.scoring import MapToScore, score_maps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from eosin.explanation.faithfulness_table import FaithfulnessRow
    from eosin.explanation.heatmap import Method
    from eosin.explanation.scoring import ScoreOptions
    from eosin.networks.run import Network
    from eosin.pixels.reading import SkippedFile


def judged(
    networks: Sequence[Network],
    explanations: Iterable[Explanation | SkippedFile],
    method: Method,
    options: ScoreOptions,
) -> Iterator[Explanation | SkippedFile]:
    """Pass explanations on with the scores of their members, as many as there are ``networks``.

    Raises:
        ConfigError: at once, where a network is a graph.
    """
    judges = [_Judge(network, method, options) for network in networks]
    return (_scored(item, judges) for item in explanations)


def _scored(item: Explanation | SkippedFile, judges: Sequence[_Judge]) -> Explanation | SkippedFile:
    if not isinstance(item, Explanation):
        return item
    return replace(item, scores=tuple(judge.score(item, n) for n, judge in enumerate(judges)))


class _Judge:
    """Feeds one network's maps to ``score_maps``, which keeps its random twins between them."""

    def __init__(self, network: Network, method: Method, options: ScoreOptions) -> None:
        self._classes = network.run.record.task.classes
        self._waiting: deque[MapToScore] = deque()
        remap = remap_by(method, network.preprocessing)
        self._rows: Iterator[FaithfulnessRow] = score_maps(
            network, self._feed(), options, remap=remap
        )

    def score(self, explanation: Explanation, index: int) -> FaithfulnessRow:
        """The row of the map that member ``index`` made."""
        heatmap = explanation.members[index]
        self._waiting.append(
            MapToScore(
                path=explanation.path,
                image=explanation.image,
                heatmap=heatmap.raw,
                target=self._classes.index(heatmap.target),
                method=heatmap.method,
                source=heatmap.source,
            )
        )
        return next(self._rows)

    def _feed(self) -> Iterator[MapToScore]:
        while self._waiting:
            yield self._waiting.popleft()
