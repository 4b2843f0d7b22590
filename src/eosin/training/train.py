"""Training as a user asks for it: one split, one fold, or every fold; fine-tuned or frozen."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from eosin.artefacts.outputs import RUN_FILES, require_output_folder
from eosin.artefacts.predictions import Predictions, read_predictions
from eosin.artefacts.tables import SIDECAR, companion
from eosin.errors import ConfigError, DataError, EosinWarning
from eosin.inference.scoring import PredictOptions
from eosin.locks import one_writer
from eosin.machine import launched
from eosin.networks.backbones import family_note
from eosin.networks.run import ERRORS_NAME, PREDICTIONS_NAME
from eosin.pixels.reading import write_error_table
from eosin.progress import SILENT, Progress, shown
from eosin.training.ensemble import EnsembleOptions, make_ensembles
from eosin.training.folds import gather_folds
from eosin.training.left_out import Trained
from eosin.training.ranks import from_first, joined
from eosin.training.readings import predict_together
from eosin.training.resume import Identity, finished_run, recorded
from eosin.training.trainers import FineTuneTrainer, FrozenTrainer, Trainer

if TYPE_CHECKING:
    from eosin.artefacts.manifest import Manifest
    from eosin.files import StrPath
    from eosin.networks.run import Run
    from eosin.pixels.reading import SkippedFile
    from eosin.training.config import TrainingConfig

MEMBERS = "members"
_RESUME = "then run the same command with --resume: what is finished is kept"


def train(
    manifest: Manifest,
    folder: StrPath,
    config: TrainingConfig,
    *,
    fold: int | Literal["all"] | None = None,
    resume: bool = False,
    progress: Progress | bool = SILENT,
) -> Trained:
    """Train a Run from a split manifest.

    A manifest with folds has no validation split of its own. Fine-tuning validates on the fold
    after the one held out; a frozen probe cross-validates inside all the other folds, or does as
    fine-tuning with ``config.fold_validation``. Once the Run is finished, the test split or the
    fold held out is scored into its ``predictions.csv``.

    Args:
        manifest: with splits, or with folds.
        folder: where the Run goes; must not hold a finished Run, unless ``resume``.
        config: the settings; ``config.freeze`` fits a linear head on frozen features.
        fold: the fold to hold out, or ``"all"`` to hold out each in turn; the predictions are
            then what each fold's Run says of the fold it never met.
        resume: continue an interrupted training; what is finished is kept.
        progress: told of files read and of epochs; True shows them.

    Raises:
        LeakageError: a patient crosses splits under a name that hides it.
        ConfigError: no splits, no such fold, or a finished Run in ``folder``.
        DataError, ModelError: images or weights cannot be used, another process is writing
            ``folder``, or it cannot be written.
    """
    folder, progress = Path(folder), SILENT if launched()[0] else shown(progress)
    inputs = [Path(file) for file in (config.weights, config.stain_target, config.embeddings)]
    require_output_folder(folder, RUN_FILES, inputs=inputs, run=True)
    manifest.require_honest_name()
    manifest.require_named_patients()
    _require_fold(manifest, fold)
    if not config.committee and (meant := family_note(config.backbone)):
        progress.note(meant)
    kind: type[FrozenTrainer | FineTuneTrainer] = (
        FrozenTrainer if config.freeze else FineTuneTrainer
    )
    trainer: Trainer = kind(manifest, config, resume=resume, progress=progress)
    with ExitStack() as held:
        held.enter_context(joined(config))
        if config.committee:
            return _train_committee(trainer, folder, fold)
        from_first(lambda: held.enter_context(one_writer(folder, then=_RESUME)))
        if fold == "all":
            return _train_every_fold(trainer, folder)
        return _train_once(trainer, folder, fold)


def _train_committee(trainer: Trainer, folder: Path, fold: int | Literal["all"] | None) -> Trained:
    """A Run a backbone, in folders of ``folder``, and in it the mean of their answers."""
    manifest, config, told = trainer.manifest, trainer.config, trainer.progress
    whole = Identity.of(manifest, config, None if fold == "all" else fold)
    run, table = finished_run(folder, whole, resume=trainer.resume), folder / PREDICTIONS_NAME
    if run is not None:
        return Trained(run, (), read_predictions(table) if table.is_file() else None)
    members = [
        train(
            manifest,
            folder / MEMBERS / str(number),
            config.with_overrides({"backbone": name, "committee": ()}),
            fold=fold,
            resume=trainer.resume,
            progress=told,
        )
        for number, name in enumerate((config.backbone, *config.committee), 1)
    ]
    validated = "val" in set(manifest.frame["split"]) or config.fold_validation or fold == "all"
    options = EnsembleOptions(
        config.device, config.batch_size, settings=config.model_dump(mode="json")
    )
    made = make_ensembles(
        [member.run for member in members],
        {"soft": folder},
        manifest=manifest if validated else None,
        options=options,
        progress=told,
    )["soft"]
    found = {item.path: item for each in (*members, made) for item in each.skipped}
    write_error_table(tuple(found.values()), folder / ERRORS_NAME)
    predictions = made.predictions
    if predictions is None:
        predictions, _ = _score_test(made.run, manifest, config, told)
    return Trained(made.run, tuple(found.values()), predictions)


def _score_test(
    run: Run, manifest: Manifest, config: TrainingConfig, progress: Progress
) -> tuple[Predictions | None, tuple[SkippedFile, ...]]:
    """What a finished Run says of its test images, kept beside it, and the files not read."""
    table = run.folder / PREDICTIONS_NAME
    if table.is_file() and companion(table, SIDECAR).is_file():  # the sidecar is written last
        return read_predictions(table), ()
    if run.record.fold is None and not (manifest.frame["split"] == "test").any():
        return None, ()
    if config.embeddings:  # the images need not be here; `eosin predict` scores them where they are
        return None, ()
    options = PredictOptions(device=config.device, batch_size=config.batch_size)
    try:
        scored = predict_together([run], manifest, options, progress=progress)[0]
    except DataError as error:  # the Run is finished all the same
        warnings.warn(f"{run.folder}: no test image is scored: {error}", EosinWarning, stacklevel=3)
        return None, ()
    scored.predictions.write(table)
    return scored.predictions, scored.skipped


def _train_once(trainer: Trainer, folder: Path, fold: int | None) -> Trained:
    run = trainer.train(folder, fold)

    def score() -> Trained:
        predictions, unread = _score_test(run, trainer.manifest, trainer.config, trainer.progress)
        found = {item.path: item for item in (*trainer.skipped, *unread)}
        if found or not trainer.resume:  # what was finished before has its table
            write_error_table(tuple(found.values()), folder / ERRORS_NAME)
        return Trained(run, tuple(found.values()), predictions)

    return from_first(score)


def _train_every_fold(trainer: Trainer, folder: Path) -> Trained:
    manifest, config = trainer.manifest, trainer.config
    whole = Identity.of(manifest, config, None)
    finished = from_first(lambda: finished_run(folder, whole, resume=trainer.resume))
    if finished is not None:
        return Trained(finished, (), read_predictions(folder / PREDICTIONS_NAME))
    runs, parts = [], []
    for fold in manifest.folds:
        run = trainer.train(folder / f"fold-{fold}", fold)
        runs.append(run)
        parts.append(from_first(partial(trainer.score_held_out, run, fold)))
    found = {item.path: item for item in trainer.skipped}  # several folds may have met a file
    skipped = tuple(found[path] for path in manifest.paths if path in found)

    def gather() -> Trained:
        write_error_table(skipped, folder / ERRORS_NAME)  # before the record: it ends the training
        run, predictions = gather_folds(folder, manifest, runs, parts, training=recorded(config))
        return Trained(run, skipped, predictions)

    return from_first(gather)


def _require_fold(manifest: Manifest, fold: int | Literal["all"] | None) -> None:
    if fold is None and manifest.folds:
        raise ConfigError(
            f"the manifest has folds {list(manifest.folds)}: say which one to hold out, "
            "--fold K, or --fold all"
        )
    if fold is None and not (manifest.frame["split"] == "train").any():
        raise ConfigError("the manifest has no training images; divide it with `eosin split`")
    if fold is not None and not manifest.folds:
        raise ConfigError(
            f"fold {fold!r}: the manifest has no folds; make them with `eosin split --folds 5`, "
            "or leave the fold out"
        )
    if fold is not None and fold != "all" and fold not in manifest.folds:
        raise ConfigError(
            f"fold {fold!r} does not exist; want one of {list(manifest.folds)} or all"
        )
