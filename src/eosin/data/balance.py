"""How many images and patients each class has in each part of a manifest, and who weighs most."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from eosin.artefacts.manifest import Manifest


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Images and patients of one class in one part."""

    part: str
    label: str
    images: int
    patients: int


@dataclass(frozen=True, slots=True)
class HeaviestPatient:
    """The patient with most images in one part; ``share`` is of that part's images, 0 to 1."""

    part: str
    patient: str
    images: int
    share: float


@dataclass(frozen=True, slots=True)
class Balance:
    """Counts of a manifest by part (a split, a fold, or ``"all images"``) and class.

    Attributes:
        parts: in order of training, validation, test, or of fold.
        counts: one a part and class, also where it is zero.
        totals: one a part, its ``label`` empty.
        heaviest: one a part; empty where patients are unknown.
    """

    parts: tuple[str, ...]
    counts: tuple[ClassCount, ...]
    totals: tuple[ClassCount, ...]
    heaviest: tuple[HeaviestPatient, ...]

    def frame(self) -> pd.DataFrame:
        """One row a part and class: ``part, label, images, patients``."""
        import pandas as pd

        return pd.DataFrame([asdict(item) for item in self.counts])

    def to_dict(self) -> dict[str, object]:
        """The counts as plain JSON values."""
        return {
            "counts": [asdict(item) for item in self.counts],
            "totals": [asdict(item) for item in self.totals],
            "heaviest_patients": [asdict(item) for item in self.heaviest],
        }


def balance_of(manifest: Manifest) -> Balance:
    """Count images and patients by part and class; parts are splits, else folds, else all."""
    rows = manifest.frame.assign(part=part_names(manifest))
    order = {
        part: _order(split, fold)
        for part, split, fold in zip(rows["part"], rows["split"], rows["fold"], strict=True)
    }
    parts = tuple(sorted(order, key=lambda part: order[part]))
    groups = [(part, rows[rows["part"] == part]) for part in parts]
    counts = [
        _count(part, label, group[group["label"] == label])
        for part, group in groups
        for label in manifest.task.classes
    ]
    known = manifest.protocol.patients_known
    return Balance(
        parts=parts,
        counts=tuple(counts),
        totals=tuple(_count(part, "", group) for part, group in groups),
        heaviest=tuple(_heaviest(part, group) for part, group in groups) if known else (),
    )


def part_names(manifest: Manifest) -> list[str]:
    """The part each row stands in: ``"train"``, ``"fold 2"``, or ``"all images"`` if undivided."""
    rows = manifest.frame
    if (rows["split"] != "").any():
        return [split or "in no split" for split in rows["split"]]
    if (rows["fold"] != "").any():
        return [f"fold {fold}" if fold else "in no fold" for fold in rows["fold"]]
    return ["all images"] * len(rows)


def _order(split: str, fold: str) -> tuple[int, float]:
    """Training first, folds by their number, images in none last."""
    known = ("train", "val", "test")
    rank = known.index(split) if split in known else len(known)
    return rank, int(fold) if fold.isdigit() else inf


def _count(part: str, label: str, rows: pd.DataFrame) -> ClassCount:
    return ClassCount(part, label, len(rows), int(rows["patient"].nunique()))


def _heaviest(part: str, rows: pd.DataFrame) -> HeaviestPatient:
    sizes = rows["patient"].value_counts()
    images = int(sizes.max())
    patient = min(sizes.index[sizes == images])
    return HeaviestPatient(part, str(patient), images, images / len(rows))
