"""A real browser, Debian's Chromium, for the pages."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("playwright", reason="needs playwright")

from playwright.sync_api import Browser, Page, expect, sync_playwright

_PATIENCE = 15_000  # milliseconds
expect.set_options(timeout=_PATIENCE)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        yield opened
        asyncio._set_running_loop(loop)
        opened.close()


@pytest.fixture(autouse=True)
def own_loop(browser: Browser) -> Iterator[None]:
    """Playwright's event loop counts as running in this thread: between its tests it must not,
    or no other test here could run one of its own.
    """
    asyncio._set_running_loop(browser._loop)
    yield
    asyncio._set_running_loop(None)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page; it fails the test where a script of it fails."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(_PATIENCE)
    faults: list[str] = []
    opened.on("pageerror", lambda fault: faults.append(str(fault)))
    yield opened
    context.close()
    assert not faults


@pytest.fixture(scope="session")
def violations() -> Any:
    """What axe finds wrong with a page, in light and in dark, as sentences."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe")

    def found(page: Page) -> list[str]:
        said = []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            for fault in axe.Axe().run(page).response["violations"]:
                elements = [node["target"] for node in fault["nodes"]]
                said.append(f"{scheme}: {fault['help']}: {elements}")
        return said

    return found
