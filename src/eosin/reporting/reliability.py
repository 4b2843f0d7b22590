"""The reliability diagram: of the images it calls with 80 % confidence, are 80 % right?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.reporting.canvas import EOSIN, QUIET, VIOLET, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def reliability_figure(bins: pd.DataFrame) -> Figure:
    """Accuracy against confidence, with the number of images in each bin beneath.

    Args:
        bins: from ``eosin.evaluation.calibration.reliability``: ``low``, ``high``, ``images``,
            ``confidence`` and ``accuracy``.
    """
    figure, (top, bottom) = new_figure(4.4, 4.9, rows=2)
    left = max(0.0, round(float(bins["low"].min()) - 0.05, 1))
    top.plot([left, 1], [left, 1], color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    top.vlines(
        bins["confidence"],
        bins[["confidence", "accuracy"]].min(axis=1),
        bins[["confidence", "accuracy"]].max(axis=1),
        color=EOSIN,
        linewidth=1.4,
        alpha=0.45,
    )
    top.plot(bins["confidence"], bins["accuracy"], color=EOSIN, linewidth=1.4, alpha=0.7)
    area = 20 + 180 * bins["images"] / bins["images"].max()
    top.scatter(bins["confidence"], bins["accuracy"], s=area, color=EOSIN, linewidth=0, zorder=3)
    top.set(xlim=(left - 0.02, 1.02), ylim=(-0.03, 1.03), ylabel="Share classified right")
    _count(bottom, bins)
    return figure


def _count(axes: Axes, bins: pd.DataFrame) -> None:
    width = bins["high"] - bins["low"]
    axes.bar(bins["low"], bins["images"], width=width * 0.92, align="edge", color=VIOLET)
    size = 7.5 if bins["images"].max() < 1000 else 6.0  # four digits must not touch
    for row in bins.itertuples():
        axes.annotate(
            f"{row.images:,}",
            ((row.low + row.high) / 2, row.images),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            size=size,
            color=QUIET,
        )
    axes.set(xlabel="Confidence: probability of the class it chose", ylabel="Images")
    axes.margins(y=0.3)
    axes.grid(visible=False)
    axes.locator_params(axis="y", nbins=3)
