"""What the page of an audit says of what was found: every check, remark, lead and list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eosin.data.audit import Audit, AuditedImage, DuplicatePair
from eosin.data.balance import Balance, ClassCount, HeaviestPatient
from eosin.pixels.reading import SkippedFile
from eosin.protocol import Protocol
from eosin.reporting.audit_page import audit_page

if TYPE_CHECKING:
    from .conftest import Page, Shown

WHOLE = Balance(
    parts=("all images",),
    counts=(ClassCount("all images", "benign", 1200, 24),),
    totals=(ClassCount("all images", "", 1200, 24),),
    heaviest=(HeaviestPatient("all images", "14-22549", 300, 0.25),),
)
SPLIT = Balance(
    parts=("train", "test"),
    counts=(
        ClassCount("train", "benign", 800, 16),
        ClassCount("test", "benign", 400, 8),
        ClassCount("train", "malignant", 5, 1),
        ClassCount("test", "malignant", 0, 0),
    ),
    totals=(ClassCount("train", "", 805, 17), ClassCount("test", "", 400, 8)),
    heaviest=(
        HeaviestPatient("train", "14-22549", 300, 0.3727),
        HeaviestPatient("test", "14-9133", 100, 0.25),
    ),
)
CLEAN = Audit(
    images=1205,
    patients=25,
    dataset="breakhis",
    protocol=Protocol("patient", "70/15/15"),
    duplicates=(),
    crossing_patients=(),
    patients_with_several_labels=(),
    balance=SPLIT,
    blank=(),
    unreadable=(),
)


def image(
    name: str, *, split: str = "train", patient: str = "p", label: str = "benign"
) -> AuditedImage:
    return AuditedImage(f"/bh/{name}.png", label, patient, split, "")


def pair(first: AuditedImage, second: AuditedImage, distance: float = 0.0) -> DuplicatePair:
    return DuplicatePair(first, second, "near-duplicate", "re-encoded", distance)


@pytest.fixture
def shown(parsed: Callable[[str], Page]) -> Callable[..., Page]:
    return lambda audit, **options: parsed(audit_page(audit, **options))


def checks(page: Page) -> dict[str, str]:
    (table,) = page.tables("verdict")
    return dict(table.rows)  # type: ignore[arg-type]


def test_a_clean_audit_finds_none_of_anything_and_raises_no_ribbon(
    shown: Callable[..., Page],
) -> None:
    page = shown(CLEAN)
    assert set(checks(page).values()) == {"none"}
    assert "No leak was found: no patient and no picture crosses" in page.words("verdict")
    assert not [each for each in page.root.iter("div") if each.get("class") == "ribbon"]
    assert page.words("pairs").startswith("Duplicates None: no two files hold one picture")
    anchors = [link.get("href") for link in page.root.iter("a")]
    assert set(anchors) == {"#verdict", "#pairs", "#balance"}


def test_what_was_found_is_counted_check_by_check(shown: Callable[..., Page]) -> None:
    across = pair(image("a"), image("b", split="test", patient="q", label="malignant"))
    inside = pair(image("c"), image("d"), 0.01)
    page = shown(
        replace(
            CLEAN,
            duplicates=(across, inside),
            crossing_patients=("14-1", "14-2", "14-3"),
            unreadable=(SkippedFile(Path("/bh/x.png"), "is empty"),),
            blank=("/bh/y.png", "/bh/z.png"),
        )
    )
    assert checks(page) == {
        "Duplicates across splits": "1",
        "Patients across splits": "3",
        "Duplicates with two labels": "1",
        "Unreadable files": "1",
        "Duplicate pairs in all": "2",
        "Nearly blank images": "2",
    }
    (ribbon,) = [each for each in page.root.iter("div") if each.get("class") == "ribbon"]
    assert ribbon.text == "This manifest is not fit for honest figures as it is"
    assert "1 duplicate pair under two patients: either the patients are one" in (
        page.words("verdict")
    )
    assert _pairs(page) == [["two labels", "across splits", "across patients"], []]


def _pairs(page: Page) -> list[list[str | None]]:
    """The badges of each pair shown."""
    shown = [each for each in page.part("pairs").iter("li") if each.get("class") == "pair"]
    return [
        [span.text for span in each.iter("span") if "badge" in (span.get("class") or "")]
        for each in shown
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"patients": None}, "cannot be seen: patients are not known"),
        ({"balance": WHOLE}, "nothing is divided yet"),
        ({"patients": None, "balance": WHOLE}, "nothing is divided yet"),
    ],
)
def test_whether_patients_cross_is_not_claimed_where_it_cannot_be_seen(
    changes: dict[str, object], said: str, shown: Callable[..., Page]
) -> None:
    page = shown(replace(CLEAN, **changes))  # type: ignore[arg-type]
    assert checks(page)["Patients across splits"] == said


def test_duplicates_in_undivided_data_come_with_how_to_split(shown: Callable[..., Page]) -> None:
    advice = "Keep the files of one picture on one side when you split"
    found = (pair(image("a", split=""), image("b", split="")),)
    assert advice in shown(replace(CLEAN, balance=WHOLE, duplicates=found)).words("verdict")
    assert advice not in shown(replace(CLEAN, duplicates=found)).words("verdict")


def test_a_leaky_protocol_is_warned_of_in_the_verdict(shown: Callable[..., Page]) -> None:
    leaky = Protocol("image", "70/15/15", leaky=True)
    assert str(leaky.warning) in shown(replace(CLEAN, protocol=leaky)).words("verdict")


@pytest.mark.parametrize(
    ("most", "start"),
    [(5, "All 3 pairs; those with two labels"), (2, "The 2 gravest of 3 pairs; those with two")],
)
def test_the_lead_says_how_many_of_the_pairs_are_shown(
    most: int, start: str, shown: Callable[..., Page]
) -> None:
    found = tuple(pair(image(f"a{n}"), image(f"b{n}"), n / 100) for n in range(3))
    page = shown(replace(CLEAN, duplicates=found), pairs_shown=most)
    assert page.words("pairs").startswith(f"Duplicates {start}")
    assert len(_pairs(page)) == min(most, 3)
    assert len(page.tables("pairs")) == (most < 3)


def test_the_table_of_all_pairs_names_both_sides_where_they_differ(
    shown: Callable[..., Page],
) -> None:
    found = pair(image("a", patient=""), image("b", split="test", patient="14-2"), 0.1234)
    (table,) = shown(replace(CLEAN, duplicates=(found,)), pairs_shown=0).tables("pairs")
    assert table.rows == (
        (
            "a.png\nb.png",
            "near-duplicate\nre-encoded",
            "benign",
            "– / 14-2",
            "train / test",
            "0.123",
        ),
    )


def balance(page: Page) -> list[Shown]:
    return page.tables("balance")


def test_images_and_patients_of_every_class_and_part_stand_in_the_balance(
    shown: Callable[..., Page],
) -> None:
    counts, heaviest = balance(shown(CLEAN))
    assert counts.heads == ("Class", "train", "test")
    assert counts.rows == (
        ("benign", "800\n16 patients", "400\n8 patients"),
        ("malignant", "5\n1 patient", "0\n0 patients"),
        ("All", "805\n17 patients", "400\n8 patients"),
    )
    assert heaviest.rows == (
        ("train", "14-22549", "300", "37\xa0%"),
        ("test", "14-9133", "100", "25\xa0%"),
    )


def test_without_patients_the_balance_counts_images_alone(shown: Callable[..., Page]) -> None:
    bare = replace(SPLIT, heaviest=())
    (counts,) = balance(shown(replace(CLEAN, patients=None, balance=bare)))
    assert counts.rows[0] == ("benign", "800", "400")
    assert counts.caption == "Images by class."


def test_patients_and_files_have_sections_where_there_is_something_to_say(
    shown: Callable[..., Page],
) -> None:
    page = shown(
        replace(
            CLEAN,
            crossing_patients=("14-<1>",),
            patients_with_several_labels=(("14-2", ("benign", "malignant")),),
            unreadable=(SkippedFile(Path("/bh/x.png"), "is empty (0 bytes)"),),
            blank=("/bh/y.png",),
        )
    )
    crossing, several = page.tables("patients")
    assert crossing.rows == (("14-<1>",),)
    assert several.rows == (("14-2", "benign, malignant"),)
    unreadable, blank = page.tables("files")
    assert unreadable.rows == (("x.png", "is empty (0 bytes)"),)
    assert (unreadable.caption, blank.rows) == ("1 file that cannot be read.", (("y.png",),))
    assert blank.caption.startswith("1 nearly blank image: ")
    anchors = [link.get("href") for link in page.root.iter("a")]
    assert {"#patients", "#files"} <= set(anchors)


def test_a_long_list_of_files_stops_at_five_hundred(shown: Callable[..., Page]) -> None:
    many = tuple(SkippedFile(Path(f"/bh/{n}.png"), "is empty") for n in range(600))
    (table,) = shown(replace(CLEAN, unreadable=many)).tables("files")
    assert table.caption == "600 files that cannot be read."
    assert len(table.rows) == 500
