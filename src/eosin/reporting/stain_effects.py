"""The section of a study's page on its stain steps: what each of them changes against none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eosin.artefacts.glossary import GLOSSARY
from eosin.reporting.canvas import QUIET, Drawing, as_drawing
from eosin.reporting.dots import Dot, dots_figure, limits_of
from eosin.reporting.tables import Table
from eosin.reporting.wording import capital, cell, counted, measured, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from eosin.artefacts.estimate import Estimate, Level
    from eosin.evaluation.effects import Effect

_CHANCE = 0.05  # share of 95 % intervals that exclude zero where nothing differs


@dataclass(frozen=True, slots=True)
class StainRow:
    """What one stain step changes for one model under one protocol."""

    model: str  # its name, without the step
    stain: str  # the step as the study says it
    step: str  # the same beside none: what is added to none needs no mention of it
    drawn: bool  # whether the step only draws stains anew, and normalises nothing
    protocol: str  # the protocol's name
    leaky: bool  # whether patients cross its splits
    seed: int  # of the split
    # against the same model with no step, as ``measure_effects`` gives them
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class StainPart:
    """One protocol of the section: its name, its tables, its figures."""

    protocol: str
    tables: tuple[Table, ...]
    drawings: tuple[Drawing, ...]


@dataclass(frozen=True)
class StainSection:
    """The section, ready for the page."""

    title: str  # the heading
    sentence: str  # what was found, first
    parts: tuple[StainPart, ...]  # one a protocol, in the study's order


def stain_section(rows: Sequence[StainRow]) -> StainSection | None:
    """The section for these rows; None where there are none."""
    if not rows:
        return None
    drawn = all(row.drawn for row in rows)
    protocols = dict.fromkeys(row.protocol for row in rows)
    return StainSection(
        title=f"What stain {'augmentation' if drawn else 'normalisation'} changes",
        sentence=_sentence(rows),
        parts=tuple(
            _part(name, [row for row in rows if row.protocol == name], number)
            for number, name in enumerate(protocols, 1)
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
            "level": effect.change.level,
            "metric": effect.change.metric,
            "before": effect.before,
            "difference": effect.change.value,
            "low": effect.change.low,
            "high": effect.change.high,
            "images": effect.change.images,
            "patients": effect.change.patients,
            "note": effect.change.note,
        }
        for row in rows
        for effect in row.effects
    )


def verdict(effects: Sequence[Effect]) -> str:
    """What the intervals of one step say, in one sentence.

    It names what rose and what fell beyond chance; where nothing did, it says that there is no
    evidence either way rather than that nothing changed.
    """
    known = [effect.change for effect in effects if _tells(effect.change)]
    if not known:
        return "no interval that shows a spread, so nothing can be said"
    apart = [change for change in known if change.excludes_zero]
    if not apart:
        whole = "the interval includes" if len(known) == 1 else "every interval includes"
        return f"{whole} zero: no evidence either way"
    rose = [measured(change) for change in apart if (change.value or 0) > 0]
    fell = [measured(change) for change in apart if (change.value or 0) <= 0]
    said = [f"raises {' and '.join(rose)}"] if rose else []
    said += [f"lowers {' and '.join(fell)}"] if fell else []
    rest = "" if len(apart) == len(known) else "; the rest includes zero"
    return " and ".join(said) + rest


def _sentence(rows: Sequence[StainRow]) -> str:
    said = []
    for protocol in dict.fromkeys(row.protocol for row in rows):
        changes = [e.change for row in rows if row.protocol == protocol for e in row.effects]
        known = [change for change in changes if _tells(change)]
        up = sum(change.excludes_zero and (change.value or 0) > 0 for change in known)
        down = sum(change.excludes_zero and (change.value or 0) <= 0 for change in known)
        said.append(
            f"Under “{protocol}”, of {counted(len(known), 'interval')} {up} lie above zero and "
            f"{down} below; by chance alone about {_CHANCE * len(known):.1f} would exclude it."
        )
    return " ".join(said)


def _tells(change: Estimate) -> bool:
    """Whether an interval shows a spread; at a ceiling of 1.000 every draw gives the same."""
    return change.low is not None and change.low != change.high


def _part(protocol: str, rows: Sequence[StainRow], number: int) -> StainPart:
    models = dict.fromkeys((row.model, row.seed) for row in rows)
    tables = [_table([row for row in rows if (row.model, row.seed) == key]) for key in models]
    asked = dict.fromkeys((e.change.level, e.change.metric) for row in rows for e in row.effects)
    drawings = [
        _drawing(rows, level, metric, name=f"stain-{number}-{count}")
        for count, (level, metric) in enumerate(asked, 1)
    ]
    return StainPart(protocol, tuple(tables), tuple(d for d in drawings if d is not None))


def _table(rows: Sequence[StainRow]) -> Table:
    """The steps of one model under one protocol and seed."""
    first = rows[0]
    columns = [capital(measured(effect.change)) for effect in first.effects]
    scored = {effect.change.level: effect.change for effect in first.effects}
    counts = [
        f"{counted(change.images, 'image')} of {counted(change.patients, 'patient')}"
        + (" at patient level" if level == "patient" else "")
        for level, change in scored.items()
    ]
    before = ", ".join(
        f"{measured(effect.change)} {number(effect.before)}"
        for effect in first.effects
        if effect.before is not None
    )
    caption = (
        f"{first.model}, seed {first.seed}: each step minus none, with paired 95 % intervals over "
        f"patients ({'; '.join(counts)}). Without a step: {before}."
    )
    cells = [
        (row.step, *(difference_cell(e.change) for e in row.effects), verdict(row.effects))
        for row in rows
    ]
    heads = ("Stain step", *columns, "What it says")
    flush = frozenset(range(1, len(heads) - 1))
    return Table(caption, heads, tuple(cells), flush, prose=frozenset({len(heads) - 1}))


def _drawing(rows: Sequence[StainRow], level: Level, metric: str, *, name: str) -> Drawing | None:
    """One figure of every step, around zero; None where it shows no spread anywhere."""
    several = len({(row.model, row.seed) for row in rows}) > 1
    dots = [
        Dot(_label(row, several=several), change, change.excludes_zero)
        for row in rows
        for change in (effect.change for effect in row.effects)
        if (change.level, change.metric) == (level, metric) and change.value is not None
    ]
    if not any(_tells(dot.figure) for dot in dots):
        return None
    title = f"Change in {GLOSSARY[metric].name}, by {level}"
    caption = "Right of the line the step helps. Filled: its interval excludes zero."
    return as_drawing(_figure(dots), name=name, title=title, caption=caption)


def _figure(dots: Sequence[Dot]) -> Figure:
    sheet = dots_figure(dots, within=limits_of(dots, 0.0))  # zero is always in sight
    axes = sheet.axes[0]
    axes.locator_params(axis="x", nbins=4)
    axes.axvline(0, color=QUIET, linewidth=1.2, linestyle=(0, (4, 3)), zorder=0)
    return sheet


def _label(row: StainRow, *, several: bool) -> str:
    return f"{row.step}\n{row.model}, seed {row.seed}" if several else row.step


def difference_cell(found: Estimate) -> str:
    """A signed difference over its interval, or why it has none."""
    if found.low is None:
        return f"{number(found.value, signed=True)}\n{found.note}"
    return cell(found, signed=True)
