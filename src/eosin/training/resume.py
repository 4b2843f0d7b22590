"""What a training keeps between its epochs, and the proof that it is the same one that resumes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from math import prod
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, TypeAlias

import torch

from eosin.errors import ConfigError, ModelError
from eosin.files import replacing
from eosin.networks.classifier import save_classifier
from eosin.networks.run import ERRORS_NAME, HISTORY_NAME, RECORD_NAME, Run, read_run
from eosin.pixels.reading import SkippedFile, write_error_table
from eosin.training.config import Monitor, TrainingConfig
from eosin.training.history import EpochRow, best_epoch, write_history
from eosin.training.ranks import gathered, rank, ranks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import JsonValue

    from eosin.artefacts.manifest import Manifest
    from eosin.training.learner import Learner

LearnerState: TypeAlias = dict[str, dict[str, object]]  # what ``Learner.state`` gave
STATE_NAME = "resume.pt"
# These say where and how fast a training runs, not what it learns.
_FREE = frozenset({"device", "workers", "track", "cache", "torch_compile"})
_STEP = "images a step"  # this is bound, and how batches and processes divide it is not
_DIVIDED = ("batch_size", "accumulate", "ranks")


@dataclass(frozen=True)
class Identity:
    """What makes two trainings the same one."""

    settings: dict[str, object]
    fingerprint: str
    fold: int | None

    @classmethod
    def of(cls, manifest: Manifest, config: TrainingConfig, fold: int | None) -> Identity:
        """The identity of a training about to run."""
        return cls(_bound(recorded(config)), manifest.fingerprint, fold)

    @classmethod
    def of_run(cls, run: Run) -> Identity:
        """The identity of a finished training."""
        record = run.record
        return cls(_bound(record.training), record.fingerprint, record.fold)

    def require(self, other: Identity, folder: Path) -> None:
        """ConfigError naming what differs from ``other``, the training found in ``folder``."""
        keys = sorted(self.settings.keys() | other.settings.keys())
        differing = [
            f"{key} was {other.settings.get(key)!r} and is {self.settings.get(key)!r}"
            for key in keys
            if self.settings.get(key) != other.settings.get(key)
        ]
        if self.fold != other.fold:
            differing.append(f"the fold held out was {other.fold} and is {self.fold}")
        if self.fingerprint != other.fingerprint:
            differing.append("the manifest's rows have changed")
        if differing:
            raise ConfigError(
                f"{folder}: cannot resume, this is another training: {'; '.join(differing)}. "
                "Put that back or name another folder."
            )


@dataclass
class Course:
    """How far a training came: its epochs in memory and on disk, and the weights of the best."""

    folder: Path
    identity: Identity
    monitor: Monitor  # by what the best epoch is told
    initial_weights: str = ""  # where the network started from, in words
    rows: list[EpochRow] = field(default_factory=list)
    skipped: dict[Path, SkippedFile] = field(default_factory=dict)  # files that cannot be read

    @property
    def best(self) -> int:
        """The epoch kept so far; 0 before the first."""
        return best_epoch(self.rows, self.monitor)

    @property
    def best_path(self) -> Path:
        """Where its weights lie."""
        # The epoch is in the name: a kill between these weights and the state that speaks of
        # them must not leave the state with another epoch's weights.
        return self.folder / f"best-{self.best:04d}.safetensors"

    def skip(self, files: Iterable[SkippedFile]) -> None:
        """Note files that cannot be read, each once; the first process writes their table."""
        new = [item for item in files if item.path not in self.skipped]
        self.skipped.update({item.path: item for item in new})
        if new and not rank():
            write_error_table(list(self.skipped.values()), self.folder / ERRORS_NAME)

    def keep(self, row: EpochRow, learner: Learner) -> None:
        """Put the epoch on disk, its state last but for what can be written again from it."""
        self.rows.append(row)
        for unread in gathered(tuple(self.skipped.values())):
            self.skip(unread)
        if rank():
            return
        if self.best == row.epoch:
            save_classifier(learner.judged, self.best_path)
        fields = {
            "identity": json.dumps(asdict(self.identity)),
            "rows": [asdict(each) for each in self.rows],
            "skipped": [(str(item.path), item.reason) for item in self.skipped.values()],
            "initial_weights": self.initial_weights,
            "learner": learner.state(),
        }
        with replacing(self.folder / STATE_NAME) as draft:  # a kill leaves the one before or this
            torch.save(fields, draft)
        write_history(self.rows, self.folder / HISTORY_NAME)
        for older in self.folder.glob("best-*.safetensors"):
            if older != self.best_path:
                older.unlink()

    def read(self) -> LearnerState | None:
        """Take up what lies in the folder; the learner's state, None where no epoch was finished.

        Raises:
            ConfigError: it is of another training.
            ModelError: it cannot be read.
        """
        path = self.folder / STATE_NAME
        if not path.is_file():
            return None
        try:
            fields = torch.load(path, map_location="cpu", weights_only=True)
            found = Identity(**json.loads(fields["identity"]))
            found = replace(found, settings=_bound(found.settings))
            self.rows = [EpochRow(**row) for row in fields["rows"]]
            skipped = [SkippedFile(Path(file), why) for file, why in fields["skipped"]]
            self.initial_weights = str(fields["initial_weights"])
            state: LearnerState = fields["learner"]
        except Exception as error:  # torch raises pickle's, zipfile's, RuntimeError, KeyError, ...
            raise ModelError(
                f"{path}: not a readable training state ({error}); remove the folder and train "
                "again"
            ) from error
        self.identity.require(found, self.folder)
        self.skip(skipped)
        return state

    def restore(self, learner: Learner, state: LearnerState) -> None:
        """Bring the learner back to what ``read`` gave; ModelError where that is not of it."""
        try:
            learner.restore(state)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:  # torch's, for one tensor
            reason = shorten(str(error), 160)
            raise ModelError(
                f"{self.folder / STATE_NAME}: not the state of this training ({reason}); remove "
                "the folder and train again"
            ) from error


def finished_run(folder: Path, identity: Identity, *, resume: bool) -> Run | None:
    """The finished Run in ``folder``, where there is one and it may be returned.

    Raises:
        ConfigError: ``folder`` holds a training that would be overwritten, or another one.
    """
    if not resume and (folder / RECORD_NAME).exists():
        raise ConfigError(f"{folder}: holds a finished Run; name another folder or remove it")
    if not resume and (folder / STATE_NAME).exists():
        raise ConfigError(
            f"{folder}: holds an unfinished training; continue it with --resume, or name another "
            "folder"
        )
    if not (folder / RECORD_NAME).exists():
        return None
    run = read_run(folder)
    identity.require(Identity.of_run(run), folder)
    return run


def clear_progress(folder: Path) -> None:
    """Remove what only an unfinished training needs."""
    for path in (folder / STATE_NAME, *folder.glob("best-*.safetensors")):
        path.unlink(missing_ok=True)


def _bound(settings: Mapping[str, object]) -> dict[str, object]:
    """The settings that decide what is learned; a Run also keeps findings, which are tables."""
    known = TrainingConfig.model_fields.keys() - _FREE - {*_DIVIDED}
    defaults = TrainingConfig().model_dump(mode="json")  # a setting that came later was at its own
    given = {key: value for key, value in settings.items() if not isinstance(value, dict)}
    whole = {**defaults, "ranks": 1, **given}
    bound = {key: value for key, value in whole.items() if key in known}
    return {**bound, _STEP: settings.get(_STEP) or prod(int(str(whole[key])) for key in _DIVIDED)}


def recorded(config: TrainingConfig) -> dict[str, JsonValue]:
    """The settings as a Run keeps them, with the number of processes where there were several."""
    several: dict[str, JsonValue] = {"ranks": ranks()} if ranks() > 1 else {}
    return {**config.model_dump(mode="json"), **several}
