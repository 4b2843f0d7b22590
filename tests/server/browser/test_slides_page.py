"""The page of a slide in a browser: by keys alone, true to scale, and readable by everybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect


@pytest.fixture
def slide(page: Any, slide_server: Any) -> Any:
    """The page of the first slide, once its pictures are there, without motion."""
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{slide_server.url}/slides")
    page.get_by_role("link", name="Slide 1").click()
    expect(page.locator("#scale")).to_contain_text("µm")
    page.wait_for_load_state("networkidle")
    return page


def side(page: Any, wanted: str) -> dict[str, float]:
    found: dict[str, float] = page.locator(wanted).bounding_box()
    return found


def test_the_scale_bar_is_as_long_as_it_says_at_each_magnification(slide: Any) -> None:
    for key, power, um_a_pixel in (("2", "5x", 2), ("3", "10x", 1), ("5", "40x", 0.25)):
        slide.keyboard.press(key)
        expect(slide.locator("#now")).to_have_text(f"now {power}")
        length, unit = slide.locator("#scale").inner_text().split()
        assert unit == "µm"
        assert float(length) / side(slide, "#scale")["width"] == pytest.approx(um_a_pixel, 0.01)
    slide.get_by_role("button", name="2.5x").click()
    expect(slide.locator("#now")).to_have_text("now 2.5x")


def test_a_layer_is_chosen_by_key_and_lies_exactly_on_the_slide(
    slide: Any, slide_server: Any, slide_folder: Path
) -> None:
    slide.keyboard.press("3")  # 10x: two pixels of the slide a pixel of the screen
    slide.keyboard.press("l")
    expect(slide.locator("#said")).to_have_text("Layer: probability of malignant")
    expect(slide.locator("#high")).to_have_text("1")
    cells = slide.locator("#map").evaluate("each => [each.naturalWidth, each.naturalHeight]")
    layer, view = side(slide, "#map"), side(slide, "#view")
    assert [layer["width"], layer["height"]] == pytest.approx([64 * n for n in cells], abs=0.1)
    # The slide's middle is in the middle of the view, and the map begins at the slide's corner.
    assert view["x"] + view["width"] / 2 - layer["x"] == pytest.approx(900 / 4, abs=0.5)
    assert view["y"] + view["height"] / 2 - layer["y"] == pytest.approx(650 / 4, abs=0.5)
    slide.keyboard.press("]")
    assert slide.locator("#map").evaluate("each => each.style.opacity") == "0.7"
    for _ in range(2):
        slide.keyboard.press("l")
    expect(slide.locator("#map")).to_be_hidden()


def test_keys_move_the_slide_and_the_tile_in_the_centre_is_scored_and_explained(
    slide: Any,
) -> None:
    slide.keyboard.press("Enter")
    expect(slide.get_by_role("heading", name="Tile at 384, 256")).to_be_visible()
    slide.keyboard.press("Shift+ArrowLeft")
    slide.keyboard.press("Enter")
    expect(slide.get_by_role("heading", name="Tile at 256, 256")).to_be_visible()
    expect(slide.locator(".answer meter")).to_have_count(2)
    centre = slide.get_by_role("button", name="Tile 5 of 9: malignant")
    stored, now = centre.inner_text(), slide.locator(".answer dd").all_inner_texts()
    assert stored in now
    box, view = side(slide, "#box"), side(slide, "#view")
    assert box["x"] < view["x"] + view["width"] / 2 < box["x"] + box["width"]
    before = slide.locator("#picture").get_attribute("src")
    slide.keyboard.press("e")
    expect(slide.locator("#why")).to_contain_text("Evidence for")
    assert slide.locator("#picture").get_attribute("src") != before
    slide.get_by_role("button", name="Tile 6 of 9").click()
    expect(slide.get_by_role("heading", name="Tile at 384, 256")).to_be_visible()


def test_a_click_looks_where_it_is(slide: Any) -> None:
    slide.keyboard.press("3")
    view = side(slide, "#view")
    slide.mouse.click(view["x"] + view["width"] / 2 - 100, view["y"] + view["height"] / 2)
    expect(slide.get_by_role("heading", name="Tile at 128, 256")).to_be_visible()


def test_the_slider_keeps_its_own_keys_and_help_lists_all(slide: Any) -> None:
    slide.locator("#opacity").focus()
    before = slide.locator("#box").evaluate("() => document.activeElement.value")
    slide.keyboard.press("ArrowLeft")
    assert slide.locator("#opacity").input_value() < before
    view = slide.get_by_role("application", name="The slide.")
    view.focus()
    slide.keyboard.press("Enter")
    expect(slide.locator(".answer")).to_be_visible()
    assert view.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
    slide.keyboard.press("?")
    expect(slide.get_by_role("dialog")).to_contain_text("look at the tile in the centre")


def test_a_slide_of_unknown_scale_says_so_and_has_no_scale_bar(
    page: Any, slide_server: Any
) -> None:
    page.goto(f"{slide_server.url}/slides")
    page.get_by_role("link", name="Slide 2").click()
    expect(page.locator("#facts")).to_contain_text("states no um/px")
    expect(page.locator("#scale")).to_be_hidden()
    page.keyboard.press("3")
    expect(page.locator("#said")).to_contain_text("column mpp of a manifest")


@pytest.mark.parametrize("width", [1280, 390])
def test_everybody_can_use_the_pages(
    page: Any, slide_server: Any, violations: Any, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{slide_server.url}/slides")
    assert violations(page) == []
    page.get_by_role("link", name="Slide 1").click()
    expect(page.locator("#scale")).to_contain_text("µm")
    page.keyboard.press("l")
    page.keyboard.press("Enter")
    expect(page.locator(".answer")).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    view = side(page, ".slide-view")
    assert view["width"] > 0.65 * width
    assert view["height"] > 0.65 * 800
