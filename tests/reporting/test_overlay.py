"""Overlays keep the picture's scale and its tissue, and say what they show."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import cv2
import numpy as np
import pandas as pd
import pytest

from eosin.errors import ConfigError
from eosin.explanation.faithfulness_table import FaithfulnessRow, Finding
from eosin.explanation.heatmap import Explanation, Heatmap
from eosin.explanation.merge import merge_heatmaps
from eosin.pixels.reading import SkippedFile, read_image
from eosin.reporting.heatmap_folder import write_heatmaps
from eosin.reporting.heatmap_gallery import Example, choose_examples, heatmap_gallery
from eosin.reporting.heatmap_pictures import draw_heatmap, draw_merged, draw_models
from eosin.reporting.overlay import (
    HeatmapStyle,
    blend,
    colour_bar,
    colour_of,
    draw_overlay,
    enclosed,
    faded,
    strongest,
)
from eosin.reporting.panel import Cell, Heading, draw_panel

if TYPE_CHECKING:
    from .conftest import Experiment

STYLE = HeatmapStyle()
TISSUE = np.full((460, 700, 3), (214, 160, 196), np.uint8)


def hill(height: int = 460, width: int = 700) -> np.ndarray:
    """A map that rises from 0 at the left to 1 at the right."""
    return np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))


def explanation(path: Path, models: int = 1, *, target: str = "malignant") -> Explanation:
    image = np.full((64, 96, 3), 200, np.uint8)
    members = tuple(
        Heatmap(
            method="gradcam",
            model=f"bh/fold-{n + 1}",
            backbone="tf_efficientnetv2_b0",
            family="EfficientNetV2",
            target=target,
            probabilities={"benign": 0.25, "malignant": 0.75},
            values=hill(64, 96) ** (n + 1),
            raw=np.full((7, 7), n + 0.5, np.float32),
            seen=False,
        )
        for n in range(models)
    )
    if models == 1:
        return Explanation(path, image, "benign", target, members)
    return Explanation(path, image, "benign", target, members, *merge_heatmaps(members))


def verdict(faithful: bool) -> FaithfulnessRow:
    """A row of which the pictures need the verdict only."""
    nothing = dict.fromkeys(field.name for field in fields(FaithfulnessRow))
    finding = Finding.FAITHFUL if faithful else Finding.RANDOM
    return FaithfulnessRow(**{**nothing, "faithful": faithful, "finding": finding})  # type: ignore[arg-type]  # the rest is not drawn


@pytest.fixture
def headings() -> list[Heading]:
    """What stands above the cells, as they are drawn."""
    return []


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch, headings: list[Heading]) -> list[Cell]:
    """What panels are made of, as they are drawn."""
    drawn: list[Cell] = []

    def kept(
        given: Sequence[Cell], heading: Heading, style: HeatmapStyle, *, width: int = 0
    ) -> np.ndarray:
        drawn.extend(given)
        headings.append(heading)
        return draw_panel(given, heading, style, width=width)

    monkeypatch.setattr("eosin.reporting.heatmap_pictures.draw_panel", kept)
    return drawn


def test_a_picture_of_700_by_460_keeps_its_scale_and_a_patch_of_50_is_drawn_at_550() -> None:
    assert draw_overlay(TISSUE, hill(), STYLE).shape == (460, 700, 3)
    patch = draw_overlay(TISSUE[:50, :50], hill(50, 50), STYLE)
    assert patch.shape == (550, 550, 3)  # the least whole factor that reaches 512
    assert draw_overlay(np.zeros((100, 4096, 3), np.uint8), hill(100, 4096), STYLE).shape[1] == 2048


def test_the_original_stands_beside_its_overlay_unless_it_is_not_wanted(cells: list[Cell]) -> None:
    item = explanation(Path("a.png"))
    both = draw_heatmap(item, item.members[0], STYLE)
    image, overlay = (cell.picture for cell in cells)
    assert image.shape == overlay.shape == (384, 576, 3)
    np.testing.assert_array_equal(image, np.full_like(image, 200))
    assert both.shape[1] > 2 * 576
    alone = draw_heatmap(item, item.members[0], HeatmapStyle(original=False))
    assert len(cells) == 3
    assert 576 < alone.shape[1] < 2 * 576


def test_where_there_is_no_evidence_the_tissue_is_grey_and_has_no_colour_on_it() -> None:
    plain = blend(TISSUE, np.zeros((460, 700), np.float32), STYLE)
    np.testing.assert_array_equal(plain, faded(TISSUE))
    assert np.ptp(plain[0, 0].astype(int)) < np.ptp(TISSUE[0, 0].astype(int)) / 4


def test_an_empty_map_says_why_on_the_picture_the_page_and_the_report(
    cells: list[Cell], headings: list[Heading], tmp_path: Path
) -> None:
    item = explanation(tmp_path / "a.png")
    bare = replace(item.members[0], values=np.zeros((64, 96), np.float32))
    empty = replace(item, members=(bare,))
    draw_heatmap(empty, bare, STYLE)
    reason = "Empty map: Grad-CAM shows only what raises the score of malignant, and no place"
    assert headings[-1].lines[-1].startswith(reason)
    assert headings[-1].key == ""  # there is no colour to explain
    write_heatmaps([empty, item], tmp_path / "cams")
    assert (tmp_path / "cams" / "index.html").read_text().count(f"<span>{reason}") == 1
    example = Example(item.path, "", "malignant", "malignant", {"benign": 0.25, "malignant": 0.75})
    gallery = heatmap_gallery([example], {(item.path, "malignant"): empty})
    assert any(line.startswith(reason) for line in gallery.groups[0][1][1].caption.lines)


@pytest.mark.parametrize("colormap", ["YlOrRd", "viridis", "magma_r", "Blues"])
def test_colours_run_one_way_and_the_overlay_of_white_glass_starts_white(colormap: str) -> None:
    style = HeatmapStyle(colormap=colormap)
    light = lightness(colour_of(np.linspace(0, 1, 256, dtype=np.float32)[None], colormap))
    assert abs(light[-1] - light[0]) > 80
    assert (np.diff(light) * np.sign(light[-1] - light[0]) >= -1).all()
    assert (colour_bar(150, 12, style)[6, 1] > 245).all()


def test_on_white_glass_stronger_evidence_is_always_darker() -> None:
    light = lightness(colour_bar(256, 3, STYLE)[1:2, 1:-1])
    assert (np.diff(light) <= 1).all()
    assert light[0] - light[-1] > 60


def lightness(colours: np.ndarray) -> np.ndarray:
    """CIE L* of a row of colours (1, n, 3), 0 to 255."""
    return cv2.cvtColor(np.ascontiguousarray(colours), cv2.COLOR_RGB2LAB)[0, :, 0].astype(int)


def test_a_colour_map_that_goes_up_and_down_is_refused_and_others_are_named() -> None:
    with pytest.raises(ConfigError, match=r"'jet' does not run one way.*YlOrRd, Blues, magma_r"):
        HeatmapStyle(colormap="jet")
    with pytest.raises(ConfigError, match="'virids' is unknown; take one such as"):
        HeatmapStyle(colormap="virids")
    with pytest.raises(ConfigError, match=r"opacity = 0: want a number above 0 and up to 1"):
        HeatmapStyle(opacity=0)


def test_an_opacity_of_one_hides_the_strongest_place_and_a_fifth_hardly_colours_it() -> None:
    full = np.ones((460, 700), np.float32)
    solid, thin = (blend(TISSUE, full, HeatmapStyle(opacity=each)) for each in (1.0, 0.2))
    np.testing.assert_array_equal(solid[0, 0], colour_of(full[:1, :1], "YlOrRd")[0, 0])
    away = np.abs(thin[0, 0].astype(int) - faded(TISSUE)[0, 0]).max()
    assert 0 < away < 0.25 * 255


def test_even_the_strongest_place_lets_the_tissue_through() -> None:
    dark, light = np.zeros_like(TISSUE), np.full_like(TISSUE, 255)
    full = np.ones((460, 700), np.float32)
    through = blend(light, full, STYLE).astype(int) - blend(dark, full, STYLE)
    assert (through >= 0.15 * 255).all()


def test_the_line_encloses_the_strongest_fifth_of_the_area() -> None:
    region = strongest(hill(100, 100))
    assert region.mean() == pytest.approx(0.2, abs=0.011)
    assert region[:, 80:].all()


def test_evidence_on_less_than_a_fifth_is_enclosed_alone() -> None:
    values = np.zeros((100, 100), np.float32)
    values[:10, :10] = 1.0
    np.testing.assert_array_equal(strongest(values), values > 0)
    assert not strongest(np.zeros((100, 100), np.float32)).any()


def test_the_line_of_a_fine_map_encloses_a_fifth_in_few_pieces() -> None:
    rows, columns = np.mgrid[0:460, 0:700]
    broad = np.exp(-((rows - 230) ** 2 + (columns - 350) ** 2) / (2 * 150**2))
    noise = np.random.default_rng(0).uniform(size=(29, 44)).repeat(16, 0).repeat(16, 1)
    values = (0.5 * broad + 0.5 * noise[:460, :700]).astype(np.float32)
    region = enclosed(values)
    assert region.mean() == pytest.approx(0.2, abs=0.01)
    assert region[230, 350]
    pieces = [cv2.connectedComponents(r.astype(np.uint8))[0] for r in (region, strongest(values))]
    assert pieces[0] < pieces[1] / 4


def outline(values: np.ndarray) -> np.ndarray:
    """Where the line differs from the blended tissue."""
    plain = draw_overlay(TISSUE, values, STYLE, contour=False)
    return (draw_overlay(TISSUE, values, STYLE) != plain).any(axis=2)


def test_the_line_runs_along_holes_of_the_strongest_fifth_too() -> None:
    rows, columns = np.mgrid[0:460, 0:700]
    distance = np.hypot(rows - 230, columns - 350)
    ring = ((distance > 60) & (distance < 140)).astype(np.float32)
    line = outline(ring)
    assert line[230, 350 - 140 - 2 : 350 - 140 + 3].any()  # its outer edge
    assert line[230, 350 - 60 - 2 : 350 - 60 + 3].any()  # and its inner one


def test_specks_have_no_line_beside_a_region_and_one_where_there_is_nothing_else() -> None:
    speck = np.zeros((460, 700), np.float32)
    speck[20:30, 20:30] = 1.0  # 100 of 322,000 pixels
    region = speck.copy()
    region[200:300, 200:300] = 1.0
    assert outline(speck)[15:35, 15:35].any()
    assert not outline(region)[15:35, 15:35].any()
    assert outline(region)[195:305, 195:305].any()


def test_the_colour_bar_shows_the_colours_that_the_picture_has_over_glass() -> None:
    glass = np.full((12, 150, 3), 255, np.uint8)
    bar = colour_bar(150, 12, STYLE)
    np.testing.assert_array_equal(bar[6, 1:-1], blend(glass, hill(12, 150), STYLE)[6, 1:-1])
    assert (bar[6, 2] > 245).all()  # no evidence: clear
    assert np.ptp(bar[6, -2].astype(int)) > 80  # the strongest: coloured


CELL = Cell(TISSUE, "bh/fold-1", ("predicts malignant: 0.73",))


def test_a_verdict_is_stamped_above_the_pictures_in_its_colour() -> None:
    plain = draw_panel([CELL], Heading("malignant"), STYLE)
    bad = draw_panel([CELL], Heading("malignant", stamp="not faithful"), STYLE)
    good = draw_panel([CELL], Heading("malignant", stamp="faithful", good=True), STYLE)
    taller = len(bad) - len(plain)
    assert taller > 12
    assert (bad == (179, 38, 30)).all(axis=2)[:, 20].sum() > 12
    assert (good == (27, 127, 75)).all(axis=2)[:, 20].sum() > 12
    np.testing.assert_array_equal(bad[-480:], plain[-480:])


def test_a_long_verdict_is_broken_into_lines_rather_than_cut() -> None:
    short, long = (
        draw_panel([CELL], Heading("malignant", stamp=text), STYLE)
        for text in ("faithful", "faithful: deletion AUC 0.31 against random 0.55 " * 4)
    )
    assert len(long) > len(short)


def test_a_name_in_signs_that_the_type_lacks_is_drawn_without_a_warning() -> None:
    assert draw_panel([CELL], Heading("病理", lines=("切片.png",)), STYLE).shape[2] == 3


def test_a_panel_lays_its_cells_out_as_evenly_as_it_can() -> None:
    five = draw_panel([CELL] * 5, Heading("Evidence for malignant"), STYLE)
    three = draw_panel([CELL] * 3, Heading("Evidence for malignant"), STYLE)
    assert five.shape[1] == three.shape[1]  # three and two, not four and one


def test_a_panel_with_a_key_says_what_its_colours_mean_above_the_pictures() -> None:
    plain = draw_panel([CELL] * 3, Heading("Evidence for malignant"), STYLE)
    keyed = draw_panel([CELL] * 3, Heading("Evidence", key="evidence, from none to most"), STYLE)
    taller = len(keyed) - len(plain)
    assert taller > 12
    bar = colour_bar(150, 14, STYLE)
    rows = [row for row in range(taller + 60) if (keyed[row : row + 14, 16:166] == bar).all()]
    assert len(rows) == 1


def test_a_panel_has_the_mean_of_a_family_of_several_networks_and_of_no_other(
    cells: list[Cell],
) -> None:
    both = explanation(Path("a.png"), 2)
    other = replace(both.members[0], model="bh/b0", family="EfficientNetV1", seen=True)
    draw_models(replace(both, members=(*both.members, other), merged=None), STYLE)
    assert [cell.title for cell in cells] == [
        *("image", "bh/fold-1", "bh/fold-2", "bh/b0"),
        "mean of EfficientNetV2",
    ]
    met = [cell.title for cell in cells if "saw this patient in training" in cell.lines]
    assert met == ["bh/b0"]


def test_a_panel_and_a_merged_map_say_what_the_checks_found_of_each_member(
    cells: list[Cell], headings: list[Heading]
) -> None:
    scored = replace(explanation(Path("a.png"), 2), scores=(verdict(True), verdict(False)))
    draw_models(scored, STYLE)
    assert [cell.lines[-1] for cell in cells[1:3]] == [
        "faithful",
        "not faithful: no better than random",
    ]
    draw_merged(scored, STYLE)
    assert "Faithful: 1 of the 2 maps merged here" in headings[-1].lines[-1]


def test_the_page_shows_every_image_with_mistakes_first_and_what_was_left_out(
    tmp_path: Path,
) -> None:
    wrong, unknown = explanation(tmp_path / "a.png"), explanation(tmp_path / "b.png", 2)
    right = replace(explanation(tmp_path / "<c>.png"), label="malignant")
    stream = [right, replace(unknown, label=""), wrong, SkippedFile(tmp_path / "d.png", "is empty")]
    write_heatmaps(stream, tmp_path / "cams")
    page = (tmp_path / "cams" / "index.html").read_text()
    order = [
        page.index(f"<h2>{name}") for name in ("Misclassified (1)", "Classified", "Images (1)")
    ]
    assert order == sorted(order)
    assert page.index("Predicted malignant, 0.75") < page.index("true class: benign") < order[1]
    assert "&lt;c&gt;.png" in page
    assert "is empty" in page
    for address in re.findall(r'(?:href|src)="((?!data:|#)[^"]+)"', page):
        assert (tmp_path / "cams" / unquote(address)).is_file()
    assert page.count('loading="lazy"') == 3


def test_the_folder_holds_pictures_raw_maps_and_an_index_of_both(tmp_path: Path) -> None:
    bad = SkippedFile(tmp_path / "bad.png", "is empty")
    stream = [explanation(tmp_path / "a.png", 2), bad, explanation(tmp_path / "b.png", 2)]
    written = write_heatmaps(stream, tmp_path / "cams")
    assert (written.explained, written.skipped) == (2, [bad])
    index = pd.read_csv(tmp_path / "cams" / "explanations.csv", dtype=str)
    assert index["model"].tolist() == ["bh/fold-1", "bh/fold-2", "merged"] * 2
    assert index["probability"].astype(float).tolist() == [0.75] * 6
    for row in index.itertuples():
        assert (tmp_path / "cams" / row.overlay).is_file()
        with np.load(tmp_path / "cams" / row.maps, allow_pickle=False) as maps:
            assert maps[row.key].dtype == np.float32
    with np.load(tmp_path / "cams" / "maps" / "a.npz") as maps:
        np.testing.assert_array_equal(maps["bh-fold-2"], np.full((7, 7), 1.5))
        assert maps["merged"].shape == maps["disagreement"].shape == (64, 96)
    overlay = read_image(tmp_path / "cams" / "overlays" / "a.bh-fold-1.png")
    shown = draw_overlay(stream[0].image, hill(64, 96), STYLE)
    assert (overlay[:, -16 - 576 : -16][-len(shown) - 80 :] == shown[0, 0]).all(axis=2).any()
    assert {p.name for p in (tmp_path / "cams" / "panels").iterdir()} == {"a.png", "b.png"}
    merged = read_image(tmp_path / "cams" / "merged" / "a.png")
    assert merged.shape[1] > 3 * 512  # the image, the map and the disagreement


def test_images_of_one_name_from_two_folders_do_not_overwrite_each_other(tmp_path: Path) -> None:
    paths = ["one/x.png", "two/x.png", "deep/two/x.png", "two/X.png"]
    write_heatmaps([explanation(tmp_path / path) for path in paths], tmp_path / "cams")
    names = {path.stem for path in (tmp_path / "cams" / "overlays").iterdir()}
    assert names == {"x", "two-x", "two-x-2", "two-X-3"}


def test_pictures_of_a_name_that_is_not_utf8_have_names_that_are(tmp_path: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    write_heatmaps([explanation(strange, 2)], tmp_path / "cams")
    for folder in ("overlays", "panels", "maps", "merged"):
        written = {path.name.split(".")[0] for path in (tmp_path / "cams" / folder).iterdir()}
        assert written == {"caf_xe9"}
    path = tmp_path / "cams" / "explanations.csv"
    index = pd.read_csv(path, encoding_errors="surrogateescape")
    assert set(index["path"]) == {f"../{strange.name}"}
    assert index["overlay"].iloc[0].startswith("overlays/caf_xe9.")


def test_what_already_lies_in_the_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cams" / "overlays").mkdir(parents=True)
    (tmp_path / "cams" / "overlays" / "mine.txt").write_text("keep me")
    write_heatmaps([explanation(tmp_path / "a.png")], tmp_path / "cams")
    assert (tmp_path / "cams" / "overlays" / "mine.txt").read_text() == "keep me"


def test_the_report_shows_right_examples_and_mistakes_with_both_classes_maps(
    experiment: Experiment,
) -> None:
    examples = choose_examples(experiment.predictions(), right=4, wrong=3)
    right = [example for example in examples if example.right]
    wrong = [example for example in examples if not example.right]
    assert [e.label for e in right] == ["benign", "benign", "malignant", "malignant"]
    assert [set(e.targets) for e in wrong] == [{"benign", "malignant"}] * 3
    assert len({e.patient for e in wrong}) == 3
    maps = {
        (e.path, target): explanation(e.path, target=target)
        for e in examples
        for target in e.targets
    }
    gallery = heatmap_gallery(examples, maps)
    assert len(gallery.groups) == len(examples)
    for example, (heading, tiles) in zip(examples, gallery.groups, strict=True):
        said = "classified correctly" if example.right else f"taken for {example.predicted}"
        assert heading.startswith(f"{example.label}, {said} ({example.probability:.2f})")
        assert [tile.caption.title for tile in tiles] == [
            "image",
            *(f"evidence for {name}" for name in example.targets),
        ]
        for tile, name in zip(tiles[1:], example.targets, strict=True):
            assert f"probability {example.probabilities[name]:.2f}" in tile.caption.lines[0]
        assert all(tile.width == 512 for tile in tiles)


def test_an_example_that_could_not_be_explained_is_left_out(experiment: Experiment) -> None:
    examples = choose_examples(experiment.predictions())
    assert heatmap_gallery(examples, {}).groups == ()


def test_images_without_a_patient_are_examples_each_on_its_own(experiment: Experiment) -> None:
    known = experiment.predictions()
    bare = replace(known, frame=known.frame.assign(patient=""))
    examples = choose_examples(bare, right=4, wrong=6)
    assert [sum(example.right for example in examples), len(examples)] == [4, 10]
