"""The pictures of the README: a report of the demo, a heatmap with its verdict (needs Chromium)."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ASSETS = Path(__file__).resolve().parent / "assets"


def keep(picture: bytes, name: str, *, most: int) -> None:
    """Write a picture small: with a palette, at most so many pixels wide."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.thumbnail((most, most), Image.Resampling.LANCZOS)
    path = ASSETS / name
    image.quantize(256, method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    print(f"docs/assets/{name}: {path.stat().st_size / 1000:.0f} kB")


def take(page: Page, work: Path) -> None:
    """Take both pictures of what lies in ``work``."""
    page.goto((work / "report.html").as_uri())
    keep(
        page.screenshot(clip={"x": 0, "y": 0, "width": 1100, "height": 880}),
        "report.png",
        most=1000,
    )
    page.goto((work / "maps" / "index.html").as_uri())
    believed = page.locator(".tiles > *").filter(has_text="faithful: deletion")
    keep(believed.filter(has_not_text="not faithful").last.screenshot(), "heatmap.png", most=680)


def main() -> None:
    """Run the demo and take its pictures."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        work = Path(folder, "eosin-demo")
        eosin = [sys.executable, "-m", "eosin"]
        subprocess.run([*eosin, "demo", "--out", work], check=True)
        asked = ["explain", work / "run", work / "manifest.csv", "-o", work / "maps"]
        subprocess.run([*eosin, *asked, "--score", "--limit", "8"], check=True)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        take(browser.new_page(viewport={"width": 1100, "height": 900}), work)
        browser.close()


if __name__ == "__main__":
    main()
