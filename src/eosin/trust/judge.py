"""What a Run, whatever it is made of, says of images beside their probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from eosin.trust.familiarity import UNFAMILIAR_BELOW
from eosin.trust.reference import Look, load_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eosin.arrays import Floats
    from eosin.artefacts.reference import Flag
    from eosin.networks.run import Run
    from eosin.trust.reference import Known

CANNOT_TELL: Final = (
    "This Run knows no features of its own patients: it cannot tell the unfamiliar."
)


@dataclass(frozen=True)
class Judge:
    """The references of the networks in a Run: familiarity is their mean, a flag their majority."""

    known: Mapping[str, Known]  # by the SHA-256 of the record of the network's Run
    leaves: Sequence[Run]  # these Runs

    @property
    def patients(self) -> int | None:
        """How many patients calibrate familiarity, of several networks the fewest; or None."""
        shares = [known.shares for known in self.known.values()]
        return min((each.patients for each in shares if each), default=None)

    def looks(self, features: Callable[[Run], Floats], measures: Floats) -> tuple[Look, ...]:
        """A look at each of n images.

        Args:
            features: of a network's Run, pooled, shape (n, channels).
            measures: how the images were taken, shape (n, names).

        Raises:
            ModelError: a reference is of another network.
        """
        shares = [
            self.known[run.sha256].familiarity(features(run), measures) for run in self.leaves
        ]
        told = [share for share in shares if share is not None]
        mean = np.mean(told, axis=0) if told else None
        flagged = [known.flags(measures) for known in self.known.values()]
        return tuple(
            self._look(None if mean is None else float(mean[row]), [each[row] for each in flagged])
            for row in range(len(measures))
        )

    def _look(self, familiarity: float | None, said: Sequence[tuple[Flag, ...]]) -> Look:
        votes = [flag for flags in said for flag in flags]
        flags = [flag for flag in dict.fromkeys(votes) if 2 * votes.count(flag) > len(said)]
        if familiarity is not None and familiarity < UNFAMILIAR_BELOW:
            flags.insert(0, "unfamiliar")
        return Look(familiarity, tuple(flags))


def open_judge(run: Run) -> Judge | None:
    """The judge of a Run; None where a network in it has no reference.

    Raises:
        ModelError: a reference is missing or changed.
    """
    leaves = run.leaves()
    known = {leaf.sha256: load_reference(leaf) for leaf in leaves}
    found = {sha256: each for sha256, each in known.items() if each is not None}
    return Judge(found, leaves) if len(found) == len(known) else None
