"""The Trust section: do sets hold the truth, what does abstaining buy, and what is unfamiliar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eosin.evaluation.intervals import Bootstrap
from eosin.remote import as_path
from eosin.reporting.canvas import Drawing, as_drawing
from eosin.reporting.curves import coverage_figure, risk_figure
from eosin.reporting.galleries import Caption, Tile, tiles_of
from eosin.reporting.tables import Table
from eosin.reporting.wording import counted, figure, number, per_cent
from eosin.trust.coverage import accuracy_by_flag, risk_coverage, set_coverages
from eosin.trust.judge import CANNOT_TELL
from eosin.trust.summary import trust_lines

if TYPE_CHECKING:
    import pandas as pd

    from eosin.artefacts.predictions import Predictions
    from eosin.networks.run import Run
    from eosin.trust.coverage import RiskCoverage, SetCoverage

_STRANGEST: Final = 12


@dataclass(frozen=True)
class TrustSection:
    """What to look at, sentences on the whole, figures, tables, and the strangest images."""

    lead: str
    lines: tuple[str, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    tables: tuple[Table, ...] = ()
    strangest: tuple[Tile, ...] = ()
    caption: str = ""


def trust_section(run: Run, predictions: Predictions, *, resamples: int, seed: int) -> TrustSection:
    """The section; one sentence where the table was made without a reference."""
    if predictions.trust is None:
        return TrustSection(f"{CANNOT_TELL} Train it again with this version to have one.")
    bootstrap = Bootstrap(resamples, seed)
    sets = set_coverages(run, predictions, bootstrap=bootstrap)
    risk = risk_coverage(run, predictions, bootstrap=bootstrap)
    tiles = _strangest(predictions.frame)
    return TrustSection(
        lead=(
            "How far can one answer be trusted? A set holds the classes that cannot be ruled out; "
            "the answer is to abstain where more than one is left or the image is flagged."
        ),
        lines=trust_lines(predictions),
        drawings=(_coverage(sets), _risk(risk)),
        tables=(
            _coverage_table(sets),
            _size_table(sets),
            _flag_table(predictions, bootstrap),
        ),
        strangest=tiles,
        caption=_caption(predictions, len(tiles)),
    )


def _coverage(sets: tuple[SetCoverage, ...]) -> Drawing:
    able = [each for each in sets if not each.everything]
    drawn = coverage_figure([each.coverage for each in able], [each.covered[0] for each in able])
    caption = (
        "Dots on the dashed line keep what they promise; the bars are 95 % intervals from "
        "resampling whole patients."
    )
    for each in sets:
        if each.too_few:
            whole = "every set holds" if each.everything else "where so few do, a set holds"
            caption += (
                f" For {per_cent(each.coverage)}, {each.patients_needed} calibration patients "
                f"would be needed; there are {each.calibration_patients}, and {whole} every class."
            )
    return as_drawing(drawn, name="set-coverage", title="Coverage of the sets", caption=caption)


def _risk(found: RiskCoverage) -> Drawing:
    answered = None
    kept = f"keeps the share wrong to {per_cent(found.allowed)}"
    chosen = f"On the calibration patients no confidence {kept}."
    if found.abstained is not None:
        answered = 1 - (found.abstained.value or 0.0)
        left = "nothing is left" if found.risk_left is None else f"wrong {figure(found.risk_left)}"
        chosen = (
            f"At the confidence that {kept} on the calibration patients (ring), "
            f"{figure(found.abstained)} of these images are not answered; of the others: {left}."
        )
    drawn = risk_figure(found.answered, found.risk, allowed=found.allowed, at=answered or None)
    caption = f"Area under the curve {figure(found.area)}, less is better. {chosen}"
    return as_drawing(drawn, name="risk-coverage", title="Risk-coverage curve", caption=caption)


def _coverage_table(sets: tuple[SetCoverage, ...]) -> Table:
    rows = []
    for cells in zip(*(each.covered for each in sets), strict=True):
        first = cells[0]
        shares = [figure(each) for each in cells]
        rows.append((str(first.scope), *shares, f"{first.images:,}", f"{first.patients:,}"))
    names = (f"Promised {per_cent(each.coverage)}" for each in sets)
    columns = ("Images of", *names, "Images", "Patients")
    caption = "Share of images whose set holds the truth, with 95 % intervals by patient."
    return Table(caption, columns, tuple(rows), frozenset(range(1, len(columns))))


def _size_table(sets: tuple[SetCoverage, ...]) -> Table:
    rows = []
    for each in sets:
        sizes = [f"{count:,}" for count in each.sizes]
        rows.append((per_cent(each.coverage), *sizes, f"{each.calibration_patients:,}"))
    sizes = ["1 class", *(f"{size} classes" for size in range(2, len(sets[0].sizes) + 1))]
    columns = ("Promised", *sizes, "Patients that calibrate")
    caption = "How many classes the sets hold, in images. Small sets are the useful ones."
    return Table(caption, columns, tuple(rows), frozenset(range(1, len(columns))))


def _flag_table(predictions: Predictions, bootstrap: Bootstrap) -> Table:
    rows = [
        (name, f"{images:,}", "none" if found is None else figure(found))
        for name, (found, images) in accuracy_by_flag(predictions, bootstrap=bootstrap).items()
    ]
    caption = "Accuracy with and without flags. An image may have several."
    columns = ("Images", "Number", "Accuracy [95 % interval]")
    return Table(caption, columns, tuple(rows), frozenset({1, 2}))


def _strangest(frame: pd.DataFrame) -> tuple[Tile, ...]:
    ranked = frame.sort_values(["familiarity", "path"], kind="stable").head(_STRANGEST)
    ranked = ranked[ranked["familiarity"].notna()]
    return tiles_of([(as_path(str(row["path"])), _tile_words(row)) for _, row in ranked.iterrows()])


def _tile_words(row: pd.Series) -> Caption:
    flags = str(row["flags"]).replace(" ", ", ") or "no flag"
    return Caption(
        title=f"Familiarity {number(float(row['familiarity']))}",
        lines=(flags, f"Answer: {row['answer']}; truth: {row['label']}"),
    )


def _caption(predictions: Predictions, shown: int) -> str:
    trust = predictions.trust
    if trust is None or not shown:
        return "This Run cannot tell how familiar an image is."
    return (
        f"The {shown} least familiar images. Familiarity is the share of new patients' images that "
        f"look at least as strange, by {counted(trust.familiar_patients or 0, 'patient')}. "
        f"Below {number(trust.unfamiliar_below)} it is flagged, as "
        f"{per_cent(trust.unfamiliar_below)} of such patients' images are too."
    )
