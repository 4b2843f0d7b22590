"""One row a map: what the checks of faithfulness found; and the means of many with intervals."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.tables import write_csv
from eosin.errors import DataError
from eosin.evaluation.intervals import Bootstrap, patient_columns
from eosin.evaluation.weights import Weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from eosin.arrays import Floats


class Finding(StrEnum):
    """What the verdict rests on, without its figures."""

    FAITHFUL = "faithful"
    FLAT = "flat"
    NOTHING = "nothing to explain"
    RANDOM = "no better than random"
    CENTRE = "no better than a blob in the middle"
    UNCHANGED = "does not change when randomised"


@dataclass(frozen=True, slots=True)
class FaithfulnessRow:
    """One map of one image by one network and method.

    Attributes:
        path: the image.
        model: the network's name.
        method: how the map was made.
        target: the class explained.
        probability: of that class in the untouched image, in [0, 1].
        deletion_auc, insertion_auc: areas under the map's curves, in [0, 1].
        deletion_random, insertion_random: the same for random maps; equal by symmetry.
        deletion_centre, insertion_centre: the same for a blob in the middle.
        gap: insertion less deletion area.
        random_as_good: share of random maps whose gap is no smaller, in [0, 1].
        span: how far removal moves the probability at most.
        untrained_span: the same in untrained networks, the largest; None where not tried.
        randomised_head_similarity, randomised_all_similarity: Spearman's correlation with the map
            of a network with a random head, or all random; None where not tried.
        flip_stability, stain_stability: Spearman's correlation with maps of mirrored and of
            restained images; None where not tried.
        pointing, energy, mask_auc, mask_area: see ``Localisation``; None without a true region.
        faithful: the verdict.
        finding: what it rests on.
        verdict: the verdict in words, with its reason and figures.
    """

    path: Path
    model: str
    method: str
    target: str
    probability: float
    deletion_auc: float
    deletion_random: float
    deletion_centre: float
    insertion_auc: float
    insertion_random: float
    insertion_centre: float
    gap: float
    random_as_good: float
    span: float
    untrained_span: float | None
    randomised_head_similarity: float | None
    randomised_all_similarity: float | None
    flip_stability: float | None
    stain_stability: float | None
    pointing: float | None
    energy: float | None
    mask_auc: float | None
    mask_area: float | None
    faithful: bool
    finding: Finding
    verdict: str


_WORDS = ("path", "model", "method", "target", "finding", "verdict")
MEASURES = tuple(field.name for field in fields(FaithfulnessRow) if field.name not in _WORDS)


def write_faithfulness(rows: Sequence[FaithfulnessRow], path: Path) -> None:
    """Write a CSV with one line a map; what was not measured is left empty.

    Raises:
        DataError: no rows.
    """
    write_csv(_frame(rows), path, float_format="%.6g")


def summarise(
    rows: Sequence[FaithfulnessRow], patients: Sequence[str], *, bootstrap: Bootstrap | None = None
) -> pd.DataFrame:
    """Means over images with intervals that respect the patient.

    Args:
        rows: of any models and methods.
        patients: the patient of each row; an empty name makes the image a patient of its own.
        bootstrap: how intervals are drawn; by default 2,000 resamples and 95 %.

    Returns:
        One line for each model, method and measure that has values: ``model, method, measure,
        mean, low, high, images, patients``. The mean of ``faithful`` is the share of maps to
        believe. ``low`` and ``high`` are missing where there is one patient only.

    Raises:
        DataError: no rows, or not one patient a row.
    """
    import pandas as pd

    frame = _frame(rows)
    if len(patients) != len(rows):
        raise DataError(f"{len(patients)} patients for {len(rows)} rows; give one patient a row")
    drawn = bootstrap or Bootstrap()
    names = np.array(
        [patient or f"image {row.path}" for patient, row in zip(patients, rows, strict=True)]
    )
    lines = []
    for (model, method), group in frame.groupby(["model", "method"], sort=False):
        for measure in MEASURES:
            values = group[measure].astype(float).to_numpy()
            known = np.isfinite(values)
            if known.any():
                found = _mean(values[known], names[group.index[known]], drawn)
                lines.append({"model": model, "method": method, "measure": measure, **found})
    return pd.DataFrame(lines)


def _frame(rows: Sequence[FaithfulnessRow]) -> pd.DataFrame:
    import pandas as pd

    if not rows:
        raise DataError("no heatmap was scored: nothing to write or to average")
    return pd.DataFrame([{**asdict(row), "path": row.path.as_posix()} for row in rows])


def _mean(values: Floats, names: np.ndarray, bootstrap: Bootstrap) -> dict[str, object]:
    patients, column = patient_columns(list(names), list(names))
    low = high = None
    if len(patients) > 1:
        interval = bootstrap.interval(Weights(column, bootstrap.weights(patients)).mean(values))
        low, high = interval.low, interval.high
    mean = float(values.mean())
    count = {"images": len(values), "patients": len(patients)}
    return {"mean": mean, "low": low, "high": high, **count}
