"""Ensembles: several Runs made into one that answers with their vote."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from eosin.artefacts.manifest import Manifest
from eosin.artefacts.outputs import RUN_FILES, require_output_folder
from eosin.artefacts.predictions import Predictions, make_predictions
from eosin.artefacts.run import FoldsRun, Vote
from eosin.data.splits import hold_out
from eosin.errors import ConfigError, ModelError
from eosin.inference.bags import answers_slides
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.locks import one_writer
from eosin.networks.fusion import save_fusion
from eosin.networks.run import (
    ERRORS_NAME,
    RECORD_NAME,
    WEIGHTS_NAME,
    Run,
    weights_digest,
    write_run,
)
from eosin.networks.taking_in import take_in
from eosin.pixels.reading import SkippedFile, write_error_table
from eosin.progress import SILENT, Progress, shown
from eosin.settings import checked_options
from eosin.training.ensemble_record import Division, common_division, ensemble_record
from eosin.training.folds import gather_folds, manifest_of_folds, run_of_fold
from eosin.training.fusion import FusionOptions
from eosin.training.left_out import Trained
from eosin.training.readings import SharedReadings
from eosin.training.reference import answered_reference
from eosin.training.voting import FittedVote, Validation, fit_vote, require_honest_validation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    from eosin.files import StrPath


FITTED = frozenset({"weighted", "fusion"})


@checked_options
@dataclass(frozen=True, slots=True)
class EnsembleOptions:
    """How an ensemble is made."""

    device: str = "auto"  # auto, cpu, cuda or mps
    batch_size: int = 32  # images a forward pass
    fusion: FusionOptions = field(default_factory=FusionOptions)  # how the fusion head is fitted
    # of the training that makes members and ensemble in one; what the ensemble's Run records
    settings: Mapping[str, JsonValue] = field(default_factory=dict)


def make_ensemble(
    runs: Sequence[Run],
    folder: StrPath,
    *,
    vote: Vote = "soft",
    manifest: Manifest | None = None,
    options: EnsembleOptions | None = None,
    progress: Progress | bool = SILENT,
) -> Run:
    """Make one ensemble; see ``make_ensembles``."""
    made = make_ensembles(
        runs, {vote: folder}, manifest=manifest, options=options, progress=progress
    )
    return made[vote].run


def make_ensembles(
    runs: Sequence[Run],
    folders: Mapping[Vote, StrPath],
    *,
    manifest: Manifest | None = None,
    options: EnsembleOptions | None = None,
    progress: Progress | bool = SILENT,
) -> dict[Vote, Trained]:
    """Make an ensemble for each vote; the members' features are computed once for all.

    ``soft`` is the mean of calibrated probabilities, ``hard`` the majority (ties go to the class
    with the higher mean probability), ``weighted`` the weighted mean of least log loss on
    validation patients, ``fusion`` a small network on the members' pooled features, fitted on
    validation patients. The test split is never read.

    Runs of folds are combined fold by fold into a Run of folds, with out-of-fold predictions.

    Args:
        runs: the members, two or more, of one task; all of folds or none.
        folders: where each vote's Run goes; none may hold a finished Run.
        manifest: with the validation split, or the folds that the members were trained on.
            Without it, ``soft`` takes the mean of the members' thresholds.
        options: how.
        progress: told of the files that each network accounted for.

    Raises:
        LeakageError: a member was trained on validation patients.
        ConfigError: fewer than two members, one named twice, an unknown vote, or a finished Run.
        ModelError: members are of different tasks or folds, missing or changed.
        DataError: no manifest for a vote that is fitted, or too few validation images.
    """
    paths = {name: Path(folder) for name, folder in folders.items()}
    for folder in paths.values():
        require_output_folder(folder, RUN_FILES, inputs=[run.folder for run in runs], run=True)
    _require_members(runs)
    if manifest is not None:
        manifest.require_honest_name()
    maker = _Maker(tuple(runs), options or EnsembleOptions(), shown(progress))
    folded = any(isinstance(run.record, FoldsRun) for run in runs)
    with ExitStack() as stack:
        for folder in paths.values():
            stack.enter_context(one_writer(folder))
        _require_folders(paths)
        return maker.by_folds(paths, manifest) if folded else maker.at_once(paths, manifest)


@dataclass(frozen=True)
class _Maker:
    """The two ways to combine Runs: all at once, or fold by fold."""

    runs: tuple[Run, ...]
    options: EnsembleOptions
    progress: Progress

    def at_once(
        self, folders: Mapping[Vote, Path], manifest: Manifest | None
    ) -> dict[Vote, Trained]:
        """Ensembles of the Runs themselves."""
        division = common_division(self.runs)
        if manifest is not None and manifest.folds and division.fold is not None:
            manifest = hold_out(manifest, division.fold)
        read = self._readings()
        validation = None if manifest is None else _validation(self.runs, manifest, read)
        fusion = self.options.fusion
        fitted = {v: fit_vote(v, self.runs, validation, fusion=fusion) for v in folders}
        made = {}
        for vote, folder in folders.items():
            write_error_table(read.skipped, folder / ERRORS_NAME)  # the record ends the making
            voted = vote, fitted[vote]
            run = self._write(self.runs, folder, voted, validation=validation, division=division)
            made[vote] = Trained(run, read.skipped)
        return made

    def by_folds(
        self, folders: Mapping[Vote, Path], manifest: Manifest | None
    ) -> dict[Vote, Trained]:
        """Runs of folds whose members are an ensemble a fold."""
        manifest = manifest_of_folds(self.runs, manifest)
        members: dict[Vote, list[Run]] = {vote: [] for vote in folders}
        parts: dict[Vote, list[Predictions]] = {vote: [] for vote in folders}
        skipped: dict[Path, SkippedFile] = {}
        for fold in manifest.folds:
            read = self._readings()  # anew each fold: all folds' features would fill the memory
            for vote, folder in folders.items():
                inner = folder / f"fold-{fold}"
                run = self._write_fold(inner, vote, manifest, fold=fold, read=read)
                members[vote].append(run)
                options = replace(read.options, split="test")
                parts[vote].append(predict(run, manifest, options, read=read).predictions)
            skipped.update((item.path, item) for item in read.skipped)
        made = {}
        for vote, folder in folders.items():
            training = members[vote][0].record.training
            write_error_table(tuple(skipped.values()), folder / ERRORS_NAME)
            whole = gather_folds(folder, manifest, members[vote], parts[vote], training=training)
            made[vote] = Trained(whole[0], tuple(skipped.values()), whole[1])
        return made

    def _write_fold(
        self, folder: Path, vote: Vote, manifest: Manifest, *, fold: int, read: SharedReadings
    ) -> Run:
        members = tuple(run_of_fold(run, fold) for run in self.runs)
        kept = all(run.record.val_patients for run in members)
        # Probes that cross-validated in all other folds leave nobody to refit a threshold on.
        use = kept or vote in FITTED
        validation = _validation(members, hold_out(manifest, fold), read) if use else None
        seen = any(run.record.val_patients for run in members) or use
        split = hold_out(manifest, fold, validation=seen)
        division = Division(manifest.protocol, split.fingerprint, fold)
        voted = vote, fit_vote(vote, members, validation, fusion=self.options.fusion)
        return self._write(members, folder, voted, validation=validation, division=division)

    def _write(
        self,
        members: Sequence[Run],
        folder: Path,
        voted: tuple[Vote, FittedVote],
        *,
        validation: Validation | None,
        division: Division,
    ) -> Run:
        vote, fitted = voted
        fused = fitted.head is not None
        if fitted.head is not None:
            save_fusion(fitted.head, folder / WEIGHTS_NAME)
        sha256, known = weights_digest(folder) if fused else None, None
        if validation is not None and fitted.voted is not None:
            chances, indices = fitted.voted
            rows = validation.images.frame.iloc[indices]
            judged = make_predictions(rows, chances, task=members[0].record.task)
            folder.mkdir(parents=True, exist_ok=True)
            known = answered_reference(judged, folder, weights_sha256=sha256, out_of_fold=False)
        record = ensemble_record(
            members,
            vote,
            fitted,
            division=division,
            members=take_in(folder, members),
            validated_on=validation.images.patients if validation else (),
            training=asdict(self.options.fusion) if fused else dict(self.options.settings),
            weights_sha256=sha256,
            known=known,
        )
        return write_run(folder, record)

    def _readings(self) -> SharedReadings:
        options = PredictOptions(device=self.options.device, batch_size=self.options.batch_size)
        return SharedReadings(options, self.progress)


def _validation(members: Sequence[Run], split: Manifest, read: SharedReadings) -> Validation:
    require_honest_validation(members, split)
    images = split.in_split("val")
    return Validation(images, read(images))


def _require_members(runs: Sequence[Run]) -> None:
    if len(runs) < 2:
        raise ConfigError(f"an ensemble needs two Runs or more, got {len(runs)}")
    counts = Counter(run.folder.resolve() for run in runs)
    twice = [folder for folder, count in counts.items() if count > 1]
    if twice:
        raise ConfigError(f"{twice[0]}: named twice; name each member once")
    first = runs[0]
    for run in runs[1:]:
        if run.record.task != first.record.task:
            raise ModelError(
                f"{first.folder} and {run.folder} are of different tasks: "
                f"{first.record.task} and {run.record.task}; members of an "
                "ensemble must agree"
            )
    for run in runs:
        run.require_intact()
        if answers_slides(run):
            raise ConfigError(
                f"{run.folder}: answers for slides (--bag slide), and an ensemble is made of Runs "
                "that answer for images; train it with --fold all for the mean of its folds"
            )


def _require_folders(folders: Mapping[Vote, Path]) -> None:
    for vote, folder in folders.items():
        if vote not in get_args(Vote):
            raise ConfigError(f"vote {vote!r} is unknown; want one of {list(get_args(Vote))}")
        if (folder / RECORD_NAME).exists():
            raise ConfigError(f"{folder}: holds a finished Run; name another folder or remove it")
