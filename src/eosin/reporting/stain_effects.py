"""The section of a study's page on its stain steps: what each of them changes against none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.reporting.canvas import QUIET, Drawing, as_drawing, new_figure
from eosin.reporting.comparison_tables import signed
from eosin.reporting.dots import Dot, draw_dots, limits_of
from eosin.reporting.tables import Table
from eosin.reporting.wording import NO_BREAK, capital, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from eosin.evaluation.draws import MeanFigure
    from eosin.evaluation.effects import Effect

_TITLES = {"accuracy": "accuracy", "roc_auc": "ROC AUC", "macro_roc_auc": "macro ROC AUC"}
_ROW = 0.34  # inches a row of a figure takes
_CHANCE = 0.05  # share of 95 % intervals that exclude zero where nothing differs


@dataclass(frozen=True, slots=True)
class StainRow:
    """What one stain step changes for one model under one protocol.

    Attributes:
        model: its name, without the step.
        stain: the step.
        protocol: the protocol's name.
        leaky: whether patients cross its splits.
        seed: of the split.
        effects: against the same model with no step, as ``measure_effects`` gives them.
    """

    model: str
    stain: str
    protocol: str
    leaky: bool
    seed: int
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class StainPart:
    """One protocol of the section: its name, its tables, its figures."""

    protocol: str
    tables: tuple[Table, ...]
    drawings: tuple[Drawing, ...]


@dataclass(frozen=True)
class StainSection:
    """The section, ready for the page.

    Attributes:
        title: the heading.
        sentence: what was found, first.
        parts: one a protocol, in the study's order.
    """

    title: str
    sentence: str
    parts: tuple[StainPart, ...]


def stain_section(rows: Sequence[StainRow]) -> StainSection | None:
    """The section for these rows; None where there are none."""
    if not rows:
        return None
    drawn = all(row.stain.startswith("none") for row in rows)
    protocols = dict.fromkeys(row.protocol for row in rows)
    return StainSection(
        title=f"What stain {'augmentation' if drawn else 'normalisation'} changes",
        sentence=_sentence(rows),
        parts=tuple(
            _part(name, [row for row in rows if row.protocol == name], place)
            for place, name in enumerate(protocols, 1)
        ),
    )


def stain_frame(rows: Sequence[StainRow]) -> pd.DataFrame:
    """One row a figure of a stain step.

    Columns: model, stain, protocol, leaky, seed, level, metric, before, difference, low, high,
    images, patients, note.
    """
    import pandas as pd

    return pd.DataFrame(
        {
            "model": row.model,
            "stain": row.stain,
            "protocol": row.protocol,
            "leaky": row.leaky,
            "seed": row.seed,
            "level": effect.level,
            "metric": effect.metric,
            "before": effect.before,
            "difference": effect.value,
            "low": effect.low,
            "high": effect.high,
            "images": effect.images,
            "patients": effect.patients,
            "note": effect.note,
        }
        for row in rows
        for effect in row.effects
    )


def verdict(effects: Sequence[Effect]) -> str:
    """What the intervals of one step say, in one sentence.

    It names what rose and what fell beyond chance; where nothing did, it says that there is no
    evidence either way rather than that nothing changed.
    """
    known = [effect for effect in effects if _tells(effect)]
    if not known:
        return "no interval that shows a spread, so nothing can be said"
    apart = [effect for effect in known if effect.beyond_chance]
    if not apart:
        whole = "the interval includes" if len(known) == 1 else "every interval includes"
        return f"{whole} zero: no evidence either way"
    rose = [_title(effect) for effect in apart if (effect.value or 0) > 0]
    fell = [_title(effect) for effect in apart if (effect.value or 0) <= 0]
    said = [f"raises {' and '.join(rose)}"] if rose else []
    said += [f"lowers {' and '.join(fell)}"] if fell else []
    rest = "" if len(apart) == len(known) else "; the rest includes zero"
    return " and ".join(said) + rest


def _sentence(rows: Sequence[StainRow]) -> str:
    said = []
    for protocol in dict.fromkeys(row.protocol for row in rows):
        effects = [e for row in rows if row.protocol == protocol for e in row.effects]
        known = [effect for effect in effects if _tells(effect)]
        up = sum(effect.beyond_chance and (effect.value or 0) > 0 for effect in known)
        down = sum(effect.beyond_chance and (effect.value or 0) <= 0 for effect in known)
        said.append(
            f"Under “{protocol}”, of {counted(len(known), 'interval')} {up} lie above zero and "
            f"{down} below; by chance alone about {_CHANCE * len(known):.1f} would exclude it."
        )
    return " ".join(said)


def _tells(effect: Effect) -> bool:
    """Whether an interval shows a spread; at a ceiling of 1.000 every draw gives the same."""
    return effect.low is not None and effect.low != effect.high


def _part(protocol: str, rows: Sequence[StainRow], place: int) -> StainPart:
    models = dict.fromkeys((row.model, row.seed) for row in rows)
    tables = [_table([row for row in rows if (row.model, row.seed) == key]) for key in models]
    figures = dict.fromkeys((e.level, e.metric) for row in rows for e in row.effects)
    drawings = [
        _drawing(rows, level, metric, name=f"stain-{place}-{number}")
        for number, (level, metric) in enumerate(figures, 1)
    ]
    return StainPart(protocol, tuple(tables), tuple(d for d in drawings if d is not None))


def _table(rows: Sequence[StainRow]) -> Table:
    """The steps of one model under one protocol and seed."""
    first = rows[0]
    columns = [capital(_title(effect)) for effect in first.effects]
    scored = {effect.level: effect for effect in first.effects}
    counts = [
        f"{counted(effect.images, 'image')} of {_patients(effect)}"
        + (" at patient level" if level == "patient" else "")
        for level, effect in scored.items()
    ]
    before = ", ".join(
        f"{_title(effect)} {effect.before:.3f}"
        for effect in first.effects
        if effect.before is not None
    )
    caption = (
        f"{first.model}, seed {first.seed}: each step minus none, with paired 95 % intervals over "
        f"patients ({'; '.join(counts)}). Without a step: {before}."
    )
    cells = [
        (_step(row), *(difference_cell(effect) for effect in row.effects), verdict(row.effects))
        for row in rows
    ]
    heads = ("Stain step", *columns, "What it says")
    flush = frozenset(range(1, len(heads) - 1))
    return Table(caption, heads, tuple(cells), flush, prose=frozenset({len(heads) - 1}))


def _drawing(rows: Sequence[StainRow], level: str, metric: str, *, name: str) -> Drawing | None:
    """One figure of every step, around zero; None where it shows no spread anywhere."""
    several = len({(row.model, row.seed) for row in rows}) > 1
    dots = [
        Dot(_label(row, several=several), e.value, e.low, e.high, e.beyond_chance)
        for row in rows
        for e in row.effects
        if (e.level, e.metric) == (level, metric) and e.value is not None
    ]
    if not any(dot.low != dot.high for dot in dots):
        return None
    by = "by image" if level == "image" else "by patient"
    title = f"Change in {_TITLES.get(metric, metric)}, {by}"
    caption = "Right of the line the step helps. Filled: its interval excludes zero."
    return as_drawing(_figure(dots), name=name, title=title, caption=caption)


def _figure(dots: Sequence[Dot]) -> Figure:
    figure, (axes,) = new_figure(4.6, 0.75 + _ROW * len(dots))
    low, high = limits_of([*dots, Dot("", 0.0, None, None)])  # zero is always in sight
    draw_dots(axes, dots, within=(low, high))
    axes.locator_params(axis="x", nbins=4)
    axes.axvline(0, color=QUIET, linewidth=1.2, linestyle=(0, (4, 3)), zorder=0)
    return figure


def _label(row: StainRow, *, several: bool) -> str:
    return f"{_step(row)}\n{row.model}, seed {row.seed}" if several else _step(row)


def _step(row: StainRow) -> str:
    """The step beside none: what is added to none needs no mention of it."""
    return row.stain.removeprefix("none + ")


def figure_title(metric: str, level: str) -> str:
    """The name of a figure as a reader should see it, e.g. ``ROC AUC by patient``."""
    name = _TITLES.get(metric, metric)
    return f"{name} by patient" if level == "patient" else name


def difference_cell(figure: Effect | MeanFigure) -> str:
    """A signed difference over its interval, or why it has none."""
    if figure.value is None:
        return f"–\n{figure.note}"
    number = signed(figure.value)
    if figure.low is None or figure.high is None:
        return f"{number}\n{figure.note or 'no interval'}"
    return f"{number}\n[{signed(figure.low)},{NO_BREAK}{signed(figure.high)}]"


def _title(effect: Effect) -> str:
    return figure_title(effect.metric, effect.level)


def _patients(effect: Effect) -> str:
    return counted(effect.patients, "patient")
