"""The page of heatmaps: what it says of each image, of patients seen before, and what it counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from eosin.explanation.faithfulness_table import FaithfulnessRow, Finding
from eosin.explanation.heatmap import Explanation, Heatmap
from eosin.explanation.merge import merge_heatmaps
from eosin.pixels.reading import SkippedFile
from eosin.reporting.heatmap_folder import write_heatmaps
from eosin.reporting.heatmap_page import Entry, entry_of, write_heatmap_page
from eosin.reporting.heatmap_pictures import draw_strip
from eosin.reporting.overlay import HeatmapStyle

if TYPE_CHECKING:
    from .conftest import Page

STYLE = HeatmapStyle()


def heatmap(model: str = "bh", **changes: object) -> Heatmap:
    values = np.tile(np.linspace(0, 1, 48, dtype=np.float32), (32, 1))
    made = Heatmap(
        method="gradcam",
        model=model,
        backbone="tf_efficientnetv2_b0",
        family="EfficientNetV2",
        target="malignant",
        probabilities={"benign": 0.25, "malignant": 0.75},
        values=values,
        raw=np.full((7, 7), 0.5, np.float32),
        seen=False,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def explanation(name: str = "a.png", *, models: int = 1, label: str = "benign") -> Explanation:
    members = tuple(heatmap(f"bh-{n}" if models > 1 else "bh") for n in range(models))
    image = np.full((32, 48, 3), 200, np.uint8)
    merged = merge_heatmaps(members) if models > 1 else ()
    return Explanation(Path("/bh") / name, image, label, "malignant", members, *merged)


def entry(found: Explanation) -> Entry:
    return entry_of(found, "tiles/a b.jpg", "overlays/a#.png", size=(100, 50))


def lines(found: Explanation) -> tuple[str, ...]:
    return entry(found).tile.caption.lines


@pytest.mark.parametrize(
    ("label", "group"), [("benign", "mistakes"), ("malignant", "right"), ("", "images")]
)
def test_an_image_is_a_mistake_right_or_unknown_by_its_label(label: str, group: str) -> None:
    found = entry(explanation(label=label))
    assert found.group == group
    assert found.confidence == 0.75
    assert found.tile.caption.title == "Predicted malignant, 0.75"
    assert ("true class: benign" in found.tile.caption.lines) == (label == "benign")


def test_addresses_of_pictures_are_quoted_and_the_alt_text_is_the_files_name() -> None:
    tile = entry(explanation("füñ [1].png")).tile
    assert (tile.source, tile.link) == ("tiles/a%20b.jpg", "overlays/a%23.png")
    assert (tile.width, tile.height) == (100, 50)
    assert tile.alt == tile.caption.name == "füñ [1].png"


def test_evidence_for_another_class_than_predicted_has_that_class_probability() -> None:
    other = explanation()
    turned = replace(other, target="benign", members=(heatmap(target="benign"),))
    assert "evidence for benign (0.25) by bh" in lines(turned)
    assert "evidence for malignant by bh" in lines(other)
    assert "evidence for malignant by 3 networks" in lines(explanation(models=3))


def test_a_patient_that_any_network_met_is_said_and_counted(
    tmp_path: Path, parsed: Callable[[str], Page]
) -> None:
    met = replace(explanation(models=2), members=(heatmap("x", seen=True), heatmap("y")))
    assert "patient seen in training" in lines(met)
    assert "patient seen in training" not in lines(explanation())
    entries = [entry(met), entry(explanation()), entry(explanation())]
    path = write_heatmap_page(tmp_path, entries, [], STYLE)
    page = parsed(path.read_text(encoding="utf-8"))
    banners = [
        " ".join("".join(e.itertext()).split())
        for e in page.root.iter("div")
        if e.get("role") == "note"
    ]
    assert banners == [
        "Patients that a network has seen 1 of 3 images are of patients that a network was trained "
        "or validated on: what it does there says little of new patients."
    ]
    path = write_heatmap_page(tmp_path, entries[1:], [], STYLE)
    assert "has met" not in parsed(path.read_text(encoding="utf-8")).words()


def test_a_single_maps_verdict_stands_with_the_image_and_several_have_none() -> None:
    nothing = dict.fromkeys(each.name for each in fields(FaithfulnessRow))
    judged = FaithfulnessRow(
        **{**nothing, "faithful": True, "finding": Finding.FAITHFUL, "verdict": "faithful: 0.4"}  # type: ignore[arg-type]
    )
    assert "faithful: 0.4" in lines(replace(explanation(), scores=(judged,)))
    several = replace(explanation(models=2), scores=(judged, judged))
    assert not any("faithful" in line for line in lines(several))


def test_within_a_group_the_most_confident_comes_first(
    tmp_path: Path, parsed: Callable[[str], Page]
) -> None:
    entries = [
        replace(entry(explanation(f"{share}.png")), confidence=share) for share in (0.6, 0.9, 0.7)
    ]
    page = parsed(write_heatmap_page(tmp_path, entries, [], STYLE).read_text(encoding="utf-8"))
    names = [img.get("alt") for img in page.part("mistakes").iter("img")]
    assert names == ["0.9.png", "0.7.png", "0.6.png"]
    assert page.part("mistakes").findtext("h2") == "Misclassified (3)"


@pytest.mark.parametrize(("models", "said"), [(1, "bh-0"), (6, "bh-5"), (9, "bh-5")])
def test_the_cover_names_up_to_six_maps_and_counts_the_rest(
    models: int, said: str, tmp_path: Path, parsed: Callable[[str], Page]
) -> None:
    entries = [
        replace(entry(explanation()), maps=tuple(f"Grad-CAM of bh-{n} (b0)" for n in range(models)))
    ]
    page = parsed(write_heatmap_page(tmp_path, entries, [], STYLE).read_text(encoding="utf-8"))
    names, values = ([e.text for e in page.root.iter(tag)] for tag in ("dt", "dd"))
    cover = dict(zip(names, values, strict=True))
    assert cover["Images"] == "1"
    assert cover["Misclassified"] == "1"
    named = str(cover["Maps"]).split("; ")
    assert len(named) == min(models, 6)
    assert said in named[-1]
    assert named[-1].endswith(" and 3 more") == (models == 9)


def test_without_labels_no_mistakes_are_counted(
    tmp_path: Path, parsed: Callable[[str], Page]
) -> None:
    path = write_heatmap_page(tmp_path, [entry(explanation(label=""))], [], STYLE)
    page = parsed(path.read_text(encoding="utf-8"))
    assert "Misclassified" not in page.words()
    assert page.part("images").findtext("h2") == "Images (1)"


def test_files_left_out_stand_in_a_table_with_their_reason(
    tmp_path: Path, parsed: Callable[[str], Page]
) -> None:
    skipped = [SkippedFile(Path("/bh/<b>.png"), "is empty (0 bytes)")]
    path = write_heatmap_page(tmp_path, [entry(explanation())], skipped, STYLE)
    (table,) = parsed(path.read_text(encoding="utf-8")).tables("skipped")
    assert table.caption == "1 file left out."
    assert table.rows == (("<b>.png", "is empty (0 bytes)"),)


def test_a_strip_has_the_image_and_its_maps_in_a_row_between_white_gaps() -> None:
    alone = draw_strip(explanation(), STYLE)
    height, width = 352, 528  # 32 by 48 pixels, eleven times as large
    assert alone.shape == (height, 2 * width + width // 64, 3)
    assert (alone[:, width : width + width // 64] == 255).all()
    assert (alone[:, :width] == 200).all()
    without = draw_strip(explanation(), HeatmapStyle(original=False))
    assert without.shape == (height, width, 3)
    unmerged = replace(explanation(models=6), merged=None, disagreement=None)
    assert draw_strip(unmerged, STYLE).shape[1] == 5 * width + 4 * (width // 64)


def test_the_small_picture_of_the_page_is_a_jpeg_of_its_stated_size(tmp_path: Path) -> None:
    write_heatmaps([explanation("x.png", models=3)], tmp_path / "cams")
    page = (tmp_path / "cams" / "index.html").read_text(encoding="utf-8")
    with Image.open(tmp_path / "cams" / "tiles" / "x.jpg") as picture:
        assert picture.format == "JPEG"
        assert max(picture.size) <= 1040
        assert f'width="{picture.width}" height="{picture.height}"' in page


def test_nothing_explained_writes_no_index(tmp_path: Path) -> None:
    skipped = SkippedFile(Path("a.png"), "is empty")
    written = write_heatmaps([skipped], tmp_path / "cams")
    assert (written.explained, written.skipped) == (0, [skipped])
    assert not (tmp_path / "cams" / "index.html").exists()
    assert not (tmp_path / "cams" / "explanations.csv").exists()
