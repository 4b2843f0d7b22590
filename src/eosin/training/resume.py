"""Continuing an interrupted training: its state on disk, and the proof that it is the same one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.errors import ConfigError, ModelError
from eosin.files import replacing
from eosin.networks.run import RECORD_NAME, Run, read_run
from eosin.pixels.reading import SkippedFile
from eosin.training.config import TrainingConfig
from eosin.training.history import EpochRow
from eosin.training.ranks import ranks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from eosin.artefacts.manifest import Manifest

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


@dataclass(frozen=True)
class Progressed:
    """How far a training came."""

    rows: tuple[EpochRow, ...]  # one an epoch
    skipped: tuple[SkippedFile, ...]  # files that could not be read
    initial_weights: str  # where the network started from, in words
    learner: dict[str, dict[str, object]]  # what ``Learner.state`` gave


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


def write_progress(folder: Path, identity: Identity, progressed: Progressed) -> None:
    """Write the state in one step: a kill leaves the one before or this one."""
    import torch

    fields = {
        "identity": json.dumps(asdict(identity)),
        "rows": [asdict(row) for row in progressed.rows],
        "skipped": [(str(item.path), item.reason) for item in progressed.skipped],
        "initial_weights": progressed.initial_weights,
        "learner": progressed.learner,
    }
    with replacing(folder / STATE_NAME) as draft:
        torch.save(fields, draft)


def clear_progress(folder: Path) -> None:
    """Remove what only an unfinished training needs."""
    for path in (folder / STATE_NAME, *folder.glob("best-*.safetensors")):
        path.unlink(missing_ok=True)


def read_progress(folder: Path, identity: Identity) -> Progressed | None:
    """How far the training in ``folder`` came; None where no epoch was finished.

    Raises:
        ConfigError: it was another training.
        ModelError: the state cannot be read.
    """
    import torch

    path = folder / STATE_NAME
    if not path.is_file():
        return None
    try:
        fields = torch.load(path, map_location="cpu", weights_only=True)
        found = Identity(**json.loads(fields["identity"]))
        found = replace(found, settings=_bound(found.settings))
        progressed = Progressed(
            rows=tuple(EpochRow(**row) for row in fields["rows"]),
            skipped=tuple(SkippedFile(Path(file), why) for file, why in fields["skipped"]),
            initial_weights=str(fields["initial_weights"]),
            learner=fields["learner"],
        )
    except Exception as error:  # torch raises pickle's, zipfile's, RuntimeError, KeyError, ...
        raise ModelError(
            f"{path}: not a readable training state ({error}); remove the folder and train again"
        ) from error
    identity.require(found, folder)
    return progressed


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
