"""The tutorials run as written, in an empty folder, and show what their text says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
SHOWN = {
    "1-first-report": (r"160 images of 160 patients", r"ROC AUC 0\.[89]\d+ \[", r"data:image/png"),
    "2-your-own-folder": (
        r"p005_9\.png: is not an image",
        r"identical file",
        r"image-level \(leaky\), 5-fold: ROC AUC 0\.[89]",
        r"patient-level, 5-fold: ROC AUC 0\.[456]",
        r"trained or validated on 20 of these patients",
    ),
    "3-explain-and-doubt": (r"faithful: ", r"unfamiliar", r"abstain", r"data:image/png"),
    "4-a-slide-to-qupath": (r"0\.45 um/px", r"malignant: \d+%", r"qupath\.geojson"),
    "5-compare-encoders": (r"nf_resnet26@stride8 ROC AUC 0\.[789]", r"95 % interval"),
}


def test_each_tutorial_is_looked_at() -> None:
    assert set(SHOWN) == {path.stem for path in TUTORIALS.glob("*.py")}


@pytest.mark.weekly  # `make docs` runs them for every change
@pytest.mark.parametrize("name", SHOWN)
def test_a_tutorial_runs_and_its_page_shows_what_came_out(name: str, tmp_path: Path) -> None:
    for library in ("jupytext", "nbclient", "ipykernel", "torch", "tifffile"):
        pytest.importorskip(library, reason=f"{library} is not installed")
    import tutorial_pages

    source = TUTORIALS / f"{name}.py"
    ran = subprocess.run(
        [sys.executable, tutorial_pages.__file__, str(source)],
        env={**os.environ, "EOSIN_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    page = tutorial_pages.page(source, run=True)
    outputs = " ".join(re.findall(r'<div class="output">.*?</div>|<p><img .*?>', page, re.DOTALL))
    for expected in SHOWN[name]:
        assert re.search(expected, outputs), expected
    assert "/tmp/" not in outputs  # the reader's folder is another one
