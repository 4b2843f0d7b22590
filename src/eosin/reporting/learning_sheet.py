"""Learning curves of many models: one small panel each, all to one scale."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from eosin.reporting.canvas import EOSIN, INK, VIOLET, dress, new_figure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from eosin.reporting.learning import History

_COLUMNS = (("train_loss", VIOLET), ("val_loss", EOSIN))
_ACROSS = 4  # panels beside each other on a sheet


def panel_figures(histories: Mapping[str, Mapping[str, History]]) -> dict[str, Figure]:
    """Loss over the epochs of every model: a figure each, with the same axes.

    Args:
        histories: of each model, the columns of its Runs' histories, such as one a fold.
    """
    figures = {}
    for name, runs in histories.items():
        figure, (axes,) = new_figure(2.7, 2.3)
        _draw(axes, runs, histories)
        figures[name] = figure
    return figures


def learning_sheet(histories: Mapping[str, Mapping[str, History]]) -> Figure:
    """The same panels on one sheet, each under its model's name."""
    from matplotlib.figure import Figure

    across = min(_ACROSS, len(histories))
    down = ceil(len(histories) / across)
    sheet = Figure(figsize=(2.7 * across, 0.5 + 2.3 * down), layout="constrained")
    panels = sheet.subplots(down, across, squeeze=False).ravel()
    for axes, (name, runs) in zip(panels, histories.items(), strict=False):
        dress(axes)
        axes.set_title(name, fontsize=9.5, color=INK, loc="left")
        _draw(axes, runs, histories)
    for axes in panels[len(histories) :]:
        axes.remove()
    words = "Loss of training (violet) and validation patients (pink)"
    sheet.suptitle(words, fontsize=10.5, color=INK, x=0.01, ha="left")
    return sheet


def _draw(
    axes: Axes, runs: Mapping[str, History], everybody: Mapping[str, Mapping[str, History]]
) -> None:
    """Training (violet) and validation (pink) loss of one model, on the scale of all."""
    from matplotlib.ticker import MaxNLocator

    for history in runs.values():
        for column, colour in _COLUMNS:
            if column in history:
                axes.plot(
                    history["epoch"],
                    history[column],
                    color=colour,
                    linewidth=1.7 if len(runs) == 1 else 1.1,
                    alpha=1.0 if len(runs) == 1 else 0.6,
                    marker="o",
                    markersize=2.5,
                )
    epochs, most = _extent(everybody)
    axes.set(xlim=(0.5, epochs + 0.5), ylim=(0, 1.05 * most), xlabel="Epoch", ylabel="Loss")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))


def _extent(everybody: Mapping[str, Mapping[str, History]]) -> tuple[float, float]:
    """The last epoch and the highest loss of all models."""
    import numpy as np

    histories = [history for runs in everybody.values() for history in runs.values()]
    losses = [history[name] for history in histories for name, _ in _COLUMNS if name in history]
    epochs = max((float(np.max(history["epoch"], initial=1)) for history in histories), default=1.0)
    finite = [values[np.isfinite(values)] for values in losses]
    return epochs, max((float(np.max(values, initial=0)) for values in finite), default=0) or 1.0
