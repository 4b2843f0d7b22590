"""One cell of a study: train or combine, predict, evaluate, and leave proof that it is done."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

from eosin.artefacts.codec import with_changes, write_artefact
from eosin.artefacts.evaluation import Evaluation, read_evaluation
from eosin.artefacts.predictions import Predictions, read_predictions
from eosin.artefacts.study import CellState, read_cell_state
from eosin.data.eva import divide_as_eva
from eosin.data.splits import leave_one_out, split_by_fractions, split_into_folds
from eosin.errors import DataError, EosinError, WeightsError
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.files import sha256_of
from eosin.locks import one_writer
from eosin.networks.backbones import resolve_backbone
from eosin.networks.run import PREDICTIONS_NAME, Run, read_run
from eosin.networks.weights import weights_file
from eosin.pixels.reading import require_not_refused
from eosin.spread import Work
from eosin.study.stains import Staining
from eosin.training.ensemble import make_ensemble
from eosin.training.readings import predict_together
from eosin.training.train import train

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from eosin.artefacts.manifest import Manifest
    from eosin.study.config import Design, StudyFile
    from eosin.study.plan import Cell

_STATE = "cell.json"
# What a cell or its pictures may raise: ours, the disk's, torch's and scikit-learn's.
FAULTS = (EosinError, OSError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Result:
    """A finished cell."""

    cell: Cell  # which one
    run: Run  # its Run
    predictions: Predictions  # on the test split, or out of fold
    image: Evaluation  # image-level figures
    patient: Evaluation | None  # patient-level figures; None where no patient has one label
    seconds: float  # how long it took when it was done

    @property
    def evaluations(self) -> list[Evaluation]:
        """By image, then by patient."""
        return [self.image] if self.patient is None else [self.image, self.patient]


@dataclass(frozen=True)
class StudyResult:
    """What a study found."""

    study: StudyFile  # the file it was made from
    images: int  # how many images, and of how many patients, it read
    patients: int  # the patients; 0 where they are unknown
    results: tuple[Result, ...]  # the finished cells, in the plan's order
    failures: tuple[tuple[Cell, str], ...]  # the cells that could not be done, with the reason
    heatmaps: tuple[Path, ...] = ()  # folders of heatmaps, where the study asks for them
    # folders of comparisons, one a protocol and seed with two models or more
    comparisons: tuple[Path, ...] = ()


def divide(manifest: Manifest, design: Design, seed: int) -> Manifest:
    """The manifest under one protocol."""
    if design.eva:
        return divide_as_eva(manifest, design.eva)
    if design.drop_test:
        manifest = manifest.where(manifest.frame["split"] != "test")
    if design.leave_one_out:
        return leave_one_out(manifest, by=design.by)
    if design.folds:
        return split_into_folds(manifest, design.folds, by=design.by, seed=seed)
    return split_by_fractions(
        manifest, design.fractions, by=design.by, seed=seed, keep_test=design.keep_test
    )


@dataclass(frozen=True)
class Workshop:
    """What every cell needs: the study, its images and its folder."""

    study: StudyFile
    manifest: Manifest
    folder: Path
    _digests: dict[Path, str] = field(default_factory=dict, init=False)  # many cells share a file
    # backbones whose weights could not be had: they are not asked for again
    _missing: dict[str, WeightsError] = field(default_factory=dict, init=False)

    def do(self, cell: Cell) -> Result:
        """Do a cell, or read it where it is done already; an interrupted one is continued.

        Raises:
            EosinError: whatever stopped the cell; the cell stays undone.
        """
        folder = self.folder / "cells" / cell.name
        images = divide(self.manifest, cell.design, cell.seed)
        key = cell.key(self.study.training, images.fingerprint, self.study.config.resamples)
        weights = self._weights(cell)
        state = read_cell_state(folder / _STATE)
        if folder.exists() and not (state and state.key == key and _agree(state.weights, weights)):
            shutil.rmtree(folder)  # of a cell without a state too: it was killed while removed
        elif state and state.seconds is not None and state.done:
            return self._read(cell, folder, state.seconds)
        begun = CellState(key=key, weights=weights, done=False, seconds=None)
        write_artefact(begun, folder / _STATE)
        began = time.monotonic()
        predictions = (
            self._combine(cell, images, folder) if cell.vote else self._train(cell, images, folder)
        )
        predictions.write(folder / PREDICTIONS_NAME)
        self._evaluate(predictions, folder)
        seconds = round(time.monotonic() - began, 1)
        write_artefact(with_changes(begun, done=True, seconds=seconds), folder / _STATE)
        return self._read(cell, folder, seconds)

    def _weights(self, cell: Cell) -> dict[str, str]:
        """SHA-256 of the files that the cell's networks start from, by backbone, where found."""
        source = self.study.training.weights
        files = {name: weights_file(resolve_backbone(name), source) for name in cell.backbones}
        found = {name: file for name, file in files.items() if file and file.is_file()}
        for file in set(found.values()) - set(self._digests):
            self._digests[file] = sha256_of(file)
        return {name: self._digests[file] for name, file in found.items()}

    def _train(self, cell: Cell, images: Manifest, folder: Path) -> Predictions:
        if cell.model in self._missing:
            raise self._missing[cell.model]
        recipe = self.study.training.with_overrides({"backbone": cell.backbones[0]})
        config = Staining.parse(cell.stain).settings(recipe)
        fold: Literal["all"] | None = "all" if images.folds else None
        try:
            trained = train(images, folder / "run", config, fold=fold, resume=True)
        except WeightsError as error:
            self._missing[cell.model] = error
            raise
        return trained.predictions or _scored(trained.run, images)

    def _combine(self, cell: Cell, images: Manifest, folder: Path) -> Predictions:
        assert cell.vote is not None
        folders = {member.model: self.folder / "cells" / member.name for member in cell.members}
        undone = [name for name, home in folders.items() if not _is_done(home)]
        if undone:
            raise DataError(f"not combined, since {', '.join(undone)} could not be done")
        members = [read_run(home / "run") for home in folders.values()]
        shutil.rmtree(folder / "run", ignore_errors=True)  # quick to make again
        run = make_ensemble(members, folder / "run", vote=cell.vote, manifest=images)
        table = folder / "run" / PREDICTIONS_NAME
        if table.is_file():
            return read_predictions(table)
        return _scored(run, images)

    def _evaluate(self, predictions: Predictions, folder: Path) -> None:
        resamples = self.study.config.resamples
        image = evaluate_predictions(predictions, resamples=resamples)
        image.write(folder / "evaluation-image.json")
        (folder / "evaluation-patient.json").unlink(missing_ok=True)
        if predictions.provenance.protocol.patients_known and _some_patient_has_one_label(
            predictions
        ):
            patient = evaluate_predictions(predictions, level="patient", resamples=resamples)
            patient.write(folder / "evaluation-patient.json")

    def _read(self, cell: Cell, folder: Path, seconds: float) -> Result:
        patient = folder / "evaluation-patient.json"
        return Result(
            cell=cell,
            run=read_run(folder / "run"),
            predictions=read_predictions(folder / PREDICTIONS_NAME),
            image=read_evaluation(folder / "evaluation-image.json"),
            patient=read_evaluation(patient) if patient.is_file() else None,
            seconds=seconds,
        )


def cells_work(workshop: Workshop, cells: tuple[Cell, ...]) -> Work[Workshop, Result | str]:
    """The cells of a study as work; a part is a finished one, or why it could not be done.

    An ensemble comes after its members, and a cell after the one before it with the same frozen
    network: they share features on disk, whose last digits go by which images were in a batch.
    """
    after: dict[int, list[int]] = {}
    last: dict[object, int] = {}
    for row, cell in enumerate(cells):
        shared = (cell.backbones, cell.stain) if workshop.study.training.freeze else row
        before = enumerate(cells[:row])
        members = [n for n, each in before if cell.vote and each in cell.members]
        after[row] = members or ([last[shared]] if shared in last else [])
        if not cell.vote:
            last[shared] = row
    folders = [workshop.folder / "cells" / cell.name for cell in cells]
    do = partial(_outcomes, cells, folders)
    reads = [workshop.folder, *workshop.manifest.paths]
    return Work("study", 1, folders, partial(_itself, workshop), do, reads=reads, after=after)


def _itself(workshop: Workshop) -> Workshop:
    return workshop


def _outcomes(
    cells: Sequence[Cell], folders: Sequence[Path], workshop: Workshop, rows: range
) -> Iterator[Result | str]:
    for row in rows:
        try:
            require_not_refused(folders[row])
            with one_writer(folders[row]):  # a worker that was given up may still write
                found: Result | str = workshop.do(cells[row])
        except FAULTS as error:
            found = reason_of(error)
        yield found


def reason_of(error: Exception) -> str:
    """Our own sentence as it stands; what a library says after the kind of its error."""
    return str(error) if isinstance(error, EosinError) else f"{type(error).__name__}: {error}"


def _is_done(folder: Path) -> bool:
    state = read_cell_state(folder / _STATE)
    return state is not None and state.done


def _agree(then: Mapping[str, str], weights: Mapping[str, str]) -> bool:
    """Whether no file is known to be another than the kept one; a file not found says nothing.

    So finished cells are read, not lost, where EOSIN_WEIGHTS is not set.
    """
    return all(then.get(name, digest) == digest for name, digest in weights.items())


def _scored(run: Run, images: Manifest) -> Predictions:
    """The test split through the features on disk: no network of a study meets an image twice."""
    return predict_together([run], images)[0].predictions


def _some_patient_has_one_label(predictions: Predictions) -> bool:
    return bool((predictions.frame.groupby("patient")["label"].nunique() == 1).any())
