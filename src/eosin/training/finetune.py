"""Fine-tuning: the network, or a part of it, learns by epochs, and the best epoch is kept.

A kill at any moment loses at most the running epoch. Every draw is a function of the seed, the
epoch and the image, so a resumed training ends in the weights of an uninterrupted one: bit for bit
on the CPU with the same number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from eosin.artefacts.run import TrainedRun
from eosin.data.scale import scale_of
from eosin.errors import ConfigError, EosinError
from eosin.machine import software_versions
from eosin.networks.classifier import build_classifier, read_weights, require_size, save_classifier
from eosin.networks.device import choose_device
from eosin.networks.run import HISTORY_NAME, WEIGHTS_NAME, Run, write_run
from eosin.networks.weights import initialise
from eosin.pixels.views import Views
from eosin.progress import SILENT, Progress
from eosin.training.epochs import Epochs
from eosin.training.history import epoch_line, write_history
from eosin.training.learner import Learner
from eosin.training.left_out import Trained, left_out_note
from eosin.training.optimisation import fastest_convolutions, smallest_batch
from eosin.training.partial import merge_adapters, part_note, require_part
from eosin.training.probe import decide, locked
from eosin.training.ranks import from_first, rank, together_notes
from eosin.training.reference import tuned_reference
from eosin.training.resume import Course, Identity, clear_progress, finished_run, recorded
from eosin.training.stain_fitting import fallback_notes, fit_stain_step, training_stains
from eosin.training.tracking import NoTracker, open_tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.preprocessing import StainStep
    from eosin.artefacts.reference import Reference
    from eosin.evaluation.calibration import LockedThreshold
    from eosin.training.config import TrainingConfig


def finetune(
    manifest: Manifest,
    folder: Path,
    config: TrainingConfig,
    *,
    resume: bool = False,
    fold: int | None = None,
    progress: Progress = SILENT,
) -> Trained:
    """Train on the train split, choose and calibrate on the val split, never read the test split.

    Args:
        manifest: rows in splits ``train`` and ``val``; a fold is already turned into splits. Where
            the last epoch is kept there may be no ``val``: then nothing is calibrated either.
        folder: where the Run goes. While training it also holds ``resume.pt`` and the best
            epoch's weights; both go when the Run is finished.
        config: the settings.
        resume: continue where an interruption left off, from the start where nothing was
            finished; a finished Run of the same training is returned as it is.
        fold: the fold held out, to be noted in the Run.
        progress: told of batches and epochs.

    Returns:
        The Run, and the files that could not be read, which ``errors.csv`` lists too; of a Run
        that was finished before none are told.

    Raises:
        LeakageError: a patient crosses splits under a name that hides it.
        ConfigError: the folder holds a training that would be overwritten or is another one, an
            image size that the backbone cannot take, or settings that do not go together or with
            the images, such as a stain per patient where patients are not known.
        DataError: no (readable) training or validation image.
        ModelError: the backbone or its weights cannot be had, or what it answers or has learned
            is not finite.
    """
    if config.freeze:
        raise ConfigError("freeze = true fits a linear head; fine-tuning needs freeze = false")
    manifest.require_honest_name()
    identity = Identity.of(manifest, config, fold)
    train, val = manifest.in_split("train").by_path, None
    if config.monitor != "last" or (manifest.frame["split"] == "val").any():
        val = manifest.in_split("val").by_path
    finished = from_first(lambda: finished_run(folder, identity, resume=resume))
    if finished is not None:
        clear_progress(folder)
        return Trained(finished)
    fit = partial(fit_stain_step, manifest, config)
    training = _Training(train, val, folder, config, fit, identity)
    return Trained(training.run(progress), tuple(training.course.skipped.values()))


@dataclass
class _Training:
    """One training on its way from the first epoch to the Run."""

    train: Manifest
    val: Manifest | None
    folder: Path
    config: TrainingConfig
    fit_stain: Callable[[], StainStep | None]
    identity: Identity

    def __post_init__(self) -> None:
        config = self.config
        device = choose_device(config.device)
        network = build_classifier(
            config.backbone,
            classes=len(self.train.task.classes),
            dropout=config.dropout,
            seed=config.seed,
        )
        least = smallest_batch(network, config)
        require_part(network, config)
        spec = network.spec.preprocessing(
            size=config.image_size, fit=config.fit, normalised=config.normalisation == "backbone"
        )
        self.course = Course(self.folder, self.identity, config.monitor)
        before = self.course.read()
        if before is None:
            self.course.initial_weights = initialise(network, config.weights).source
        require_size(network.to(device).eval(), spec.size)
        spec = replace(spec, stain=from_first(self.fit_stain))
        self.learner = Learner(
            network, config, device=device, labels=self.train.label_index, spec=spec
        )
        self.part = tuple(part_note(network, config))
        self.stains = training_stains(self.train, self.val, spec, config)
        self.epochs = Epochs(
            self.train,
            self.val,
            Views(tuple(self.train.paths), spec, self.stains.train),
            Views(tuple(self.val.paths), spec, self.stains.val) if self.val else None,
            config=config,
            learner=self.learner,
            least=least,
            skip=self.course.skip,
            stains=self.stains.augmentation,
        )
        if before is not None:
            self.course.restore(self.learner, before)

    def run(self, progress: Progress) -> Run:
        """Train what is left, then calibrate and write the Run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        course, config, done = self.course, self.config, len(self.course.rows)
        tracker = NoTracker() if rank() else open_tracker(self.folder, config, done=done)
        gpus = [self.learner.device] if self.learner.device.type == "cuda" else []
        try:
            for sentence in self.part:
                progress.note(sentence)
            self.epochs = self.epochs.packed(progress)
            with torch.random.fork_rng(devices=gpus), fastest_convolutions():
                while not self._ended():
                    found = self.epochs.run(len(course.rows) + 1, progress)
                    row = from_first(partial(replace, found))  # one clock: all stop alike
                    course.keep(row, self.learner)
                    tracker.epoch(row)
                    best = config.monitor != "last" and course.best == row.epoch
                    progress.note(epoch_line(row, config.epochs, best=best))
            return from_first(self._finish)
        except EosinError as error:
            raise type(error)(f"{self.folder}: {error}") from error
        finally:
            progress.end()
            tracker.close()

    def _ended(self) -> bool:
        done, patience = len(self.course.rows), self.config.early_stopping_patience
        return done >= self.config.epochs or (patience > 0 and done - self.course.best >= patience)

    def _finish(self) -> Run:
        """Calibrate the best epoch on the validation images and write the Run."""
        read_weights(self.learner.judged, self.course.best_path)
        if self.config.adapters:
            merge_adapters(self.learner.judged)
        temperature, threshold = 1.0, None
        if self.val:
            logits, read = self.epochs.validate(alone=True)
            temperature, threshold, _ = decide(
                logits,
                labels=read.label_index,
                groups=read.kept_whole,
                positive=read.task.positive_index if read.task.binary else None,
            )
        save_classifier(self.learner.judged, self.folder / WEIGHTS_NAME)
        write_history(self.course.rows, self.folder / HISTORY_NAME)
        known = tuned_reference(
            self.learner.judged,
            (self.train, self.val),
            (self.epochs.train_views, self.epochs.val_views),
            self.folder,
            cached=self.config.cache,
            device=str(self.learner.device),
            temperature=temperature,
        )
        run = write_run(self.folder, self._record(temperature, threshold, known))
        clear_progress(self.folder)
        return run

    def _record(
        self, temperature: float, threshold: LockedThreshold | None, known: Reference
    ) -> TrainedRun:
        return TrainedRun(
            task=self.train.task,
            dataset=self.train.dataset,
            backbone=self.learner.network.spec.name,
            preprocessing=self.epochs.train_views.spec,
            protocol=self.train.protocol,
            fingerprint=self.identity.fingerprint,
            fold=self.identity.fold,
            train_patients=self.train.patients,
            val_patients=self.val.patients if self.val else (),
            patient_pattern=self.train.patient_pattern,
            temperature=temperature,
            threshold=threshold.value if threshold else None,
            seed=self.config.seed,
            training=recorded(self.config),
            choices={"epoch": self.course.best, **locked(threshold)},
            initial_weights=self.course.initial_weights,
            versions=software_versions(),
            weights_sha256=known.weights_sha256 or "",
            context=None,
            scale=scale_of(self.train.frame),
            bag=None,
            reference=known,
            notes=(*self.train.notes, *self._notes()),
        )

    def _notes(self) -> Iterable[str]:
        device = self.learner.device.type
        yield from self.part
        yield from together_notes(self.config, apart=self.epochs.least > 1 and device == "cpu")
        yield from left_out_note(len(self.course.skipped))
        yield from fallback_notes(self.train, self.stains.train)
        if self.val is None:
            yield "There were no validation images: probabilities are not calibrated."
        for name, split in (("training", self.train), ("validation", self.val)):
            shown = split.frame["label"] if split else self.train.task.classes
            absent = sorted(set(self.train.task.classes) - set(shown))
            if absent:
                yield f"No {name} image shows {', '.join(absent)}."
