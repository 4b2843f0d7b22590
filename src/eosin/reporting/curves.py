"""Curves: ROC and precision-recall with their bands, reliability, and learning curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eosin.reporting.canvas import (
    EOSIN,
    INK,
    QUIET,
    VIOLET,
    keep_square,
    new_figure,
    write_legend,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from eosin.arrays import Floats
    from eosin.artefacts.estimate import Estimate
    from eosin.evaluation.curves import CurveBand

_ROC = "False positive rate (1 − specificity)", "Sensitivity"
_PRECISION = "Recall (sensitivity)", "Precision"
# Told apart by most colour-blind readers, on paper and on a dark page (after Okabe & Ito 2008).
_CLASS_COLOURS = (
    "#2f7fc1",
    "#d9822b",
    "#1f9e77",
    "#c2599b",
    "#8a6d3b",
    "#5ab4e5",
    "#d1495b",
    "#8c8c8c",
)


def roc_figure(
    band: CurveBand, *, at: tuple[float, float] | None = None, small: bool = False
) -> Figure:
    """Sensitivity against false positive rate, with the diagonal of guessing.

    Args:
        band: the curve.
        at: false positive rate and sensitivity at the locked threshold, marked by a ring.
        small: one of many panels: a smaller figure.
    """
    figure, (axes,) = new_figure(*_size(small))
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    _draw_band(axes, band)
    if at is not None:
        _draw_ring(axes, *at)
    _name_axes(axes, *_ROC, small=small)
    return figure


def precision_recall_figure(band: CurveBand, *, prevalence: float, small: bool = False) -> Figure:
    """Precision against recall, with the ``prevalence`` that guessing reaches."""
    figure, (axes,) = new_figure(*_size(small))
    axes.plot([0, 1], [prevalence] * 2, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    _draw_band(axes, band)
    _name_axes(axes, *_PRECISION, small=small)
    return figure


def learning_figure(
    histories: Mapping[str, Mapping[str, Floats]],
    *,
    columns: Sequence[str],
    title: str,
    kept: Mapping[str, int] | None = None,
) -> Figure:
    """Training and validation of every history over its epochs.

    Args:
        histories: name of a Run to its columns; ``epoch`` and those in ``columns``.
        columns: what to draw: training (``train_...``, violet), validation (``val_...``, pink).
        title: of the vertical axis.
        kept: the epoch whose weights were kept, by name of the Run, marked where it is known.
    """
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = new_figure(4.6, 3.1)
    alpha = 1.0 if len(histories) == 1 else 0.55
    named = set[str]()  # each kind of line stands once in the legend
    for name, history in histories.items():
        for column in filter(history.__contains__, columns):
            training = column.startswith("train_")
            said = "training" if training else "validation"
            axes.plot(
                history["epoch"],
                history[column],
                color=VIOLET if training else EOSIN,
                linewidth=1.8 if len(histories) == 1 else 1.3,
                alpha=alpha,
                marker="o",
                markersize=3,
                label="" if said in named else said,
            )
            named.add(said)
            at = np.flatnonzero(history["epoch"] == (kept or {}).get(name, -1))
            if len(at) and not training:
                said = "" if "kept" in named else "epoch kept"
                _draw_ring(axes, history["epoch"][at], history[column][at], label=said)
                named.add("kept")
    axes.set(xlabel="Epoch", ylabel=title)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    write_legend(figure, axes)
    return figure


def coverage_figure(promised: Sequence[float], found: Sequence[Estimate]) -> Figure:
    """The share of sets that hold the truth against the share promised, with intervals."""
    figure, (axes,) = new_figure(4.4, 3.6)
    ends = [end for each in found for end in (each.low, each.value) if end is not None]
    low = min([0.7, *promised, *ends]) - 0.05
    axes.plot([low, 1], [low, 1], color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    for level, each in zip(promised, found, strict=True):
        if each.low is not None and each.high is not None:
            axes.plot([level, level], [each.low, each.high], color=EOSIN, linewidth=2, alpha=0.5)
    values = [np.nan if each.value is None else each.value for each in found]
    axes.plot(promised, values, "o", color=EOSIN, markersize=7)
    axes.set(
        xlim=(low, 1.02), ylim=(low, 1.02), xlabel="Promised", ylabel="Share that hold the truth"
    )
    return figure


def risk_figure(answered: Floats, risk: Floats, *, allowed: float, at: float | None) -> Figure:
    """The share wrong among the surest images, over the share of them that is answered.

    Args:
        answered: shares of the images, shape (points,).
        risk: share wrong among these, shape (points,).
        allowed: the risk that a confidence was chosen for, a dashed line.
        at: the share answered at that confidence, marked by a ring; None where nothing is.
    """
    figure, (axes,) = new_figure(4.4, 3.6)
    axes.axhline(allowed, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    axes.plot(answered, risk, color=EOSIN, linewidth=2.2, solid_joinstyle="round")
    if at is not None:
        _draw_ring(axes, at, float(np.interp(at, answered, risk)))
    axes.set(xlim=(0, 1.02), ylim=(0, max(float(risk.max()), allowed) * 1.1 + 0.01))
    axes.set(xlabel="Share of the images answered, the surest first", ylabel="Share wrong")
    return figure


def _size(small: bool) -> tuple[float, float]:
    return (2.7, 2.6) if small else (4.4, 4.2)


def _draw_ring(axes: Axes, x: ArrayLike, y: ArrayLike, *, label: str = "") -> None:
    (ring,) = axes.plot(x, y, "o", markersize=9, markerfacecolor="none", color=INK, label=label)
    ring.set(markeredgewidth=1.8, clip_on=False)


def _draw_band(axes: Axes, band: CurveBand) -> None:
    if band.low is not None and band.high is not None:
        axes.fill_between(band.x, band.low, band.high, color=EOSIN, alpha=0.2, linewidth=0)
    axes.plot(band.x, band.y, color=EOSIN, linewidth=2.2, solid_joinstyle="round")


def _name_axes(axes: Axes, across: str, up: str, *, small: bool) -> None:
    keep_square(axes)
    axes.set(xlabel=across, ylabel=up)
    if small:
        axes.xaxis.label.set_fontsize(7.5)
        axes.yaxis.label.set_fontsize(7.5)


def joint_figure(
    curves: Mapping[str, CurveBand], averages: Mapping[str, CurveBand], *, precision: bool = False
) -> Figure:
    """All classes in one figure, their averages in ink, with a legend beneath.

    Args:
        curves: of each class, under what the legend says of it.
        averages: the same of micro and macro averages.
        precision: whether they are precision-recall curves, else ROC curves.
    """
    figure, (axes,) = new_figure(5.2, 4.6 + 0.17 * (len(curves) + len(averages)))
    if not precision:
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    for index, (name, curve) in enumerate(curves.items()):
        colour, dashes = _CLASS_COLOURS[index % len(_CLASS_COLOURS)], "-" if index < 8 else "--"
        axes.plot(curve.x, curve.y, color=colour, linewidth=1.8, linestyle=dashes, label=name)
    for (name, curve), dashes in zip(averages.items(), (":", "--"), strict=False):
        axes.plot(curve.x, curve.y, color=INK, linewidth=2, linestyle=dashes, label=name)
    _name_axes(axes, *(_PRECISION if precision else _ROC), small=False)
    write_legend(figure, axes)
    return figure


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
