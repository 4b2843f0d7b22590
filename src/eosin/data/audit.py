"""The audit of a manifest: copies, leaks, contradicting labels, balance, unreadable files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from eosin.data.balance import Balance, balance_of
from eosin.data.fingerprints import Fingerprint, fingerprint, read_each
from eosin.data.near_duplicates import Match, equal_pictures, find_near_duplicates
from eosin.files import sha256_of
from eosin.pixels.reading import SkippedFile, read_image
from eosin.progress import SILENT, Progress, shown
from eosin.remote import as_path
from eosin.slides.tile import file_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from eosin.artefacts.manifest import Manifest
    from eosin.protocol import Protocol

_UNMOVED = 0.97  # share in common above which a shift is no more than the rounding of small images
Kind = Literal["identical file", "identical pixels", "near-duplicate"]


@dataclass(frozen=True, slots=True)
class AuditedImage:
    """A row of the manifest, as far as the audit looks at it; ``patient`` is empty if unknown."""

    path: str
    label: str
    patient: str
    split: str
    fold: str

    @property
    def part(self) -> str:
        """Where the image stands, e.g. ``"test"`` or ``"fold 3"``; empty if undivided."""
        return ", ".join(filter(None, (self.split, self.fold and f"fold {self.fold}")))


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two files that hold one picture."""

    a: AuditedImage  # the earlier row of the manifest
    b: AuditedImage  # the later row
    kind: Kind  # how alike they are
    # what makes ``b`` of ``a``, e.g. ``"flipped horizontally, re-encoded"``
    transform: str
    distance: float  # 1 - correlation of the pictures, 0 (equal) to about 0.3

    @property
    def path_a(self) -> str:
        """File of the earlier row."""
        return self.a.path

    @property
    def path_b(self) -> str:
        """File of the later row."""
        return self.b.path

    @property
    def across_splits(self) -> bool:
        """Whether the two stand in different splits or folds: a leak."""
        return _differ(self.a.split, self.b.split) or _differ(self.a.fold, self.b.fold)

    @property
    def across_patients(self) -> bool:
        """Whether the two are said to come from different (known) patients."""
        return _differ(self.a.patient, self.b.patient)

    @property
    def across_labels(self) -> bool:
        """Whether the one picture carries two labels; no label is not another one."""
        return _differ(self.a.label, self.b.label)

    def to_dict(self) -> dict[str, object]:
        """The pair as one flat row of plain values."""
        return {
            "path_a": self.path_a,
            "path_b": self.path_b,
            "kind": self.kind,
            "transform": self.transform,
            "distance": round(self.distance, 4),
            "across_splits": self.across_splits,
            "across_patients": self.across_patients,
            "across_labels": self.across_labels,
            "label_a": self.a.label,
            "label_b": self.b.label,
            "patient_a": self.a.patient,
            "patient_b": self.b.patient,
            "part_a": self.a.part,
            "part_b": self.b.part,
        }


PAIR_COLUMNS = (
    *("path_a", "path_b", "kind", "transform", "distance"),
    *("across_splits", "across_patients", "across_labels"),
    *("label_a", "label_b", "patient_a", "patient_b", "part_a", "part_b"),
)


@dataclass(frozen=True)
class Audit:
    """What an audit found."""

    images: int  # rows of the manifest
    patients: int | None  # distinct patients, or None where they are unknown
    dataset: str  # the manifest's dataset
    protocol: Protocol  # the manifest's protocol
    duplicates: tuple[DuplicatePair, ...]  # a picture in k files gives k - 1 pairs, gravest first
    crossing_patients: tuple[str, ...]  # patients in more than one split or fold, sorted
    # patient and labels; no fault where labels are of the image
    patients_with_several_labels: tuple[tuple[str, tuple[str, ...]], ...]
    balance: Balance  # images and patients by part and class
    blank: tuple[str, ...]  # files with too little structure to be compared for near-duplicates
    unreadable: tuple[SkippedFile, ...]  # files that cannot be read, and why

    @property
    def leaks(self) -> tuple[DuplicatePair, ...]:
        """Pairs that stand in different splits or folds."""
        return tuple(pair for pair in self.duplicates if pair.across_splits)

    @property
    def label_conflicts(self) -> tuple[DuplicatePair, ...]:
        """Pairs whose one picture carries two labels."""
        return tuple(pair for pair in self.duplicates if pair.across_labels)

    @property
    def divided(self) -> bool:
        """Whether the manifest has splits or folds at all."""
        return self.balance.parts != ("all images",)

    @property
    def faults(self) -> tuple[str, ...]:
        """What must be mended, in plain words; empty where all is well."""
        found = (
            (len(self.leaks), "duplicate pair crosses", "duplicate pairs cross", "splits"),
            (len(self.crossing_patients), "patient crosses", "patients cross", "splits"),
            (len(self.label_conflicts), "picture carries", "pictures carry", "two labels"),
            (len(self.unreadable), "file", "files", "cannot be read"),
        )
        return tuple(f"{n:,} {one if n == 1 else many} {rest}" for n, one, many, rest in found if n)

    @property
    def ok(self) -> bool:
        """No leak across splits, no label conflict and no unreadable file."""
        return not self.faults

    @property
    def verdict(self) -> str:
        """One sentence on whether figures from this manifest can be trusted, and why."""
        if not self.ok:
            start = "Figures from this manifest cannot be trusted as they are: "
            return start + "; ".join(self.faults) + "."
        if not self.divided:
            found = f"{self._pairs_in_words[:1].upper()}{self._pairs_in_words[1:]}"
            return f"{found}; the images are in no splits yet, so nothing can cross them."
        if self.patients is None:
            return (
                "No picture crosses the splits, but patients are not known, so whether patients "
                f"cross cannot be seen: {self._pairs_in_words}."
            )
        return f"No leak was found: no patient and no picture crosses; {self._pairs_in_words}."

    @property
    def _pairs_in_words(self) -> str:
        count = len(self.duplicates)
        pairs = "duplicate pair" if count < 2 else "duplicate pairs"
        return f"{f'{count:,}' if count else 'no'} {pairs} in {self.images:,} images"

    def frame(self) -> pd.DataFrame:
        """The duplicate pairs, one row each, gravest first; columns as in ``PAIR_COLUMNS``."""
        import pandas as pd

        rows = [pair.to_dict() for pair in self.duplicates]
        return pd.DataFrame(rows, columns=list(PAIR_COLUMNS))

    def _repr_html_(self) -> str:
        from eosin.artefacts.looks import as_html

        return as_html(self.verdict, self.frame())

    def to_dict(self) -> dict[str, object]:
        """Everything found, as plain JSON values."""
        return {
            "ok": self.ok,
            "verdict": self.verdict,
            "dataset": self.dataset,
            "protocol": self.protocol.to_dict(),
            "images": self.images,
            "patients": self.patients,
            "duplicates": [pair.to_dict() for pair in self.duplicates],
            "crossing_patients": list(self.crossing_patients),
            "patients_with_several_labels": {
                patient: list(labels) for patient, labels in self.patients_with_several_labels
            },
            "balance": self.balance.to_dict(),
            "blank": list(self.blank),
            "unreadable": [
                {"file": str(item.path), "reason": item.reason} for item in self.unreadable
            ],
        }


def audit_manifest(
    manifest: Manifest, *, workers: int | None = None, progress: Progress | bool = SILENT
) -> Audit:
    """Read every image of a manifest and report what would make its figures wrong.

    Args:
        manifest: divided or not; folds count as splits.
        workers: threads that decode images.
        progress: told of images read.
    """
    results = read_each(manifest.paths, fingerprint, workers=workers, progress=shown(progress))
    readable = [
        (row, item) for row, item in enumerate(results) if not isinstance(item, SkippedFile)
    ]
    known = manifest.protocol.patients_known
    return Audit(
        images=len(manifest),
        patients=len(manifest.patients) if known else None,
        dataset=manifest.dataset,
        protocol=manifest.protocol,
        duplicates=_duplicates(_audited_images(manifest), readable, workers),
        crossing_patients=manifest.crossing_patients() if known else (),
        patients_with_several_labels=_several_labels(manifest) if known else (),
        balance=balance_of(manifest),
        blank=tuple(str(manifest.paths[row]) for row, item in readable if item.blank),
        unreadable=tuple(item for item in results if isinstance(item, SkippedFile)),
    )


def _duplicates(
    images: Sequence[AuditedImage],
    readable: Sequence[tuple[int, Fingerprint]],
    workers: int | None,
) -> tuple[DuplicatePair, ...]:
    rows = [images[row] for row, _ in readable]
    prints = [item for _, item in readable]
    pairs = [_equal_pair(rows[first], rows[second]) for first, second in equal_pictures(prints)]
    matches = find_near_duplicates(
        prints, lambda index: read_image(as_path(rows[index].path)), workers=workers
    )
    pairs.extend(
        DuplicatePair(
            a=rows[match.first],
            b=rows[match.second],
            kind="near-duplicate",
            transform=transform_of(match, prints[match.first], prints[match.second]),
            distance=1.0 - match.similarity,
        )
        for match in matches
    )
    return tuple(sorted(pairs, key=_gravity))


def transform_of(match: Match, first: Fingerprint, second: Fingerprint) -> str:
    """What makes the second picture of the first, in words."""
    words = [match.turned] if match.turned else []
    height, width = first.shape[::-1] if match.orientation & 4 else first.shape
    scale = second.shape[0] / height
    if match.turned and (height, width) == second.shape and first.colours == second.colours:
        return match.turned
    if match.overlap is not None and match.overlap.share < _UNMOVED:
        words.append(f"field photographed again ({match.overlap.share:.0%} in common)")
    elif (height, width) == second.shape:
        words.append("re-encoded")
    elif abs(scale * width - second.shape[1]) <= max(2.0, 0.02 * second.shape[1]):
        words.append(f"rescaled ({scale:.2g}x)")
    else:
        words.append("stretched to another shape")
    return ", ".join(words)


def _equal_pair(first: AuditedImage, second: AuditedImage) -> DuplicatePair:
    files = [as_path(each.path) for each in (first, second)]
    tiles = any(file_of(file) != file for file in files)
    same = not tiles and sha256_of(files[0]) == sha256_of(files[1])
    kind: Kind = "identical file" if same else "identical pixels"
    return DuplicatePair(first, second, kind, "copied" if same else "saved again without loss", 0.0)


def _gravity(pair: DuplicatePair) -> tuple[bool, bool, bool, float, str]:
    """Sorting by this puts the gravest pairs first."""
    return (
        not pair.across_labels,
        not pair.across_splits,
        not pair.across_patients,
        pair.distance,
        pair.path_a,
    )


def _audited_images(manifest: Manifest) -> list[AuditedImage]:
    rows = manifest.frame[["path", "label", "patient", "split", "fold"]]
    known = manifest.protocol.patients_known
    return [
        AuditedImage(str(path), label, patient if known else "", split, fold)
        for path, label, patient, split, fold in rows.itertuples(index=False, name=None)
    ]


def _several_labels(manifest: Manifest) -> tuple[tuple[str, tuple[str, ...]], ...]:
    rows = manifest.frame[manifest.frame["label"] != ""]
    groups = rows.groupby("patient")["label"].unique()
    return tuple(
        (str(patient), tuple(c for c in manifest.task.classes if c in labels))
        for patient, labels in groups.items()
        if len(labels) > 1
    )


def _differ(first: str, second: str) -> bool:
    return bool(first and second and first != second)
