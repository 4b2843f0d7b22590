"""How images were divided, under a name that cannot hide a leak."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Unit = Literal["unsplit", "patient", "slide", "image", "official", "external", "site", "scanner"]
_TITLES = {
    "unsplit": "unsplit",
    "official": "official split",
    "external": "external images",
    "site": "leave-one-site-out",
    "scanner": "leave-one-scanner-out",
}


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
        pseudo: whether patients are no named people but pseudo-patients: groups of images that
            look as if they shared a slide.
    """

    unit: Unit = "unsplit"
    design: str = ""
    leaky: bool = False
    patients_known: bool = True
    seed: int | None = None
    pseudo: bool = False

    @property
    def name(self) -> str:
        """The name to print, e.g. ``"image-level (leaky), 5-fold"``."""
        title = _TITLES.get(self.unit, f"{self.unit}-level")
        marks = ["leaky"] if self.leaky else []
        if not (marks or self.patients_known or self.unit == "unsplit"):
            marks = ["patients unknown"]
        if self.pseudo and self.unit == "patient":
            title = "pseudo-patient"  # never patient-level: nobody knows whether it is
        elif self.pseudo:
            marks.append("pseudo-patients")
        if marks:
            title += f" ({', '.join(marks)})"
        return f"{title}, {self.design}" if self.design else title

    @property
    def warning(self) -> str | None:
        """One plain sentence on what figures under this protocol cannot mean, or None."""
        if self.pseudo:
            crossing = "Some of them stand in training and test here. " if self.leaky else ""
            return (
                "Patients are not known here. Pseudo-patients stand in for them: images that look "
                f"as if they shared a slide. {crossing}One patient may still be several of them, "
                "so a leak cannot be ruled out, and intervals may be too narrow."
            )
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
        fields = asdict(self)
        if not self.pseudo:  # older files do not have it
            del fields["pseudo"]
        return {**fields, "name": self.name, "warning": self.warning}


UNSPLIT = Protocol()
UNKNOWN = Protocol(patients_known=False)
