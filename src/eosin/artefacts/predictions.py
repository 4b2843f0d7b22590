"""Predictions: one row an image, with the probability of every class and the choice made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from eosin.artefacts.cells import require_cells, require_columns
from eosin.artefacts.prediction_columns import (
    TRUST_COLUMNS,
    as_number,
    require_choices,
    require_probabilities,
    require_trust,
)
from eosin.artefacts.reference import Trust
from eosin.artefacts.tables import Sidecar, read_table, write_attention, write_table
from eosin.artefacts.values import Count, NamedProtocol, Sha256, Share
from eosin.errors import DataError
from eosin.files import StrPath, valid_text
from eosin.protocol import UNKNOWN
from eosin.remote import as_path
from eosin.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes

    from eosin.arrays import Bools, Floats, Ints

COLUMNS = ("path", "patient", "magnification", "label", "fold", "predicted", "decision")
_FIX = "write it again with `eosin predict` or `eosin train --fold all`"


class PredictionsSidecar(Sidecar):
    """What the sidecar of a predictions table says: the task, and the fields of its Provenance."""

    kind: Literal["predictions"] = "predictions"
    task: Task
    runs: tuple[str, ...]
    dataset: str
    protocol: NamedProtocol
    split: str
    model: str
    threshold: Share | None
    seen_allowed: bool
    notes: tuple[str, ...]
    images: Count
    trust: Trust | None
    run_hashes: tuple[Sha256, ...]


@dataclass(frozen=True)
class Provenance:
    """Where predictions come from."""

    runs: tuple[str, ...] = ()  # the Run folders, as they were named
    dataset: str = "files"  # the manifest's dataset name, or ``"files"``
    protocol: NamedProtocol = UNKNOWN  # the split protocol of the images scored
    split: str = "files"  # ``"test"``, ``"val"``, ``"train"``, ``"out-of-fold"`` or ``"files"``
    # the name to print, e.g. ``"tf_efficientnetv2_b0"``
    model: str = ""
    # the locked probability of the positive class from which the decision is positive; None for
    # more than two classes or where folds have each their own
    threshold: Share | None = None
    seen_allowed: bool = False  # whether the user let patients be scored that the Run had seen
    notes: tuple[str, ...] = ()  # plain sentences that every later artefact repeats

    def in_valid_text(self) -> Provenance:
        """The same for a file: bytes of a name that are not UTF-8 are spelled out."""
        runs, notes = (tuple(map(valid_text, texts)) for texts in (self.runs, self.notes))
        return replace(self, runs=runs, notes=notes, dataset=valid_text(self.dataset))


_PROVENANCE = tuple(Provenance.__dataclass_fields__)


@dataclass(frozen=True)
class Predictions:
    """A predictions table.

    Attributes:
        frame: one row an image: ``path`` (absolute), ``patient``, ``magnification``, ``label``
            (empty where unknown), ``fold`` (or empty), ``predicted`` (the most probable class),
            ``decision`` (the class chosen at the locked threshold; equal to ``predicted`` for
            more than two classes), all text, then ``p_<class>`` as floats in [0, 1] that sum
            to 1. Where a stain step was applied also ``stain_note``. Where ``trust`` is known also
            ``familiarity`` (the share of new patients' images at least as strange, NaN where the
            Run cannot tell), ``flags`` (words with spaces between), ``set`` (classes with ``|``
            between) and ``answer`` (a class, or ``"abstain"``). Never changed in place.
            ``frame()`` gives the same.
        task: the classes.
        provenance: where the table comes from.
        trust: how those four columns were made; None where the table lacks them.
        run_hashes: of the ``run.json`` of each Run behind it; none where that was not known.
        attention: where rows are slides, a row a tile, as ``inference.bags`` makes it; it is
            written beside the table, and never read with it.
    """

    frame: pd.DataFrame
    task: Task
    provenance: Provenance = Provenance()
    trust: Trust | None = None
    attention: pd.DataFrame | None = None
    run_hashes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        from eosin.artefacts.looks import callable_table

        object.__setattr__(self, "frame", callable_table(self.frame))
        wanted = [*COLUMNS, *self.probability_columns]
        require_columns(self.frame, wanted, what="a predictions table")
        if self.frame.empty:
            raise DataError("a predictions table needs at least one image; this one has none")
        strange = sorted(set(self.frame["label"]) - {*self.task.classes, ""})
        if strange:
            raise DataError(f"labels {strange} are not classes of {list(self.task.classes)}")
        require_probabilities(self.probabilities, self.frame["path"])

    def __len__(self) -> int:
        return len(self.frame)

    def __str__(self) -> str:
        known = self.provenance
        return (
            f"Predictions of {known.model or 'a model'} for {len(self)} images "
            f"({known.split}); {known.protocol.name}"
        )

    def _repr_html_(self) -> str:
        from eosin.artefacts.looks import as_html

        shown = self.frame[["path", "patient", "label", "decision", *self.probability_columns]]
        return as_html(self, shown.assign(path=[Path(path).name for path in shown["path"]]))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Histograms of a probability, one a true class; into ``ax``, or new axes.

        It is that of the positive class of two, else that of the class predicted.
        """
        from eosin.artefacts.looks import draw_scores

        values, what = self.frame[self.probability_columns].max(axis=1), "the class predicted"
        if self.task.positive is not None:
            values, what = self.frame[f"p_{self.task.positive}"], self.task.positive
        labels = self.frame["label"]
        names = [name for name in (*self.task.classes, "") if (labels == name).any()]
        scores = {name or "unknown": values[labels == name] for name in names}
        return draw_scores(scores, ax, title=str(self), of=what)

    @property
    def probability_columns(self) -> list[str]:
        """The names of the probability columns, in class order."""
        return [f"p_{name}" for name in self.task.classes]

    @property
    def probabilities(self) -> Floats:
        """Class probabilities, shape (n, classes)."""
        import numpy as np

        return np.asarray(self.frame[self.probability_columns], dtype=np.float64)

    @property
    def label_index(self) -> Ints:
        """True class index of each row, shape (n,); DataError where a label is unknown."""
        unlabelled = self.frame["label"] == ""
        if unlabelled.any():
            path = self.frame["path"][unlabelled].iloc[0]
            raise DataError(
                f"{path}: has no label, so it cannot be scored ({int(unlabelled.sum())} such "
                "rows); predict on a manifest instead of bare files"
            )
        return self._index_of("label")

    @property
    def predicted_index(self) -> Ints:
        """Index of the most probable class of each row, shape (n,)."""
        return self._index_of("predicted")

    @property
    def decision_index(self) -> Ints:
        """Index of the class chosen at the locked threshold, shape (n,)."""
        return self._index_of("decision")

    def where(self, mask: Bools | pd.Series) -> Predictions:
        """The rows where ``mask`` (shape (n,)) is true; DataError where none is."""
        import numpy as np

        return replace(self, frame=self.frame[np.asarray(mask, bool)].reset_index(drop=True))

    def with_stain_notes(self, notes: Mapping[Path, str]) -> Predictions:
        """A copy with a column ``stain_note``: what the stain step noted of each file, or nothing.

        That is the code of why an image was scored unchanged (``"blank"``, ``"grey"``, ...), or
        ``"own-stain"`` where its patient's stain could not be estimated and its own was used.
        """
        said = [notes.get(as_path(path), "") for path in self.frame["path"]]
        return replace(self, frame=self.frame.assign(stain_note=said))

    def with_trust(self, frame: pd.DataFrame, trust: Trust | None) -> Predictions:
        """The same rows as ``frame`` has them, with the columns that ``trust`` speaks of."""
        return replace(self, frame=frame, trust=trust)

    @property
    def flagged(self) -> Bools:
        """Which rows have a flag, shape (n,); none where the table has no such column."""
        import numpy as np

        return np.asarray(self.frame["flags"] != "") if self.trust else np.zeros(len(self), bool)

    def write(self, path: StrPath) -> None:
        """Write the CSV (paths relative to its folder where they can be) and its sidecar."""
        known = self.provenance.in_valid_text()
        fields = {name: getattr(known, name) for name in _PROVENANCE}
        fields |= {"task": self.task, "images": len(self), "trust": self.trust}
        fields["run_hashes"] = self.run_hashes
        write_attention(self.attention, Path(path))
        write_table(self.frame, Path(path), PredictionsSidecar, fields)

    def _index_of(self, column: str) -> Ints:
        import numpy as np

        cells = self.frame[column].to_numpy(dtype=object)
        index = np.full(len(cells), -1, dtype=np.int64)
        for number, name in enumerate(self.task.classes):
            index[cells == name] = number
        return index


def make_predictions(
    images: pd.DataFrame,
    probabilities: Floats,
    *,
    task: Task,
    threshold: float | Floats | None = None,
    provenance: Provenance | None = None,
) -> Predictions:
    """Predictions from manifest rows and probabilities.

    Args:
        images: rows with the manifest's columns, n of them.
        probabilities: shape (n, classes), rows sum to 1.
        task: the classes.
        threshold: for a binary task, the probability of the positive class from which the
            decision is positive: one for all or one a row, shape (n,); None means 0.5.
        provenance: where they come from.
    """
    import numpy as np

    classes = np.array(task.classes)
    predicted = classes[probabilities.argmax(axis=1)]
    decision = predicted
    if task.binary and threshold is not None:
        positive = task.positive_index
        chosen = probabilities[:, positive] >= threshold
        decision = np.where(chosen, classes[positive], classes[1 - positive])
    frame = images[["path", "patient", "magnification", "label", "fold"]].reset_index(drop=True)
    frame = frame.assign(predicted=predicted, decision=decision)
    columns = {f"p_{name}": probabilities[:, index] for index, name in enumerate(task.classes)}
    return Predictions(frame.assign(**columns), task, provenance or Provenance())


def unscored_note(images: int) -> tuple[str, ...]:
    """A sentence on images that no prediction could be made of; none where there are none."""
    one = "1 image could not be read and is not scored."
    many = f"{images} images could not be read and are not scored."
    return (one if images == 1 else many,) if images else ()


def read_predictions(path: StrPath) -> Predictions:
    """Read predictions and their sidecar.

    Raises:
        DataError: the table was changed, a row of it contradicts itself, the task or the
            threshold, or the sidecar is wrong; names the file, the row and the fix.
    """
    path = Path(path)
    table = read_table(path, PredictionsSidecar, fix=_FIX, since={"trust": None, "run_hashes": ()})
    task, known = table.sidecar.task, table.sidecar
    columns = [f"p_{name}" for name in task.classes]
    wanted = [*COLUMNS, *columns, *(TRUST_COLUMNS if known.trust else ())]
    require_columns(table.frame, wanted, what=f"{path}: a predictions table")
    frame = table.frame.assign(**{name: table.frame[name].map(as_number) for name in columns})
    for name in columns:
        fine = frame[name] >= 0
        require_cells(path, table.frame, fine, f"is no probability; {_FIX}", columns=[name])
    require_choices(path, frame, task, known.threshold, fix=_FIX)
    if known.trust is not None:
        frame = frame.assign(familiarity=frame["familiarity"].map(as_number))
        require_trust(path, table.frame, frame, task, known.trust, fix=_FIX)
    if table.unchanged is False:
        raise DataError(
            f"{path}: was changed after it was written (its sidecar has another SHA-256); "
            "predict again"
        )
    provenance = Provenance(**{name: getattr(known, name) for name in _PROVENANCE})
    try:
        frame, hashes = frame.reset_index(drop=True), known.run_hashes
        return Predictions(frame, task, provenance, known.trust, run_hashes=hashes)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
