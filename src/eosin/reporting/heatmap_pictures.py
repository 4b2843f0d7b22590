"""An explanation as pictures: one map, all networks side by side, merged beside disagreement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eosin.explanation.heatmap import METHOD_NAMES
from eosin.explanation.merge import family_means
from eosin.files import valid_text
from eosin.reporting.overlay import SHORTEST, HeatmapStyle, at_reading_size, draw_overlay
from eosin.reporting.panel import Cell, Heading, draw_panel

if TYPE_CHECKING:
    from eosin.arrays import FloatMap
    from eosin.explanation.faithfulness_table import FaithfulnessRow
    from eosin.explanation.heatmap import Explanation, Heatmap
    from eosin.pixels.reading import UInt8Image

SEEN = "The network was trained or validated on this patient."
KEY = (
    "evidence, from none (clear) to the most in this image; the line encloses the strongest 20 % "
    "of the picture, smoothed"
)
_MOST_DISAGREEMENT = 0.5  # of values 0 to 1, half of the weight at each end


def draw_heatmap(
    explanation: Explanation,
    heatmap: Heatmap,
    style: HeatmapStyle,
    *,
    score: FaithfulnessRow | None = None,
) -> UInt8Image:
    """The image beside the overlay of one map, what they show and the verdict above them."""
    name = METHOD_NAMES.get(heatmap.method, heatmap.method)
    lines = [
        _predicted(explanation, heatmap),
        f"{name} of {heatmap.model} ({heatmap.backbone})",
        heatmap.beside,
        SEEN if heatmap.seen else "",
        heatmap.why_empty,
    ]
    heading = Heading(
        title=f"{heatmap.target}: probability {heatmap.probability:.2f}",
        lines=tuple(line for line in lines if line),
        key="" if heatmap.why_empty else KEY,
        stamp="" if score is None else score.verdict,
        good=score is not None and score.faithful,
    )
    overlay = draw_overlay(explanation.image, heatmap.values, style)
    cells = [*_original(explanation, style), Cell(overlay, f"evidence for {heatmap.target}")]
    return draw_panel(cells, heading, style)


def draw_models(explanation: Explanation, style: HeatmapStyle) -> UInt8Image:
    """Every network's map with its verdict, the mean of families of several, the merged map."""
    members = explanation.members
    scores = explanation.scores or (None,) * len(members)
    cells = _original(explanation, style)
    cells += [_cell(explanation, style, *pair) for pair in zip(members, scores, strict=True)]
    families = [heatmap.family for heatmap in members]
    cells += [
        _cell(explanation, style, mean, title=f"mean of {mean.model}")
        for mean in family_means(members)
        if families.count(mean.model) > 1  # of one network it is that network's map again
    ]
    if explanation.merged is not None and explanation.disagreement is not None:
        cells.append(_cell(explanation, style, explanation.merged, title="merged, by probability"))
        cells.append(_disagreement(explanation, explanation.disagreement, style))
    title = f"Evidence for {explanation.target} · {valid_text(explanation.path.name)}"
    return draw_panel(cells, Heading(title, key=KEY), style, width=SHORTEST)


def draw_merged(explanation: Explanation, style: HeatmapStyle) -> UInt8Image:
    """The image, the merged map and where networks disagree, side by side.

    The explanation must hold both.
    """
    merged, spread = explanation.merged, explanation.disagreement
    if merged is None or spread is None:
        raise ValueError(f"{explanation.path}: its maps were not merged; explain with merge=True")
    lines = (
        _predicted(explanation, merged),
        f"{METHOD_NAMES.get(merged.method, merged.method)} of {len(explanation.members)} networks, "
        "weighted by their probability",
        SEEN.replace("The", "A") if merged.seen else "",
        _members_verdict(explanation),
        merged.why_empty,
    )
    heading = Heading(
        title=f"{merged.target}: mean probability {merged.probability:.2f}",
        lines=tuple(line for line in lines if line),
        key=KEY,
    )
    cells = [
        *_original(explanation, style),
        Cell(
            draw_overlay(explanation.image, merged.values, style), f"evidence for {merged.target}"
        ),
        _disagreement(explanation, spread, style),
    ]
    return draw_panel(cells, heading, style)


def draw_strip(explanation: Explanation, style: HeatmapStyle, *, most: int = 4) -> UInt8Image:
    """The image and the maps that stand for it in a row, without words."""
    maps = [draw_overlay(explanation.image, each.values, style) for each in explanation.shown]
    pictures = [at_reading_size(explanation.image)] if style.original else []
    pictures += maps[:most]
    height, gap = pictures[0].shape[0], max(4, pictures[0].shape[1] // 64)
    parts = [part for each in pictures for part in (each, np.full((height, gap, 3), 255, np.uint8))]
    return np.concatenate(parts[:-1], axis=1)


def _original(explanation: Explanation, style: HeatmapStyle) -> list[Cell]:
    """The image as it is, where it is to stand beside its maps."""
    known = f"true class: {explanation.label}" if explanation.label else ""
    lines = tuple(line for line in (valid_text(explanation.path.name), known) if line)
    return [Cell(at_reading_size(explanation.image), "image", lines)] if style.original else []


def _disagreement(explanation: Explanation, spread: FloatMap, style: HeatmapStyle) -> Cell:
    values = spread / np.float32(_MOST_DISAGREEMENT)
    said = (
        f"standard deviation of {len(explanation.members)} maps, weighted by probability; the "
        f"strongest colour is {_MOST_DISAGREEMENT:g}",
    )
    picture = draw_overlay(explanation.image, values, style, contour=False)
    return Cell(picture, "where the networks disagree", said)


def _cell(
    explanation: Explanation,
    style: HeatmapStyle,
    heatmap: Heatmap,
    score: FaithfulnessRow | None = None,
    *,
    title: str = "",
) -> Cell:
    says = f"predicts {heatmap.predicted}: {heatmap.probabilities[heatmap.predicted]:.2f}"
    if heatmap.predicted != heatmap.target:
        says += f" ({heatmap.target}: {heatmap.probability:.2f})"
    lines = [
        "" if title else heatmap.backbone,
        says,
        "saw this patient in training" if heatmap.seen else "",
        "" if score is None else "faithful" if score.faithful else f"not faithful: {score.finding}",
        heatmap.why_empty,
    ]
    shown = tuple(line for line in lines if line)
    overlay = draw_overlay(explanation.image, heatmap.values, style)
    return Cell(overlay, title or heatmap.model, shown)


def _members_verdict(explanation: Explanation) -> str:
    """What the checks say of the maps that were merged; nothing where they were not asked."""
    if not explanation.scores:
        return ""
    faithful = sum(score.faithful for score in explanation.scores)
    return (
        f"Faithful: {faithful} of the {len(explanation.scores)} maps merged here. The merged one "
        "was not checked itself."
    )


def _predicted(explanation: Explanation, heatmap: Heatmap) -> str:
    """The most probable class and the true one, as far as the title leaves them open."""
    parts = []
    if heatmap.predicted != heatmap.target:
        parts.append(f"predicted: {heatmap.predicted}")
    if explanation.label:
        parts.append(f"true class: {explanation.label}")
    return ", ".join(parts)
