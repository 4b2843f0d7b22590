"""The options of an explanation: the class, the method, which images, and on what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.errors import ConfigError
from eosin.settings import checked_options

if TYPE_CHECKING:
    import pandas as pd

    from eosin.explanation.heatmap_checks import ScoreOptions

PREDICTED, TRUE = "predicted", "true"


@checked_options
@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """What to explain and how.

    Attributes:
        method: one of ``heatmap.METHODS``.
        target: ``"predicted"`` (by the mean probability of all networks), ``"true"`` (the label),
            or the name of a class.
        merge: merge the maps of several Runs; the members of one Run always are.
        score: check how faithful each network's map is, and how; None for not at all.
        split: of a manifest; None for the test split, or every row of one without splits.
        limit: at most this many images, evenly from those asked for; None for all.
        mistakes: only the images that the networks misclassify, the most confident first.
        device: auto, cpu, cuda or mps.
        engine: auto, torch, onnxruntime or openvino; exported Runs know no torch.
        batch_size: images a forward pass, fewer where they are large.
        workers: reading threads; None for one a core.
    """

    method: str = "auto"
    target: str = PREDICTED
    merge: bool = False
    score: ScoreOptions | None = None
    split: str | None = None
    limit: int | None = None
    mistakes: bool = False
    device: str = "auto"
    engine: str = "auto"
    batch_size: int = 16
    workers: int | None = None


def require_labels(what: str, frame: pd.DataFrame) -> None:
    """ConfigError where a row has no label."""
    unknown = frame["path"][frame["label"] == ""]
    if len(unknown):
        raise ConfigError(
            f"{what} needs labels, and {unknown.iloc[0]} has none; give a manifest with labels, "
            "or ask without it"
        )
