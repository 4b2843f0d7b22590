"""Maps of images that a Run has already scored, by networks that did not meet their patients."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from eosin.artefacts.manifest import COLUMNS, Manifest
from eosin.explanation.explain import ExplainOptions, explain
from eosin.explanation.heatmap import Explanation

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
    """Explain some images of a predictions table, each for a class.

    Of a Run with many networks one answers for an image: the first that neither trained nor
    validated on its patient. Out-of-fold predictions are so explained by the network that made
    them.

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
    patients = dict(zip(predictions.frame["path"], predictions.frame["patient"], strict=True))
    networks = run.leaves()
    groups: dict[tuple[int, str], set[str]] = {}
    for path, target in dict.fromkeys(wanted):
        speaker = _first_stranger(networks, patients[str(path)])
        groups.setdefault((speaker, target), set()).add(str(path))
    found: dict[tuple[Path, str], Explanation] = {}
    for (speaker, target), paths in groups.items():
        rows = _manifest(predictions, paths)
        for item in explain([networks[speaker]], rows, replace(options, target=target)):
            if isinstance(item, Explanation):
                found[item.path, target] = item
    return found


def _first_stranger(networks: Sequence[Run], patient: str) -> int:
    """The place of the first network that never met ``patient``, or else of the first."""
    strangers = (n for n, run in enumerate(networks) if patient not in run.record.seen_patients)
    return next(strangers, 0)


def _manifest(predictions: Predictions, paths: set[str]) -> Manifest:
    """The rows of some images, of no split, so that all of them are explained."""
    chosen = predictions.frame[predictions.frame["path"].isin(paths)]
    frame = chosen.reindex(columns=list(COLUMNS), fill_value="").assign(split="", fold="")
    provenance = predictions.provenance
    return Manifest(
        frame.reset_index(drop=True), predictions.task, provenance.dataset, provenance.protocol
    )
