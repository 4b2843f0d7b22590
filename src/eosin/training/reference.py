"""What a training teaches a Run of its own patients, and where that is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from eosin.evaluation.calibration import apply_temperature
from eosin.networks.run import weights_digest
from eosin.networks.torch_engine import TorchEngine
from eosin.training.features import cache_of, compute_features
from eosin.trust.reference import Known, answers, learn_features, write_reference

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from eosin.arrays import Floats
    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.predictions import Predictions
    from eosin.artefacts.reference import Reference
    from eosin.networks.classifier import Classifier
    from eosin.pixels.views import Views
    from eosin.training.probe import Probe


def probed_reference(
    images: tuple[Floats, Floats],
    split: Manifest,
    folder: Path,
    probe: Probe,
    *,
    slides: pd.DataFrame | None = None,
) -> Reference:
    """Of a frozen network: no image of the training set a weight of the backbone.

    Where it answers for slides, their answers calibrate sets, and nothing tells the unfamiliar: the
    share of new patients' images that are as strange as a tile says nothing of a slide.

    Args:
        images: features (n, channels) and measures (n, names) of the rows of ``split``.
        split: rows in splits; the test split is not looked at.
        folder: of the Run, its weights in it.
        probe: the head, with what heads that had not met an image said of it.
        slides: the slides that it was said of, a row each, where it answers for slides.
    """
    splits = split.frame["split"]
    learned = np.asarray(splits.isin(["train", "val"]))
    rows = split.frame[learned]
    features, measures = (values[learned] for values in images)
    unfitted = np.full(len(rows), slides is None)
    known = learn_features(features, measures, rows, unfitted=unfitted)
    validated = bool((splits == "val").any())
    scored = split.frame[splits == ("val" if validated else "train")] if slides is None else slides
    judged = scored.iloc[probe.judged]
    known = replace(
        known,
        calibration=answers(probe.probabilities, judged, split.task.classes),
        source="validation" if validated else "cross-validation",
    )
    return write_reference(folder, known, weights_sha256=weights_digest(folder))


def tuned_reference(
    network: Classifier,
    images: tuple[Manifest, Manifest | None],
    views: tuple[Views, Views | None],
    folder: Path,
    *,
    device: str,
    cached: bool,
    temperature: float,
) -> Reference:
    """Of a network that was fitted to its training images: validation patients calibrate.

    Args:
        network: as it is kept.
        images: the training and the validation images, where there are any.
        views: how the network sees them.
        folder: of the Run, its weights in it.
        device: auto, cpu, cuda or mps.
        cached: whether features may be kept on disk.
        temperature: of the logits.
    """
    engine, spec = TorchEngine(network, device=device), views[0].spec
    cache = cache_of(engine, spec) if cached else None
    parts = [(part, view) for part, view in zip(images, views, strict=True) if part and view]
    found = [
        compute_features(part.paths, engine, spec, cache=cache, sources=view.sources)
        for part, view in parts
    ]
    rows = [part.frame.iloc[each.indices] for (part, _), each in zip(parts, found, strict=True)]
    known = learn_features(
        np.concatenate([each.values for each in found]).astype(np.float64),
        np.concatenate([each.measures for each in found]),
        _below(rows),
        unfitted=np.repeat([False, True][: len(found)], [len(each.indices) for each in found]),
    )
    if len(found) > 1:
        chances = apply_temperature(engine.head_logits(found[1].values), temperature)
        told = answers(chances, rows[1], images[0].task.classes)
        known = replace(known, calibration=told)
    return write_reference(folder, known, weights_sha256=weights_digest(folder))


def answered_reference(
    predictions: Predictions, folder: Path, *, weights_sha256: str | None, out_of_fold: bool
) -> Reference:
    """Of a Run made of others: what they said together of patients that none was fitted to.

    The unfamiliar is told by its members' own references.
    """
    labelled = predictions.where(predictions.frame["label"] != "")
    told = answers(labelled.probabilities, labelled.frame, predictions.task.classes)
    known = Known(calibration=told, source="out-of-fold" if out_of_fold else "validation")
    return write_reference(folder, known, weights_sha256=weights_sha256)


def _below(parts: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(parts, ignore_index=True)
