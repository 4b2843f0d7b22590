"""What networks say of images, through the features kept on disk: computed once, for ever."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.run import FoldsRun
from eosin.errors import ConfigError, DataError
from eosin.inference.predict import Scored, predict
from eosin.inference.readings import Reading, noted
from eosin.inference.scoring import PredictOptions
from eosin.networks.torch_engine import TorchEngine
from eosin.networks.weights import load_classifier
from eosin.pixels.stain_sources import patient_sources
from eosin.progress import SILENT, Progress, shown
from eosin.remote import as_path
from eosin.training.features import cache_of, compute_features

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eosin.arrays import Floats
    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.predictions import Predictions
    from eosin.inference.images import ImagesLike
    from eosin.networks.run import Run
    from eosin.pixels.reading import SkippedFile


@dataclass
class CachedReadings:
    """Features through the feature cache, logits from them by the network's own head."""

    paths: Sequence[Path]  # the files
    device: str = "auto"  # auto, cpu, cuda or mps
    batch_size: int = 32  # images a forward pass
    progress: Progress = SILENT  # told of files accounted for
    patients: Sequence[str] | None = None  # of each file; None where they are not known
    _kept: dict[str, tuple[Reading, Reading, Reading]] = field(default_factory=dict)

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """The files that a network could not be given."""
        return tuple(item for features, *_ in self._kept.values() for item in features.skipped)

    def logits(self, run: Run) -> Reading:
        """Logits (n, classes)."""
        return self._once(run)[1]

    def features(self, run: Run) -> Reading:
        """Pooled features (n, channels)."""
        return self._once(run)[0]

    def stain_notes(self, run: Run) -> Mapping[Path, str]:
        """What the Run's stain step noted of files, once the Run was asked for anything."""
        found = self._once(run)[0]
        return noted(self.paths, found.indices, found.notes)

    def measures(self, run: Run) -> Reading:
        """How the images were taken (n, names), once the Run was asked for anything."""
        return self._once(run)[2]

    def _once(self, run: Run) -> tuple[Reading, Reading, Reading]:
        if run.sha256 not in self._kept:
            self._kept[run.sha256] = self._read(run)
        return self._kept[run.sha256]

    def _read(self, run: Run) -> tuple[Reading, Reading, Reading]:
        engine = TorchEngine(load_classifier(run), device=self.device)
        spec = run.record.preprocessing
        found = compute_features(
            self.paths,
            engine,
            spec,
            cache=cache_of(engine, spec),
            batch_size=self.batch_size,
            progress=self.progress,
            sources=patient_sources(self.paths, self.patients, spec),
        )
        values = found.values.astype(np.float64)
        features = Reading(found.indices, values, found.skipped, found.notes)
        measures = Reading(found.indices, found.measures, found.skipped)
        if not len(found.indices):
            return features, features, measures
        logits = Reading(found.indices, engine.head_logits(found.values), found.skipped)
        return features, logits, measures


def read_features(run: Run, images: Manifest | Predictions, *, device: str = "auto") -> Floats:
    """Pooled features of every image of a table under a Run's network, shape (n, channels).

    Raises:
        ConfigError: the Run has several networks; the members of folds with a frozen backbone
            share one.
        DataError: an image cannot be read.
    """
    leaves, frozen = run.leaves(), run.record.training.get("freeze") is True
    if len(leaves) > 1 and not (frozen and isinstance(run.record, FoldsRun)):
        raise ConfigError(
            f"{run.folder}: has {len(leaves)} networks, whose features differ; give one of them, "
            f"e.g. {leaves[0].folder}"
        )
    frame = images.frame
    paths = [as_path(path) for path in frame["path"]]
    found = CachedReadings(paths, device, patients=tuple(frame["patient"])).features(leaves[0])
    if len(found.indices) < len(paths):
        raise DataError(f"{found.skipped[0].path}: {found.skipped[0].reason}; drop its row")
    return found.values


@dataclass
class SharedReadings:
    """Cached readings of every list of files asked for, so that many Runs share them."""

    options: PredictOptions
    progress: Progress = SILENT
    _kept: dict[tuple[Path, ...], CachedReadings] = field(default_factory=dict)

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """Every file that a network could not be given, once."""
        found = {item.path: item for readings in self._kept.values() for item in readings.skipped}
        return tuple(found.values())

    def __call__(self, images: Manifest) -> CachedReadings:
        """The readings of the files of ``images``."""
        device, size = self.options.device, self.options.batch_size
        return self._kept.setdefault(
            tuple(images.paths),
            CachedReadings(images.paths, device, size, self.progress, images.known_patients),
        )


def predict_together(
    runs: Sequence[Run],
    images: ImagesLike,
    options: PredictOptions | None = None,
    *,
    progress: Progress | bool = SILENT,
) -> tuple[Scored, ...]:
    """Score the same images with several Runs, each network asked once, features kept on disk.

    Ensembles and their members are best scored in one call: the members' answers are shared.

    Args:
        runs: finished Runs.
        images: a manifest, of which one split is scored, or image files and folders.
        options: how.
        progress: told of the files that each network accounted for.

    Raises:
        LeakageError, DataError, ModelError: as ``predict``.
    """
    options = options or PredictOptions()
    read = SharedReadings(options, shown(progress))
    return tuple(predict(run, images, options, read=read) for run in runs)
