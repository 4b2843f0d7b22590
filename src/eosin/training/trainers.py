"""Two ways to make a Run for one fold or split, and to score what that Run never met."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from eosin.artefacts.predictions import Predictions, make_predictions
from eosin.data.splits import hold_out
from eosin.inference.bags import load_gate, tile_values
from eosin.inference.context import calibrated, near, threshold_of
from eosin.inference.predict import Chosen, make_scored, predict
from eosin.inference.readings import Reading
from eosin.inference.scoring import PredictOptions
from eosin.progress import SILENT, Progress
from eosin.remote import as_path
from eosin.training.bags import train_bags
from eosin.training.finetune import finetune
from eosin.training.frozen import FrozenImages, freeze_images, train_frozen
from eosin.training.heads import read_head
from eosin.training.resume import Identity, finished_run
from eosin.training.stain_fitting import depends_on_split, image_stains
from eosin.trust.columns import with_trust
from eosin.trust.conformal import SetOptions
from eosin.trust.judge import open_judge

if TYPE_CHECKING:
    from eosin.arrays import Bools
    from eosin.artefacts.manifest import Manifest
    from eosin.networks.run import Run
    from eosin.pixels.reading import SkippedFile
    from eosin.pixels.stain_sources import ImageStains
    from eosin.training.config import TrainingConfig


class Trainer(Protocol):
    """Makes Runs from one manifest under one configuration."""

    manifest: Manifest
    config: TrainingConfig
    resume: bool  # whether to continue where an interruption left off
    progress: Progress
    skipped: list[SkippedFile]  # files that could not be read so far

    def train(self, folder: Path, fold: int | None) -> Run:
        """Train with ``fold`` held out, or on the manifest's own splits."""
        ...

    def score_held_out(self, run: Run, fold: int) -> Predictions:
        """Predictions of ``run`` for the images of the fold it never met."""
        ...


@dataclass
class FrozenTrainer:
    """Features once, then a linear head a fold; features a fold where the stain step needs it."""

    manifest: Manifest
    config: TrainingConfig
    resume: bool = False
    progress: Progress = SILENT
    skipped: list[SkippedFile] = field(default_factory=list)
    _frozen: tuple[int | None, FrozenImages] | None = field(default=None, init=False)
    _stains: ImageStains | None = field(init=False)

    def __post_init__(self) -> None:
        self._stains = image_stains(self.config)

    def train(self, folder: Path, fold: int | None) -> Run:
        """Fit the head with ``fold`` held out, or on the manifest's own splits."""
        images = self._images(fold)
        split, whole = (self._split(rows, fold) for rows in (images.manifest, self.manifest))
        identity = Identity.of(whole, self.config, fold)
        finished = finished_run(folder, identity, resume=self.resume)
        make = train_bags if self.config.bag == "slide" else train_frozen
        return finished or make(images, split, folder, self.config, whole=whole, fold=fold)

    def score_held_out(self, run: Run, fold: int) -> Predictions:
        """Predictions for the held-out fold, from the features already computed."""
        images = self._images(fold)
        held = (self._split(images.manifest, fold).frame["split"] == "test").to_numpy()
        if run.record.bag is not None:
            return self._score_slides(run, images, held, fold)
        logits, rows = read_head(run).logits(images.features[held]), images.manifest.frame[held]
        around = near(run.record, rows)
        alone = run.record.context is not None and around is None
        predictions = make_predictions(
            rows,
            calibrated(logits, run.record, around),
            task=run.record.task,
            threshold=threshold_of(run, alone=alone),
        )
        if judge := open_judge(run):
            features, measures = images.features[held], images.measures[held]
            looks = judge.looks(lambda _: features, measures)
            predictions = with_trust(
                predictions, run, looks, SetOptions(), rows=rows, calibrated=not alone
            )
        if images.preprocessing.stain is None:
            return predictions
        return predictions.with_stain_notes(images.stain_notes)

    def _score_slides(self, run: Run, images: FrozenImages, held: Bools, fold: int) -> Predictions:
        """The same of slides, from features of the tiles ``held``."""
        tiles = self._split(self.manifest, fold).in_split("test")
        paths, features = images.manifest.frame["path"][held], images.features[held]
        judge = open_judge(run)
        found = Reading(
            np.flatnonzero(tiles.frame["path"].isin(paths)),
            tile_values(read_head(run).logits(features), features, load_gate(run)),
            notes=tuple(images.stain_notes.get(as_path(path), "") for path in paths),
            looks=judge.looks(lambda _: features, images.measures[held]) if judge else (),
        )
        return make_scored(run, Chosen(tiles, split="test"), PredictOptions(), found).predictions

    def _images(self, fold: int | None) -> FrozenImages:
        """The images as this fold's networks see them; only the last ones asked for are kept."""
        wanted = fold if depends_on_split(self.config) else None
        if self._frozen is None or self._frozen[0] != wanted:
            manifest = self._split(self.manifest, wanted)
            images = freeze_images(
                manifest, self.config, progress=self.progress, stains=self._stains
            )
            known = {item.path for item in self.skipped}
            self.skipped.extend(item for item in images.skipped if item.path not in known)
            self._frozen = wanted, images
        return self._frozen[1]

    def _split(self, manifest: Manifest, fold: int | None) -> Manifest:
        if fold is None:
            return manifest
        return hold_out(manifest, fold, validation=self.config.fold_validation)


@dataclass
class FineTuneTrainer:
    """The whole network, epoch by epoch."""

    manifest: Manifest
    config: TrainingConfig
    resume: bool = False
    progress: Progress = SILENT
    skipped: list[SkippedFile] = field(default_factory=list)

    def train(self, folder: Path, fold: int | None) -> Run:
        """Fine-tune with ``fold`` held out, or on the manifest's own splits."""
        manifest = self.manifest if fold is None else hold_out(self.manifest, fold)
        made = finetune(
            manifest, folder, self.config, resume=self.resume, fold=fold, progress=self.progress
        )
        self.skipped.extend(made.skipped)
        return made.run

    def score_held_out(self, run: Run, fold: int) -> Predictions:
        """Predictions for the held-out fold, read and scored anew."""
        options = PredictOptions(
            split="test", device=self.config.device, batch_size=self.config.batch_size
        )
        scored = predict(run, hold_out(self.manifest, fold), options)
        self.skipped.extend(scored.skipped)
        return scored.predictions
