"""The network that learns from slides: tile logits, what each tile weighs, and their sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from eosin.artefacts.run import Bag
from eosin.inference.bags import Gate, tile_values, tile_weights
from eosin.networks.device import choose_device
from eosin.training.linear_head import LinearHead

if TYPE_CHECKING:
    from torch import Tensor

    from eosin.arrays import Floats, Ints
    from eosin.tasks import Task
    from eosin.training.config import TrainingConfig

HIDDEN = 128
_TOGETHER = 8  # slides a step
_RATE, _DECAY = 3e-3, 0.1  # of AdamW (Loshchilov & Hutter 2019)
_SHARE = 0.05  # of a slide's tiles, those of the greatest margin, which teach the head as well
_THEIRS = 2.0  # what their loss counts: attention alone often finds nothing to begin with
_STARTS, _FIRST, _FIRST_RATE = 6, 15, 1e-2
_SEEN = 4096  # tiles that principal components are of, evenly spread


class BagNetwork(nn.Module):
    """Standardised features of tiles to logits of their slides."""

    def __init__(self, channels: int, rule: Bag, task: Task) -> None:
        super().__init__()
        self.head, self.task = nn.Linear(channels, len(task.classes)), task
        self.gated = rule.aggregator == "abmil"
        self.rule = (
            Bag(aggregator="topk", share=_SHARE, attention_sha256=None) if self.gated else rule
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
        inside = slide[None] == torch.arange(int(slide[-1]) + 1, device=slide.device)[:, None]
        values = tile_values(logits.detach().cpu().numpy(), np.empty((0, 0)), None)
        own = tile_weights(self.rule, values, slide.cpu().numpy(), self.task)
        ruled = (inside * torch.from_numpy(own).to(logits)) @ logits
        if not self.gated:
            return ruled, ruled
        opened = torch.tanh(self.tanh(tiles)) * torch.sigmoid(self.sigmoid(tiles))
        scores = self.weight(opened)[:, 0].masked_fill(~inside, -torch.inf)
        return torch.softmax(scores, dim=1) @ logits, ruled


class BagLearner:
    """A network on its way through the epochs, with the tiles that it learns from.

    Features are standardised and reduced to their first principal components: slides are few, and
    a direction among a thousand that tells those of the training apart tells nothing of others.

    Args:
        features: of all tiles, shape (n, channels), float32.
        slide: the number of each tile's slide, shape (n,), from 0.
        labels: class indices of slides.
        learned: the slides to learn from; the tiles of these alone set what is standard.
        share: the weight of each of these, shape (slides,).
        components: how many principal components are kept.
        rule: how tiles weigh.
        config: seed, device, and how many tiles of a slide an epoch takes.
        task: the classes.
    """

    def __init__(
        self,
        features: Tensor,
        slide: Ints,
        labels: Ints,
        *,
        learned: Ints,
        share: Floats,
        components: int,
        rule: Bag,
        config: TrainingConfig,
        task: Task,
    ) -> None:
        self._share = share
        self._labels, self._learned, self._most = (
            torch.from_numpy(labels),
            learned,
            config.bag_tiles,
        )
        self._of = np.split(np.argsort(slide, kind="stable"), np.cumsum(np.bincount(slide))[:-1])
        self._device, self._random = (
            choose_device(config.device),
            np.random.default_rng(config.seed),
        )
        own = features[torch.from_numpy(np.flatnonzero(np.isin(slide, learned)))]
        self._centre, scale = own.mean(0), own.std(0, correction=0) + 1e-6
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            axes = _axes((own - self._centre) / scale, components)
            self._axes = axes / scale[:, None]
            self._tiles = (features - self._centre) @ self._axes
            begun = [self._begun(BagNetwork(axes.shape[1], rule, task)) for _ in range(_STARTS)]
        self.network = min(begun, key=lambda each: each[0])[1]
        self._steps = _adam(self.network, _RATE)

    def _begun(self, network: BagNetwork) -> tuple[float, BagNetwork]:
        """A head that learned of the tiles of the greatest margin alone, and its last loss."""
        self.network = network.to(self._device)
        self._steps = _adam(network, _FIRST_RATE)
        losses = [self.learn(only_ruled=True) for _ in range(_FIRST)]
        return losses[-1], network

    def learn(self, *, only_ruled: bool = False) -> float:
        """One epoch; the mean loss in it."""
        total = 0.0
        for part in _parts(self._random.permutation(len(self._learned))):
            slides = self._learned[part]
            answers, ruled = self._answers([self._some(self._of[each]) for each in slides])
            truth = self._labels[slides].to(self._device)
            losses = functional.cross_entropy(ruled, truth, reduction="none")
            if self.network.gated and not only_ruled:
                own = functional.cross_entropy(answers, truth, reduction="none")
                losses = own + _THEIRS * losses
            loss = (losses * torch.from_numpy(self._share[part]).to(losses)).mean()
            self._steps.zero_grad()
            loss.backward()
            self._steps.step()
            total += loss.item() * len(part) / len(self._learned)
        return total

    def logits(self, slides: Ints) -> Floats:
        """Of slides (k,), all their tiles counted, shape (k, classes)."""
        with torch.no_grad():
            parts = [self._answers([self._of[k] for k in part])[0] for part in _parts(slides)]
        return torch.cat(parts).double().cpu().numpy()

    def folded(self) -> tuple[LinearHead, Gate | None]:
        """Head and attention of features as they are: all that was done to them folded in."""
        axes, centre = self._axes.double().numpy(), self._centre.double().numpy()

        def fold(layer: nn.Linear) -> tuple[Floats, Floats]:
            weight = layer.weight.detach().double().cpu().numpy() @ axes.T
            return weight, layer.bias.detach().double().cpu().numpy() - weight @ centre

        head, network = LinearHead(*fold(self.network.head)), self.network
        if not network.gated:
            return head, None
        weight = network.weight.weight.detach().double().cpu().numpy()[0]
        return head, Gate(*fold(network.tanh), *fold(network.sigmoid), weight)

    def _some(self, tiles: Ints) -> Ints:
        if len(tiles) <= self._most:
            return tiles
        return self._random.choice(tiles, self._most, replace=False)

    def _answers(self, picked: list[Ints]) -> tuple[Tensor, Tensor]:
        slide = torch.from_numpy(np.repeat(np.arange(len(picked)), [len(each) for each in picked]))
        tiles = self._tiles[torch.from_numpy(np.concatenate(picked))]
        answers: tuple[Tensor, Tensor] = self.network(
            tiles.to(self._device), slide.to(self._device)
        )
        return answers


def _adam(network: BagNetwork, rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=_DECAY)


def _axes(standard: Tensor, components: int) -> Tensor:
    """The first principal axes (channels, components), scaled to a mean variance of 1."""
    seen = standard[:: max(1, -(-len(standard) // _SEEN))]
    channels = seen.shape[1]
    if components >= min(seen.shape):
        return torch.eye(channels)
    _, spread, axes = torch.pca_lowrank(seen, components, center=False, niter=4)
    return axes * (len(seen) * components / spread.square().sum()).sqrt()


def _parts(slides: Ints) -> list[Ints]:
    return np.array_split(slides, -(-len(slides) // _TOGETHER))
