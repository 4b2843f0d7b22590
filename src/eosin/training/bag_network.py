"""Slides as bags of tiles, and the network that learns from them: logits, weights, their sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from eosin.artefacts.run import Bag
from eosin.inference.bags import Gate, find_slides, tile_weights
from eosin.networks.device import choose_device
from eosin.training.heads import LinearHead

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from eosin.arrays import Floats, Ints, Texts
    from eosin.artefacts.manifest import Manifest
    from eosin.tasks import Task
    from eosin.training.config import TrainingConfig

HIDDEN = 128
_SLIDES_A_STEP = 8
_RATE, _DECAY = 3e-3, 0.1  # of AdamW (Loshchilov & Hutter 2019)
_TOP_SHARE = 0.05  # of a slide's tiles, those of the greatest margin, which teach the head as well
_TOP_WEIGHT = 2.0  # of their loss: attention alone often finds nothing to begin with
_HEADS, _HEAD_EPOCHS, _HEAD_RATE = 6, 15, 1e-2  # of which the best begins
_MOST_TILES = 4096  # that principal components are of, evenly spread


@dataclass(frozen=True, eq=False)
class Bags:
    """Slides and their tiles."""

    features: Floats  # of tiles, shape (n, channels)
    slide: Ints  # the number of each tile's slide, shape (n,)
    rows: pd.DataFrame  # a row a slide
    labels: Ints  # class indices of slides
    groups: Texts  # what must not be cut in two, of slides

    @classmethod
    def of(cls, split: Manifest, features: Floats, part: str) -> Bags | None:
        """Those of one split; None where it has none."""
        own = (split.frame["split"] == part).to_numpy()
        if not own.any():
            return None
        tiles = split.where(own)
        rows, slide = find_slides(tiles.frame)
        _, first = np.unique(slide, return_index=True)
        return cls(features[own], slide, rows, tiles.label_index[first], tiles.kept_whole[first])

    @property
    def means(self) -> Floats:
        """The mean features of slides, shape (slides, channels)."""
        found = [self.features[self.slide == number].mean(0) for number in range(len(self.rows))]
        return np.stack(found)


def rule_of(config: TrainingConfig) -> Bag:
    """How tiles are to weigh; the digest of an attention is not known yet."""
    return Bag(
        aggregator=config.aggregator,
        share=config.topk_share if config.aggregator == "topk" else None,
        attention_sha256="0" * 64 if config.aggregator == "abmil" else None,
    )


class BagNetwork(nn.Module):
    """Standardised features of tiles to logits of their slides."""

    def __init__(self, channels: int, rule: Bag, task: Task) -> None:
        super().__init__()
        self.head, self.task = nn.Linear(channels, len(task.classes)), task
        self.gated = rule.aggregator == "abmil"
        self.rule = (
            Bag(aggregator="topk", share=_TOP_SHARE, attention_sha256=None) if self.gated else rule
        )
        if self.gated:
            self.tanh = nn.Linear(channels, HIDDEN)
            self.sigmoid = nn.Linear(channels, HIDDEN)
            self.weight = nn.Linear(HIDDEN, 1, bias=False)

    def forward(self, tiles: Tensor, slide: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (slides, classes) of tiles (n, channels) whose slides are numbered from 0.

        Returns:
            The answers, and those of the tiles of the greatest margin.
        """
        logits = self.head(tiles)
        ruled = self.ruled(logits, slide)
        if not self.gated:
            return ruled, ruled
        opened = torch.tanh(self.tanh(tiles)) * torch.sigmoid(self.sigmoid(tiles))
        scores = self.weight(opened)[:, 0].masked_fill(~_inside(slide), -torch.inf)
        return torch.softmax(scores, dim=1) @ logits, ruled

    def ruled(self, logits: Tensor, slide: Tensor) -> Tensor:
        """Logits (slides, classes) of those of tiles (n, classes), by the fixed rule."""
        scores = np.zeros((len(logits), 1))
        values = np.hstack([logits.detach().cpu().numpy(), scores])
        weights = tile_weights(self.rule, values, slide.cpu().numpy(), self.task)
        own = torch.from_numpy(weights).to(logits)
        return (_inside(slide) * own) @ logits


def _inside(slide: Tensor) -> Tensor:
    """Which tile is of which slide, shape (slides, n)."""
    return slide[None] == torch.arange(int(slide[-1]) + 1, device=slide.device)[:, None]


class BagLearner:
    """A network on its way through the epochs, with the tiles that it learns from.

    Features are standardised and reduced to their first principal components: slides are few, and
    a direction among a thousand that tells those of the training apart tells nothing of others.

    Args:
        bags: all slides.
        learned: the numbers of those to learn from; the tiles of these alone set what is standard.
        share: the weight of each of these, shape (slides,).
        components: how many principal components are kept.
        config: how tiles weigh, the seed, device, and how many tiles of a slide an epoch takes.
        task: the classes.
    """

    def __init__(
        self,
        bags: Bags,
        learned: Ints,
        share: Floats,
        *,
        components: int,
        config: TrainingConfig,
        task: Task,
    ) -> None:
        self._labels, self._learned, self._share = torch.from_numpy(bags.labels), learned, share
        features, slide, self._most = torch.from_numpy(bags.features), bags.slide, config.bag_tiles
        self._of = np.split(np.argsort(slide, kind="stable"), np.cumsum(np.bincount(slide))[:-1])
        self._device = choose_device(config.device)
        self._random = np.random.default_rng(config.seed)
        own = features[torch.from_numpy(np.flatnonzero(np.isin(slide, learned)))]
        self._centre, scale = own.mean(0), own.std(0, correction=0) + 1e-6
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            axes = _axes((own - self._centre) / scale, components)
            self._axes = axes / scale[:, None]
            self._tiles = ((features - self._centre) @ self._axes).float()
            network = BagNetwork(axes.shape[1], rule_of(config), task).to(self._device)
            starts = nn.Linear(axes.shape[1], _HEADS * len(task.classes)).to(self._device)
        self.network = network
        self._begin(starts)
        self._steps = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)

    def _begin(self, starts: nn.Linear) -> None:
        """Give the network the best of many heads that learn by the fixed rule alone.

        Which tiles are right is not known at first, and a head that begins with the wrong ones
        stays with them: its loss on the very slides that it learns from tells.
        """
        steps = torch.optim.AdamW(starts.parameters(), lr=_HEAD_RATE, weight_decay=_DECAY)
        for _ in range(_HEAD_EPOCHS):
            total = torch.zeros(_HEADS)
            for part in self._shuffled():
                tiles, slide, truth, share = self._drawn(part)
                answers = [self.network.ruled(e, slide) for e in starts(tiles).chunk(_HEADS, 1)]
                losses = [functional.cross_entropy(e, truth, reduction="none") for e in answers]
                each = (torch.stack(losses) * share).sum(1)
                _step(steps, each.sum() / len(part))
                total += each.detach().cpu()
        best, head = int(total.argmin()), self.network.head
        with torch.no_grad():
            head.weight.copy_(starts.weight.chunk(_HEADS)[best])
            head.bias.copy_(starts.bias.chunk(_HEADS)[best])

    def learn(self) -> None:
        """One epoch."""
        for part in self._shuffled():
            tiles, slide, truth, share = self._drawn(part)
            answers, ruled = self.network(tiles, slide)
            losses = functional.cross_entropy(answers, truth, reduction="none")
            if self.network.gated:
                losses = losses + _TOP_WEIGHT * functional.cross_entropy(
                    ruled, truth, reduction="none"
                )
            _step(self._steps, (losses * share).mean())

    def logits(self, slides: Ints) -> Floats:
        """Of slides (k,), all their tiles counted, shape (k, classes)."""
        with torch.no_grad():
            parts = [
                self.network(*self._tiles_of([self._of[k] for k in part]))[0]
                for part in _parts(slides)
            ]
        return torch.cat(parts).cpu().double().numpy()

    def folded(self) -> tuple[LinearHead, Gate | None]:
        """Head and attention of features as they are: all that was done to them folded in."""
        axes, centre = self._axes.numpy(), self._centre.numpy()

        def fold(layer: nn.Linear) -> tuple[Floats, Floats]:
            weight = layer.weight.detach().cpu().double().numpy() @ axes.T
            return weight, layer.bias.detach().cpu().double().numpy() - weight @ centre

        head, network = LinearHead(*fold(self.network.head)), self.network
        if not network.gated:
            return head, None
        weight = network.weight.weight.detach().cpu().double().numpy()[0]
        return head, Gate(*fold(network.tanh), *fold(network.sigmoid), weight)

    def _shuffled(self) -> list[Ints]:
        return _parts(self._random.permutation(len(self._learned)))

    def _drawn(self, part: Ints) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tiles, the number of each one's slide, true classes and weights of some slides."""
        slides, share = self._learned[part], self._share[part].astype(np.float32)
        tiles, slide = self._tiles_of([self._some(self._of[k]) for k in slides])
        truth = self._labels[slides].to(self._device)
        return tiles, slide, truth, torch.from_numpy(share).to(self._device)

    def _some(self, tiles: Ints) -> Ints:
        if len(tiles) <= self._most:
            return tiles
        return self._random.choice(tiles, self._most, replace=False)

    def _tiles_of(self, picked: list[Ints]) -> tuple[Tensor, Tensor]:
        slide = torch.from_numpy(np.repeat(np.arange(len(picked)), [len(each) for each in picked]))
        tiles = self._tiles[torch.from_numpy(np.concatenate(picked))]
        return tiles.to(self._device), slide.to(self._device)


def _step(steps: torch.optim.Optimizer, loss: Tensor) -> None:
    steps.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    steps.step()


def _axes(standard: Tensor, components: int) -> Tensor:
    """The first principal axes (channels, components), scaled to a mean variance of 1."""
    seen = standard[:: max(1, -(-len(standard) // _MOST_TILES))]
    channels = seen.shape[1]
    if components >= min(seen.shape):
        return torch.eye(channels, dtype=seen.dtype)
    _, spread, axes = torch.pca_lowrank(seen, components, center=False, niter=4)
    return axes * (len(seen) * components / spread.square().sum()).sqrt()


def _parts(slides: Ints) -> list[Ints]:
    return np.array_split(slides, -(-len(slides) // _SLIDES_A_STEP))
