"""The published figures: copied without a slip, under their protocol, and beside ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
PUBLISHED = (DOCS / "published.md").read_text(encoding="utf-8")
RESULTS = (DOCS / "results.md").read_text(encoding="utf-8")
OURS = {
    "EfficientNetV1-B0": "efficientnet_b0",
    "EfficientNetV2-B0": "tf_efficientnetv2_b0",
    "both B0, soft vote": "all soft",
    "both B0, hard vote": "all hard",
    "both B0, weighted vote": "all weighted",
    "both B0, fusion": "all fusion",
}
TEST_IMAGES = 1182


def rows(text: str) -> list[list[str]]:
    """The cells of every table row in ``text``."""
    found = re.findall(r"^\| (.*) \|$", text, flags=re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in found]


def numbers(cell: str) -> list[float]:
    """A figure and the ends of its interval."""
    return [float(found) for found in re.findall(r"[\d.]+", cell)]


def table() -> tuple[list[str], list[list[str]]]:
    """Column titles and rows of the BreakHis table."""
    titles, _, *body = rows(PUBLISHED)
    return titles, body


def test_ten_networks_and_three_ensembles_of_each_family_have_all_four_figures() -> None:
    whole = [row[0] for row in table()[1] if all(row[1:5])]
    assert len([name for name in whole if "," not in name]) == 10
    kinds = {"soft vote", "hard vote", "fusion"}
    for family in ("EfficientNetV1", "EfficientNetV2"):
        assert {f"{family}, {kind}" for kind in kinds} <= set(whole)


def test_no_figure_was_copied_wrong() -> None:
    for row in table()[1]:
        if not row[1]:
            continue
        accuracy, precision, recall, f1 = map(float, row[1:5])
        assert f1 == pytest.approx(2 * precision * recall / (precision + recall), abs=0.01), row
        wrong = (100 - accuracy) / 100 * TEST_IMAGES
        assert wrong == pytest.approx(round(wrong), abs=0.06), row  # of images one cannot half err


def test_our_figures_beside_them_are_those_of_the_results_under_the_protocol_in_the_title() -> None:
    titles, body = table()
    protocols = [re.sub(r"^ours, `(.*)`$", r"\1", title) for title in titles[5:]]
    assert protocols == ["image-level (leaky), 5-fold", "patient-level, 5-fold"]
    section = RESULTS.split("## Six models, three protocols")[1].split("\n## ")[0]
    accuracy = {(row[0], row[1]): row[2] for row in rows(section) if len(row) == 7}
    shown = {row[0]: row[5:7] for row in body if row[5]}
    assert set(shown) == set(OURS)
    for name, cells in shown.items():
        for protocol, cell in zip(protocols, cells, strict=True):
            found = [100 * share for share in numbers(accuracy[OURS[name], protocol])]
            assert numbers(cell) == pytest.approx(found), (name, protocol)  # its interval too


def test_both_figures_of_the_studys_own_stand_with_where_they_stand() -> None:
    assert "abstract names an accuracy of 99.58 %" in PUBLISHED
    assert 'README beside its code 99.62 % for "majority voting' in PUBLISHED
    reachable = {round(100 * (1 - wrong / TEST_IMAGES), 2) for wrong in range(TEST_IMAGES)}
    assert 99.58 in reachable
    assert {99.66, 99.58} == {figure for figure in reachable if 99.5 < figure < 99.7}
    assert round(100 * (1 - 3 / 791), 2) == 99.62
