"""How a Run learned: its curves over the epochs, or what a frozen probe chose."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log
from textwrap import fill
from typing import TYPE_CHECKING

from eosin.errors import ModelError
from eosin.networks.run import HISTORY_NAME
from eosin.reporting.canvas import EOSIN, INK, VIOLET, Drawing, as_drawing, dress, new_figure
from eosin.reporting.curves import learning_figure
from eosin.reporting.tables import Table
from eosin.reporting.wording import capital, counted, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from eosin.arrays import Floats
    from eosin.artefacts.run import RunRecord
    from eosin.networks.run import Run

    History = Mapping[str, Floats]

_PROBE = "inner_log_loss"
_PANELS = (
    ("loss", "Loss", ("train_loss", "val_loss")),
    ("accuracy", "Accuracy", ("train_accuracy", "val_accuracy")),
    ("balanced", "Balanced accuracy", ("val_balanced_accuracy",)),
)


@dataclass(frozen=True)
class Learning:
    """A section on how the Run learned: what to look at, curves, and a table where one helps."""

    lead: str
    drawings: tuple[Drawing, ...] = ()
    table: Table | None = None


def describe_learning(run: Run) -> Learning:
    """Curves of every ``history.csv`` of the Run and its members; else what its probes chose."""
    parts = _parts(run)
    histories = histories_of(run)
    if histories:
        epochs = {name: part.record.choices.get("epoch") for name, part in parts.items()}
        return _curves(histories, {n: e for n, e in epochs.items() if isinstance(e, int)})
    probes = {name: part for name, part in parts.items() if _PROBE in part.record.choices}
    if probes:
        return _probes(probes)
    return Learning("This Run keeps no history of its training.")


def histories_of(run: Run) -> dict[str, History]:
    """The columns of every ``history.csv`` of the Run and its members; none for frozen probes.

    Raises:
        ModelError: a member is missing or changed, or a history cannot be read.
    """
    return {
        name: _read_history(part)
        for name, part in _parts(run).items()
        if (part.folder / HISTORY_NAME).is_file()
    }


def _parts(run: Run) -> dict[str, Run]:
    """The Run, or its members, by a name to print."""
    return {_name(part, n): part for n, part in enumerate(run.open_members() or (run,), 1)}


def _curves(histories: Mapping[str, History], kept: Mapping[str, int]) -> Learning:
    many = (
        f" One line for each of {counted(len(histories), 'model')}." if len(histories) > 1 else ""
    )
    drawings = []
    for key, title, columns in _PANELS:
        held = [name for name in columns if any(name in history for history in histories.values())]
        if not held:
            continue
        figure = learning_figure(histories, columns=columns, title=title, kept=kept)
        caption = _colours(held) + many
        drawings.append(as_drawing(figure, name=f"learning-{key}", title=title, caption=caption))
    lead = (
        "A validation curve (pink) that turns away from the training curve (violet) shows a model "
        "that memorises its training patients (overfitting)."
    )
    if kept:
        epochs = ", ".join(f"{name}: epoch {epoch}" for name, epoch in kept.items())
        lead += f" A ring marks the epoch whose weights were kept ({epochs})."
    return Learning(lead, tuple(drawings))


def _colours(columns: list[str]) -> str:
    names = {"train": "violet: training patients", "val": "pink: validation patients"}
    return capital(", ".join(names[column.partition("_")[0]] for column in columns)) + "."


def _probes(runs: Mapping[str, Run]) -> Learning:
    found = {name: probe_choices(run.record, run.folder) for name, run in runs.items()}
    rows = tuple(
        (
            name,
            own.chosen,
            number(own.loss),
            ", ".join(f"{strength:g}: {loss:.3f}" for strength, loss in own.losses.items()),
            number(runs[name].record.temperature),
            number(runs[name].record.threshold),
            own.threshold,
        )
        for name, own in found.items()
    )
    columns = (
        *("Model", "Chosen C", "Its inner log loss", "Inner log loss at each C"),
        *("Temperature", "Threshold", "Why this threshold"),
    )
    caption = "Strength, temperature and threshold, each chosen without the images scored here."
    lead = (
        "The backbone was frozen, so there are no epochs: a linear head was fitted on its "
        "features, and its strength (inverse regularisation C) was chosen by cross-validation "
        f"inside the training images. {_next([*found.values()], _classes(runs))}"
    )
    table = Table(caption, columns, rows, frozenset({1, 2, 4, 5}), prose=frozenset({3, 6}))
    return Learning(lead, table=table)


def _classes(runs: Mapping[str, Run]) -> int:
    return max(len(run.record.task.classes) for run in runs.values())


def describe_choices(run: Run) -> str:
    """What frozen trainings chose, in a sentence; empty where none of the Run's parts is one."""
    found = {
        name: probe_choices(part.record, part.folder)
        for name, part in _parts(run).items()
        if _PROBE in part.record.choices
    }
    if not found:
        return ""
    each = "; ".join(
        f"{name}: C {own.chosen}, inner log loss {own.loss:.3f}" for name, own in found.items()
    )
    return f"a frozen training has no epochs; it chose inside its training patients ({each})"


@dataclass(frozen=True)
class ProbeChoices:
    """What a frozen training chose inside its training patients."""

    strengths: tuple[float, ...]  # the inverse regularisation C of each block of channels
    losses: Mapping[float, float]  # cross-validated log loss of each strength tried, mean of blocks
    threshold: str  # why the threshold is what it is, in words; empty where that is not recorded

    @property
    def chosen(self) -> str:
        """The strengths in words."""
        return ", ".join(f"{each:g}" for each in dict.fromkeys(self.strengths))

    @property
    def loss(self) -> float:
        """The mean over blocks of the loss at the strength that each chose."""
        return sum(self.losses[each] for each in self.strengths) / len(self.strengths)

    @property
    def at_an_end(self) -> bool:
        """Whether every strength chosen is the weakest or the strongest of those tried."""
        return {*self.strengths} <= {min(self.losses), max(self.losses)}


def probe_choices(record: RunRecord, folder: Path) -> ProbeChoices:
    """The choices of a frozen training; ModelError where they cannot be read."""
    strength, losses = record.choices.get("strength"), record.choices[_PROBE]
    blocks = strength if isinstance(strength, list) else [strength]
    try:
        tried = {float(name): float(str(loss)) for name, loss in dict(losses).items()}  # type: ignore[arg-type]
        chosen = tuple(min(tried, key=lambda c: abs(c - float(str(each)))) for each in blocks)
    except ValueError as fault:
        raise ModelError(
            f"{folder}: the choices of its probe cannot be read; train it again"
        ) from fault
    return ProbeChoices(chosen, tried, threshold_reason(record))


def threshold_reason(record: RunRecord) -> str:
    """Why a Run decides at its threshold; empty where that is not recorded."""
    found = record.choices.get("threshold")
    if not isinstance(found, dict):
        return ""
    gain, error, candidate = (
        float(str(found[name])) for name in ("gain", "standard_error", "candidate")
    )
    over = f"{found['groups']} {'patients' if record.protocol.unit != 'image' else 'images'}"
    if candidate == 0.5:
        return "0.5 has the highest balanced accuracy"
    gains = f"gains {gain:+.3f} balanced accuracy, cross-validated over {over}"
    if record.threshold == candidate:
        return f"{candidate:.3f} {gains}: more than one standard error ({error:.3f})"
    return f"{candidate:.3f} {gains}: not more than one standard error ({error:.3f}), so 0.5"


def _next(found: Sequence[ProbeChoices], classes: int) -> str:
    """What the inner scores suggest to do."""
    losses = [own.loss for own in found]
    mean, chance = sum(losses) / len(losses), log(classes)
    said = f"The chosen heads have a mean inner log loss of {mean:.3f}; guessing has {chance:.3f}."
    if mean > 0.95 * chance:
        return (
            f"{said} That is hardly better: these features tell little of new patients; next, try "
            "another backbone, an earlier map (`NAME@stride8`), or more patients."
        )
    if all(own.at_an_end for own in found):
        return (
            f"{said} Each chosen strength is at the end of those tried; next, try stronger or "
            "weaker ones (`probe_c`)."
        )
    return (
        f"{said} Next, compare it with another backbone or with fine-tuning on the same folds "
        "(`eosin compare`)."
    )


def _read_history(run: Run) -> History:
    import numpy as np
    import pandas as pd

    path = run.folder / HISTORY_NAME
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path}: not a readable history ({error}); train the Run again"
        ) from error
    if "epoch" not in frame.columns:
        raise ModelError(f"{path}: has no column 'epoch'; train the Run again")
    numeric = frame.select_dtypes("number")
    return {name: np.asarray(numeric[name], dtype=np.float64) for name in numeric.columns}


def _name(run: Run, n: int) -> str:
    return f"Fold {run.record.fold}" if run.record.fold is not None else f"Model {n}"


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
        axes.set_title(fill(name, 30), fontsize=9.5, color=INK, loc="left", parse_math=False)
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
