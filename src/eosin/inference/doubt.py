"""Which scored images to look at: the most certain ones of each class, and the most doubtful."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.manifest import COLUMNS, Manifest

if TYPE_CHECKING:
    from eosin.artefacts.predictions import Predictions


def certain_and_doubtful(predictions: Predictions, *, each: int = 6) -> dict[str, list[int]]:
    """Rows of a table to look at, at most ``each`` of a kind, by what they are.

    Those decided for each class with the greatest probability first, then those whose two most
    probable classes are closest. Of equals the first in the table comes first.
    """
    values, decided = predictions.probabilities, predictions.decision_index
    ranked = np.argsort(-values, axis=0, kind="stable")
    margin = np.diff(np.sort(values, axis=1)[:, -2:], axis=1).ravel()
    found = {
        f"Most certain: {name}": [k for k in ranked[:, index] if decided[k] == index]
        for index, name in enumerate(predictions.task.classes)
    }
    found["Most doubtful"] = list(np.argsort(margin, kind="stable"))
    return {title: [int(k) for k in rows[:each]] for title, rows in found.items() if rows}


def images_to_explain(predictions: Predictions, *, most: int = 12) -> Manifest:
    """The most certain images of each class and the most doubtful, at most so many together."""
    groups = certain_and_doubtful(predictions, each=most)
    turns = zip_longest(*groups.values())
    order = [row for turn in turns for row in turn if row is not None]
    kept = list(dict.fromkeys(order))[:most]
    return rows_of(predictions, {predictions.frame["path"][row] for row in kept})


def rows_of(predictions: Predictions, paths: set[str]) -> Manifest:
    """The rows of some images, of no split, so that all of them are explained."""
    chosen = predictions.frame[predictions.frame["path"].isin(paths)]
    frame = chosen.reindex(columns=list(COLUMNS), fill_value="").assign(split="")
    provenance = predictions.provenance
    return Manifest(
        frame.reset_index(drop=True), predictions.task, provenance.dataset, provenance.protocol
    )
