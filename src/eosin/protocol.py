"""How images were divided, under a name that cannot hide a leak."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Unit = Literal["unsplit", "patient", "slide", "image", "official", "external"]
_TITLES = {"official": "official split", "external": "external images"}


@dataclass(frozen=True, slots=True)
class Protocol:
    """A split protocol; its ``name`` follows every artefact made from it.

    Attributes:
        unit: what was kept whole when images were divided; ``"external"`` for images that no
            split of the Run's own manifest names.
        design: the shape of the division, e.g. ``"5-fold"`` or ``"70/15/15"``.
        leaky: whether a known patient stands on both sides.
        patients_known: whether patients are known at all; without them no leak can be seen.
        seed: the seed of the draw, where there was one.
    """

    unit: Unit = "unsplit"
    design: str = ""
    leaky: bool = False
    patients_known: bool = True
    seed: int | None = None

    @property
    def name(self) -> str:
        """The name to print, e.g. ``"image-level (leaky), 5-fold"``."""
        if self.unit == "unsplit":
            return "unsplit"
        title = _TITLES.get(self.unit, f"{self.unit}-level")
        if self.leaky:
            title += " (leaky)"
        elif not self.patients_known:
            title += " (patients unknown)"
        return f"{title}, {self.design}" if self.design else title

    @property
    def warning(self) -> str | None:
        """One plain sentence on what figures under this protocol cannot mean, or None."""
        if self.leaky:
            return (
                "The same patients stand in training and test: these figures reward "
                "remembering patients and do not estimate accuracy on new ones."
            )
        if not self.patients_known:
            return (
                "Patients are not known here: each image counts as its own patient, a leak "
                "between training and test cannot be ruled out, and intervals are too narrow."
            )
        return None

    def to_dict(self) -> dict[str, object]:
        """The protocol as plain JSON values, its name and warning included for human readers."""
        return {**asdict(self), "name": self.name, "warning": self.warning}


UNSPLIT = Protocol()
UNKNOWN = Protocol(patients_known=False)
