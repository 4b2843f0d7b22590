"""A Run that is served: opened once, under a name of its own, with all that judges its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.data.identity import Identity
from eosin.inference.context import uses_neighbours
from eosin.inference.members import open_scorer
from eosin.networks.run import read_run
from eosin.trust.judge import open_judge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.errors import EosinError
    from eosin.inference.members import Scorer
    from eosin.networks.run import Run
    from eosin.trust.judge import Judge


@dataclass(frozen=True, eq=False)
class Served:
    """A Run and what is made of it once."""

    name: str  # of its own among those served; no path on disk
    run: Run
    leaves: tuple[Run, ...]  # the Runs in it that have a network
    specs: tuple[Preprocessing, ...]  # every one that its networks ask for
    scorer: Scorer
    judge: Judge | None
    identity: Identity  # by which its patients are known again
    alone: bool  # whether images must not stand in one table: they would count as neighbours

    def met(self, called: Path) -> bool:
        """Whether it knows the patient of an image of this name, as ``require_unseen`` asks."""
        patient = self.identity.patient_of(called)
        return patient is not None and bool(self.identity.met([patient]))

    def plain(self, error: EosinError | str, file: Path | None = None) -> str:
        """What an error says, without paths of this machine."""
        said = str(error)
        if file is not None:
            said = said.removeprefix(f"{file}: ").replace(str(file), "the image")
        for run in (self.run, *self.leaves):
            said = said.replace(str(run.folder), run.folder.name)
        return said


def open_served(folders: Sequence[Path]) -> tuple[Served, ...]:
    """The Runs of these folders, by their own names; a name that comes again has a number.

    Raises:
        ModelError: a folder is no finished Run, or one that is not whole.
    """
    opened: dict[str, Served] = {}
    for number, folder in enumerate(folders, 1):
        name = folder.resolve().name or "run"
        name = f"{name}-{number}" if name in opened else name
        opened[name] = _open(name, read_run(folder))
    return tuple(opened.values())


def _open(name: str, run: Run) -> Served:
    leaves = tuple(run.leaves())
    specs = tuple(dict.fromkeys(leaf.record.preprocessing for leaf in leaves))
    judging = open_scorer(run), open_judge(run), Identity.of(run.record)
    return Served(name, run, leaves, specs, *judging, uses_neighbours(run))
