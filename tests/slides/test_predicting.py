"""Whole slides through a Run and back: the same numbers as tiles as images, in their places."""

from __future__ import annotations

import errno
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from eosin.arrays import UInt8Image
from eosin.artefacts.manifest import Manifest, read_manifest
from eosin.artefacts.predictions import make_predictions, read_predictions
from eosin.artefacts.slide import read_slide_answer
from eosin.cli.slide_options import slides_in
from eosin.data.slides import SlideSources, read_slides
from eosin.data.splits import split_by_fractions
from eosin.data.stained import StainOptions, normalize_stains
from eosin.data.tiles import TileOptions, tile_manifest, write_tiles
from eosin.errors import ConfigError, DataError, DiskError, LeakageError
from eosin.export.export import export_run
from eosin.inference.doubt import images_to_explain
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.inference.slides import SlideOptions, class_shares
from eosin.networks.run import Run
from eosin.pixels.reading import read_image
from eosin.reporting.slide_folder import SlideWriteOptions, WrittenSlides, predict_slides
from eosin.slides.maps import read_map
from eosin.slides.tile import Tile
from eosin.tasks import Task
from eosin.training.config import TrainingConfig
from eosin.training.train import train

SIDE, MPP = 64, 1.0  # of the training images: pixels, um/px


@pytest.fixture(scope="module")
def divided(drawn_breakhis: Manifest) -> Manifest:
    frame = drawn_breakhis.frame.assign(mpp=f"{MPP:g}")
    return split_by_fractions(replace(drawn_breakhis, frame=frame), (0.5, 0.25, 0.25), seed=0)


@pytest.fixture(scope="module")
def run(
    divided: Manifest, small_probe: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    return train(divided, tmp_path_factory.mktemp("runs") / "probe", small_probe).run


@pytest.fixture(scope="module")
def pixels(divided: Manifest) -> UInt8Image:
    """Images laid side by side in glass: tissue in rows 2 to 5 and columns 3 to 8 of tiles."""
    side = read_image(divided.paths[0]).shape[0]
    slide = np.full((8 * side, 12 * side, 3), 243, np.uint8)
    for number, path in enumerate(divided.paths[:24]):
        row, column = divmod(number, 6)
        top, left = (row + 2) * side, (column + 3) * side
        slide[top : top + side, left : left + side] = read_image(path)[:side, :side]
    return slide


@pytest.fixture(scope="module")
def slide(pixels: UInt8Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twice as fine as the Run's images, two levels."""
    return draw(tmp_path_factory.mktemp("slides") / "a.tiff", pixels)


def draw(path: Path, pixels: UInt8Image, *, mpp: float | None = MPP / 2) -> Path:
    import tifffile

    fine = np.repeat(np.repeat(pixels, 2, axis=0), 2, axis=1)
    looks: dict[str, object] = {"tile": (256, 256), "photometric": "rgb", "compression": "zlib"}
    for power, level in enumerate((fine, pixels)):
        if mpp is not None:
            density = 1e4 / (mpp * 2**power)
            looks |= {"resolution": (density, density), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(path, level, subfiletype=int(power > 0), append=power > 0, **looks)
    return path


@pytest.fixture(scope="module")
def written(run: Run, slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "a"
    predict_slides(run, [slide], out)
    return out


def test_scored_slides_show_the_rows_of_their_table(written: Path) -> None:
    found = WrittenSlides(written, (read_slide_answer(written / "slide.json"),), ())
    (shown,) = found.frame().to_dict("records")
    (kept,) = pd.read_csv(written / "slides.csv").to_dict("records")
    for column in ("slide", "tiles", "tissue_mm2", "share_benign", "p_malignant"):
        assert shown[column] == pytest.approx(kept[column]), column
    assert str(found) in found._repr_html_()


def test_a_run_knows_the_scale_of_its_images(run: Run, divided: Manifest) -> None:
    assert run.record.scale is not None
    assert run.record.scale.mpp == MPP
    assert run.record.scale.size == read_image(divided.paths[0]).shape[0]


def test_tiles_have_the_probabilities_of_the_same_pixels_as_images(
    run: Run, written: Path, divided: Manifest
) -> None:
    tiles = read_predictions(written / "tiles.csv")
    direct = predict(run, divided.paths[:24], PredictOptions(allow_seen=True)).predictions
    by_path = dict(zip(direct.frame["path"], direct.probabilities, strict=True))
    side = read_image(divided.paths[0]).shape[0]
    met = 0
    for path, found in zip(tiles.frame["path"], tiles.probabilities, strict=True):
        tile = Tile.of(Path(path))
        assert tile is not None
        row, column = tile.y // (2 * side) - 2, tile.x // (2 * side) - 3
        if 0 <= row < 4 and 0 <= column < 6:
            np.testing.assert_allclose(found, by_path[str(divided.paths[row * 6 + column])], 1e-5)
            met += 1
    assert met == 24


def test_the_map_has_the_number_of_each_tile_at_its_place(written: Path) -> None:
    tiles = read_predictions(written / "tiles.csv")
    found = read_map(written / "probability.ome.tiff")
    answer = read_slide_answer(written / "slide.json")
    assert found.mpp == pytest.approx(answer.step * answer.slide_mpp)
    for path, value in zip(tiles.frame["path"], tiles.frame["p_malignant"], strict=True):
        tile = Tile.of(Path(path))
        assert tile is not None
        cell = found.values[int(tile.y // answer.step), int(tile.x // answer.step)]
        assert cell == pytest.approx(value, abs=1e-6)
    assert np.isfinite(found.values).sum() == len(tiles)


def test_only_tissue_is_scored_and_shares_of_classes_sum_to_one(written: Path) -> None:
    answer = read_slide_answer(written / "slide.json")
    assert 24 <= answer.tiles <= 40  # of 96; the mask's edge may touch a neighbour
    assert sum(each.share for each in answer.classes) == pytest.approx(1)
    assert answer.areas["tissue"] == pytest.approx(24 / 96, abs=0.06)
    shares = pd.read_csv(written / "slides.csv")
    assert shares["share_malignant"][0] == answer.classes[1].share


def test_qupath_gets_a_ring_a_tile_in_pixels_of_level_0(written: Path) -> None:
    features = json.loads((written / "qupath.geojson").read_text())["features"]
    tiles = read_predictions(written / "tiles.csv")
    assert len(features) == len(tiles)
    first = Tile.of(Path(tiles.frame["path"][0]))
    assert first is not None
    corners = {tuple(corner) for corner in features[0]["geometry"]["coordinates"][0]}
    width = int(first.width)
    assert (first.x, first.y) in corners
    assert (first.x + width, first.y + width) in corners


def test_a_slide_interrupted_and_gone_on_with_ends_in_the_same_bytes(
    run: Run, slide: Path, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import eosin.inference.table as table

    def stops(*arguments: object, **options: object) -> object:
        for number, part in enumerate(true_batches(*arguments, **options)):  # type: ignore[arg-type]
            if number == 2:
                raise KeyboardInterrupt
            yield part

    true_batches, options = table.score_batches, PredictOptions(batch_size=4)
    whole = tmp_path / "whole"
    predict_slides(run, [slide], whole, None, options)
    with monkeypatch.context() as patch:
        patch.setattr(table, "score_batches", stops)
        with pytest.raises(KeyboardInterrupt):
            predict_slides(run, [slide], tmp_path / "out", None, options)
    assert not (tmp_path / "out" / "tiles.csv").exists()
    with pytest.raises(DataError, match="--resume"):
        predict_slides(run, [slide], tmp_path / "out", None, options)
    predict_slides(
        run, [slide], tmp_path / "out", None, options, writing=SlideWriteOptions(resume=True)
    )
    for name in sorted(path.name for path in whole.iterdir()):
        assert (tmp_path / "out" / name).read_bytes() == (whole / name).read_bytes(), name


def test_of_several_slides_each_has_a_folder_and_a_damaged_one_is_named(
    run: Run, slide: Path, pixels: UInt8Image, tmp_path: Path
) -> None:
    other = draw(tmp_path / "b.tiff", pixels[:, ::-1])
    damaged = tmp_path / "c.tiff"
    damaged.write_bytes(other.read_bytes()[: other.stat().st_size // 2])
    found = predict_slides(run, [slide, other, damaged], tmp_path / "out")
    assert [Path(answer.slide).name for answer in found.answers] == ["a.tiff", "b.tiff"]
    assert [item.path.name for item in found.skipped] == ["c.tiff"]
    assert (tmp_path / "out" / "b" / "report.html").is_file()
    assert "c.tiff" in (tmp_path / "out" / "errors.csv").read_text()


def test_a_slide_whose_scale_is_not_known_is_refused_with_the_fix(
    run: Run, pixels: UInt8Image, tmp_path: Path
) -> None:
    silent = draw(tmp_path / "silent.tiff", pixels, mpp=None)
    with pytest.raises(DataError, match=r"silent\.tiff: states no um/px.*--slide-mpp"):
        predict_slides(run, [silent], tmp_path / "out")
    stated = SlideOptions(slide_mpp=MPP / 2)
    found = predict_slides(run, [silent], tmp_path / "out", stated)
    assert found.answers[0].slide_mpp == MPP / 2


def test_a_run_of_images_of_unknown_scale_asks_for_it(
    drawn_breakhis: Manifest, small_probe: TrainingConfig, slide: Path, tmp_path: Path
) -> None:
    divided = split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0)
    unscaled = train(divided, tmp_path / "run", small_probe).run
    with pytest.raises(ConfigError, match="say --mpp X"):
        predict_slides(unscaled, [slide], tmp_path / "out")
    found = predict_slides(unscaled, [slide], tmp_path / "out", SlideOptions(mpp=MPP))
    assert found.answers[0].size == read_image(divided.paths[0]).shape[0]


@pytest.fixture(scope="module")
def tiles(slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Tiles of one slide under eight names, which is eight patients; half of them train."""
    folder = tmp_path_factory.mktemp("lab")
    names = "abcdefgh"
    for name in names:
        shutil.copy(slide, folder / f"{name}.tiff")
    rows = [f"{name},{('benign', 'malignant')[names.index(name) % 2]}" for name in names]
    (folder / "labels.csv").write_text("\n".join(["slide,label", *rows, ""]))
    slides = read_slides(folder, SlideSources(labels=folder / "labels.csv")).manifest
    found = tile_manifest(slides, TileOptions(MPP, size=64)).manifest
    return split_by_fractions(found, (0.5, 0.0, 0.5), seed=0)


def test_a_run_trained_on_the_tiles_of_a_slide_refuses_the_slide(
    tiles: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    trained = train(tiles, tmp_path / "run", small_probe).run
    seen = sorted(trained.record.train_patients)[0]
    with pytest.raises(LeakageError, match=f"{seen}.*--allow-seen"):
        predict_slides(trained, [tiles.paths[0].parent.with_stem(seen)], tmp_path / "out")


def test_a_run_that_answers_for_slides_answers_with_what_each_tile_weighs(
    tiles: Manifest, small_probe: TrainingConfig, tmp_path: Path
) -> None:
    config = small_probe.with_overrides({"bag": "slide", "aggregator": "topk"})
    trained = train(tiles, tmp_path / "run", config).run
    held = tiles.in_split("test")
    new = held.paths[0].parent
    found = predict_slides(trained, [new], tmp_path / "out").answers[0]
    wanted = predict(trained, held).predictions
    row = wanted.frame["path"].tolist().index(str(new))
    assert found.whole is not None
    assert found.whole.decision == wanted.frame["decision"][row]
    chances = list(found.whole.probabilities.values())
    np.testing.assert_allclose(chances, wanted.probabilities[row], rtol=1e-9)
    attention = read_map(tmp_path / "out" / "attention.ome.tiff").values
    assert np.nansum(attention) == pytest.approx(1, abs=1e-5)
    assert len(read_predictions(tmp_path / "out" / "tiles.csv")) == found.tiles
    assert f"{found.whole.decision}, probability" in (tmp_path / "out" / "report.html").read_text()


def test_a_manifest_of_slides_is_scored_by_its_patients_and_keeps_its_labels(
    run: Run, slide: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("slide,label,patient\na.tiff,malignant,P1\n")
    known = SlideSources(labels=labels)
    with pytest.raises(DataError, match="a task needs two classes"):
        read_slides(slide.parent, known)
    manifest = read_slides(slide.parent, SlideSources()).manifest
    rows = manifest.frame.assign(patient="P1", label="")
    found = predict_slides(run, replace(manifest, frame=rows), tmp_path / "out")
    assert found.answers[0].patient == "P1"
    assert set(read_predictions(tmp_path / "out" / "tiles.csv").frame["patient"]) == {"P1"}


def test_tiles_cut_to_disk_are_the_tiles_that_are_read_in_place(
    slide: Path, tmp_path: Path
) -> None:
    manifest = read_slides(slide.parent, SlideSources()).manifest
    tiles = tile_manifest(manifest, TileOptions(MPP, size=64), per_slide=7, seed=3).manifest
    tiles.write(tmp_path / "t.csv")
    again = read_manifest(tmp_path / "t.csv")
    assert again.paths == tiles.paths
    assert len(tiles) == 7
    cut = write_tiles(tiles, tmp_path / "png").manifest
    for path, file in zip(tiles.paths, cut.paths, strict=True):
        np.testing.assert_array_equal(read_image(path), read_image(file))
        assert file.suffix == ".png"
    assert cut.frame["x"].tolist() == tiles.frame["x"].tolist()


def test_tiles_of_two_slides_of_one_name_never_overwrite_each_other(
    slide: Path, tmp_path: Path
) -> None:
    for laboratory in ("one", "two"):
        (tmp_path / "slides" / laboratory).mkdir(parents=True)
        shutil.copy(slide, tmp_path / "slides" / laboratory / "a.tiff")
    manifest = read_slides(tmp_path / "slides", SlideSources()).manifest
    tiles = tile_manifest(manifest, TileOptions(MPP, size=64), per_slide=2).manifest
    with pytest.raises(DataError, match=r"one/a\.tiff.* and .*two/a\.tiff.* both be copied to a_t"):
        write_tiles(tiles, tmp_path / "png")
    assert not (tmp_path / "png").exists()


def test_a_full_disk_ends_the_cutting_and_is_no_fault_of_a_tile(
    slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    manifest = read_slides(slide.parent, SlideSources()).manifest
    tiles = tile_manifest(manifest, TileOptions(MPP, size=64), per_slide=2).manifest
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskError, match=r"png.*No space left on device.*make room"):
        write_tiles(tiles, tmp_path / "png")


def test_a_tile_has_the_label_of_the_region_that_covers_it(slide: Path, tmp_path: Path) -> None:
    ring = [[0, 0], [768, 0], [768, 5000], [0, 5000], [0, 0]]  # columns 3 to 5 of tiles of 128
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "tumour"}},
    }
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    (drawn / "a.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": [feature]})
    )
    sources = SlideSources(annotations=drawn, outside="normal", positive="tumour")
    slides = read_slides(slide.parent, sources).manifest
    assert slides.task.classes == ("normal", "tumour")
    tiles = tile_manifest(slides, TileOptions(MPP, size=64)).manifest
    x = tiles.frame["x"].astype(int)
    assert set(tiles.frame["label"][x < 768]) == {"tumour"}
    assert set(tiles.frame["label"][x >= 768]) == {"normal"}
    alone = read_slides(slide.parent, replace(sources, outside="other")).manifest
    kept = tile_manifest(
        replace(alone, frame=alone.frame.assign(outside="")), TileOptions(MPP, size=64)
    ).manifest
    assert kept.frame["x"].astype(int).max() < 768


def test_stained_copies_of_tiles_are_kept_like_those_of_images(slide: Path, tmp_path: Path) -> None:
    slides = read_slides(slide.parent, SlideSources()).manifest
    tiles = tile_manifest(slides, TileOptions(MPP, size=64), per_slide=3).manifest
    for kept in (0, len(tiles)):
        found = normalize_stains(tiles, tmp_path / "out", StainOptions("macenko"))
        assert found.kept == kept


def test_a_slide_whose_regions_cover_no_tile_is_named(slide: Path, tmp_path: Path) -> None:
    ring = [[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "tumour"}},
    }
    (tmp_path / "a.geojson").write_text(json.dumps(feature))
    slides = read_slides(slide.parent, SlideSources(annotations=tmp_path, outside="x")).manifest
    bare = replace(slides, frame=slides.frame.assign(outside=""))
    with pytest.raises(DataError, match=r"a\.tiff: its regions cover half of no tile"):
        tile_manifest(bare, TileOptions(MPP, size=64), progress=False)


def test_labels_of_slides_name_patients_and_replace_no_path(slide: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copy(slide, tmp_path / f"{name}.tiff")
    labels = tmp_path / "labels.csv"
    labels.write_text("slide,label,patient,path\na,benign,P1,x\nb,malignant,P2,x\n")
    found = read_slides(tmp_path, SlideSources(labels=labels))
    assert found.manifest.paths == [tmp_path / "a.tiff", tmp_path / "b.tiff"]
    assert found.manifest.patients == ("P1", "P2")
    labels.write_text("slide,label,patient\na,benign,P1\nb,malignant,\n")
    with pytest.raises(DataError, match="a task needs two classes"):
        read_slides(tmp_path, SlideSources(labels=labels))
    labels.write_text("slide,label,patient\na,benign,\nb,malignant,\n")
    with pytest.raises(DataError, match="the labels name no patient for it; fill in that cell"):
        read_slides(tmp_path, SlideSources(labels=labels))


def test_labels_that_name_no_slide_and_slides_without_a_label_are_named(
    slide: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("slide,label\nz,benign\n")
    with pytest.raises(DataError, match=r"a\.tiff.*the labels name no such slide"):
        read_slides(slide.parent, SlideSources(labels=labels))
    labels.write_text("slide,grade\na,benign\n")
    with pytest.raises(DataError, match="has no column 'label'"):
        read_slides(slide.parent, SlideSources(labels=labels))
    with pytest.raises(DataError, match="no slide found"):
        read_slides(tmp_path, SlideSources())


def test_a_slide_of_glass_alone_says_so(run: Run, tmp_path: Path) -> None:
    glass = draw(tmp_path / "glass.tiff", np.full((512, 640, 3), 243, np.uint8))
    with pytest.raises(DataError, match=r"glass\.tiff: no tile holds 0\.25 of tissue"):
        predict_slides(run, [glass], tmp_path / "out")


def test_the_most_certain_and_the_most_doubtful_tiles_are_taken_to_be_explained(
    written: Path,
) -> None:
    table = read_predictions(written / "tiles.csv")
    chosen = images_to_explain(table, most=5)
    margin = np.abs(table.probabilities[:, 0] - 0.5)
    named = set(chosen.frame["path"])
    assert len(chosen) == 5
    assert table.frame["path"][margin.argmin()] in named
    assert table.frame["path"][table.probabilities[:, 1].argmax()] in named


_BLOCKED = """
import sys
for name in {absent}:
    sys.modules[name] = None
sys.argv = ["eosin", *{arguments}]
from eosin.cli.app import main
main()
"""


def eosin_without(*absent: str, arguments: list[object]) -> subprocess.CompletedProcess[str]:
    code = _BLOCKED.format(absent=absent, arguments=[str(each) for each in arguments])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )


def test_an_exported_run_scores_a_slide_without_pytorch(
    run: Run, slide: Path, written: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    exported = export_run(run, tmp_path / "onnx")
    words = ["predict", exported.folder, slide, "-o", tmp_path / "out"]
    done = eosin_without("torch", "timm", "torchvision", "sklearn", arguments=words)
    assert done.returncode == 0, done.stderr
    wanted = read_predictions(written / "tiles.csv")
    found = read_predictions(tmp_path / "out" / "tiles.csv")
    assert found.frame["path"].tolist() == wanted.frame["path"].tolist()
    np.testing.assert_allclose(found.probabilities, wanted.probabilities, atol=1e-4)


def test_without_the_extra_for_slides_the_command_names_it(
    run: Run, slide: Path, tmp_path: Path
) -> None:
    aperio = tmp_path / "a.svs"
    shutil.copy(slide, aperio)
    words = ["predict", run.folder, aperio, "-o", tmp_path / "out"]
    done = eosin_without("openslide", "tifffile", "imagecodecs", arguments=words)
    assert done.returncode == 1
    assert 'pip install "eosin[slides]"' in done.stderr
    assert not (tmp_path / "out" / "tiles.csv").exists()


def test_the_page_says_how_the_tissue_divides_and_shows_the_slide(written: Path) -> None:
    page = (written / "report.html").read_text()
    answer = read_slide_answer(written / "slide.json")
    assert f"class malignant: {answer.classes[1].share:.3f}" in page
    assert "Most doubtful" in page
    assert not re.search(r'(src|href)="https?:', page)
    picture = cv2.imread(str(written / "overlay.png"))
    assert min(picture.shape[:2]) > 500


def test_a_folder_of_slides_is_scored_and_slides_among_images_are_refused(
    slide: Path, pixels: UInt8Image, tmp_path: Path
) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    shutil.copy(slide, lab / "a.svs")
    assert slides_in([lab]) == [lab / "a.svs"]
    assert slides_in([lab / "a.svs", lab]) == [lab / "a.svs", lab / "a.svs"]
    cv2.imwrite(str(lab / "field.png"), pixels[:64, :64])
    assert slides_in([lab]) is None  # a folder of images, in which the slide is named and left out
    with pytest.raises(ConfigError, match=r"field\.png: is no slide"):
        slides_in([lab / "a.svs", lab / "field.png"])


def test_a_slide_is_scored_again_into_its_folder_and_a_finished_one_stays(
    run: Run, slide: Path, written: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(written, out)
    (out / "overlay.png").unlink()
    predict_slides(run, [slide], out, writing=SlideWriteOptions(resume=True))
    assert not (out / "overlay.png").exists()  # what is done is not done again
    predict_slides(run, [slide], out)
    assert (out / "overlay.png").read_bytes() == (written / "overlay.png").read_bytes()
    before, after = (read_predictions(each / "tiles.csv") for each in (written, out))
    pd.testing.assert_frame_equal(before.frame(), after.frame())


@pytest.mark.parametrize("name", ["qupath.geojson", "probability.ome.tiff", "report.html"])
def test_a_file_of_the_users_in_the_folder_of_a_slide_is_not_written_over(
    name: str, run: Run, slide: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("drawn by hand")
    with pytest.raises(ConfigError, match=f"{name}: lies there already"):
        predict_slides(run, [slide], tmp_path)
    assert (tmp_path / name).read_text() == "drawn by hand"


def test_a_slide_named_like_a_path_is_refused(run: Run, slide: Path, tmp_path: Path) -> None:
    manifest = read_slides(slide.parent, SlideSources()).manifest
    frame = manifest.frame.assign(slide="../a")
    with pytest.raises(ConfigError, match="no name of a folder"):
        predict_slides(run, replace(manifest, frame=frame), tmp_path / "out")


def test_shares_have_intervals_over_squares_of_tissue_where_there_are_enough() -> None:
    squares = np.array([[3.0, 1.0]] * 6 + [[1.0, 3.0]] * 6)
    task = Task("t", ("a", "b"))
    rows = pd.DataFrame({name: [""] * 2 for name in ("patient", "magnification", "label", "fold")})
    table = make_predictions(rows.assign(path=["1", "2"]), np.full((2, 2), 0.5), task=task)
    first, second = class_shares(table, squares)
    assert first.share == second.share == 0.5
    assert first.low is not None
    assert first.high is not None
    # The mean of 12 draws of 0.75 or 0.25: a standard deviation of 0.072.
    assert first.low == pytest.approx(0.5 - 1.96 * 0.072, abs=0.03)
    assert first.high == pytest.approx(0.5 + 1.96 * 0.072, abs=0.03)
    assert class_shares(table, squares[:7])[0].low is None
