"""The Run: a folder that keeps a trained model and everything needed to use and judge it.

``run.json`` is described in ``artefacts.run``; ``model.safetensors`` holds the weights, or a graph
stands in for them. Runs of folds and ensembles have other Runs inside their own folder, named with
their SHA-256. No torch is needed to read a Run.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.codec import write_artefact
from eosin.artefacts.run import ExportedRun, Member, RunRecord, read_record
from eosin.errors import ConfigError, ModelError, NoMapError
from eosin.files import sha256_of
from eosin.networks.engine import ENGINES, open_engine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from eosin.arrays import Floats, Pixels
    from eosin.artefacts.graph import Graph
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.files import StrPath
    from eosin.networks.engine import Engine, Maps

RECORD_NAME = "run.json"
WEIGHTS_NAME = "model.safetensors"
HISTORY_NAME = "history.csv"
PREDICTIONS_NAME = "predictions.csv"
ERRORS_NAME = "errors.csv"
_DEEPEST = 8  # Runs inside Runs


@dataclass(frozen=True)
class Run:
    """A Run folder and its record.

    Attributes:
        folder: where it lies.
        record: what its ``run.json`` says.
        sha256: of that file, which holds the SHA-256 of weights and members.
    """

    folder: Path
    record: RunRecord
    sha256: str

    @property
    def weights_path(self) -> Path:
        """The safetensors file with the weights."""
        return self.folder / WEIGHTS_NAME

    @property
    def graph(self) -> Graph | None:
        """Its network as a graph; None where it has PyTorch weights or is made of other Runs."""
        return self.record.graph if isinstance(self.record, ExportedRun) else None

    @property
    def exported(self) -> bool:
        """Whether its networks are graphs; ModelError where a member is missing or changed."""
        return all(run.graph is not None for run in self.leaves())

    @property
    def files(self) -> Mapping[str, str]:
        """SHA-256 of each file of its own network, or fusion head, and of what lies beside."""
        own = {WEIGHTS_NAME: self.record.weights_sha256 or ""} if self.record.owns_weights else {}
        return {**(self.graph.files if self.graph else own), **self.record.files_beside}

    def __str__(self) -> str:
        known = self.record
        kind = known.kind.removeprefix("run/")
        return f"Run {self.folder} ({kind}): {known.backbone}; {known.protocol.name}"

    def _repr_html_(self) -> str:
        from eosin.artefacts.looks import as_html

        return as_html(self, self.frame())

    def frame(self) -> pd.DataFrame:
        """A row a network; ModelError where a member is missing or changed."""
        import pandas as pd

        own = ("backbone", "fold", "temperature", "threshold", "initial_weights")
        return pd.DataFrame(
            {
                "model": name,
                **{field: getattr(run.record, field) for field in own},
                "size": run.record.preprocessing.size,
                "train_patients": len(run.record.train_patients),
                "val_patients": len(run.record.val_patients),
            }
            for name, run in self._named().items()
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """How each network learned: the loss on validation images over epochs, or of a frozen one
        the inner log loss at each strength C. ModelError where neither was kept.
        """
        from eosin.artefacts.looks import draw_learning

        kept = {
            name: (run.folder / HISTORY_NAME, run.record.choices.get("inner_log_loss"))
            for name, run in self._named().items()
        }
        return draw_learning(kept, ax, title=str(self))

    def _named(self) -> dict[str, Run]:
        leaves = self.leaves()
        return dict(zip(_names([(self, leaf) for leaf in leaves]), leaves, strict=True))

    def networks(
        self, *, engine: str = "auto", device: str = "auto", threads: int | None = None
    ) -> tuple[Network, ...]:
        """Load every network in it, each once; see ``open_networks``."""
        return open_networks([self], engine=engine, device=device, threads=threads)

    def require_intact(self) -> None:
        """ModelError where a network in it is missing or is not the one its record was made with.

        Every file that a network is loaded from is hashed.
        """
        for run in self.walk():
            run.require_files()

    def require_unchanged(self) -> None:
        """ModelError where the Run is another than when it was read, or its networks are."""
        path = self.folder / RECORD_NAME
        if not path.is_file() or sha256_of(path) != self.sha256:
            raise ModelError(f"{path}: changed while the Run was in use; start anew with it")
        self.require_intact()

    def require_files(self) -> None:
        """The same of its own files alone, those of its members left out."""
        fix = "copy the whole folder again, or make the Run again"
        for name, digest in self.files.items():
            path = self.folder / name
            if not path.is_file():
                raise ModelError(f"{path}: missing; {fix}")
            if sha256_of(path) != digest:
                raise ModelError(f"{path}: changed since run.json was written; {fix}")

    def walk(self) -> Iterator[Run]:
        """Itself, then every Run inside it; ModelError where one is missing or changed."""
        yield from self._walk(depth=0)

    def leaves(self) -> list[Run]:
        """The Runs in it that have a network of their own; which may be this one alone.

        Of those with the same record, and so the same network, the first.
        """
        found: dict[str, Run] = {}
        for run in self.walk():
            if not run.record.inside:
                found.setdefault(run.sha256, run)
        return list(found.values())

    def open_members(self) -> tuple[Run, ...]:
        """The Runs just inside this one; ModelError where one is missing or changed."""
        return self._members

    @cached_property
    def _members(self) -> tuple[Run, ...]:
        return tuple(self._open(member) for member in self.record.inside)

    def _walk(self, *, depth: int) -> Iterator[Run]:
        if depth > _DEEPEST:
            raise ModelError(f"{self.folder}: Runs lie more than {_DEEPEST} deep in one another")
        yield self
        for member in self.open_members():
            yield from member._walk(depth=depth + 1)

    def _open(self, member: Member) -> Run:
        folder = _tidied(self.folder / member.path)
        leads_out = not folder.resolve().is_relative_to(self.folder.resolve())
        if leads_out and ".." not in member.path.split("/"):
            raise ModelError(f"{folder}: a link out of {self.folder}; put the member itself there")
        if not (folder / RECORD_NAME).is_file():
            raise ModelError(f"{folder}: member of {self.folder} is missing; put it back")
        if sha256_of(folder / RECORD_NAME) != member.sha256:
            raise ModelError(
                f"{folder}: changed since it became a member of {self.folder}; "
                "make the outer Run again"
            )
        return Run(folder, read_record(folder / RECORD_NAME), member.sha256)


@dataclass(frozen=True, eq=False)
class Network:
    """A network of a Run, ready to answer."""

    # of its own among the networks opened together, e.g. ``"bh/fold-1"``
    name: str
    run: Run  # the Run that it belongs to, which has no other
    engine: Engine  # computes it

    @property
    def preprocessing(self) -> Preprocessing:
        """How images become its input."""
        return self.run.record.preprocessing

    @cached_property
    def no_maps(self) -> str:
        """Why it has no heatmaps, found out with one blank image; empty where it has."""
        size = self.preprocessing.size
        try:
            self.maps(np.zeros((1, 3, size, size), np.float32))
        except NoMapError as reason:
            return str(reason)
        return ""

    def logits(self, batch: Pixels) -> Floats:
        """Logits (n, classes) of prepared input (n, 3, size, size)."""
        return self.engine.logits(batch)

    def features(self, batch: Pixels) -> Floats:
        """Pooled features (n, channels) of prepared input (n, 3, size, size)."""
        return self.engine.features(batch)

    def answers(self, batch: Pixels) -> tuple[Floats, Floats]:
        """Logits and pooled features of prepared input, from one pass."""
        return self.engine.answers(batch)

    def maps(self, batch: Pixels) -> Maps:
        """Grad-CAM maps and logits of prepared input; NoMapError where it has none."""
        return self.engine.maps(batch)


def open_networks(
    runs: Sequence[Run], *, engine: str = "auto", device: str = "auto", threads: int | None = None
) -> tuple[Network, ...]:
    """Load every network in ``runs``, those of members included, each once.

    Args:
        runs: of any kind. Networks with the same record, wherever they lie, are the same.
        engine: ``"auto"`` takes PyTorch for weights, and for a graph ONNX Runtime or OpenVINO,
            whichever is installed and reads it; or the name of one.
        device: auto, cpu, cuda or mps.
        threads: of a graph's engine; None for OMP_NUM_THREADS, or else one a core.

    Raises:
        ConfigError: an unknown engine, one that is not installed, or one that cannot run a Run.
        ModelError: a member or a network is missing or changed; the message names it.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine {engine!r} is unknown; want one of {list(ENGINES)}")
    inside: dict[str, tuple[Run, Run]] = {}
    for run in runs:
        for leaf in run.leaves():
            inside.setdefault(leaf.sha256, (run, leaf))
    opened = []
    for name, (_, leaf) in zip(_names(list(inside.values())), inside.values(), strict=True):
        leaf.require_files()
        path, record = leaf.weights_path, leaf.record
        made = open_engine(path, record, engine=engine, device=device, threads=threads)
        opened.append(Network(name, leaf, made))
    return tuple(opened)


def _names(inside: Sequence[tuple[Run, Run]]) -> list[str]:
    """A name of its own for every network: its folder, with as many of its parents as it takes.

    Args:
        inside: each Run that was asked for and a network in it (itself where it is single).
    """
    folders = [leaf.folder.resolve().parts for _, leaf in inside]
    names = [
        "/".join(parts[-2:] if leaf is not run or parts[-1].startswith("fold-") else parts[-1:])
        for parts, (run, leaf) in zip(folders, inside, strict=True)
    ]
    for depth in range(2, max(map(len, folders), default=0)):
        if len(set(names)) == len(names):
            break
        names = [
            name if names.count(name) == 1 else "/".join(parts[-depth:])
            for name, parts in zip(names, folders, strict=True)
        ]
    return names


def read_run(folder: StrPath) -> Run:
    """Open a Run folder; ModelError naming the folder where it is not a finished Run."""
    folder = Path(folder)
    path = folder / RECORD_NAME
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such Run folder; make one with `eosin train`")
    if not path.is_file():
        raise ModelError(
            f"{folder}: not a finished Run (no {RECORD_NAME}); finish it with "
            "`eosin train --resume` or make one with `eosin train`"
        )
    return Run(folder, read_record(path), sha256_of(path))


def write_run(folder: Path, record: RunRecord) -> Run:
    """Write ``run.json`` last, once the weights lie in ``folder``: it marks the Run finished."""
    write_artefact(record, folder / RECORD_NAME)
    return Run(folder, record, sha256_of(folder / RECORD_NAME))


def weights_digest(folder: Path) -> str:
    """SHA-256 of the weights in a Run folder, for its record."""
    return sha256_of(folder / WEIGHTS_NAME)


def _tidied(folder: Path) -> Path:
    """``a/fold-2/../../b`` as ``a/b``, unless a link on the way makes that another folder."""
    tidy = Path(os.path.normpath(folder))
    return tidy if tidy.resolve() == folder.resolve() else folder
