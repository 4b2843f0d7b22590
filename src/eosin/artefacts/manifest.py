"""The Manifest: one row an image, with its label, patient, split and fold."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from eosin.artefacts.cells import require_cells, require_columns
from eosin.artefacts.names import PatternText, patient_pattern
from eosin.artefacts.tables import Sidecar, read_table, require_folds, write_table
from eosin.artefacts.values import Count, NamedProtocol, Sha256
from eosin.errors import DataError, EosinError, LeakageError, first_ten
from eosin.files import StrPath, valid_text
from eosin.protocol import UNSPLIT, Protocol
from eosin.remote import as_path, brought, is_url
from eosin.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from eosin.arrays import Bools, Ints, Texts

COLUMNS = ("path", "label", "patient", "magnification", "split", "fold")
SPLITS = ("train", "val", "test")
_FIX = "write it again with `eosin data` and `eosin split`"


class ManifestSidecar(Sidecar):
    """What a manifest's sidecar says; counts and fingerprint are those of the table as written."""

    kind: Literal["manifest"] = "manifest"
    dataset: str
    task: Task
    protocol: NamedProtocol
    notes: tuple[str, ...]
    images: Count
    patients: Count
    fingerprint: Sha256
    patient_pattern: PatternText


@dataclass(frozen=True)
class Manifest:
    """Images of one dataset and what is known of each.

    Attributes:
        frame: one row an image, all columns text: ``path`` (absolute), ``label`` (or empty),
            ``patient``, ``magnification`` (``"100"``, or empty), ``split`` (train, val, test or
            empty), ``fold`` (``"1"``... or empty), then whatever the reader knew. Never changed in
            place. ``frame()`` gives the same.
        task: the classes.
        dataset: the reader's name, e.g. ``"breakhis"``.
        protocol: how images were divided.
        notes: plain sentences that every later artefact repeats.
        patient_pattern: the regular expression whose first group in a file name is the patient,
            where patients were read by one; a Run knows its patients again by it.
    """

    frame: pd.DataFrame
    task: Task
    dataset: str
    protocol: Protocol = UNSPLIT
    notes: tuple[str, ...] = ()
    patient_pattern: str = ""

    def __post_init__(self) -> None:
        from eosin.artefacts.looks import callable_table

        object.__setattr__(self, "frame", callable_table(self.frame))
        require_columns(self.frame, COLUMNS, what="a manifest")
        if self.frame.empty:
            raise DataError("a manifest needs at least one image; this one has none")
        unknown = sorted(set(self.frame["label"]) - {*self.task.classes, ""})
        if unknown:
            raise DataError(
                f"labels {unknown} are not classes of task {self.task.name!r}: "
                f"{list(self.task.classes)}"
            )
        repeated = self.frame["path"][self.frame["path"].duplicated()]
        if len(repeated):
            raise DataError(f"{repeated.iloc[0]}: listed twice in the manifest; keep one row")
        if self.patient_pattern:
            patient_pattern(self.patient_pattern)

    def __len__(self) -> int:
        return len(self.frame)

    def __str__(self) -> str:
        who = (
            f"{len(self.patients)} patients" if self.protocol.patients_known else "unknown patients"
        )
        return f"Manifest of {self.dataset}: {len(self)} images of {who}; {self.protocol.name}"

    def _repr_html_(self) -> str:
        from eosin.artefacts.looks import as_html

        return as_html(self, self.counts().reset_index())

    def counts(self) -> pd.DataFrame:
        """Images by class (rows) and by fold or split (columns); ``all`` where undivided."""
        import pandas as pd

        column = "fold" if self.folds else "split"
        cells = self.frame[column]
        rest = f"in no {column}" if (cells != "").any() else "all"
        parts = cells.mask(cells == "", rest)
        labels = self.frame["label"].mask(self.frame["label"] == "", "unlabelled")
        order = [name for name in (*self.task.classes, "unlabelled") if name in set(labels)]
        found = pd.crosstab(labels, parts).reindex(order)
        columns = (*SPLITS, *map(str, self.folds), rest)
        return found[[name for name in columns if name in found.columns]]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Bars of the images of each class, by fold or split; into ``ax``, or new axes."""
        from eosin.artefacts.looks import draw_bars

        counts = self.counts()
        return draw_bars(counts.T, ax, title=str(self), across=str(counts.columns.name))

    @property
    def paths(self) -> list[Path]:
        """Absolute image paths, in row order; those of URLs are fetched when they are opened."""
        return [as_path(path) for path in self.frame["path"]]

    @property
    def label_index(self) -> Ints:
        """Class index of each row, shape (n,); DataError where a label is unknown."""
        import numpy as np

        if (self.frame["label"] == "").any():
            path = self.frame["path"][self.frame["label"] == ""].iloc[0]
            raise DataError(f"{path}: has no label; give it one or drop its row")

        index_of = {name: index for index, name in enumerate(self.task.classes)}
        return np.array([index_of[label] for label in self.frame["label"]], dtype=np.int64)

    @property
    def kept_whole(self) -> Texts:
        """Of each row its patient, or where slides or images were divided, its slide or path."""
        import numpy as np

        column = {"slide": "slide", "image": "path"}.get(self.protocol.unit, "patient")
        return np.asarray(self.frame[column], dtype=np.str_)

    @property
    def patients(self) -> tuple[str, ...]:
        """The distinct patients, sorted."""
        return tuple(sorted(set(self.frame["patient"])))

    @property
    def known_patients(self) -> tuple[str, ...] | None:
        """The patient of each row, in row order; None where patients are not known."""
        return tuple(self.frame["patient"]) if self.protocol.patients_known else None

    @property
    def folds(self) -> tuple[int, ...]:
        """The fold numbers present, sorted; empty where the manifest has none."""
        return tuple(sorted({int(fold) for fold in self.frame["fold"] if fold}))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the task and of every row, whatever their order and wherever the images lie.

        Paths count from their common folder.
        """
        paths = [Path("/", path) if is_url(path) else Path(path) for path in self.frame["path"]]
        top = os.path.commonpath([str(path.parent) for path in paths])
        rows = sorted(
            "\t".join((path.relative_to(top).as_posix(), *rest))
            for path, (_, *rest) in zip(
                paths, self.frame[list(COLUMNS)].itertuples(index=False, name=None), strict=True
            )
        )
        said = "\n".join([str(digested(self.task)), *rows])
        return hashlib.sha256(said.encode("utf-8", "surrogateescape")).hexdigest()

    def where(self, mask: Sequence[bool] | Bools | pd.Series) -> Manifest:
        """The rows where ``mask`` (shape (n,)) is true; DataError where none is."""
        import numpy as np

        kept = self.frame[np.asarray(mask, dtype=bool)].reset_index(drop=True)
        return replace(self, frame=kept)

    @property
    def by_path(self) -> Manifest:
        """The rows in the order of their paths: draws go by row, and CSV rows may be shuffled."""
        return replace(self, frame=self.frame.sort_values("path", ignore_index=True))

    def in_split(self, split: str) -> Manifest:
        """The rows of one split; DataError where there are none."""
        kept = self.frame["split"] == split
        if not kept.any():
            present = sorted(set(self.frame["split"]) - {""})
            raise DataError(
                f"the manifest has no image in split {split!r} (it has {present or 'no splits'}); "
                + _how_to_make(split, present)
            )
        return self.where(kept)

    def crossing_patients(self) -> tuple[str, ...]:
        """Patients that stand in more than one split or fold, sorted."""
        crossing: set[str] = set()
        for column in ("split", "fold"):
            placed = self.frame[self.frame[column] != ""]
            counts = placed.groupby("patient")[column].nunique()
            crossing.update(counts[counts > 1].index)
        return tuple(sorted(crossing))

    def require_honest_name(self) -> None:
        """LeakageError, naming them, where patients cross splits under a name that hides it."""
        crossing = self.crossing_patients()
        if crossing and not self.protocol.leaky:
            raise LeakageError(
                f"{len(crossing)} patients stand in more than one split of a manifest that calls "
                f"itself {self.protocol.name!r}: {first_ten(crossing)}. "
                "Split again with `eosin split --by patient`, or "
                "with `--by image` to have the leak in the name."
            )

    def require_named_patients(self) -> None:
        """DataError naming the first image of training, validation or a fold without a patient."""
        used = self.frame["split"].isin(("train", "val")) | (self.frame["fold"] != "")
        nameless = self.frame["path"][used & (self.frame["patient"] == "")]
        if len(nameless):
            raise DataError(f"{nameless.iloc[0]}: names no patient; fill in the column patient")

    def write(self, path: StrPath) -> None:
        """Write the CSV (paths relative to its folder where they can be) and its sidecar."""
        fields = {
            "dataset": valid_text(self.dataset),
            "task": self.task,
            "protocol": self.protocol,
            "notes": tuple(map(valid_text, self.notes)),
            "images": len(self),
            "patients": len(self.patients),
            "fingerprint": self.fingerprint,
            "patient_pattern": self.patient_pattern,
        }
        write_table(self.frame, Path(path), ManifestSidecar, fields)


def digested(task: Task) -> dict[str, object]:
    """A task as it enters digests; Runs of every version hold such, so its form never changes."""
    return {
        "name": task.name,
        "classes": list(task.classes),
        "positive": task.positive,
        "ordinal": task.ordinal,
    }


def _how_to_make(split: str, present: Sequence[str]) -> str:
    if split == "val" and {"train", "test"} <= set(present):
        return "divide the training images and keep the test split: `eosin split --keep-test`"
    return "make one with `eosin split`"


def read_manifest(path: StrPath) -> Manifest:
    """Read a manifest and its sidecar.

    Rows may be edited by hand, also dropped, and columns added. The protocol stays that of the
    sidecar, a note says that the rows were edited, and ``require_honest_name`` looks at the rows.

    Raises:
        DataError: the table or its sidecar is wrong; names the file, the row and the fix.
    """
    path = brought(path)
    table = read_table(path, ManifestSidecar, fix=_FIX)
    known = table.sidecar
    require_columns(table.frame, COLUMNS, what=f"{path}: a manifest")
    _require_known_values(path, table.frame, known.task)
    try:
        manifest = Manifest(
            frame=table.frame.reset_index(drop=True),
            task=known.task,
            dataset=known.dataset,
            protocol=known.protocol,
            notes=known.notes,
            patient_pattern=known.patient_pattern,
        )
    except EosinError as error:
        raise type(error)(f"{path}: {error}") from error
    if not table.unchanged and manifest.fingerprint != known.fingerprint:
        edited = f"Rows of {valid_text(path.name)} were edited after eosin wrote them."
        return replace(manifest, notes=tuple(dict.fromkeys((*known.notes, edited))))
    return manifest


def _require_known_values(path: Path, frame: pd.DataFrame, task: Task) -> None:
    for column, values in (("label", task.classes), ("split", SPLITS)):
        why = f"want one of {list(values)}, or nothing"
        require_cells(path, frame, frame[column].isin([*values, ""]), why, columns=[column])
    require_folds(path, frame)
