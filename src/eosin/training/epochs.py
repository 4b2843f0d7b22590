"""One pass over the training images, one over the validation images, and what they gave."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from eosin.errors import DataError, ModelError
from eosin.machine import cache_folder
from eosin.pixels.cache import CacheError, PixelCache
from eosin.pixels.views import ViewBatch, view_batches
from eosin.progress import working
from eosin.training.augmentation import augment, draws
from eosin.training.history import EpochRow
from eosin.training.optimisation import learning_rate_factor
from eosin.training.ranks import gathered, rank, ranks, share_buffers, summed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from eosin.arrays import Floats, Ints
    from eosin.artefacts.manifest import Manifest
    from eosin.pixels.reading import SkippedFile, UInt8Image
    from eosin.pixels.views import Views
    from eosin.progress import Progress
    from eosin.training.augmentation import StainAugmentation
    from eosin.training.config import TrainingConfig
    from eosin.training.learner import Learner

_ORDER, _AUGMENT, _DROPOUT, _STAIN = 1, 2, 3, 4  # purposes of draws
_SHOW_EVERY = 0.2  # seconds; asking a GPU for the loss makes it wait


@dataclass(frozen=True)
class Epochs:
    """The images of a training and the learner that goes through them."""

    train: Manifest  # the training images
    val: Manifest | None  # the validation images, where there are any
    train_views: Views  # what the network sees of the training images, before augmentation
    val_views: Views | None  # what it sees of the validation images
    config: TrainingConfig = field(kw_only=True)  # the settings
    learner: Learner = field(kw_only=True)  # what learns and is judged
    least: int = field(kw_only=True)  # images that a step needs
    # told of files that cannot be read, of each once an epoch
    skip: Callable[[Iterable[SkippedFile]], None] = field(kw_only=True)
    # what is drawn for the stains of each image, where anything is
    stains: StainAugmentation | None = field(kw_only=True)

    def packed(self, progress: Progress) -> Epochs:
        """The same with the images decoded ahead, which every epoch would decode again."""
        if not self.config.cache:
            return self
        views = [each for each in (self.train_views, self.val_views) if each]
        cache, workers = PixelCache.of(views[0].spec, root=cache_folder()), self.config.workers
        try:
            with working(progress, "decoding, once", total=sum(map(len, views))):
                train, *val = (cache.pack(v, workers=workers, progress=progress) for v in views)
        except CacheError as error:  # a training without it learns the same, only slower
            progress.note(f"no cache, images are decoded in every epoch: {error}")
            return self
        return replace(self, train_views=train, val_views=val[0] if val else None)

    def run(self, epoch: int, progress: Progress) -> EpochRow:
        """Learn for one epoch (from 1) and validate.

        Raises:
            DataError: no training or no validation image could be read.
            ModelError: a loss is no longer finite.
        """
        began, images = time.perf_counter(), len(self.train)
        work = f"epoch {epoch}/{self.config.epochs}"
        progress.begin(work, total=self.config.epochs * images, done=(epoch - 1) * images)
        loss, accuracy, rate = self._learn(epoch, progress)
        if not math.isfinite(loss):
            raise self._diverged(f"the loss of epoch {epoch} is {loss}")
        log_loss, correct, balanced = math.nan, math.nan, math.nan
        if self.val:
            share_buffers(self.learner.judged)
            logits, read = self.validate()
            log_loss, correct, balanced = judge(logits, read.label_index)
        return EpochRow(
            epoch=epoch,
            train_loss=loss,
            train_accuracy=accuracy,
            val_loss=log_loss,
            val_accuracy=correct,
            val_balanced_accuracy=balanced,
            learning_rate=rate * self.config.learning_rate,
            seconds=time.perf_counter() - began,
        )

    def validate(self, *, alone: bool = False) -> tuple[Floats, Manifest]:
        """Finite logits (n, classes) of the readable validation images, and their rows.

        Processes that train together divide the images, unless this one is to do them ``alone``.
        """
        if self.val is None or self.val_views is None:
            raise DataError("there are no validation images")
        logits, indices = [], []
        for batch in view_batches(
            self.val_views,
            range(len(self.val)) if alone else range(rank(), len(self.val), ranks()),
            batch_size=self.config.batch_size,
            workers=self.config.workers,
        ):
            self.skip(batch.skipped)
            if len(batch.indices):
                logits.append(self.learner.logits(batch.images))
                indices.append(batch.indices)
        if not alone:
            parts = gathered((logits, indices))
            logits = [each for part, _ in parts for each in part]
            indices = [each for _, part in parts for each in part]
        if not indices:
            raise DataError(f"none of the {len(self.val)} validation images could be read")
        order = np.argsort(np.concatenate(indices))
        scores = np.concatenate(logits)[order].astype(np.float64)
        if not np.isfinite(scores).all():
            raise self._diverged("the logits of the validation images are not finite")
        read = np.isin(np.arange(len(self.val)), np.concatenate(indices))
        return scores, self.val.where(read)

    def _diverged(self, what: str) -> ModelError:
        own, head = self.config.learning_rate, self.config.head_learning_rate
        return ModelError(f"{what}; lower learning_rate ({own:g}) or head_learning_rate ({head:g})")

    def _learn(self, epoch: int, progress: Progress) -> tuple[float, float, float]:
        """Mean loss and accuracy over one pass, and the last step's rate."""
        seed, total = self.config.seed, len(self.train)
        batch_of_all = self.config.batch_size * ranks()
        most = batch_of_all * self.config.accumulate  # images of all processes to a step
        steps = math.ceil(total / most)
        order = draws(_ORDER, seed=seed, epoch=epoch).permutation(total)
        labels = self.train.label_index
        dropout = draws(_DROPOUT, seed=seed, epoch=epoch, index=rank())
        self.learner.begin_epoch(int(dropout.integers(2**31)))
        batches = self._altered(order[rank() :: ranks()], epoch)
        sums = torch.zeros(2, dtype=torch.float64, device=self.learner.device)
        learned, unseen, shown, rate = 0, 0, time.monotonic(), 0.0
        for number in range(steps):
            batch, met = next(batches, self._nothing), min(most, total - number * most)
            self.skip(batch.skipped)
            unseen += met
            step = (epoch - 1) * steps + number
            rate, wanted = self._rate(step, steps), labels[batch.indices]
            parts = _parts(len(wanted), math.ceil(met / batch_of_all), least=self.least)
            sums += self.learner.learn(batch.images, wanted, step=step, rate=rate, parts=parts)
            learned += sum(part.stop - part.start for part in parts)
            if time.monotonic() - shown > _SHOW_EVERY:
                loss, accuracy = (sums / max(1, learned)).tolist()
                progress.advance(unseen, said=f"loss {loss:.3f}  accuracy {accuracy:.3f}")
                unseen, shown = 0, time.monotonic()
        loss, right, count = summed(*sums.tolist(), learned)
        if not count:
            raise DataError(f"of {total} training images no batch of {self.least} could be read")
        return loss / count, right / count, rate

    @property
    def _nothing(self) -> ViewBatch:
        """What a process has where too few images are left for all of them."""
        size = self.train_views.spec.size
        return ViewBatch(np.zeros(0, np.int64), np.zeros((0, size, size, 3), np.uint8))

    def _altered(self, order: Ints, epoch: int) -> Iterator[ViewBatch]:
        """Augmented batches of the training images in this order."""
        seed = self.config.seed

        def alter(index: int, image: UInt8Image) -> UInt8Image:
            if self.stains is not None:
                stains = draws(_STAIN, seed=seed, epoch=epoch, index=index)
                image = self.stains(image, index, stains)
            random = draws(_AUGMENT, seed=seed, epoch=epoch, index=index)
            return augment(image, self.config, random)

        return view_batches(
            self.train_views,
            order,
            batch_size=self.config.batch_size * self.config.accumulate,
            workers=self.config.workers,
            alter=alter,
        )

    def _rate(self, step: int, steps: int) -> float:
        """What the learning rates are multiplied by at a ``step``, of ``steps`` an epoch."""
        return learning_rate_factor(
            step,
            steps=self.config.epochs * steps,
            warmup=self.config.warmup_epochs * steps,
            schedule=self.config.schedule,
        )


def _parts(images: int, parts: int, *, least: int) -> list[slice]:
    """Equal shares of a process's images, one a pass; those below ``least`` are left empty."""
    ends = [images * number // parts for number in range(parts + 1)]
    shares = (slice(first, last) for first, last in pairwise(ends))
    return [each if each.stop - each.start >= least else slice(0, 0) for each in shares]


def judge(logits: Floats, labels: Ints) -> tuple[float, float, float]:
    """Log loss (nats), accuracy and balanced accuracy (over the classes present)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    right = logits.argmax(axis=1) == labels
    recall = [right[labels == label].mean() for label in np.unique(labels)]
    log_loss = -log_p[np.arange(len(labels)), labels].mean()
    return float(log_loss), float(right.mean()), float(np.mean(recall))
