"""One image explained with the networks that are open already, as `eosin explain` does."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np

from eosin.errors import ConfigError, DataError, NoMapError
from eosin.explanation.explain import ExplainOptions
from eosin.explanation.heatmap import METHOD_NAMES, Explanation
from eosin.explanation.options import PREDICTED
from eosin.explanation.rows import explain_rows
from eosin.inference.images import unlabelled
from eosin.pixels.writing import png_bytes
from eosin.reporting.overlay import HeatmapStyle, at_reading_size, draw_overlay

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eosin.arrays import FloatMap, UInt8Image
    from eosin.explanation.scoring import ScoreOptions
    from eosin.server.scoring import Opened
    from eosin.server.served import Served
    from eosin.server.uploads import Sent

_LONGEST = 64  # of a map that is sent, places along a side


def explain_upload(
    served: Served, sent: Sent, networks: Mapping[str, Opened], *, target: str, score: bool
) -> dict[str, object]:
    """Explain one image with a Run, as JSON has it: the answer of ``/explain``.

    Args:
        served: the Run.
        sent: the image.
        networks: of the Run, by the SHA-256 of their Run's record.
        target: the class, or ``"predicted"``.
        score: whether to check how far to believe the map, which needs PyTorch.

    Raises:
        ConfigError: no such class, or a graph's map is to be scored.
        DataError: the image cannot be read.
        NoMapError: no network of the Run has a map.
    """
    classes = served.run.record.task.classes
    if target != PREDICTED and target not in classes:
        raise ConfigError(f"target {target[:100]!r} is not a class; want one of {list(classes)}")
    opened = [networks[leaf.sha256].network for leaf in served.leaves]
    usable = [network for network in opened if not network.no_maps]
    if not usable:
        raise NoMapError(opened[0].no_maps)
    options = ExplainOptions(target=target, score=_checks() if score else None, batch_size=1)
    patient = served.identity.patient_of(sent.called)
    met = [[None if patient is None else patient in n.run.record.seen_patients] for n in usable]
    with sent.as_file() as file:
        images = unlabelled(served.run, [file], [sent.called])
        (item,) = explain_rows([served.run], usable, images, options, met=met, folds=[""])
    if not isinstance(item, Explanation):
        raise DataError(item.reason)
    return {"name": sent.name, "run": served.name, **_said(item)}


def _checks() -> ScoreOptions:
    from eosin.explanation.scoring import ScoreOptions

    return ScoreOptions()


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
    return "data:image/png;base64," + base64.b64encode(png_bytes(picture)).decode("ascii")
