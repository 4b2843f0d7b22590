"""The house look of figures, and how a matplotlib Figure becomes an SVG inside a page.

Figures are drawn in a few named colours; in the SVG those become the page's CSS variables, so that
one figure serves the light page, the dark page and paper. Text stays text.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, GRID, CARD = "#1f1b24", "#5c5666", "#ece7f0", "#ffffff"
EOSIN, VIOLET = "#c2396b", "#4b3b8f"
_VARIABLES = {
    INK: "--ink",
    QUIET: "--quiet",
    GRID: "--grid",
    CARD: "--card",
    EOSIN: "--eosin",
    VIOLET: "--violet",
}


@dataclass(frozen=True)
class Drawing:
    """A figure ready for a page."""

    svg: str  # the ``<svg>`` element, with an accessible title and description
    title: str  # what it shows, without a full stop
    caption: str  # what to look at


def new_figure(
    width: float = 4.6, height: float = 3.7, *, rows: int = 1
) -> tuple[Figure, list[Axes]]:
    """An empty figure of ``width`` x ``height`` inches with ``rows`` axes in the house look."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    ratios = [3.0] + [1.0] * (rows - 1)
    axes = figure.subplots(rows, 1, squeeze=False, sharex=rows > 1, height_ratios=ratios)[:, 0]
    for each in axes:
        dress(each)
    return figure, list(axes)


def keep_square(axes: Axes) -> None:
    """A unit square with equal scales: what ROC, precision-recall and reliability stand on."""
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])


def write_legend(figure: Figure, axes: Axes) -> None:
    """A legend below the axes, over nothing that is drawn; names are no markup."""
    handles, names = axes.get_legend_handles_labels()
    wide = max(map(len, names), default=0) > 24
    legend = figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=1 if wide else 3,
        frameon=False,
        fontsize=8.5,
    )
    for text in legend.get_texts():
        text.set(parse_math=False, color=INK)


def write_png(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG on the colour of a card, 200 dots an inch, in one step.

    What is empty around it is cut off.
    """
    with replacing(path) as draft:
        figure.savefig(draft, format="png", dpi=200, facecolor=CARD, bbox_inches="tight")


def as_drawing(figure: Figure, *, name: str, title: str, caption: str) -> Drawing:
    """A Drawing of ``figure``; ``name`` must be unique within the page (it prefixes the ids)."""
    return Drawing(as_svg(figure, name=name, title=title, description=caption), title, caption)


def as_svg(figure: Figure, *, name: str, title: str, description: str) -> str:
    """The figure as one ``<svg>`` element, the same bytes for the same figure.

    Args:
        figure: what to draw.
        name: prefixes every id, so that many figures can stand in one page.
        title: the accessible name.
        description: the accessible description.
    """
    import matplotlib as mpl
    from markupsafe import escape

    stream = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable}, {colour})")
    svg = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*; ?", "", svg)
    return _accessible(svg, name, escape(title), escape(description))


def _accessible(svg: str, name: str, title: str, description: str) -> str:
    """The element with a role, a name and a description, and without a size of its own."""
    svg = re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"', r"\1", svg, count=1)
    head, body = svg.split(">", 1)
    role = f' role="img" aria-labelledby="{name}-t" aria-describedby="{name}-d">'
    label = f'<title id="{name}-t">{title}</title><desc id="{name}-d">{description}</desc>'
    return head + role + label + body


def dress(axes: Axes) -> None:
    """Give axes the house look: a quiet grid, two spines, small labels."""
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    axes.grid(color=GRID, linewidth=0.8)
    axes.tick_params(which="both", colors=QUIET, labelsize=9, length=0, pad=5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET)
    axes.xaxis.label.set(color=INK, size=9.5)
    axes.yaxis.label.set(color=INK, size=9.5)
