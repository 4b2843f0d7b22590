"""Try and Models as people use them: in a browser, with the keyboard, narrow and wide."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

DROP = """([data, name]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  document.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
}"""


def drop(page: Page, path: Path, name: str = "") -> None:
    page.evaluate(DROP, [base64.b64encode(path.read_bytes()).decode(), name or path.name])


def test_a_dropped_image_is_answered_with_its_map_by_every_run(
    page: Page, server: Any, new_images: list[Path]
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.url)
    drop(page, new_images[0])
    tried = page.locator("section.tried")
    expect(tried.locator("h2")).to_have_text(new_images[0].name)
    expect(tried.locator("h3")).to_have_text(["onnx", "probe", "All Runs"])
    expect(tried.locator("figcaption", has_text="Evidence for")).to_have_count(3)
    said = server.predict(new_images[0]).json()["runs"][0]["images"][0]
    shown = tried.locator(".answer").first
    expect(shown.locator(".decision")).to_contain_text(said["decision"])
    for name, share in said["probabilities"].items():
        expect(shown.locator("dd", has_text=f"{100 * share:.1f} %")).not_to_have_count(0)
        assert shown.locator(f'meter[aria-label^="{name} "]').get_attribute("value") == str(share)
    page.locator("input[type=range]").fill("0")
    assert page.locator(".map img + img").first.evaluate("map => map.style.opacity") == "0"
    own = f"{server.url}/"
    assert not [url for url in asked if not url.startswith((own, "blob:", "data:"))]


def test_flags_are_said_in_words(page: Page, server: Any, tmp_path: Path) -> None:
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / "glass.png"), np.full((230, 350, 3), 244, np.uint8))
    page.goto(server.url)
    drop(page, tmp_path / "glass.png")
    expect(page.locator(".flags").first).to_contain_text("No tissue")
    expect(page.locator(".decision").first).to_contain_text("No answer")


def test_a_hostile_file_and_a_patient_seen_in_training_get_a_sentence(
    page: Page, server: Any, tmp_path: Path, met_images: list[Path]
) -> None:
    page.goto(server.url)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 64)
    drop(page, tmp_path / "a.png", "<img src=x onerror=alert(1)>.png")
    expect(page.locator(".fault").first).to_contain_text("PNG")
    expect(page.locator("section.tried h2")).to_have_text("<img src=x onerror=alert(1)>.png")
    page.locator("#files").set_input_files([met_images[0]])
    expect(page.locator(".fault").first).to_contain_text("trained or validated on the patient")


def test_stains_and_a_check_of_the_map_are_shown_when_asked_for(
    page: Page, server: Any, new_images: list[Path]
) -> None:
    page.goto(server.url)
    drop(page, new_images[0])
    page.get_by_role("button", name="Show the stains").click()
    expect(page.locator("figcaption", has_text="Haematoxylin alone")).to_be_visible()
    expect(page.locator("figcaption", has_text="Eosin alone")).to_be_visible()
    page.get_by_role("button", name="How far to believe this map?").click()
    verdict = page.locator("article", has_text="probe").first.locator("p.small").last
    expect(verdict).not_to_contain_text("Checking", timeout=60_000)
    assert len(verdict.inner_text()) > 20


def test_keys_do_what_the_list_of_keys_says(
    page: Page, server: Any, new_images: list[Path]
) -> None:
    page.goto(server.url)
    for path in new_images[:2]:
        drop(page, path)
    expect(page.locator("section.tried")).to_have_count(2)
    expect(page.locator("figcaption", has_text="Evidence for").first).to_be_visible()
    page.keyboard.press("h")
    expect(page.locator("body")).to_have_class("unmapped")
    page.locator("section.tried h2").first.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("section.tried h2").nth(1)).to_be_focused()
    page.keyboard.press("Delete")
    expect(page.locator("section.tried")).to_have_count(1)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("next image")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("path", ["/", "/models", "/docs", "/login"])
def test_pages_can_be_read_by_everybody(
    page: Page, server: Any, violations: Any, new_images: list[Path], path: str, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{server.url}{path}")
    if path == "/":
        drop(page, new_images[0])
        expect(page.locator("figcaption", has_text="Evidence for")).to_have_count(3)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_wrong_token_is_told_and_the_right_one_opens_the_door(
    page: Page, serve: Any, exported: Any
) -> None:
    server = serve(exported, token="0123456789abcdef-token")
    page.goto(f"{server.url}/models")
    expect(page).to_have_url(re.compile("/login"))
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("This is not the token.")
    page.get_by_label("Token").fill("0123456789abcdef-token")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Models")  # where they wanted to go
