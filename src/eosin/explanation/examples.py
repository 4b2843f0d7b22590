"""Maps of images that a Run has already scored, by networks that did not meet their patients."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from eosin.explanation.heatmap import Explanation, require_method
from eosin.explanation.mapping import open_to_explain
from eosin.explanation.options import ExplainOptions
from eosin.explanation.rows import explain_rows
from eosin.inference.doubt import rows_of

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
        rows = rows_of(predictions, {str(path) for path, name in wanted if name == target})
        patients, folds = rows.frame["patient"], rows.frame["fold"] if own else [""] * len(rows)
        met = [patients.isin(network.run.record.seen_patients).tolist() for network in networks]
        asked = replace(options, target=target)
        for item in explain_rows([run], networks, rows, asked, met=met, folds=list(folds)):
            if isinstance(item, Explanation):
                found[item.path, target] = item
    return found
