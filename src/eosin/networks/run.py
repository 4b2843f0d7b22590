"""The Run: a folder that keeps a trained model and everything needed to use and judge it.

``run.json`` is described by RunRecord; ``model.safetensors`` holds the weights. A Run of kind
``folds`` or ``ensemble`` names its members by relative path and SHA-256; of these only an ensemble
by fusion has weights of its own, those of its head. An exported Run has a graph in place of the
weights (see ``graph``). No torch is needed to read a Run's record.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from eosin.artefacts.graph import Graph, require_files
from eosin.artefacts.tables import require_format, section, text_list
from eosin.errors import EosinError, ModelError
from eosin.files import read_json, sha256_of, write_json
from eosin.pixels.preprocessing import Preprocessing
from eosin.protocol import Protocol
from eosin.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT_VERSION = 2  # 1: weights only; 2: a graph may stand in for them
RECORD_NAME = "run.json"
WEIGHTS_NAME = "model.safetensors"
HISTORY_NAME = "history.csv"
PREDICTIONS_NAME = "predictions.csv"
ERRORS_NAME = "errors.csv"

Kind = Literal["single", "folds", "ensemble"]


@dataclass(frozen=True, slots=True)
class Member:
    """One Run inside another: its relative path and the SHA-256 of its ``run.json``.

    That record itself holds the SHA-256 of the weights.
    """

    path: str
    sha256: str


@dataclass(frozen=True)
class RunRecord:
    """What ``run.json`` says.

    Attributes:
        task: the classes.
        dataset: the dataset trained on.
        backbone: timm's name, or ``"inception_her2"``.
        preprocessing: how images become input.
        protocol: the split protocol of the training manifest.
        fingerprint: of the training manifest.
        fold: the fold held out, or None.
        train_patients: patients whose images set weights, sorted.
        val_patients: patients whose images chose epochs, strength, temperature or threshold.
        patient_pattern: of the training manifest: what finds the patient in a file name.
        temperature: logits are divided by it before the softmax (Guo et al. 2017); positive.
        threshold: the locked probability of the positive class, binary tasks only.
        seed: of the training.
        training: the training settings as plain JSON values.
        choices: what the training chose inside its own patients, e.g. the probe's strength.
        initial_weights: where the network started from, in words.
        weights_sha256: of ``model.safetensors``, or of the one that was exported; empty for Runs
            that are made of members only.
        versions: of eosin, Python and the libraries that trained it.
        notes: plain sentences that every later artefact repeats.
        kind: ``"single"``, ``"folds"`` or ``"ensemble"``.
        vote: how members are combined: ``"soft"``, ``"hard"``, ``"weighted"`` or ``"fusion"``;
            ensembles, and folds whose members are ensembles.
        members: the Runs inside this one.
        graph: of an exported Run, its network; None elsewhere.
    """

    task: Task
    dataset: str
    backbone: str
    preprocessing: Preprocessing
    protocol: Protocol
    fingerprint: str
    fold: int | None = None
    train_patients: tuple[str, ...] = ()
    val_patients: tuple[str, ...] = ()
    patient_pattern: str = ""
    temperature: float = 1.0
    threshold: float | None = None
    seed: int = 0
    training: dict[str, object] = field(default_factory=dict)
    choices: dict[str, object] = field(default_factory=dict)
    initial_weights: str = ""
    weights_sha256: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    kind: Kind = "single"
    vote: str = ""
    members: tuple[Member, ...] = ()
    graph: Graph | None = None

    @property
    def seen_patients(self) -> frozenset[str]:
        """Every patient that trained or validated this Run."""
        return frozenset(self.train_patients) | frozenset(self.val_patients)

    @property
    def owns_weights(self) -> bool:
        """Whether ``model.safetensors`` belongs to this Run, and not only to its members."""
        fusion = self.kind == "ensemble" and self.vote == "fusion"
        return fusion or (self.kind == "single" and self.graph is None)

    def to_dict(self) -> dict[str, object]:
        """The record as plain JSON values."""
        plain = {
            "format_version": 1 if self.graph is None else FORMAT_VERSION,
            **{name: getattr(self, name) for name in self.__dataclass_fields__ if name != "graph"},
            "kind": f"run/{self.kind}",
            "task": self.task.to_dict(),
            "preprocessing": self.preprocessing.to_dict(),
            "protocol": self.protocol.to_dict(),
            "members": [asdict(member) for member in self.members],
            **({} if self.graph is None else {"graph": self.graph.to_dict()}),
        }
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in plain.items()
        }

    @classmethod
    def from_dict(cls, fields: dict[str, object]) -> RunRecord:
        """Read what ``to_dict`` wrote; ModelError where the kind is unknown."""
        kind = str(fields.get("kind", "")).removeprefix("run/")
        if kind not in get_args(Kind):
            raise ModelError(f"unknown kind of Run {kind!r}; want one of {list(get_args(Kind))}")
        fold, threshold = fields.get("fold"), fields.get("threshold")
        members = fields.get("members")
        return cls(
            task=Task.from_dict(section(fields, "task")),
            dataset=str(fields.get("dataset", "")),
            backbone=str(fields.get("backbone", "")),
            preprocessing=Preprocessing.from_dict(section(fields, "preprocessing")),
            protocol=Protocol.from_dict(section(fields, "protocol")),
            fingerprint=str(fields.get("fingerprint", "")),
            fold=fold if isinstance(fold, int) else None,
            train_patients=text_list(fields, "train_patients"),
            val_patients=text_list(fields, "val_patients"),
            patient_pattern=str(fields.get("patient_pattern", "")),
            temperature=float(str(fields.get("temperature", 1.0))),
            threshold=float(threshold) if isinstance(threshold, int | float) else None,
            seed=int(str(fields.get("seed", 0))),
            training=section(fields, "training"),
            choices=section(fields, "choices"),
            initial_weights=str(fields.get("initial_weights", "")),
            weights_sha256=str(fields.get("weights_sha256", "")),
            versions={name: str(value) for name, value in section(fields, "versions").items()},
            notes=text_list(fields, "notes"),
            kind=kind,  # type: ignore[arg-type]  # checked above
            vote=str(fields.get("vote", "")),
            members=tuple(
                Member(str(member["path"]), str(member["sha256"]))
                for member in (members if isinstance(members, list) else [])
            ),
            graph=Graph.from_dict(section(fields, "graph")) if "graph" in fields else None,
        )


@dataclass(frozen=True)
class Run:
    """A Run folder and its record."""

    folder: Path
    record: RunRecord

    @property
    def weights_path(self) -> Path:
        """The safetensors file with the weights."""
        return self.folder / WEIGHTS_NAME

    @property
    def exported(self) -> bool:
        """Whether its networks are graphs; ModelError where a member is missing or changed."""
        if self.record.members:
            return all(member.exported for member in self.open_members())
        return self.record.graph is not None

    def require_intact(self) -> None:
        """ModelError where the network is missing or is not the one the record was made with."""
        self.open_members()
        if self.record.graph is not None:
            require_files(self.folder, self.record.graph)
        if not self.record.owns_weights:
            return
        if not self.weights_path.is_file():
            fix = "finish the training with `eosin train --resume`"
            if self.record.members:
                fix = "make the ensemble again"
            raise ModelError(f"{self.weights_path}: missing; {fix}")
        if sha256_of(self.weights_path) != self.record.weights_sha256:
            raise ModelError(
                f"{self.weights_path}: changed since run.json was written; train the Run again "
                "or copy the whole folder again"
            )

    def open_members(self) -> tuple[Run, ...]:
        """The Runs inside this one; ModelError where one is missing or changed."""
        members = []
        for member in self.record.members:
            folder = _tidied(self.folder / member.path)
            record = folder / RECORD_NAME
            if not record.is_file():
                raise ModelError(f"{folder}: member of {self.folder} is missing; put it back")
            if sha256_of(record) != member.sha256:
                raise ModelError(
                    f"{folder}: changed since it became a member of {self.folder}; "
                    "make the outer Run again"
                )
            members.append(read_run(folder))
        return tuple(members)


def _tidied(folder: Path) -> Path:
    """``a/fold-2/../../b`` as ``a/b``, unless a link on the way makes that another place."""
    tidy = Path(os.path.normpath(folder))
    return tidy if tidy.resolve() == folder.resolve() else folder


def read_run(folder: Path) -> Run:
    """Open a Run folder; ModelError naming the folder where it is not a finished Run."""
    path = folder / RECORD_NAME
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such Run folder; make one with `eosin train`")
    if not path.is_file():
        raise ModelError(
            f"{folder}: not a finished Run (no {RECORD_NAME}); finish it with "
            "`eosin train --resume` or make one with `eosin train`"
        )
    try:
        fields = read_json(path, what="Run record", fix="train the Run again")
        require_format(
            {**fields, "kind": str(fields.get("kind", "")).partition("/")[0]},
            path,
            kind="run",
            newest=FORMAT_VERSION,
        )
        return Run(folder, RunRecord.from_dict(fields))
    except EosinError as error:
        raise ModelError(f"{folder}: {error}") from error


def write_run(folder: Path, record: RunRecord) -> Run:
    """Write ``run.json`` last, once the weights lie in ``folder``: it marks the Run finished."""
    weights = folder / WEIGHTS_NAME
    if weights.is_file() and record.owns_weights:
        record = replace(record, weights_sha256=sha256_of(weights))
    write_json(folder / RECORD_NAME, record.to_dict())
    return Run(folder, record)


def members_of(folder: Path, runs: Sequence[Run]) -> tuple[Member, ...]:
    """Name ``runs`` as members of a Run that will lie in ``folder``."""
    return tuple(
        Member(
            path=Path(os.path.relpath(run.folder.resolve(), folder.resolve())).as_posix(),
            sha256=sha256_of(run.folder / RECORD_NAME),
        )
        for run in runs
    )
