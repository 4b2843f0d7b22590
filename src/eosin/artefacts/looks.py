"""How results look in a notebook: a short block of HTML, and one pair of matplotlib axes.

The pages have a look of their own; here the user's own style of matplotlib is kept.
"""

from __future__ import annotations

from html import escape
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from eosin.artefacts.glossary import GLOSSARY
from eosin.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from matplotlib.axes import Axes
    from pydantic import JsonValue

    from eosin.arrays import FloatMap
    from eosin.artefacts.estimate import Estimate


class Table(pd.DataFrame):  # type: ignore[misc]  # pandas is untyped here
    """A table that may be called as well: ``manifest.frame`` and ``manifest.frame()`` are one."""

    def __call__(self) -> pd.DataFrame:
        """The table."""
        return self


def callable_table(frame: pd.DataFrame) -> Table:
    """``frame`` as a Table, its data shared."""
    return frame if isinstance(frame, Table) else Table(frame)


def as_html(title: object, frame: pd.DataFrame, *, most: int = 12) -> str:
    """A heading and the first rows of a table, everything in them as text."""
    rows = frame.head(most).to_html(index=False, border=0, na_rep="", float_format="{:.3f}".format)
    more = f"<p>{len(frame) - most:,} more rows</p>" if len(frame) > most else ""
    return f"<div><p><b>{escape(str(title))}</b></p>{rows}{more}</div>"


def figure_rows(rows: Iterable[tuple[str, Estimate]], confidence: float) -> pd.DataFrame:
    """A row a figure for a reader: what it is, its value, its interval, its n."""
    column = f"{100 * confidence:g} % interval"
    return pd.DataFrame(
        {
            "": name,
            "value": each.value,
            column: "" if each.low is None else f"[{each.low:.3f}, {each.high:.3f}]",
            "images": each.images,
            "patients": each.patients,
        }
        for name, each in rows
    )


def axes_or_new(axes: Axes | None, *, height: float = 3.5) -> Axes:
    """``axes`` to draw into, or the axes of a new figure of the user's own style."""
    if axes is not None:
        return axes
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(6.4, height), layout="constrained")[1]


def draw_bars(counts: pd.DataFrame, axes: Axes | None, *, title: str, across: str) -> Axes:
    """Stacked bars: a bar a row, a colour a column, the count in each part."""
    axes, below = axes_or_new(axes), pd.Series(0, index=counts.index)
    for name in counts.columns:
        bars = axes.bar([str(row) for row in counts.index], counts[name], bottom=below, label=name)
        axes.bar_label(bars, [str(n) if n else "" for n in counts[name]], label_type="center")
        below = below + counts[name]
    axes.set(title=_plain(title), xlabel=across, ylabel="images")
    _name_beside(axes)
    return axes


def draw_scores(scores: Mapping[str, pd.Series], axes: Axes | None, *, title: str, of: str) -> Axes:
    """Histograms of the probability ``of`` something, one a true class."""
    axes = axes_or_new(axes)
    edges = [step / 20 for step in range(21)]
    for name, values in scores.items():
        axes.hist(values, bins=edges, alpha=0.6, label=_plain(f"{name} (n = {len(values)})"))
    axes.set(
        title=_plain(title), xlabel=_plain(f"probability of {of}"), ylabel="images", xlim=(0, 1)
    )
    _name_beside(axes, title="true class")
    return axes


def draw_estimates(
    rows: Iterable[tuple[str, Estimate]],
    axes: Axes | None,
    *,
    title: str,
    confidence: float,
    at: float | None = None,
) -> Axes:
    """Figures with their intervals, the first on top; ``at`` is a line of no difference."""
    known = [(name, each) for name, each in rows if each.value is not None]
    axes = axes_or_new(axes, height=1.2 + 0.3 * max(len(known), 3))
    for row, (_, each) in enumerate(known):
        axes.plot(np.array([each.value], float), [row], "o", color="C0")
        axes.plot(np.array([each.low, each.high], float), [row, row], color="C0")
        if at is None and (chance := GLOSSARY[each.metric].chance) is not None:
            axes.plot([chance], [row], "|", color="grey")  # what guessing gets
    if at is not None:
        axes.axvline(at, color="grey", linestyle=":")
    axes.set_yticks(range(len(known)), [fill(_plain(name), 32) for name, _ in known])
    axes.set(title=_plain(title), ylim=(len(known) - 0.5, -0.5))
    axes.set_xlabel(f"value, {100 * confidence:g} % interval")
    return axes


def draw_learning(
    kept: Mapping[str, tuple[Path, JsonValue]], axes: Axes | None, *, title: str
) -> Axes:
    """A curve a network, by name: of its ``history.csv``, or of its losses at each strength."""
    lines, across = {}, "epoch"
    for name, (history, _) in kept.items():
        if history.is_file():
            rows = pd.read_csv(history)
            lines[name] = rows["epoch"], rows["val_loss"]
    if not lines:
        across = "strength C"
        tried = {name: losses for name, (_, losses) in kept.items() if isinstance(losses, dict)}
        lines = {name: ([float(c) for c in by], list(by.values())) for name, by in tried.items()}
    if not lines:
        raise ModelError(f"{title}: kept neither epochs nor strengths, so there is no curve")
    from matplotlib.ticker import MaxNLocator

    axes = axes_or_new(axes)
    for name, (x, y) in lines.items():
        axes.plot(x, y, marker="o", markersize=3, label=_plain(name))
    axes.set(xlabel=across, ylabel="log loss, validation", title=_plain(title))
    axes.set_xscale("linear" if across == "epoch" else "log")
    if across == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _name_beside(axes)
    return axes


def draw_map(image: object, values: FloatMap, axes: Axes | None, *, title: str) -> Axes:
    """A map, from nothing to 1, over its image in grey."""
    axes, pixels = axes_or_new(axes), np.asarray(image)
    axes.imshow(pixels.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    drawn = axes.imshow(values, cmap="inferno", alpha=0.7 * values, vmin=0, vmax=1)
    axes.figure.colorbar(drawn, ax=axes, label="evidence, 1 = strongest position")
    axes.set_title(_plain(title), fontsize="medium")
    axes.set_axis_off()
    return axes


def as_picture(draw: Callable[[Axes], Axes]) -> str:
    """What ``draw`` draws into empty axes, as an image inside HTML."""
    import base64
    import io

    from matplotlib.figure import Figure

    stream, figure = io.BytesIO(), Figure(figsize=(6.4, 4), layout="constrained")
    draw(figure.subplots())
    figure.savefig(stream, format="png", dpi=100)
    return f'<img src="data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}">'


def _name_beside(axes: Axes, *, title: str = "") -> None:
    axes.legend(title=title, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def _plain(text: str) -> str:
    """In lines of sixty characters; no name is taken for mathematics."""
    return fill(text, 60).replace("$", r"\$")
