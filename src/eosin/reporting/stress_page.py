"""The card of a stress test: a page, a table, and one figure of all shifts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.artefacts.outputs import PAGE, PICTURE, table
from eosin.artefacts.tables import write_csv
from eosin.files import write_text
from eosin.pixels.shifts import OTHER_STAINS, SEVERITIES, SHIFTS, STAIN_RANKS
from eosin.reporting.canvas import EOSIN, QUIET, VIOLET, as_drawing, dress, write_png
from eosin.reporting.html import render
from eosin.reporting.tables import Table
from eosin.reporting.wording import cell, figure, interval, number

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from eosin.artefacts.predictions import Predictions
    from eosin.trust.stress_card import ShiftFigures, StressCard

STRESS_FILES = {
    "index.html": PAGE,
    "stress.csv": table("stress table", "shift", "severity", "what"),
    "stress.png": PICTURE,
    "tables": None,
}
_COLUMNS = 3  # panels a row


def write_stress(card: StressCard, unchanged: Predictions, folder: Path) -> Path:
    """Write ``index.html``, ``stress.csv`` and ``stress.png``; the page's path.

    Args:
        card: the figures.
        unchanged: the predictions of the images as they are: model, dataset and protocol.
        folder: where to.
    """
    origin = unchanged.provenance
    drawn = stress_figure(card)
    drawing = as_drawing(
        drawn,
        name="stress",
        title="Accuracy under each shift",
        caption="From the images as they are (0) to the strongest severity (5), with 95 % "
        "intervals. Pink: accuracy. Violet, dashed: share of images that the Run flagged.",
    )
    facts = {
        "title": f"{origin.model} on {origin.dataset}, under shifts",
        "protocol": origin.protocol.name,
        "warning": origin.protocol.warning if origin.protocol.leaky else None,
        "sentence": _sentence(card),
        "remarks": _remarks(card, unchanged),
        "drawing": drawing,
        "tables": [shift_table(card, shift) for shift in card.shifts],
        "contents": [("verdict", "Verdict"), ("curves", "All shifts"), ("figures", "Figures")],
    }
    write_csv(card.frame(), folder / "stress.csv")
    write_png(drawn, folder / "stress.png")
    write_text(folder / "index.html", render("stress.html", facts))
    return folder / "index.html"


def stress_sentences(card: StressCard) -> tuple[str, ...]:
    """For the terminal: the accuracy as it is, and from which severity each shift lowers it."""
    return (_sentence(card), *(_of_shift(card, shift) for shift in card.shifts))


def _sentence(card: StressCard) -> str:
    lost = [shift for shift in card.shifts if card.lost_from(shift)]
    base = f"Accuracy on the images as they are: {figure(card.unchanged.accuracy, space=' ')}."
    if not lost:
        return f"{base} No shift lowers it beyond chance at any severity tested."
    return f"{base} {len(lost)} of {len(card.shifts)} shifts lower it beyond chance."


def _of_shift(card: StressCard, shift: str) -> str:
    first, last = card.lost_from(shift), card.of(shift)[-1]
    between = interval(last.change, signed=True, space=" ")
    change = f"{number(last.change.value, signed=True)} {between} at severity {last.severity}"
    flagged = "" if last.flagged is None else f", {number(last.flagged.value)} flagged there"
    if first is None:
        return f"{_title(shift)}: not beyond chance ({change}{flagged})."
    return (
        f"{_title(shift)}: from severity {first} ({_amount(shift, first)}) on; {change}{flagged}."
    )


def _remarks(card: StressCard, unchanged: Predictions) -> list[str]:
    found = [_of_shift(card, shift) for shift in card.shifts]
    found.append(
        "Lost beyond chance: from that severity on, the 95 % interval of the change, paired with "
        "the same images unchanged, lies below zero. With few patients, losses can be real and "
        "stay within chance."
    )
    if card.unchanged.flagged is None:
        found.append("This Run has no reference: it cannot tell the unfamiliar, and flags nothing.")
    elif unchanged.trust is not None:
        level = f"{100 * unchanged.trust.coverage:g} %"
        found.append(f"Coverage: share of images whose set at {level} holds the true class.")
    return found


def _title(shift: str) -> str:
    return "Stains of other patients" if shift == OTHER_STAINS else SHIFTS[shift].title


def _amount(shift: str, severity: int) -> str:
    if shift == OTHER_STAINS:
        return f"{100 * STAIN_RANKS[severity - 1]:g} % of the way to the most different patient"
    kind = SHIFTS[shift]
    return kind.unit.format(kind.amounts[severity - 1])


def shift_table(card: StressCard, shift: str) -> Table:
    """A row a severity of one shift, the images as they are first."""
    columns = ["Severity", "Accuracy", "Change", "Calibration error"]
    columns += ["Coverage of sets"] if card.unchanged.coverage else []
    columns += ["Flagged"] if card.unchanged.flagged else []
    rows = [_row("as it is", card.unchanged)]
    rows += [
        _row(f"{each.severity}: {_amount(shift, each.severity)}", each) for each in card.of(shift)
    ]
    return Table(caption=_title(shift), columns=tuple(columns), rows=tuple(rows))


def _row(label: str, found: ShiftFigures) -> tuple[str, ...]:
    cells = [label, cell(found.accuracy), cell(found.change, signed=True, starred=True)]
    cells.append(cell(found.ece))
    cells += [cell(each) for each in (found.coverage, found.flagged) if each is not None]
    return tuple(cells)


def stress_figure(card: StressCard) -> Figure:
    """A panel a shift: accuracy with its interval, and the share flagged, over severity."""
    from matplotlib.figure import Figure

    rows = -(-len(card.shifts) // _COLUMNS)
    drawn = Figure(figsize=(9.0, 0.4 + 2.2 * rows), layout="constrained", facecolor="none")
    panels = drawn.subplots(rows, _COLUMNS, squeeze=False, sharex=True, sharey=True).ravel()
    for axes in panels[len(card.shifts) :]:
        axes.set_visible(False)
    for axes, shift in zip(panels, card.shifts, strict=False):
        dress(axes)
        points = (card.unchanged, *card.of(shift))
        across = (0, *SEVERITIES)[: len(points)]
        accuracy = [each.accuracy for each in points]
        axes.fill_between(
            across,
            [_end(each.low, each.value) for each in accuracy],
            [_end(each.high, each.value) for each in accuracy],
            color=EOSIN,
            alpha=0.2,
            linewidth=0,
        )
        axes.plot(across, [each.value for each in accuracy], color=EOSIN, marker="o", markersize=3)
        flagged = [each.flagged.value for each in points if each.flagged is not None]
        if len(flagged) == len(points):
            axes.plot(across, flagged, color=VIOLET, linewidth=1.3, linestyle=(0, (4, 2)))
        if first := card.lost_from(shift):
            axes.axvline(first, color=QUIET, linewidth=1, linestyle=(0, (1, 2)))
        axes.set_title(_title(shift), loc="left", fontsize=9)
        axes.set(xlim=(-0.2, 5.2), ylim=(-0.02, 1.02), xticks=(0, *SEVERITIES))
    drawn.supxlabel("Severity (dotted: accuracy is lost beyond chance from here on)", fontsize=9)
    drawn.supylabel("Accuracy (pink); share flagged (violet, dashed)", fontsize=9)
    return drawn


def _end(end: float | None, value: float | None) -> float:
    found = value if end is None else end
    return float("nan") if found is None else found
