"""The page of a stress test: what its sentences say of known losses, its tables and its figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from eosin.artefacts.predictions import Predictions, Provenance
from eosin.protocol import Protocol
from eosin.reporting.canvas import EOSIN, VIOLET
from eosin.reporting.stress_page import shift_table, stress_figure, stress_sentences, write_stress
from eosin.trust.stress_card import ShiftFigures, StressCard, stress_card

if TYPE_CHECKING:
    from .conftest import Page

PATIENTS, IMAGES = 20, 10
Table = Callable[..., Predictions]
ORIGIN = Provenance(
    protocol=Protocol("patient", "5-fold"), model="vgg16", dataset="lab <b>", split="test"
)


@pytest.fixture
def table(patients_table: Callable[..., Predictions]) -> Table:
    """Twenty patients of ten images, so many of each wrong, one more or less by turns."""

    def build(wrong_of_ten: int, origin: Provenance = ORIGIN) -> Predictions:
        turn = np.arange(PATIENTS)[:, None] // 2 % 3 - 1
        wrong = np.arange(IMAGES) < wrong_of_ten + turn * (wrong_of_ten > 1)
        return patients_table(np.where(wrong, 0.2, 0.8), origin)

    return build


@pytest.fixture
def card(table: Table) -> StressCard:
    """Blur that is felt from severity 4 on, and a hue that nothing feels."""
    wrong = {"blur": (1, 1, 1, 4, 5), "hue": (1, 1, 1, 1, 1)}
    tables = {
        (shift, severity): table(count)
        for shift, counts in wrong.items()
        for severity, count in enumerate(counts, 1)
    }
    return stress_card(table(1), tables, resamples=300)


def with_flags(found: ShiftFigures, share: float) -> ShiftFigures:
    """The same of a Run that flags this share of the images, and whose sets hold the truth."""
    flagged = replace(found.accuracy, value=share, low=share, high=share, metric="flagged")
    coverage = replace(found.accuracy, value=0.9, low=0.85, high=0.95, metric="coverage")
    return replace(found, flagged=flagged, coverage=coverage)


def flagging(card: StressCard) -> StressCard:
    shifted = tuple(with_flags(each, 0.1 * each.severity) for each in card.shifted)
    return replace(card, unchanged=with_flags(card.unchanged, 0.0), shifted=shifted)


def test_the_first_sentence_counts_the_shifts_that_cost_accuracy(
    card: StressCard, table: Table
) -> None:
    first, *each = stress_sentences(card)
    assert first == (
        "Accuracy on the images as they are: 0.900 [0.900, 0.900]. 1 of 2 shifts lower it beyond "
        "chance."
    )
    assert each[0].startswith("Blur: from severity 4 (sigma 2.5 px) on; −0.")
    assert each[1] == "Hue: not beyond chance (0.000 [0.000, 0.000] at severity 5)."
    calm = stress_card(table(1), {("hue", k): table(1) for k in range(1, 6)}, resamples=100)
    assert stress_sentences(calm)[0].endswith(
        "No shift lowers it beyond chance at any severity tested."
    )


def test_the_share_flagged_at_the_strongest_severity_is_told_where_there_are_flags(
    card: StressCard,
) -> None:
    _, blur, hue = stress_sentences(flagging(card))
    assert blur.endswith("at severity 5, 0.500 flagged there.")
    assert hue.endswith("at severity 5, 0.500 flagged there).")
    assert not any("flagged" in said for said in stress_sentences(card))


def test_a_table_has_a_row_a_severity_with_what_each_is(card: StressCard) -> None:
    found = shift_table(card, "blur")
    assert found.caption == "Blur"
    assert found.columns == ("Severity", "Accuracy", "Change", "Calibration error")
    assert [row[0] for row in found.rows] == [
        "as it is",
        "1: sigma 0.5 px",
        "2: sigma 1 px",
        "3: sigma 1.5 px",
        "4: sigma 2.5 px",
        "5: sigma 4 px",
    ]
    assert found.rows[0][1:3] == ("0.900\n[0.900,\xa00.900]", "0.000\n[0.000,\xa00.000]")
    starred = ["★" in row[2] for row in found.rows]
    assert starred == [False] * 4 + [True] * 2


def test_coverage_and_flags_are_columns_where_the_run_has_them(card: StressCard) -> None:
    found = shift_table(flagging(card), "hue")
    assert found.columns[-2:] == ("Coverage of sets", "Flagged")
    assert found.rows[5][-2:] == ("0.900\n[0.850,\xa00.950]", "0.500\n[0.500,\xa00.500]")


def test_stains_of_other_patients_are_told_by_their_way_to_the_most_different(table: Table) -> None:
    tables = {("stains of other patients", k): table(1) for k in range(1, 6)}
    found = shift_table(stress_card(table(1), tables, resamples=100), "stains of other patients")
    assert found.caption == "Stains of other patients"
    assert all("of the way to the most different patient" in row[0] for row in found.rows[1:])


def test_the_figure_has_a_panel_a_shift_with_the_accuracy_of_each_severity(
    card: StressCard,
) -> None:
    figure = stress_figure(card)
    blur, hue, *empty = figure.axes
    assert [axes.get_title(loc="left") for axes in (blur, hue)] == ["Blur", "Hue"]
    assert not any(axes.get_visible() for axes in empty)
    for axes, shift in ((blur, "blur"), (hue, "hue")):
        line = axes.lines[0]
        assert to_hex(line.get_color()) == EOSIN
        assert line.get_xdata().tolist() == [0, 1, 2, 3, 4, 5]
        accuracy = [card.unchanged.accuracy.value, *(e.accuracy.value for e in card.of(shift))]
        assert line.get_ydata().tolist() == accuracy
    assert list(blur.lines[-1].get_xdata()) == [4, 4]  # where accuracy is lost
    assert len(hue.lines) == 1


def test_the_share_flagged_is_a_violet_line_of_its_own(card: StressCard) -> None:
    _, hue = stress_figure(flagging(card)).axes[:2]
    violet = [line for line in hue.lines if to_hex(line.get_color()) == VIOLET]
    assert [line.get_ydata() for line in violet] == [pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])]


def test_the_folder_holds_a_page_a_table_and_a_picture_of_the_same_figures(
    card: StressCard, table: Table, tmp_path: Path, parsed: Callable[[str], Page]
) -> None:
    path = write_stress(card, table(1), tmp_path)
    assert path == tmp_path / "index.html"
    assert {each.name for each in tmp_path.iterdir()} == {"index.html", "stress.csv", "stress.png"}
    page = parsed(path.read_text(encoding="utf-8"))
    assert page.root.findtext(".//h1") == "vgg16 on lab <b>, under shifts"
    said = page.words("verdict")
    assert all(sentence in said for sentence in stress_sentences(card))
    assert "This Run has no reference: it cannot tell the unfamiliar, and flags nothing." in said
    shown = page.tables("figures")
    assert [each.rows for each in shown] == [shift_table(card, s).rows for s in ("blur", "hue")]
    kept = pd.read_csv(tmp_path / "stress.csv")
    row = kept[(kept["shift"] == "blur") & (kept["severity"] == 5) & (kept["what"] == "accuracy")]
    assert row["value"].tolist() == pytest.approx([card.of("blur")[4].accuracy.value])
    with Image.open(tmp_path / "stress.png") as picture:
        assert picture.getpixel((0, 0))[:3] == (255, 255, 255)


def test_a_leaky_protocol_is_a_ribbon_and_an_honest_one_is_none(
    table: Table, tmp_path: Path, parsed: Callable[[str], Page]
) -> None:
    leaky = Protocol("image", "5-fold", leaky=True)
    for protocol, warned in ((leaky, [leaky.warning]), (ORIGIN.protocol, [])):
        found = table(1, replace(ORIGIN, protocol=protocol))
        card = stress_card(found, {("hue", 1): found}, resamples=100)
        page = parsed(write_stress(card, found, tmp_path).read_text(encoding="utf-8"))
        ribbons = [e.text for e in page.root.iter("div") if e.get("class") == "ribbon"]
        assert ribbons == warned
        assert protocol.name in page.words()
