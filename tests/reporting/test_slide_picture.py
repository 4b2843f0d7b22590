"""`eosin slide show`: the picture of a real slide, and what it says of its tiles."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from eosin.cli.app import app
from eosin.errors import ConfigError, DataError
from eosin.pixels.tissue_mask import find_tissue
from eosin.pixels.tissue_tiles import tissue_tiles
from eosin.reporting.slide_picture import write_slide_picture
from eosin.slides.opening import open_slide


@pytest.fixture
def skin(real_data: Path) -> Path:
    """A strip of skin, 1.1 by 1.5 mm."""
    return real_data / "slides" / "cmu-1-small-region.svs"


def test_the_picture_counts_the_tiles_that_would_be_read(skin: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.png"
    result = CliRunner().invoke(app, ["slide", "show", str(skin), "-o", str(out), "--size", "112"])
    assert result.exit_code == 0, result.output
    slide = open_slide(skin)
    mask = find_tissue(slide.overview(8.0), 8.0)
    x, _, _ = tissue_tiles(2220, 2967, mask, slide_mpp=0.499, size=112, mpp=0.5)
    assert f"{len(x)} tiles of 112 px at 0.5 um/px show tissue" in " ".join(result.output.split())
    assert 150 < len(x) < 300
    # Two panels beside each other: tissue is pink in the right one, not only in the left.
    picture = cv2.imread(str(out)).astype(int)
    right = picture[:, picture.shape[1] // 2 :]
    pink = (right[..., 2] > right[..., 1] + 60).mean()
    assert 0.2 < pink < 0.5


def test_a_slide_without_um_px_is_drawn_only_when_they_are_said(
    real_data: Path, tmp_path: Path
) -> None:
    slide = open_slide(real_data / "slides" / "tcga-cr-7395-01a-01-ts1.svs")
    with pytest.raises(DataError, match="--slide-mpp"):
        write_slide_picture(slide, tmp_path / "page.png")
    assert not (tmp_path / "page.png").exists()


def test_tiles_too_small_for_the_slide_are_refused(skin: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tiles of 1 px at 0\.25"):
        write_slide_picture(open_slide(skin), tmp_path / "page.png", size=1, mpp=0.25)
