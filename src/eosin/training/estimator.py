"""A scikit-learn estimator over image files: fit, predict, score, and cross-validate by patient."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import warnings
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from eosin.artefacts.manifest import COLUMNS, Manifest
from eosin.data.identity import patient_by_pattern
from eosin.data.splits import split_into_folds
from eosin.errors import DataError, EosinWarning
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.networks.backbones import register_backbone
from eosin.networks.run import Run, read_run
from eosin.protocol import UNKNOWN, UNSPLIT
from eosin.tasks import Task
from eosin.training.config import TrainingConfig
from eosin.training.train import train

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    from torch import nn

    from eosin.arrays import Floats
    from eosin.files import StrPath


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # sklearn is untyped
    """A classifier whose samples are image files; scikit-learn decides who is tested.

    Training, with all that it chooses, sees the files given to ``fit`` only. Name the patients
    there: ``cross_val_score(model, paths, y, groups=patients, cv=GroupKFold(5),
    params={"groups": patients})``; or let ``patient_pattern`` find them in the files' names.

    Args:
        backbone: a name as in ``TrainingConfig``, or a torch module: images (N, 3, size, size) to
            features (N, C) or a map (N, C, h, w). A copy of it is used, with its weights.
        freeze: fit a linear head on frozen features; False fine-tunes the whole network, and
            keeps a fifth of the patients given to ``fit`` for validation.
        weights: as in ``TrainingConfig``; a module of your own has its own.
        image_size: side of the input in pixels; None for the backbone's own.
        patient_pattern: a regular expression whose first group in a file's name is the patient.
        settings: any other key of ``TrainingConfig``, e.g. ``{"epochs": 5}``.
        seed: as in ``TrainingConfig``.
        device: as in ``TrainingConfig``.
        progress: whether to show how far ``fit`` is.

    Attributes:
        classes_: the distinct labels, sorted; the order of the probabilities.
        run_: the Run, in a temporary folder; copy ``run_.folder`` to keep it.
    """

    def __init__(
        self,
        backbone: str | nn.Module = "tf_efficientnetv2_b0",
        *,
        freeze: bool = True,
        weights: StrPath = "imagenet",
        image_size: int | None = None,
        patient_pattern: str = "",
        settings: Mapping[str, object] | None = None,
        seed: int = 0,
        device: str = "auto",
        progress: bool = False,
    ) -> None:
        self.backbone = backbone
        self.freeze = freeze
        self.weights = weights
        self.image_size = image_size
        self.patient_pattern = patient_pattern
        self.settings = settings
        self.seed = seed
        self.device = device
        self.progress = progress

    def fit(
        self, paths: Sequence[StrPath], y: npt.ArrayLike, groups: npt.ArrayLike | None = None
    ) -> Self:
        """Train on the files.

        Args:
            paths: the files, n of them, as a list or an array.
            y: their labels (n,).
            groups: their patients (n,), none missing. Without them a warning says so: choices made
                inside the training then rest on images of the same patients.

        Raises:
            ConfigError, DataError, ModelError: as ``train``.
        """
        check_consistent_length(paths, y, groups)
        files, labels = _files(paths), column_or_1d(y, warn=True)
        self.classes_ = np.unique(labels)
        patients = self._patients(files, groups)
        manifest = self._manifest(files, labels.astype(str).tolist(), patients)
        if self.freeze:  # all that a frozen probe chooses, it chooses inside
            manifest = replace(manifest, frame=manifest.frame.assign(split="train"))
        else:
            manifest = _some_for_validation(manifest, self.seed)
        self._home = _Home()
        trained = train(manifest, self._home.run, self._config(), progress=self.progress)
        self.run_: Run = trained.run
        return self

    def predict_proba(self, paths: Sequence[StrPath]) -> Floats:
        """Calibrated probabilities (n, classes) in the order of ``classes_``.

        Raises:
            DataError: a file cannot be read; the message names the first.
        """
        check_is_fitted(self, "run_")
        files, inverse = np.unique([str(file) for file in _files(paths)], return_inverse=True)
        self._config()  # registers a module of the user's own
        images = self._manifest([Path(file) for file in files], [""] * len(files), None)
        options = PredictOptions(allow_seen=True, device=self.device)
        scored = predict(self.run_, images, options)
        for item in scored.skipped:
            raise DataError(f"{item.path}: {item.reason}")
        return scored.predictions.probabilities[inverse.ravel()]

    def predict(self, paths: Sequence[StrPath]) -> npt.NDArray[np.generic]:
        """The most probable class of each file (n,)."""
        return np.asarray(self.classes_[self.predict_proba(paths).argmax(axis=1)])

    def _config(self) -> TrainingConfig:
        name, weights = self.backbone, self.weights
        if not isinstance(name, str):
            module, name, weights = name, _name_of(name), "own"
            register_backbone(name, module, size=self.image_size or 224)
        config = TrainingConfig(
            backbone=name,
            freeze=self.freeze,
            weights=weights,  # type: ignore[arg-type]  # a PathLike becomes its text
            image_size=self.image_size,
            seed=self.seed,
            device=self.device,
        )
        return config.with_overrides(self.settings or {})

    def _patients(self, files: Sequence[Path], groups: npt.ArrayLike | None) -> list[str] | None:
        if groups is not None:
            from pandas import isna

            return ["" if isna(group) else str(group) for group in column_or_1d(groups)]
        if not self.patient_pattern:
            said = "fit without groups: nobody says whose images are whose; give groups=patients"
            warnings.warn(said, EosinWarning, stacklevel=3)
            return None
        found = [patient_by_pattern(self.patient_pattern, file.name) for file in files]
        for file, patient in zip(files, found, strict=True):
            if patient is None:
                raise DataError(f"{file}: patient_pattern {self.patient_pattern!r} finds nobody")
        return [str(patient) for patient in found]

    def _manifest(
        self, files: Sequence[Path], labels: Sequence[str], patients: Sequence[str] | None
    ) -> Manifest:
        import pandas as pd

        names = tuple(str(name) for name in self.classes_)
        columns = {
            **dict.fromkeys(COLUMNS, ""),
            "path": [str(file) for file in files],
            "label": list(labels),
            "patient": list(patients or [file.stem for file in files]),
        }
        return Manifest(
            pd.DataFrame(columns),
            Task("classes", names, positive=names[1] if len(names) == 2 else None),
            "files",
            UNSPLIT if patients else UNKNOWN,
            patient_pattern=self.patient_pattern,
        )

    def __sklearn_tags__(self) -> object:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = False, True
        return tags

    def __getstate__(self) -> dict[str, object]:
        state: dict[str, object] = dict(super().__getstate__())
        if state.pop("_home", None) is not None:
            state["run_"] = {
                file.relative_to(self.run_.folder).as_posix(): file.read_bytes()
                for file in self.run_.folder.rglob("*")
                if file.is_file()
            }
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)
        kept = state.get("run_")
        if isinstance(kept, dict):
            self._home = _Home()
            for name, data in kept.items():
                path = self._home.run / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            self.run_ = read_run(self._home.run)


class _Home:
    """A temporary folder for a Run, gone with whoever holds this."""

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="eosin-")
        self.run = Path(folder) / "run"
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)


def _files(paths: Sequence[StrPath]) -> list[Path]:
    return [Path(str(path)).absolute() for path in np.asarray(paths, dtype=object).ravel()]


def _some_for_validation(manifest: Manifest, seed: int) -> Manifest:
    """A fifth of the patients, or of the images where patients are unknown, for validation."""
    known = manifest.protocol.patients_known
    parts = max(2, min(5, len(manifest.patients)))
    divided = split_into_folds(manifest, parts, by="patient" if known else "image", seed=seed)
    split = np.where(divided.frame["fold"] == "1", "val", "train")
    protocol = replace(divided.protocol, design=f"1/{parts} for validation")
    return replace(divided, frame=divided.frame.assign(split=split, fold=""), protocol=protocol)


def _name_of(module: nn.Module) -> str:
    """The class of a module, and a digest of its tensors' names and shapes."""
    said = str([(name, tuple(each.shape)) for name, each in module.state_dict().items()])
    return f"{type(module).__name__}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"
