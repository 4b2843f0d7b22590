"""Slides behind a server: true pixels, maps in their places, scores of now, and no names."""

from __future__ import annotations

import base64
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from eosin.arrays import UInt8Image
from eosin.artefacts.predictions import read_predictions
from eosin.data.slides import SlideSources, read_slides
from eosin.inference.images import unlabelled
from eosin.inference.predict import predict
from eosin.networks.run import Run
from eosin.reporting.overlay import colour_of
from eosin.server import slides
from eosin.slides.grid import Extent, TileGrid
from eosin.slides.maps import read_map, write_map
from eosin.slides.opening import open_slide
from eosin.slides.tile import Tile

Serve = Callable[..., Any]
INSIDE = {"x": 300, "y": 200}  # in the tile at (256, 128)


def decoded(data: bytes) -> UInt8Image:
    """Pixels of a PNG or JPEG as RGB or RGBA."""
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return bgr[..., [2, 1, 0, 3][: bgr.shape[2]]]


def ids(server: Any) -> list[str]:
    """Those of the slides, in their order on the page."""
    page = server.client.get("/slides").text
    return re.findall(r'href="/slides/([0-9a-f]{32})"', page)


@pytest.fixture
def first(slide_server: Any) -> str:
    """The path of the slide that states its um/px."""
    return f"/slides/{ids(slide_server)[0]}"


def tiles_of(folder: Path) -> dict[tuple[int, int], float]:
    """The stored probability of malignant by the corner of each tile."""
    frame = read_predictions(folder / "out" / "tiles.csv").frame
    found = (Tile.of(Path(path)) for path in frame["path"])
    return {(t.x, t.y): p for t, p in zip(found, frame["p_malignant"], strict=True) if t}


@pytest.mark.parametrize(
    ("level", "x", "y", "sides"),
    [(10, 0, 0, (256, 256)), (10, 3, 2, (132, 138)), (9, 1, 1, (194, 69)), (8, 0, 0, (225, 163))],
)
def test_a_picture_of_the_pyramid_shows_the_box_of_the_slide_that_it_names(
    slide_server: Any, slide_folder: Path, first: str, level: int, x: int, y: int, sides: Any
) -> None:
    answer = slide_server.client.get(f"{first}/dzi/{level}/{x}_{y}.jpg")
    found = decoded(answer.content).astype(int)
    side = 256 * 2 ** (10 - level)
    box = open_slide(slide_folder / "jane-doe.tiff").region(x * side, y * side, side, 256)
    assert found.shape == (sides[1], sides[0], 3)
    assert np.abs(found - box[: sides[1], : sides[0]]).mean() < 4  # what a JPEG of grain loses


def test_pictures_side_by_side_make_the_whole_slide(
    slide_server: Any, slide_pixels: UInt8Image, first: str
) -> None:
    rows = []
    for y in range(3):
        urls = [f"{first}/dzi/10/{x}_{y}.jpg" for x in range(4)]
        rows.append(np.hstack([decoded(slide_server.client.get(url).content) for url in urls]))
    whole = np.vstack(rows)
    assert whole.shape == slide_pixels.shape
    assert np.abs(whole.astype(int) - slide_pixels).mean() < 4


def test_a_browser_keeps_pictures_for_itself_and_asks_whether_they_changed(
    slide_server: Any, first: str
) -> None:
    for url in (f"{first}/dzi/8/0_0.jpg", f"{first}/layers/probability.png"):
        answer = slide_server.client.get(url)
        assert answer.headers["cache-control"] == "private, max-age=3600"
        again = slide_server.client.get(url, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        other = slide_server.client.get(url, headers={"if-none-match": '"0-0"'})
        assert other.content == answer.content


@pytest.mark.parametrize("part", [
    "dzi/7/0_0.jpg", "dzi/11/0_0.jpg", "dzi/-1/0_0.jpg", f"dzi/{10**300}/0_0.jpg",
    f"dzi/-{10**300}/0_0.jpg", "dzi/10/4_0.jpg", "dzi/10/0_3.jpg", "dzi/10/-1_0.jpg",
    f"dzi/10/{10**300}_0.jpg", "layers/familiarity.ome.tiff.png", "layers/..%2Foverlay.png",
    "layers/slide.png", "layers/%00.png", "dzi/10/..%2F..%2Fetc_passwd.jpg", "nothing",
])  # fmt: skip
def test_what_is_not_there_is_not_found(slide_server: Any, first: str, part: str) -> None:
    answer = slide_server.client.get(f"{first}/{part}")
    assert answer.status_code in (404, 422)
    assert answer.status_code == 404 or "passwd" in part
    assert answer.json().keys() <= {"error", "detail"}


@pytest.mark.parametrize("name", ["0" * 32, "jane-doe.tiff", "..%2F..%2Fetc", "%00", "a" * 5000])
@pytest.mark.parametrize("part", ["", "/facts", "/dzi/8/0_0.jpg", "/layers/probability.png"])
def test_a_slide_that_is_not_shown_is_not_found(slide_server: Any, name: str, part: str) -> None:
    assert slide_server.client.get(f"/slides/{name}{part}").status_code == 404
    assert slide_server.client.post(f"/slides/{name}/look", params=INSIDE).status_code == 404


def test_a_layer_lies_on_its_slide_cell_by_cell_in_the_colours_of_the_reports(
    slide_server: Any, slide_folder: Path, first: str
) -> None:
    layers = slide_server.client.get(f"{first}/facts").json()["layers"]
    assert [each["name"] for each in layers] == ["probability", "familiarity"]
    picture = decoded(slide_server.client.get(f"{first}/layers/probability.png").content)
    rows, columns, _ = picture.shape
    known = read_map(slide_folder / "out" / "probability.ome.tiff")
    assert (layers[0]["width"], layers[0]["height"]) == (columns * known.step, rows * known.step)
    assert layers[0]["title"] == "probability of malignant"
    scored = tiles_of(slide_folder)
    assert np.count_nonzero(picture[..., 3]) == len(scored)
    for (x, y), chance in scored.items():
        cell = picture[y * rows // int(layers[0]["height"]), x * columns // int(layers[0]["width"])]
        wanted = colour_of(np.array(chance, np.float32), "YlOrRd")
        np.testing.assert_array_equal(cell, [*wanted, 255])


def test_of_what_tiles_weigh_the_heaviest_has_the_darkest_colour(
    slide_folder: Path, serve: Serve, scaled: Run, tmp_path: Path
) -> None:
    shutil.copytree(slide_folder / "out", tmp_path / "out")
    x = np.array([256, 384])
    tiles = TileGrid.of(x, np.array([128, 128]), 128)
    weights, extent = np.array([0.002, 0.001]), Extent(900, 650, 0.5)
    write_map(tmp_path / "out" / "attention.ome.tiff", weights, tiles, extent, name="attention")
    server = serve(scaled, data=tmp_path / "out")
    slide = f"/slides/{ids(server)[0]}"
    layer = server.client.get(f"{slide}/facts").json()["layers"][-2]
    assert (layer["title"], layer["high"]) == ("attention", pytest.approx(0.002))
    picture = decoded(server.client.get(f"{slide}/layers/attention.png").content)
    wanted = colour_of(np.array([1, 0.5], np.float32), "YlOrRd")
    np.testing.assert_array_equal(picture[1, 2:4, :3], wanted)
    assert np.count_nonzero(picture[..., 3]) == 2


def test_a_run_that_answers_for_slides_does_not_answer_for_a_tile(
    slide_server: Any, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slides, "answers_slides", lambda _: True)
    said = slide_server.client.post(f"{first}/look", params=INSIDE).json()
    assert "answers for slides, not for single tiles" in said["image"]["error"]
    assert said["stored"][4]["malignant"] > 0


def test_facts_say_the_scale_the_sides_and_the_stored_answer(slide_server: Any, first: str) -> None:
    facts = slide_server.client.get(f"{first}/facts").json()
    assert (facts["width"], facts["height"], facts["fault"]) == (900, 650, "")
    assert facts["mpp"] == pytest.approx(0.5)
    assert facts["positive"] == "malignant"
    assert facts["said"][0].startswith("Share of the tissue: class benign: ")


def test_a_look_says_what_predict_says_of_that_tile_to_the_last_bit(
    slide_server: Any, slide_folder: Path, scaled: Run, first: str
) -> None:
    said = slide_server.client.post(f"{first}/look", params=INSIDE).json()
    path = slide_folder / "jane-doe.tiff"
    assert (said["x"], said["y"], said["width"]) == (256, 128, 128)
    tile = Tile(path, 256, 128, 128, 64)
    row = predict(scaled, unlabelled(scaled, [tile.path])).predictions.frame.iloc[0]
    image = said["image"]
    assert image["probabilities"] == {c: row[f"p_{c}"] for c in ("benign", "malignant")}
    assert (image["decision"], image["answer"]) == (row["decision"], row["answer"])
    assert image["set"] == row["set"].split("|")
    assert image["flags"] == row["flags"].split()
    assert image["familiarity"] == row["familiarity"]
    assert image["probabilities"]["malignant"] == tiles_of(slide_folder)[256, 128]
    shown = decoded(base64.b64decode(said["picture"].partition(",")[2]))
    np.testing.assert_array_equal(shown, open_slide(path).region(256, 128, 128, 64))


def test_around_a_tile_are_its_eight_neighbours_with_what_is_stored_of_them(
    slide_server: Any, slide_folder: Path, slide_pixels: UInt8Image, first: str
) -> None:
    said = slide_server.client.post(f"{first}/look", params=INSIDE).json()
    stored = tiles_of(slide_folder)
    corners = [(x, y) for y in (0, 128, 256) for x in (128, 256, 384)]
    assert said["middles"] == [{"x": x + 64, "y": y + 64} for x, y in corners]
    chances = [each and each["malignant"] for each in said["stored"]]
    assert chances == [stored.get(corner) for corner in corners]
    assert None not in chances[3:]
    around = decoded(base64.b64decode(said["around"].partition(",")[2])).astype(int)
    wanted = cv2.resize(slide_pixels[:384, 128:512], (336, 336), interpolation=cv2.INTER_AREA)
    assert np.abs(around - wanted).mean() < 5


def test_points_outside_of_the_slide_and_no_points_are_refused(
    slide_server: Any, first: str
) -> None:
    for x, y, status in (
        (900, 0, 404), (0, 650, 404), (1e300, 0, 404), (-1, 0, 422), (math.nan, 0, 422),
        (math.inf, 0, 422), ("1;2", 0, 422),
    ):  # fmt: skip
        answer = slide_server.client.post(f"{first}/look", params={"x": x, "y": y})
        assert answer.status_code == status, (x, y)
    unknown = slide_server.client.post(f"{first}/look", params={**INSIDE, "run": "other"})
    assert unknown.status_code == 404
    elsewhere = {"origin": "http://other.example"}
    assert slide_server.client.post(f"{first}/look", headers=elsewhere).status_code == 403


def test_a_tile_is_explained_as_the_same_image_is(slide_server: Any, first: str) -> None:
    look = slide_server.client.post(f"{first}/look", params=INSIDE).json()
    data = base64.b64decode(look["picture"].partition(",")[2])
    direct = slide_server.client.post("/explain", files={"images": ("a.png", data)}).json()
    said = slide_server.client.post(f"{first}/explain", params=INSIDE).json()
    assert said.pop("name") == "tile"
    assert direct.pop("name") == "a.png"
    assert said == direct


def test_no_answer_names_a_file_a_folder_or_a_patient(
    slide_server: Any, slide_folder: Path, serve: Serve, scaled: Run, first: str
) -> None:
    client, silent = slide_server.client, f"/slides/{ids(slide_server)[1]}"
    answers = [client.get(path) for path in ("/slides", first, f"{first}/facts", silent)]
    answers += [client.get(f"{silent}/{part}") for part in ("facts", "dzi/99/0_0.jpg")]
    for path in (first, silent):
        answers += [client.post(f"{path}/{verb}", params=INSIDE) for verb in ("look", "explain")]
    for answer in answers:
        for name in ("jane", "roe", ".tiff", str(slide_folder), str(scaled.folder)):
            assert name not in answer.text, answer.url
    assert "Slide 1" in answers[0].text
    named = serve(scaled, data=slide_folder, show_patients=True).client.get("/slides").text
    assert "jane-doe.tiff" in named


def test_a_slide_of_unknown_scale_is_shown_and_not_scored_and_a_manifest_gives_its_scale(
    slide_server: Any, slide_folder: Path, serve: Serve, scaled: Run, tmp_path: Path
) -> None:
    silent = f"/slides/{ids(slide_server)[1]}"
    facts = slide_server.client.get(f"{silent}/facts").json()
    assert facts["mpp"] is None
    assert "states no um/px" in facts["fault"]
    assert slide_server.client.get(f"{silent}/dzi/8/0_0.jpg").status_code == 200
    said = slide_server.client.post(f"{silent}/look", params=INSIDE)
    assert said.status_code == 422
    assert "column mpp of a manifest" in said.json()["error"]
    manifest = read_slides(slide_folder, SlideSources(slide_mpp=0.5)).manifest
    only = manifest.where(manifest.frame["slide"] == "max-roe")
    only.write(tmp_path / "slides.csv")
    told = serve(scaled, data=tmp_path / "slides.csv")
    (slide,) = ids(told)
    scored = told.client.post(f"/slides/{slide}/look", params=INSIDE).json()
    known = slide_server.client.post(f"/slides/{ids(slide_server)[0]}/look", params=INSIDE).json()
    assert scored["image"] == known["image"]
    assert scored["stored"] == [None] * 9


def test_a_slide_of_a_patient_of_the_training_is_not_scored(
    slide_folder: Path, serve: Serve, scaled: Run, tmp_path: Path
) -> None:
    manifest = read_slides(slide_folder, SlideSources(slide_mpp=0.5)).manifest
    met = sorted(scaled.record.seen_patients)[0]
    replace(manifest, frame=manifest.frame.assign(patient=met)).write(tmp_path / "slides.csv")
    named = tmp_path / "named" / f"{met}.tiff"
    named.parent.mkdir()
    named.write_bytes((slide_folder / "jane-doe.tiff").read_bytes())
    for data, allowed in (("slides.csv", False), ("named", False), ("slides.csv", True)):
        server = serve(scaled, data=tmp_path / data, allow_seen=allowed)
        slide = f"/slides/{ids(server)[0]}"
        look = server.client.post(f"{slide}/look", params=INSIDE)
        explained = server.client.post(f"{slide}/explain", params=INSIDE)
        assert look.json()["seen"]
        assert ("error" in look.json()["image"]) is not allowed
        assert explained.status_code == (200 if allowed else 422)
        assert met not in look.text + explained.text
        assert ("--allow-seen" in look.text + explained.text) is not allowed


def test_a_run_of_images_of_unknown_scale_says_how_to_score(
    serve: Serve, exported: Run, slide_folder: Path
) -> None:
    server = serve(exported, data=slide_folder / "jane-doe.tiff")
    said = server.client.post(f"/slides/{ids(server)[0]}/look", params=INSIDE)
    assert said.status_code == 422
    assert "eosin predict RUN SLIDE -o FOLDER --mpp X" in said.json()["error"]


def test_what_predict_wrote_is_shown_with_its_slide(
    serve: Serve, scaled: Run, slide_folder: Path, first: str
) -> None:
    server = serve(scaled, data=slide_folder / "out")
    (slide,) = ids(server)
    assert f"/slides/{slide}" == first
    assert len(server.client.get(f"{first}/facts").json()["layers"]) == 2


def test_a_damaged_slide_is_a_sentence_beside_the_others(
    serve: Serve, scaled: Run, slide_folder: Path, tmp_path: Path
) -> None:
    for name in ("a.tiff", "z.tiff"):
        (tmp_path / name).write_bytes((slide_folder / "jane-doe.tiff").read_bytes())
    server = serve(scaled, data=tmp_path)
    (tmp_path / "z.tiff").write_bytes(b"II*\0 gone")
    page = server.client.get("/slides")
    assert "900 x 650 px, 0.5 µm/px" in page.text
    assert "Slide 2: its directories are damaged" in page.text
    broken = server.client.get(f"/slides/{ids(server)[1]}/dzi/8/0_0.jpg")
    assert broken.status_code == 422
    assert str(tmp_path) not in page.text + broken.text


def test_without_slides_or_without_what_reads_them_there_is_no_tab(
    serve: Serve, scaled: Run, slide_folder: Path, new_images: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    servers = [serve(scaled), serve(scaled, data=new_images[0].parent)]
    monkeypatch.setattr(slides, "find_spec", lambda _: None)
    for server in (*servers, serve(scaled, data=slide_folder)):
        assert "/slides" not in server.client.get("/").text
        assert server.client.get("/slides").status_code == 404


def test_a_real_slide_is_shown_and_scored(serve: Serve, scaled: Run, real_data: Path) -> None:
    path = real_data / "slides" / "cmu-1-small-region.svs"
    server = serve(scaled, data=path)
    url = f"/slides/{ids(server)[0]}"
    facts = server.client.get(f"{url}/facts").json()
    assert (facts["width"], facts["height"], facts["objective"]) == (2220, 2967, 20)
    found = decoded(server.client.get(f"{url}/dzi/12/4_5.jpg").content).astype(int)
    assert np.abs(found - open_slide(path).region(1024, 1280, 256, 256)).mean() < 4
    said = server.client.post(f"{url}/look", params={"x": 1100, "y": 1400}).json()
    tile = Tile(path, said["x"], said["y"], said["width"], 64)
    row = predict(scaled, unlabelled(scaled, [tile.path])).predictions.frame.iloc[0]
    assert said["image"]["probabilities"]["malignant"] == row["p_malignant"]
