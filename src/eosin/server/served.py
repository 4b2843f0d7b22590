"""A Run that is served: opened once, under a name of its own, with all that judges its answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
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

    name: str  # of its own among those served; no place on disk
    run: Run
    scorer: Scorer
    judge: Judge | None
    identity: Identity  # by which its patients are known again
    leaves: tuple[Run, ...]  # the Runs in it that have a network

    @cached_property
    def specs(self) -> tuple[Preprocessing, ...]:
        """Every preprocessing that its networks ask for."""
        return tuple(dict.fromkeys(leaf.record.preprocessing for leaf in self.leaves))

    @cached_property
    def alone(self) -> bool:
        """Whether images must not be answered in one table: neighbours would count."""
        return uses_neighbours(self.run)

    def patient_of(self, called: Path) -> str | None:
        """Whom an image of this name shows; None where the name does not say."""
        return self.identity.patient_of(called)

    def met(self, patient: str | None) -> bool:
        """Whether it was trained or validated on this patient, as ``seen.require_unseen`` asks."""
        return patient is not None and bool(self.identity.met([patient]))

    def plain(self, error: EosinError | str, file: Path | None = None) -> str:
        """What an error says, without places of this machine."""
        said = str(error)
        if file is not None:
            said = said.removeprefix(f"{file}: ").replace(str(file), "the image")
        for run in (self.run, *self.leaves):
            said = said.replace(str(run.folder), run.folder.name)
        return said


def open_served(folders: Sequence[Path]) -> tuple[Served, ...]:
    """The Runs of these folders; ModelError naming the one that is none, or is not whole."""
    opened = []
    for name, folder in zip(_names(folders), folders, strict=True):
        run = read_run(folder)
        identity = Identity.of(run.record)
        leaves = tuple(run.leaves())
        opened.append(Served(name, run, open_scorer(run), open_judge(run), identity, leaves))
    return tuple(opened)


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names; where two are alike with their parents', or else numbered."""
    names = [folder.resolve().name or "run" for folder in folders]
    longer = ["-".join(folder.resolve().parts[-2:]) for folder in folders]
    count = Counter(names)
    names = [own if count[own] == 1 else more for own, more in zip(names, longer, strict=True)]
    count = Counter(names)
    return [
        name if count[name] == 1 else f"{name}-{number}" for number, name in enumerate(names, 1)
    ]
