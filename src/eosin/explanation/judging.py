"""Explanations on their way, each joined by what the checks of faithfulness say of its maps."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from eosin.explanation.heatmap import Explanation
from eosin.explanation.heatmap_checks import MapToScore, score_maps
from eosin.explanation.methods import explain_targets
from eosin.networks.cam import respond
from eosin.pixels.preprocessing import prepare

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from eosin.arrays import FloatMap
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.explanation.faithfulness_table import FaithfulnessRow
    from eosin.explanation.heatmap import Method
    from eosin.explanation.heatmap_checks import Remap, ScoreOptions
    from eosin.networks.classifier import Classifier
    from eosin.networks.run import Network
    from eosin.pixels.reading import SkippedFile, UInt8Image


def judged(
    networks: Sequence[Network],
    explanations: Iterable[Explanation | SkippedFile],
    method: Method,
    options: ScoreOptions,
) -> Iterator[Explanation | SkippedFile]:
    """Pass explanations on with the scores of their members, each by its network's judge.

    Raises:
        ConfigError: at once, where a network is a graph.
    """
    judges = {network.name: _Judge(network, method, options) for network in networks}
    return (_scored(item, judges) for item in explanations)


def _scored(
    item: Explanation | SkippedFile, judges: Mapping[str, _Judge]
) -> Explanation | SkippedFile:
    if not isinstance(item, Explanation):
        return item
    scores = (judges[member.model].score(item, n) for n, member in enumerate(item.members))
    return replace(item, scores=tuple(scores))


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
                around=heatmap.around,
            )
        )
        return next(self._rows)

    def _feed(self) -> Iterator[MapToScore]:
        while self._waiting:
            yield self._waiting.popleft()


def remap_by(method: Method, spec: Preprocessing) -> Remap:
    """A function from a network, images and class indices to one raw map (h, w) an image.

    Images are those that a network sees already (``view``): their stain is not touched again.
    """
    bare = replace(spec, stain=None)

    def remap(
        classifier: Classifier, images: Sequence[UInt8Image], targets: Sequence[int]
    ) -> list[FloatMap]:
        device = next(classifier.parameters()).device
        pixels = torch.from_numpy(np.stack([prepare(image, bare) for image in images])).to(device)
        chosen = torch.tensor(list(targets), device=device)
        maps = explain_targets(classifier, respond(classifier, pixels), chosen, method=method)
        return list(maps.cpu().numpy())

    return remap
