"""The images of a trial in 8-bit integers: some set its ranges, others judge it, none is a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.data.splits import split_into_folds
from eosin.errors import ConfigError, DataError, LeakageError, first_ten
from eosin.inference.images import select_split
from eosin.machine import reading_threads
from eosin.pixels.batches import read_batches
from eosin.pixels.stain_sources import patient_sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eosin.arrays import Pixels
    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.networks.run import Run
    from eosin.pixels.batches import Batch


MOST = 128  # more images hardly move the range of a layer, and each costs time
_BATCH = 16


@dataclass(frozen=True)
class Int8Images:
    """Images of one Run's own training and validation patients."""

    calibration: Manifest  # they set the ranges of the integers
    judging: Manifest  # accuracy, calibration error and speed are of these
    # whether those are validation images; else they are training images of patients that set no
    # range
    validation: bool

    @property
    def calibrated_on(self) -> str:
        """The calibration images in words."""
        return _counted(min(MOST, len(self.calibration)), self.calibration, "training")

    @property
    def judged_on(self) -> str:
        """The judging images in words."""
        return _counted(
            len(self.judging), self.judging, "validation" if self.validation else "training"
        )


def choose_int8_images(run: Run, manifest: Manifest) -> Int8Images:
    """Training images to calibrate with and validation images to judge by.

    A Run without validation patients, such as a frozen probe on folds, is judged on half of its
    training patients, and calibrated on the other half.

    Args:
        run: a single network.
        manifest: the one that it was trained with, or another division of the same patients.

    Raises:
        LeakageError: a patient of these splits is none that the Run was trained, or validated, on.
        ConfigError: a label is missing, so no accuracy can be told.
        DataError: a split is missing, too few patients, or another task.
    """
    manifest.require_honest_name()
    training = select_split(run, manifest, "train")[0]
    _require_own(run, training, run.record.train_patients, split="train")
    if run.record.val_patients:
        judging = select_split(run, manifest, "val")[0]
        _require_own(run, judging, run.record.val_patients, split="val")
        _require_labels(judging)
        return Int8Images(training, judging, validation=True)
    _require_labels(training)
    half = split_into_folds(training, 2, by="patient").frame["fold"] == "1"
    return Int8Images(training.where(half), training.where(~half), validation=False)


def calibration_pixels(images: Int8Images, spec: Preprocessing) -> Pixels:
    """Network input (n, 3, S, S) of at most 128 images, spread evenly over those to calibrate with.

    Raises:
        DataError: none of them can be read.
    """
    rows = np.linspace(0, len(images.calibration) - 1, MOST).round().astype(int)
    spread = np.isin(np.arange(len(images.calibration)), rows)
    batches = [batch.pixels for batch in prepared(images.calibration.where(spread), spec)]
    pixels = np.concatenate(batches)
    if not len(pixels):
        raise DataError(f"{images.calibration.paths[0]}: cannot be read, nor can any of the others")
    return pixels


def prepared(images: Manifest, spec: Preprocessing) -> Iterator[Batch]:
    """The images in batches of network input, as ``predict`` makes it."""
    paths, workers = images.paths, reading_threads()
    sources = patient_sources(paths, images.known_patients, spec, workers=workers)
    return read_batches(paths, spec, batch_size=_BATCH, workers=workers, sources=sources)


def _require_own(run: Run, rows: Manifest, own: Sequence[str], *, split: str) -> None:
    strangers = sorted(set(rows.patients) - set(own))
    if strangers:
        raise LeakageError(
            f"split {split!r} of the manifest for int8 has {len(strangers)} patients that are not "
            f"among the {split} patients of {run.folder}: {first_ten(strangers)}. To calibrate on "
            "patients that may be tested is to tune on them; give the manifest that the Run was "
            "trained with"
        )


def _require_labels(images: Manifest) -> None:
    unlabelled = images.frame["path"][images.frame["label"] == ""]
    if len(unlabelled):
        raise ConfigError(
            f"{unlabelled.iloc[0]}: has no label, so int8 cannot be judged ({len(unlabelled)} such "
            "rows); label them, drop them, or export without int8"
        )


def _counted(images: int, rows: Manifest, split: str) -> str:
    patients = len(rows.patients)
    return f"{images} {split} images of {patients} {'patient' if patients == 1 else 'patients'}"
