"""The report's heatmaps: what the model looked at where it was right, and where it was wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.explanation.heatmap import METHOD_NAMES
from eosin.remote import as_path
from eosin.reporting.galleries import Caption, Gallery, tiles_of
from eosin.reporting.overlay import SHORTEST, HeatmapStyle, at_reading_size, draw_overlay

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eosin.artefacts.predictions import Predictions
    from eosin.explanation.heatmap import Explanation
    from eosin.pixels.reading import UInt8Image
    from eosin.reporting.galleries import Tile

    Explanations = Mapping[tuple[Path, str], Explanation]

_LEAD = (
    "{method}, beside the image: the stronger the colour, the more a place speaks for the class; "
    "grey tissue says nothing for it. The line encloses the strongest fifth, smoothed. Ask of "
    "each whether a pathologist would look there. A map shows where, not why, and a plausible one "
    "can be false: eosin explain --score tells how far to believe it."
)


@dataclass(frozen=True, slots=True)
class Example:
    """An image of the predictions table: its patient (empty: not known), true and chosen class."""

    path: Path
    patient: str
    label: str
    predicted: str
    probabilities: Mapping[str, float]  # of each class, as the predictions have them

    @property
    def probability(self) -> float:
        """Of the chosen class."""
        return self.probabilities[self.predicted]

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
    whose = frame["patient"].where(frame["patient"] != "", frame["path"])
    frame, hit = frame.assign(whose=whose), frame["label"] == frame["predicted"]
    each = max(1, right // len(predictions.task.classes))
    chosen = [
        frame[hit & (frame["label"] == name)].drop_duplicates("whose").head(each)
        for name in predictions.task.classes
    ]
    missed = frame[~hit].drop_duplicates("whose").head(wrong)
    known = predictions.provenance.protocol.patients_known
    columns = list(zip(predictions.task.classes, predictions.probability_columns, strict=True))
    return tuple(
        Example(
            as_path(row["path"]),
            row["patient"] if known else "",
            row["label"],
            row["predicted"],
            {name: float(row[column]) for name, column in columns},
        )
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
    style = HeatmapStyle()
    groups = tuple((_heading(e), _tiles(e, explanations, style)) for e in shown)
    methods = dict.fromkeys(
        heatmap.method for item in explanations.values() for heatmap in item.members
    )
    names = ", ".join(METHOD_NAMES.get(method, method) for method in methods)
    lead = _LEAD.format(method=names) if shown else "No labelled image could be explained."
    lead = f"There is no heatmap of this model: {no_maps}." if no_maps else lead
    return Gallery("heatmaps", "What the model looked at", lead, groups, wide=True)


def _heading(example: Example) -> str:
    said = "classified correctly" if example.right else f"taken for {example.predicted}"
    patient = f", patient {example.patient}" if example.patient else ""
    return f"{example.label}, {said} ({example.probability:.2f}){patient}"


def _tiles(example: Example, explanations: Explanations, style: HeatmapStyle) -> tuple[Tile, ...]:
    """The image, the map for the class that was chosen, and the map for its own if another."""
    image = at_reading_size(explanations[example.path, example.predicted].image)
    overlays = [_overlay(example, target, explanations, style) for target in example.targets]
    pictures = [(image, Caption(title="image", name=example.path.name)), *overlays]
    return tiles_of(pictures, longest=SHORTEST)


def _overlay(
    example: Example, target: str, explanations: Explanations, style: HeatmapStyle
) -> tuple[UInt8Image, Caption]:
    explanation = explanations[example.path, target]
    heatmap = explanation.shown[0]
    kind = "" if example.right else "chosen, " if target == example.predicted else "true, "
    lines = [
        f"{kind}probability {example.probabilities[target]:.2f}",
        f"mean of {len(explanation.members)} networks" if explanation.merged else "",
        heatmap.why_empty,
        heatmap.beside,
        "seen in training" if heatmap.seen else "",
    ]
    caption = Caption(f"evidence for {target}", tuple(line for line in lines if line))
    return draw_overlay(explanation.image, heatmap.values, style), caption
