"""Two ways to make a Run for one fold or split, and to score what that Run never met."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from eosin.data.splits import hold_out
from eosin.evaluation.calibration import apply_temperature
from eosin.inference.predict import PredictOptions, predict
from eosin.predictions import Predictions, make_predictions
from eosin.training.finetune import finetune
from eosin.training.frozen import FrozenImages, freeze_images, read_head, train_frozen
from eosin.training.resume import Identity, finished_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from eosin.manifest import Manifest
    from eosin.models.run import Run
    from eosin.pixels.reading import SkippedFile
    from eosin.training.config import TrainingConfig
    from eosin.training.progress import Progress


class Trainer(Protocol):
    """Makes Runs from one manifest under one configuration."""

    skipped: list[SkippedFile]

    def train(self, folder: Path, fold: int | None) -> Run:
        """Train with ``fold`` held out, or on the manifest's own splits."""
        ...

    def score_held_out(self, run: Run, fold: int) -> Predictions:
        """Predictions of ``run`` for the images of the fold it never met."""
        ...


@dataclass
class FrozenTrainer:
    """Features once, then a linear head a fold."""

    images: FrozenImages
    config: TrainingConfig
    resume: bool = False
    skipped: list[SkippedFile] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        config: TrainingConfig,
        *,
        resume: bool = False,
        on_files: Callable[[int], None] | None = None,
    ) -> FrozenTrainer:
        """Compute the features of ``manifest``, or take them from the cache."""
        images = freeze_images(manifest, config, on_files=on_files)
        return cls(images, config, resume, list(images.skipped))

    def train(self, folder: Path, fold: int | None) -> Run:
        """Fit the head with ``fold`` held out, or on the manifest's own splits."""
        split = self._split(fold)
        identity = Identity.of(split, self.config, fold)
        finished = finished_run(folder, identity, resume=self.resume)
        return finished or train_frozen(self.images, split, folder, self.config, fold=fold)

    def score_held_out(self, run: Run, fold: int) -> Predictions:
        """Predictions for the held-out fold, from the features already computed."""
        held = (self._split(fold).frame["split"] == "test").to_numpy()
        logits = read_head(run).logits(self.images.features[held])
        return make_predictions(
            self.images.manifest.frame[held],
            apply_temperature(logits, run.record.temperature),
            task=run.record.task,
            threshold=run.record.threshold,
        )

    def _split(self, fold: int | None) -> Manifest:
        manifest = self.images.manifest
        return manifest if fold is None else hold_out(manifest, fold, validation=False)


@dataclass
class FineTuneTrainer:
    """The whole network, epoch by epoch."""

    manifest: Manifest
    config: TrainingConfig
    resume: bool = False
    progress: Progress | None = None
    skipped: list[SkippedFile] = field(default_factory=list)

    def train(self, folder: Path, fold: int | None) -> Run:
        """Fine-tune with ``fold`` held out, or on the manifest's own splits."""
        manifest = self.manifest if fold is None else hold_out(self.manifest, fold)
        return finetune(
            manifest,
            folder,
            self.config,
            resume=self.resume,
            fold=fold,
            on_progress=self.progress,
            on_skipped=self.skipped.append,
        )

    def score_held_out(self, run: Run, fold: int) -> Predictions:
        """Predictions for the held-out fold, read and scored anew."""
        options = PredictOptions(
            split="test", device=self.config.device, batch_size=self.config.batch_size
        )
        scored = predict(run, hold_out(self.manifest, fold), options)
        self.skipped.extend(scored.skipped)
        return scored.predictions
