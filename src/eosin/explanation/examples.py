"""Images that a Run has already scored: which to look at, and maps of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.manifest import COLUMNS, Manifest
from eosin.explanation.heatmap import Explanation, require_method
from eosin.explanation.mapping import open_to_explain
from eosin.explanation.options import ExplainOptions
from eosin.explanation.rows import explain_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eosin.artefacts.predictions import Predictions
    from eosin.networks.run import Run


def explain_examples(
    run: Run,
    predictions: Predictions,
    wanted: Sequence[tuple[Path, str]],
    options: ExplainOptions | None = None,
) -> dict[tuple[Path, str], Explanation]:
    """Explain some images of a predictions table, each for a class; networks are opened once.

    As ``explain`` has it, an out-of-fold prediction is explained by the network that made it, and
    of many networks that answer the maps are merged.

    Args:
        run: the Run that scored them.
        predictions: with a row for every image.
        wanted: image and class.
        options: method, device and batch size; the class is that of ``wanted``.

    Returns:
        By image and class; images that cannot be read are missing.

    Raises:
        ModelError: a network has no usable feature map, or its weights are missing.
        ConfigError: the stain step goes by patient, and patients are not known.
    """
    options = options or ExplainOptions()
    method = require_method(options.method)
    networks, _ = open_to_explain([run], method, device=options.device, engine=options.engine)
    own = predictions.provenance.split == "out-of-fold"
    found: dict[tuple[Path, str], Explanation] = {}
    for target in dict.fromkeys(target for _, target in wanted):
        rows = _manifest(predictions, {str(path) for path, name in wanted if name == target})
        patients, folds = rows.frame["patient"], rows.frame["fold"] if own else [""] * len(rows)
        met = [patients.isin(network.run.record.seen_patients).tolist() for network in networks]
        asked = replace(options, target=target)
        for item in explain_rows([run], networks, rows, asked, met=met, folds=list(folds)):
            if isinstance(item, Explanation):
                found[item.path, target] = item
    return found


def certain_and_doubtful(predictions: Predictions, *, each: int = 6) -> dict[str, list[int]]:
    """Rows of a table to look at, at most ``each`` of a kind, by what they are.

    Those decided for each class with the greatest probability first, then those whose two most
    probable classes are closest.
    """
    values, decided = predictions.probabilities, predictions.decision_index
    margin = np.diff(np.sort(values, axis=1)[:, -2:], axis=1).ravel()
    found = {
        f"Most certain: {name}": [k for k in np.argsort(-values[:, index]) if decided[k] == index]
        for index, name in enumerate(predictions.task.classes)
    }
    found["Most doubtful"] = list(np.argsort(margin))
    return {title: [int(k) for k in rows[:each]] for title, rows in found.items() if rows}


def images_to_explain(predictions: Predictions, *, most: int = 12) -> Manifest:
    """The most certain images of each class and the most doubtful, at most so many together."""
    groups = certain_and_doubtful(predictions, each=most)
    turns = zip_longest(*groups.values())
    order = [row for turn in turns for row in turn if row is not None]
    kept = list(dict.fromkeys(order))[:most]
    return _manifest(predictions, {predictions.frame["path"][row] for row in kept})


def _manifest(predictions: Predictions, paths: set[str]) -> Manifest:
    """The rows of some images, of no split, so that all of them are explained."""
    chosen = predictions.frame[predictions.frame["path"].isin(paths)]
    frame = chosen.reindex(columns=list(COLUMNS), fill_value="").assign(split="")
    provenance = predictions.provenance
    return Manifest(
        frame.reset_index(drop=True), predictions.task, provenance.dataset, provenance.protocol
    )
