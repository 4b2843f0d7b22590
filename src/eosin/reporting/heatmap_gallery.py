"""The report's heatmaps: what the model looked at where it was right, and where it was wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.explanation.heatmap import METHOD_NAMES
from eosin.reporting.galleries import Caption, Gallery, tiles_of
from eosin.reporting.overlay import blend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from eosin.artefacts.predictions import Predictions
    from eosin.explanation.heatmap import Explanation
    from eosin.pixels.reading import UInt8Image
    from eosin.reporting.galleries import Tile

    Explanations = Mapping[tuple[Path, str], Explanation]

_LEAD = (
    "{method}: the brighter, the more a place speaks for the class; the line encloses the "
    "strongest fifth, smoothed. Ask of each whether a pathologist would look there. A map shows "
    "where, not why, and a plausible one can be false: eosin explain --score tells how far to "
    "believe it."
)


@dataclass(frozen=True, slots=True)
class Example:
    """An image of the predictions table: its patient (empty: not known), true and chosen class."""

    path: Path
    patient: str
    label: str
    predicted: str
    probability: float

    @property
    def right(self) -> bool:
        """Whether the chosen class is the true one."""
        return self.label == self.predicted

    @property
    def targets(self) -> tuple[str, ...]:
        """The classes to explain: the chosen one, and the true one where they differ."""
        return tuple(dict.fromkeys((self.predicted, self.label)))


def choose_examples(
    predictions: Predictions, *, right: int = 6, wrong: int = 6
) -> tuple[Example, ...]:
    """The most confident images: right ones of every class, and wrong ones; each patient once.

    Args:
        predictions: labelled; rows without a label are left out.
        right: at most this many correct images, shared between the classes.
        wrong: at most this many misclassified ones.
    """
    frame = predictions.frame.assign(confidence=predictions.probabilities.max(axis=1))
    frame = frame[frame["label"] != ""].sort_values(
        ["confidence", "path"], ascending=[False, True], kind="stable"
    )
    hit = frame["label"] == frame["predicted"]
    each = max(1, right // len(predictions.task.classes))
    chosen = [
        frame[hit & (frame["label"] == name)].drop_duplicates("patient").head(each)
        for name in predictions.task.classes
    ]
    missed = frame[~hit].drop_duplicates("patient").head(wrong)
    known = predictions.provenance.protocol.patients_known
    return tuple(
        _example(row, patient=row["patient"] if known else "")
        for part in (*chosen, missed)
        for _, row in part.iterrows()
    )


def heatmap_gallery(
    examples: Sequence[Example], explanations: Explanations, *, no_maps: str = ""
) -> Gallery:
    """A section of maps for ``write_report``.

    Args:
        examples: as ``choose_examples`` gives them.
        explanations: by image and class; examples without one are left out.
        no_maps: why there is none, where that is the network's fault.
    """
    shown = [e for e in examples if all((e.path, t) in explanations for t in e.targets)]
    right = [example for example in shown if example.right]
    wrong = [example for example in shown if not example.right]
    groups: list[tuple[str, tuple[Tile, ...]]] = []
    if right:
        tiles = tiles_of(_overlay(e, e.predicted, explanations) for e in right)
        groups.append(("Classified correctly: evidence for the class", tiles))
    for example in wrong:
        heading = f"{example.label}, taken for {example.predicted} ({example.probability:.2f})"
        heading += f", patient {example.patient}" if example.patient else ""
        groups.append((heading, _mistake(example, explanations)))
    methods = dict.fromkeys(
        heatmap.method for item in explanations.values() for heatmap in item.members
    )
    names = ", ".join(METHOD_NAMES.get(method, method) for method in methods)
    lead = _LEAD.format(method=names) if shown else "No labelled image could be explained."
    lead = f"There is no heatmap of this model: {no_maps}." if no_maps else lead
    return Gallery("heatmaps", "What the model looked at", lead, tuple(groups))


def _mistake(example: Example, explanations: Explanations) -> tuple[Tile, ...]:
    """The image, the map for the class it was taken for, and the map for its own."""
    image = explanations[example.path, example.predicted].image
    overlays = [_overlay(example, target, explanations) for target in example.targets]
    return tiles_of([(image, Caption(title="image", name=example.path.name)), *overlays])


def _overlay(
    example: Example, target: str, explanations: Explanations
) -> tuple[UInt8Image, Caption]:
    explanation = explanations[example.path, target]
    heatmap = explanation.members[0]
    kind = "" if example.right else "chosen, " if target == example.predicted else "true, "
    lines = [
        f"{kind}probability {heatmap.probability:.2f}",
        f"patient {example.patient}" if example.right and example.patient else "",
        "" if heatmap.values.any() else "nothing here speaks for it",
        heatmap.beside,
        "seen in training" if heatmap.seen else "",
    ]
    caption = Caption(
        title=f"evidence for {target}",
        lines=tuple(line for line in lines if line),
        name=example.path.name if example.right else "",
    )
    return blend(explanation.image, heatmap.values), caption


def _example(row: pd.Series, *, patient: str) -> Example:
    return Example(
        Path(row["path"]), patient, row["label"], row["predicted"], float(row["confidence"])
    )
