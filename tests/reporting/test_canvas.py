"""Figures as SVG and PNG: names escaped, colours of the page, sizes, and the same bytes twice."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eosin.artefacts.estimate import Estimate
from eosin.evaluation.curves import CurveBand
from eosin.reporting.canvas import (
    CARD,
    EOSIN,
    GRID,
    INK,
    QUIET,
    VIOLET,
    as_drawing,
    as_svg,
    keep_square,
    new_figure,
    write_legend,
    write_png,
)
from eosin.reporting.curves import coverage_figure, joint_figure, risk_figure
from eosin.reporting.dots import Dot, dots_figure, limits_of

SPACE = "{http://www.w3.org/2000/svg}"
MARKS = ["A & B", "<script>", 'say "so"', "a$b$", "é Ж 腺", "]]>", "--", "x'y"]


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> Estimate:
    note = "" if low is not None else "one patient: no interval"
    return Estimate(value, low, high, 36, 12, "accuracy", note=note)


@pytest.mark.parametrize("name", MARKS)
def test_any_title_and_description_come_back_from_the_svg_as_they_were(name: str) -> None:
    figure, _ = new_figure(1.0, 1.0)
    root = ElementTree.fromstring(as_svg(figure, name="f", title=name, description=f"of {name}"))
    assert root.findtext(f"{SPACE}title") == name
    assert root.findtext(f"{SPACE}desc") == f"of {name}"
    assert root.get("aria-labelledby") == "f-t"
    assert root.get("aria-describedby") == "f-d"


def test_every_colour_of_the_house_follows_the_page_and_keeps_itself_for_paper() -> None:
    figure, (axes,) = new_figure(2.0, 2.0)
    for number, colour in enumerate((INK, QUIET, GRID, CARD, EOSIN, VIOLET)):
        axes.plot([0, 1], [number, number], color=colour)
    svg = as_svg(figure, name="f", title="", description="")
    for colour in (INK, QUIET, GRID, CARD, EOSIN, VIOLET):
        inside = re.findall(rf"var\(--\w+, {colour}\)", svg)
        assert inside
        assert svg.count(colour) == len(inside)  # nowhere without its variable


def test_two_figures_of_one_page_share_no_id_and_refer_to_their_own() -> None:
    svgs = []
    for name in ("one", "two"):
        figure, (axes,) = new_figure(2.0, 2.0)
        axes.fill_between([0, 1], [0, 0], [1, 2])
        axes.set(xlim=(0.2, 0.8))  # clipped, so that there is a clip path to refer to
        svgs.append(as_svg(figure, name=name, title="", description=""))
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in svgs]
    assert not ids[0] & ids[1]
    for svg, own in zip(svgs, ids, strict=True):
        used = set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'href="#([^"]+)"', svg))
        assert used
        assert used <= own


def test_an_svg_brings_no_style_date_script_or_outside_resource() -> None:
    figure, (axes,) = new_figure(2.0, 2.0)
    axes.set_title("http://example.org")
    svg = as_svg(figure, name="f", title="", description="")
    root = ElementTree.fromstring(svg)
    tags = {each.tag.removeprefix(SPACE) for each in root.iter()}
    assert not tags & {"script", "style", "image", "metadata", "foreignObject"}
    links = [value for each in root.iter() for name, value in each.attrib.items() if "href" in name]
    assert all(link.startswith("#") for link in links)


def test_a_drawing_has_the_words_of_its_figure_for_readers_who_cannot_see_it() -> None:
    figure, _ = new_figure(1.0, 1.0)
    drawing = as_drawing(figure, name="roc-1", title="ROC curve", caption="Area 0.9.")
    assert (drawing.title, drawing.caption) == ("ROC curve", "Area 0.9.")
    assert '<title id="roc-1-t">ROC curve</title><desc id="roc-1-d">Area 0.9.</desc>' in drawing.svg


def test_a_png_has_200_dots_an_inch_on_the_colour_of_a_card(tmp_path: Path) -> None:
    figure, (axes,) = new_figure(2.0, 1.5)
    axes.axhspan(0, 1, color=EOSIN)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    write_png(figure, tmp_path / "f.png")
    with Image.open(tmp_path / "f.png") as picture:
        assert [round(each) for each in picture.info["dpi"]] == [200, 200]
        colours = picture.convert("RGB")
        assert colours.getpixel((1, 1)) == (255, 255, 255)
        middle = colours.getpixel((picture.width // 2, picture.height // 2))
    assert middle == tuple(int(EOSIN[k : k + 2], 16) for k in (1, 3, 5))
    before = (tmp_path / "f.png").read_bytes()
    write_png(new_figure(3.0, 1.0)[0], tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes() != before
    assert [each.name for each in tmp_path.iterdir()] == ["f.png"]  # no draft stays


def test_rows_of_axes_share_their_horizontal_scale_and_the_first_is_three_times_as_high() -> None:
    figure, (top, bottom) = new_figure(3.0, 3.0, rows=2)
    top.plot([0, 5], [0, 1])
    figure.canvas.draw()
    assert top.get_xlim() == bottom.get_xlim()
    assert top.get_position().height == pytest.approx(3 * bottom.get_position().height, rel=0.05)
    assert not top.spines["top"].get_visible()
    assert not bottom.spines["right"].get_visible()


def test_a_unit_square_has_equal_scales_and_quarters() -> None:
    _, (axes,) = new_figure(3.0, 2.0)
    keep_square(axes)
    assert axes.get_aspect() == 1.0
    assert list(axes.get_xticks()) == list(axes.get_yticks()) == [0, 0.25, 0.5, 0.75, 1]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "0",
        "0.25",
        "0.5",
        "0.75",
        "1",
    ]


@pytest.mark.parametrize(("name", "columns"), [("short", 3), ("a name of more than 24 signs", 1)])
def test_a_legend_of_long_names_has_one_column_and_no_name_is_mathematics(
    name: str, columns: int
) -> None:
    figure, (axes,) = new_figure()
    for number in range(4):
        axes.plot([0, 1], [0, number], label=f"{name} $x_{number}")
    write_legend(figure, axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"{name} $x_{n}" for n in range(4)]
    assert legend._ncols == columns
    assert "$x_3" in as_svg(figure, name="f", title="", description="")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 1), st.one_of(st.none(), st.tuples(st.floats(0, 1), st.floats(0, 1)))
        ),
        min_size=1,
        max_size=8,
    )
)
def test_the_axis_of_dots_holds_every_value_and_whisker(
    rows: list[tuple[float, tuple[float, float] | None]],
) -> None:
    dots = [
        Dot("m", estimate(value, *(sorted(ends) if ends else (None, None)))) for value, ends in rows
    ]
    low, high = limits_of(dots)
    shown = [
        x for d in dots for x in (d.figure.value, d.figure.low, d.figure.high) if x is not None
    ]
    assert low < min(shown) <= max(shown) < high
    assert limits_of(dots, -1.0, 2.0)[0] < -1.0
    assert limits_of(dots, -1.0, 2.0)[1] > 2.0


def test_dots_stand_in_order_from_the_top_with_their_value_at_the_right() -> None:
    dots = [
        Dot("first", estimate(0.9, 0.8, 1.0)),
        Dot("second", estimate(None)),
        Dot("third", estimate(0.5)),
    ]
    (axes,) = dots_figure(dots, within=(0.2, 1.1)).axes
    assert axes.get_xlim() == (0.2, 1.1)
    bottom, top = axes.get_ylim()
    assert bottom > 2 > 0 > top  # downwards
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second", "third"]
    assert [text.get_text() for text in axes.texts] == ["0.900", "–", "0.500"]
    drawn = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
    assert drawn[0] == 0.9
    assert np.isnan(drawn[1])


def test_coverage_stands_over_what_was_promised_with_its_interval() -> None:
    found = [estimate(0.92, 0.85, 0.97), estimate(0.6)]
    (axes,) = coverage_figure([0.9, 0.8], found).axes
    diagonal, whisker, dots = axes.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
    assert list(whisker.get_xdata()) == [0.9, 0.9]
    assert list(whisker.get_ydata()) == [0.85, 0.97]
    assert list(dots.get_xdata()) == [0.9, 0.8]
    assert list(dots.get_ydata()) == [0.92, 0.6]
    assert axes.get_xlim() == axes.get_ylim()


def test_a_coverage_that_may_be_nothing_at_all_is_shown_down_to_its_end() -> None:
    (axes,) = coverage_figure([0.9], [estimate(0.5, 0.0, 1.0)]).axes
    assert axes.get_ylim()[0] < 0.0 < axes.get_ylim()[1]
    (axes,) = coverage_figure([0.9], [estimate(0.4)]).axes  # of one patient, without an interval
    assert axes.get_ylim()[0] < 0.4
    (axes,) = coverage_figure([], []).axes  # every set holds every class
    assert axes.get_ylim()[0] < 0.7


def test_the_ring_of_a_risk_curve_stands_on_the_curve_at_the_share_answered() -> None:
    answered, risk = np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.1, 0.3])
    (axes,) = risk_figure(answered, risk, allowed=0.05, at=0.75).axes
    allowed, curve, ring = axes.lines
    assert list(allowed.get_ydata()) == [0.05, 0.05]
    assert curve.get_ydata().tolist() == [0.0, 0.1, 0.3]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (0.75, pytest.approx(0.2))
    assert axes.get_ylim()[1] > 0.3
    assert len(risk_figure(answered, risk, allowed=0.05, at=None).axes[0].lines) == 2


def test_a_ninth_class_is_dashed_so_that_no_two_lines_look_alike() -> None:
    grid = np.linspace(0, 1, 3)
    band = CurveBand(grid, grid, None, None)
    curves = {f"class {n}": band for n in range(12)}
    (axes,) = joint_figure(curves, {"micro average": band}, precision=True).axes
    looks = [(line.get_color(), line.get_linestyle()) for line in axes.lines]
    assert len(looks) == len(set(looks)) == 13
    assert axes.get_ylabel() == "Precision"
