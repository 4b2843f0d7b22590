"""One image explained with the networks that are open already, as `eosin explain` does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import ConfigError, DataError, NoMapError
from eosin.explanation.explain import ExplainOptions
from eosin.explanation.heatmap import METHOD_NAMES, Explanation
from eosin.explanation.options import PREDICTED
from eosin.explanation.rows import explain_rows
from eosin.inference.images import unlabelled
from eosin.pixels.reading import image_in_turn, reduced
from eosin.pixels.stain import Macenko, StainEstimate
from eosin.pixels.writing import png_bytes
from eosin.reporting.html import data_url
from eosin.reporting.overlay import HeatmapStyle, at_reading_size, draw_overlay
from eosin.reporting.stain_sheet import ALONE, stain_alone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eosin.arrays import FloatMap, UInt8Image
    from eosin.server.batching import Opened
    from eosin.server.served import Served
    from eosin.server.uploads import Sent

_LONGEST = 64  # of a map that is sent, positions along a side
_STAIN_PIXELS = 1_000_000  # of the pictures of stains, at most


def explain_upload(
    runs: Sequence[Served],
    sent: Sent,
    networks: Mapping[str, Opened],
    *,
    target: str,
    score: bool,
) -> dict[str, object]:
    """Explain one image with Runs, as JSON has it: the answer of ``/explain``.

    Args:
        runs: one or more, whose maps are merged.
        sent: the image.
        networks: of the Runs, by the SHA-256 of their Run's record.
        target: the class, or ``"predicted"``.
        score: whether to check how far to believe the map, which needs PyTorch.

    Raises:
        ConfigError: no such class, Runs of different classes, or a graph's map is to be scored.
        DataError: the image cannot be read.
        NoMapError: no network of the Runs has a map.
    """
    first = runs[0]
    classes = first.run.record.task.classes
    if target != PREDICTED and target not in classes:
        raise ConfigError(f"target {target[:100]!r} is not a class; want one of {list(classes)}")
    if any(each.run.record.task.classes != classes for each in runs):
        raise ConfigError("the Runs tell different classes apart; explain each by itself")
    opened = [networks[leaf.sha256].network for each in runs for leaf in each.leaves]
    usable = [network for network in opened if not network.no_maps]
    if not usable:
        raise NoMapError(opened[0].no_maps)
    options = ExplainOptions(target=target, batch_size=1, merge=len(runs) > 1)
    if score:  # which needs PyTorch
        from eosin.explanation.heatmap_checks import ScoreOptions

        options = replace(options, score=ScoreOptions())
    patient = first.identity.patient_of(sent.called)
    met = [[None if patient is None else patient in n.run.record.seen_patients] for n in usable]
    with sent.as_file() as file:
        images = unlabelled(first.run, [file], [sent.called])
        own = [each.run for each in runs]
        (item,) = explain_rows(own, usable, images, options, met=met, folds=[""])
        if not isinstance(item, Explanation):
            raise DataError(first.plain(item.reason, file))
    return {"name": sent.name, "run": ", ".join(each.name for each in runs), **_said(item)}


def stains_of_upload(served: Served, sent: Sent) -> dict[str, object]:
    """The haematoxylin and the eosin of an image: the answer of ``/stains``.

    Raises:
        DataError: the image cannot be read, or shows no two stains.
    """
    with sent.as_file() as file:
        try:
            with image_in_turn(file) as image:
                shown = reduced(image, most=_STAIN_PIXELS)
        except DataError as error:
            raise DataError(served.plain(error, file)) from None
    found = Macenko().estimate(shown)
    assert isinstance(found, StainEstimate)
    pictures = {name: _as_url(stain_alone(shown, found, name)) for name in ALONE}
    return {"name": sent.name, **pictures}


def _said(item: Explanation) -> dict[str, object]:
    shown, scores = item.shown[0], item.scores
    values = _small(shown.raw)
    verdict = {
        "faithful": all(row.faithful for row in scores),
        "sentence": " ".join(dict.fromkeys(row.verdict for row in scores)),
    }
    return {
        "target": item.target,
        "probability": item.probabilities[item.target],
        "method": METHOD_NAMES.get(shown.method, shown.method),
        "seen": item.seen,
        "verdict": verdict if scores else None,
        "overlay": _as_url(draw_overlay(item.image, shown.values, HeatmapStyle())),
        "original": _as_url(at_reading_size(item.image)),
        "map": {"shape": list(values.shape), "values": values.ravel().tolist()},
    }


def _small(values: FloatMap) -> FloatMap:
    """A map on a network's own grid as it is; one of several networks, on the image's, reduced."""
    import cv2

    scale = _LONGEST / max(values.shape)
    if scale >= 1:
        return values
    height, width = (max(1, round(side * scale)) for side in values.shape)
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _as_url(picture: UInt8Image) -> str:
    return data_url("png", png_bytes(picture))
