"""Explanations on their way, each joined by what the checks of faithfulness say of its maps."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from eosin.errors import ConfigError
from eosin.explanation.heatmap import Explanation
from eosin.explanation.remapping import remap_by
from eosin.explanation.scoring import MapToScore, score_maps
from eosin.explanation.torch_networks import TorchNetwork

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from eosin.explanation.faithfulness_table import FaithfulnessRow
    from eosin.explanation.networks import Network
    from eosin.explanation.scoring import ScoreOptions
    from eosin.pixels.reading import SkippedFile


def judged(
    networks: Sequence[TorchNetwork],
    explanations: Iterable[Explanation | SkippedFile],
    options: ScoreOptions,
) -> Iterator[Explanation | SkippedFile]:
    """Pass explanations on with the scores of their members, as many as there are ``networks``."""
    judges = [_Judge(network, options) for network in networks]
    for item in explanations:
        if not isinstance(item, Explanation):
            yield item
            continue
        yield replace(
            item, scores=tuple(judge.score(item, place) for place, judge in enumerate(judges))
        )


def require_torch_networks(networks: Sequence[Network]) -> list[TorchNetwork]:
    """The networks, all of them in PyTorch; ConfigError where one is exported.

    The checks draw random twins of a network, which a graph cannot be made into.
    """
    trained = [network for network in networks if isinstance(network, TorchNetwork)]
    if len(trained) < len(networks):
        exported = next(network for network in networks if network not in trained)
        raise ConfigError(
            f"{exported.run.folder}: the checks of faithfulness need PyTorch and the original Run; "
            "leave out --score, or give the Run that it was exported from"
        )
    return trained


class _Judge:
    """Feeds one network's maps to ``score_maps``, which keeps its random twins between them."""

    def __init__(self, network: TorchNetwork, options: ScoreOptions) -> None:
        self._classes = network.run.record.task.classes
        self._waiting: deque[MapToScore] = deque()
        self._rows: Iterator[FaithfulnessRow] = score_maps(
            network.run,
            self._feed(),
            options,
            remap=remap_by(network.method, network.run.record.preprocessing),
            classifier=network.classifier,
            model=network.name,
        )

    def score(self, explanation: Explanation, place: int) -> FaithfulnessRow:
        """The row of the map that member ``place`` made."""
        heatmap = explanation.members[place]
        self._waiting.append(
            MapToScore(
                path=explanation.path,
                image=explanation.image,
                heatmap=heatmap.raw,
                target=self._classes.index(heatmap.target),
                method=heatmap.method,
            )
        )
        return next(self._rows)

    def _feed(self) -> Iterator[MapToScore]:
        while self._waiting:
            yield self._waiting.popleft()
