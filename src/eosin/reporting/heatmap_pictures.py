"""An explanation as pictures: one map, all networks side by side, merged beside disagreement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eosin.explanation.heatmap import METHOD_NAMES
from eosin.explanation.merge import family_means
from eosin.files import valid_text
from eosin.reporting.overlay import BAD, GOOD, Legend, Stamp, blend, draw_overlay, with_legend
from eosin.reporting.panel import Cell, draw_panel

if TYPE_CHECKING:
    from eosin.arrays import FloatMap
    from eosin.explanation.faithfulness_table import FaithfulnessRow
    from eosin.explanation.heatmap import Explanation, Heatmap
    from eosin.pixels.reading import UInt8Image

SEEN = "The network was trained or validated on this patient."
_LINE = "line: the strongest 20 % of the picture, smoothed"
_MOST_DISAGREEMENT = 0.5  # of values 0 to 1, half of the weight at each end


def draw_heatmap(
    explanation: Explanation, heatmap: Heatmap, *, score: FaithfulnessRow | None = None
) -> UInt8Image:
    """The overlay of one map at the image's own scale, its legend and verdict below."""
    name = METHOD_NAMES.get(heatmap.method, heatmap.method)
    lines = [
        _predicted(explanation, heatmap),
        f"{name} of {heatmap.model} ({heatmap.backbone})",
        _LINE if heatmap.values.any() else f"nothing here speaks for {heatmap.target}",
        heatmap.beside,
        SEEN if heatmap.seen else "",
    ]
    stamp = None if score is None else Stamp(score.verdict, GOOD if score.faithful else BAD)
    legend = Legend(
        title=f"{heatmap.target}: probability {heatmap.probability:.2f}",
        lines=tuple(line for line in lines if line),
        scale="evidence, 1 = most here",
        stamp=stamp,
    )
    return draw_overlay(explanation.image, heatmap.values, legend)


def draw_models(explanation: Explanation) -> UInt8Image:
    """Every network's map with its verdict, the mean of families of several, the merged map."""
    image, members = explanation.image, explanation.members
    name = valid_text(explanation.path.name)
    known = f"true class: {explanation.label}" if explanation.label else ""
    cells = [Cell(image, "image", tuple(line for line in (name, known) if line))]
    scores = explanation.scores or (None,) * len(members)
    cells += [_cell(image, *pair) for pair in zip(members, scores, strict=True)]
    families = [heatmap.family for heatmap in members]
    cells += [
        _cell(image, mean, title=f"mean of {mean.model}")
        for mean in family_means(members)
        if families.count(mean.model) > 1  # of one network it is that network's map again
    ]
    if explanation.merged is not None and explanation.disagreement is not None:
        cells.append(_cell(image, explanation.merged, title="merged, by probability"))
        spread = _disagreement(image, explanation.disagreement)
        cells.append(Cell(spread, "disagreement", ("bright where networks differ",)))
    title = f"Evidence for {explanation.target} · {name}"
    return draw_panel(cells, title=title, key=f"evidence, 1 = most here; {_LINE}")


def draw_merged(explanation: Explanation) -> UInt8Image:
    """The merged map and, beside it, where networks disagree, both at the image's own scale.

    The explanation must hold both.
    """
    merged, spread = explanation.merged, explanation.disagreement
    if merged is None or spread is None:
        raise ValueError(f"{explanation.path}: its maps were not merged; explain with merge=True")
    count = len(explanation.members)
    left = Legend(
        title=f"{merged.target}: mean probability {merged.probability:.2f}",
        lines=(
            _predicted(explanation, merged),
            f"{METHOD_NAMES.get(merged.method, merged.method)} of {count} networks, weighted by "
            "their probability",
            _LINE,
            *((SEEN.replace("The", "A"),) if merged.seen else ()),
            *_members_verdict(explanation),
        ),
        scale="evidence, 1 = most here",
    )
    right = Legend(
        title="Where the networks disagree",
        lines=(f"Standard deviation of {count} maps, weighted by probability",),
        scale="standard deviation",
        top=f"{_MOST_DISAGREEMENT:g}",
    )
    return _beside(
        draw_overlay(explanation.image, merged.values, left),
        with_legend(_disagreement(explanation.image, spread), right),
    )


def _disagreement(image: UInt8Image, spread: FloatMap) -> UInt8Image:
    return blend(image, spread / np.float32(_MOST_DISAGREEMENT), contour=False)


def _cell(
    image: UInt8Image, heatmap: Heatmap, score: FaithfulnessRow | None = None, *, title: str = ""
) -> Cell:
    says = f"predicts {heatmap.predicted}: {heatmap.probabilities[heatmap.predicted]:.2f}"
    if heatmap.predicted != heatmap.target:
        says += f" ({heatmap.target}: {heatmap.probability:.2f})"
    lines = [
        "" if title else heatmap.backbone,
        says,
        "met this patient in training" if heatmap.seen else "",
        "" if score is None else "faithful" if score.faithful else f"not faithful: {score.finding}",
    ]
    shown = tuple(line for line in lines if line)
    return Cell(blend(image, heatmap.values), title or heatmap.model, shown)


def _members_verdict(explanation: Explanation) -> tuple[str, ...]:
    """What the checks say of the maps that were merged; nothing where they were not asked."""
    if not explanation.scores:
        return ()
    faithful = sum(score.faithful for score in explanation.scores)
    return (
        f"Faithful: {faithful} of the {len(explanation.scores)} maps merged here. The merged one "
        "was not checked itself.",
    )


def _predicted(explanation: Explanation, heatmap: Heatmap) -> str:
    """The most probable class and the true one, as far as the title leaves them open."""
    parts = []
    if heatmap.predicted != heatmap.target:
        parts.append(f"predicted: {heatmap.predicted}")
    if explanation.label:
        parts.append(f"true class: {explanation.label}")
    return ", ".join(parts)


def _beside(left: UInt8Image, right: UInt8Image, *, gap: int = 10) -> UInt8Image:
    height = max(len(left), len(right))
    padded = [
        np.pad(part, ((0, height - len(part)), (0, room), (0, 0)), constant_values=255)
        for part, room in ((left, gap), (right, 0))
    ]
    return np.concatenate(padded, axis=1)
