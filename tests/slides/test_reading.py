"""Pixels of slides are OpenSlide's, whoever reads them; what cannot be read is named."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from eosin.cli.app import app
from eosin.errors import ConfigError, DataError, missing_extra
from eosin.slides import opening, tiff_source
from eosin.slides.averaging import Grid, box_average
from eosin.slides.opening import is_slide, open_slide, opened, read_tile
from eosin.slides.slide import Level
from eosin.slides.tile import Tile
from eosin.slides.tile_cache import TileCache

openslide = pytest.importorskip("openslide")
tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")

CORNERS = ((0, 0), (-40, -60), (513, 300), (901, 777), (880, -10), (333, 850))
FORMS = ("jpeg", "jpeg-rgb", "j2k", "lzw", "deflate", None)


@pytest.fixture(scope="session")
def slides(real_data):
    folder = real_data / "slides"
    if not folder.is_dir():
        pytest.skip(f"no real slides at {folder}")
    return folder


@pytest.fixture(scope="session")
def cmu(slides):
    return slides / "cmu-1-small-region.svs"


@pytest.fixture(scope="session")
def tcga(slides):
    return slides / "tcga-cr-7395-01a-01-ts1.svs"


@pytest.fixture(scope="session")
def dicom(slides):
    return slides / "cmu-1-small-region-dicom"


@pytest.fixture
def drawn(drawn_slide, tissue, tmp_path):
    return drawn_slide(tmp_path / "drawn.tif", tissue, levels=3)


def by_openslide(path, x, y, size, level=0):
    """What OpenSlide draws, laid on white."""
    with openslide.OpenSlide(path) as slide:
        drawn = np.asarray(slide.read_region((x, y), level, (size, size))).astype(float)
    alpha = drawn[..., 3:] / 255
    return np.rint(drawn[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def level_of_openslide(path, level):
    with openslide.OpenSlide(path) as slide:
        drawn = slide.read_region((0, 0), level, slide.level_dimensions[level])
    return np.asarray(drawn)[..., :3]


def apart(one, other):
    return int(np.abs(one.astype(int) - other.astype(int)).max())


# Pixels.


@pytest.mark.parametrize("form", FORMS)
def test_a_drawn_pyramid_has_the_pixels_that_openslide_finds_at_level_0(
    form, drawn_slide, tissue, tmp_path
):
    path = drawn_slide(tmp_path / "a.tif", tissue, levels=2, compression=form)
    slide = open_slide(path)
    assert slide.source.reader == "eosin"
    for x, y in CORNERS:
        np.testing.assert_array_equal(
            slide.region(x, y, 224, 224), by_openslide(path, x, y, 224), f"{x}, {y}"
        )


@pytest.mark.parametrize("form", ["lzw", None])
def test_a_slide_kept_without_loss_gives_back_what_was_drawn(form, drawn_slide, tissue, tmp_path):
    path = drawn_slide(tmp_path / "a.tif", tissue, levels=1, compression=form)
    np.testing.assert_array_equal(open_slide(path).region(80, 70, 300, 300), tissue[70:370, 80:380])


@pytest.mark.parametrize("form", FORMS)
def test_twice_the_um_per_px_reads_level_1_as_it_is(form, drawn_slide, tissue, tmp_path):
    path = drawn_slide(tmp_path / "a.tif", tissue, levels=2, compression=form)
    level = level_of_openslide(path, 1)
    found = open_slide(path).region(200, 100, 448, 224)
    np.testing.assert_array_equal(found, level[50:274, 100:324])


@pytest.mark.parametrize(("width", "size"), [(672, 224), (448, 300), (640, 224), (448, 150)])
def test_other_scales_are_area_averages_of_the_next_finer_level(width, size, drawn):
    slide, (x, y) = open_slide(drawn), (100, 60)
    level = max(n for n, each in enumerate(slide.levels) if each.downsample <= width / size)
    factor = int(slide.levels[level].downsample)
    side = width // factor
    pixels = level_of_openslide(drawn, level)[y // factor :, x // factor :][:side, :side]
    wanted = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)
    assert apart(slide.region(x, y, width, size), wanted) <= 1


def test_the_real_slides_have_the_pixels_that_openslide_finds(cmu, tcga):
    for path in (cmu, tcga):
        slide = open_slide(path)
        assert slide.source.reader == "eosin"
        full = slide.levels[0]
        rng = np.random.default_rng(2)
        corners = [(rng.integers(-150, full.width), rng.integers(-150, full.height))] * 20
        for x, y in [*corners, (full.width - 100, full.height - 100)]:
            found = slide.region(int(x), int(y), 224, 224)
            np.testing.assert_array_equal(found, by_openslide(path, int(x), int(y), 224))


def test_a_real_slide_of_jpeg_2000_is_read_from_its_second_level(tcga):
    level = level_of_openslide(tcga, 1)
    slide = open_slide(tcga)
    assert slide.levels[1] == Level(2221, 1783, 2.0)  # OpenSlide says 2.0005
    for x, y in ((0, 0), (1200, 700), (3900, 3000)):
        part = level[y // 2 : y // 2 + 224, x // 2 : x // 2 + 224]
        np.testing.assert_array_equal(slide.region(x, y, 448, 224), part)
    wanted = cv2.resize(level[100:548, 200:648], (200, 200), interpolation=cv2.INTER_AREA)
    assert apart(slide.region(400, 200, 896, 200), wanted) <= 1


def test_a_dicom_slide_has_the_pixels_of_the_svs_that_it_was_made_from(cmu, dicom):
    svs, other = open_slide(cmu), open_slide(dicom)
    assert (other.vendor, other.mpp, other.levels) == ("dicom", svs.mpp, svs.levels)
    for x, y, width in ((0, 0, 224), (1000, 1500, 448.9), (-50, 2800, 300), (2100, 700, 700)):
        one, two = (slide.region(x, y, width, 224) for slide in (svs, other))
        np.testing.assert_array_equal(one, two)


def test_one_file_of_a_dicom_slide_stands_for_all_and_its_label_is_no_level(dicom):
    whole = open_slide(dicom).region(500, 500, 224, 224)
    for file in sorted(dicom.glob("*.dcm")):
        slide = open_slide(file)
        assert slide.levels == (Level(2220, 2967, 1.0),)
        np.testing.assert_array_equal(slide.region(500, 500, 224, 224), whole)


def test_a_label_and_a_macro_are_no_levels(cmu):
    with tifffile.TiffFile(cmu) as file:
        assert len(file.pages) == 4
    assert open_slide(cmu).levels == (Level(2220, 2967, 1.0),)


def test_levels_in_sub_directories_are_found(drawn_slide, tissue, tmp_path):
    path = drawn_slide(tmp_path / "a.ome.tif", tissue, levels=3, sub=True, compression="lzw")
    slide = open_slide(path)
    assert [each.downsample for each in slide.levels] == [1, 2, 4]
    assert is_slide(path)


def test_ycbcr_of_jpeg_2000_and_grey_are_left_to_openslide(tissue, tmp_path):
    for name, pixels, options in (
        ("y.tif", tissue, {"photometric": "rgb", "compression": "APERIO_JP2000_YCBC"}),
        ("grey.tif", tissue[..., 0].copy(), {"photometric": "minisblack"}),
    ):
        description = "Aperio Image Library" if name == "y.tif" else None
        path = tmp_path / name
        tifffile.imwrite(
            path, pixels, tile=(256, 256), metadata=None, description=description, **options
        )
        slide = open_slide(path)
        assert (slide.source.reader, slide.source.missing) == ("OpenSlide", None)
        found = slide.region(700, 640, 320, 320)
        np.testing.assert_array_equal(found, by_openslide(path, 700, 640, 320))
        assert (found[270:] == 255).all()  # beyond the edge


def test_openslide_draws_the_same_through_either_reader(monkeypatch, drawn):
    fast = open_slide(drawn)
    monkeypatch.setattr(opening, "tiff_source", lambda *_, **__: None)
    slow = open_slide(drawn)
    assert (fast.source.reader, slow.source.reader) == ("eosin", "OpenSlide")
    for x, y, width in ((0, 0, 448), (100, 36, 600.5), (-64, 700, 900)):
        np.testing.assert_array_equal(fast.region(x, y, width, 224), slow.region(x, y, width, 224))


# Averaging.


def test_a_pixel_counts_by_the_part_of_it_that_a_box_covers():
    row = np.repeat(np.array([[0, 90, 240]], np.uint8)[..., None], 3, axis=2)
    found = box_average(row.repeat(2, axis=0), Grid(0, 0, 1.5, 2, 1))
    assert found[0, :, 0].tolist() == [30, 190]  # (0 + 45) / 1.5 and (45 + 240) / 1.5
    shifted = box_average(row, Grid(0.25, 0, 1, 2, 1))
    assert shifted[0, :, 0].tolist() == [22, 128]  # 22.5 and 127.5, halves to the even level


def test_averaging_keeps_the_mean_of_an_image(tissue):
    pixels = tissue[:449, :449]
    found = box_average(pixels, Grid(0, 0, 449 / 224, 224, 224))
    assert found.mean() == pytest.approx(pixels.mean(), abs=0.05)


def test_below_a_pixel_a_box_has_the_colour_of_its_pixel(drawn_slide, tissue, tmp_path):
    slide = open_slide(drawn_slide(tmp_path / "a.tif", tissue, compression="lzw"))
    wanted = tissue[10:20, 30:40].repeat(4, axis=0).repeat(4, axis=1)
    np.testing.assert_array_equal(slide.region(30, 10, 10, 40), wanted)


@pytest.mark.parametrize(
    ("full", "sides", "factor"),
    [
        ((4443, 3567), (2221, 1783), 2.0),
        ((4443, 3567), (2222, 1784), 2.0),
        ((46000, 32914), (11500, 8228), 4.0),
        ((1000, 800), (401, 321), (1000 / 401 + 800 / 321) / 2),
    ],
)
def test_a_downsample_is_whole_where_halving_explains_the_sides(full, sides, factor):
    assert Level.below(full, *sides).downsample == factor


# At um/px.


def test_tiles_cover_the_slide_row_by_row_and_are_white_beyond_it(drawn):
    slide = open_slide(drawn)
    tiles = list(slide.tiles(224, 1.0))
    corners = [(x, y) for x, y, _ in tiles]
    assert corners == [(x, y) for y in (0, 448, 896) for x in (0, 448, 896)]
    for x, y, pixels in tiles:
        np.testing.assert_array_equal(pixels, slide.read(x, y, 224, 1.0))
    last = tiles[-1][2]
    assert (last[2:] == 255).all()  # 4 rows of level 0 are left, 52 columns
    assert (last[:, 52:] == 255).all()
    assert last[:2, :52].mean() < 250


def test_overlapping_tiles_share_their_pixels(drawn):
    tiles = {(x, y): pixels for x, y, pixels in open_slide(drawn).tiles(200, 0.5, overlap=50)}
    np.testing.assert_array_equal(tiles[150, 0][:, :50], tiles[0, 0][:, 150:])


def test_an_overview_is_the_whole_slide_at_its_um_per_px(drawn):
    found = open_slide(drawn).overview(4.0)  # 8 pixels of level 0, 2 of level 2
    level = level_of_openslide(drawn, 2)
    assert found.shape == (113, 125, 3)
    wanted = cv2.resize(level[:224, :250], (125, 112), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(found[:112], wanted)


def test_an_overview_in_parts_equals_one_at_once(drawn, monkeypatch):
    slide = open_slide(drawn)
    whole = slide.overview(1.7)
    monkeypatch.setattr("eosin.slides.slide._MOST_SIDE", 100)
    assert apart(slide.overview(1.7), whole) <= 1


def test_the_um_per_px_that_the_user_states_overrides_the_files(drawn):
    assert open_slide(drawn).mpp == pytest.approx(0.5)
    told = open_slide(drawn, mpp=0.25)
    assert told.mpp == 0.25
    np.testing.assert_array_equal(told.read(0, 0, 224, 0.25), told.region(0, 0, 224, 224))


# Order, threads and what is kept.


def test_tiles_are_the_same_in_any_order_and_with_any_cache(drawn, monkeypatch):
    forward = {(x, y): pixels for x, y, pixels in open_slide(drawn).tiles(100, 0.8)}
    monkeypatch.setattr(tiff_source, "TILES", TileCache(300_000))  # one tile and a half
    slide = open_slide(drawn)
    for (x, y), pixels in reversed(forward.items()):
        np.testing.assert_array_equal(slide.read(x, y, 100, 0.8), pixels)


@pytest.mark.parametrize("reader", ["eosin", "OpenSlide"])
def test_many_threads_read_the_tiles_that_one_reads(reader, drawn, monkeypatch):
    if reader == "OpenSlide":
        monkeypatch.setattr(opening, "tiff_source", lambda *_, **__: None)
    monkeypatch.setattr(opening, "_OPEN", type(opening._OPEN)())
    tiles = [Tile(drawn, x, y, 150, 100) for y in range(0, 900, 75) for x in range(0, 1000, 75)]
    alone = [read_tile(tile) for tile in tiles]
    monkeypatch.setattr(tiff_source, "TILES", TileCache(1_000_000))
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(read_tile, tiles))
    assert opened(drawn).source.reader == reader
    assert all(np.array_equal(*pair) for pair in zip(alone, together, strict=True))


def tile_of(cache, key, decode):
    return cache.get([key], lambda keys: [decode for _ in keys])[key]


def test_a_tile_that_eight_threads_want_at_once_is_decoded_once():
    cache, calls, begin = TileCache(), [], threading.Barrier(8)

    def decode():
        calls.append(1)
        waiting.wait(0.2)
        return np.zeros((4, 4, 3), np.uint8)

    def ask(_):
        begin.wait()
        return tile_of(cache, "a", decode)

    waiting = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert len(calls) == 1
    assert all(one is other for one, other in pairwise(found))


def test_the_cache_keeps_the_tiles_used_last_within_its_bytes():
    cache, calls = TileCache(100), []

    def ask(name):
        tile_of(cache, name, lambda: calls.append(name) or np.zeros((40, 1, 1), np.uint8))

    for name in "abacab":  # c takes the room of b
        ask(name)
    assert "".join(calls) == "abcb"


def test_a_fault_while_decoding_is_not_kept():
    cache = TileCache()
    with pytest.raises(DataError):
        tile_of(cache, "a", lambda: (_ for _ in ()).throw(DataError("torn")))
    assert tile_of(cache, "a", lambda: np.ones((1, 1, 3), np.uint8)).sum() == 3


def test_a_slide_is_kept_open_until_its_file_changes(drawn, drawn_slide, tissue):
    first = opened(drawn)
    assert opened(drawn) is first
    drawn_slide(drawn, 255 - tissue, levels=2)
    os.utime(drawn, ns=(1, 1))
    assert opened(drawn).levels != first.levels


def test_at_most_eight_slides_are_kept_open(drawn, tmp_path):
    first = opened(drawn)
    for number in range(8):
        opened(Path(shutil.copy(drawn, tmp_path / f"{number}.tif")))
    assert opened(drawn) is not first


def test_the_pixels_of_a_tile_are_the_callers_own(drawn):
    tile = Tile(drawn, 0, 0, 200, 200)
    pixels = read_tile(tile)
    kept = pixels.copy()
    pixels[:] = 0
    np.testing.assert_array_equal(read_tile(tile), kept)


# What is a slide.


def test_slides_are_known_from_fields(drawn, drawn_slide, tissue, tmp_path, real_data):
    small = drawn_slide(tmp_path / "tiled.tif", tissue, levels=1)
    wide = drawn_slide(tmp_path / "wide.tif", np.full((64, 8208, 3), 200, np.uint8), tile=16)
    tifffile.imwrite(tmp_path / "flat.tif", tissue, photometric="rgb")
    svs_by_name = tmp_path / "not.svs"
    svs_by_name.write_bytes(next((real_data / "breakhis").rglob("*.png")).read_bytes())
    assert is_slide(drawn)
    assert is_slide(wide)
    for other in (small, tmp_path / "flat.tif", svs_by_name, tmp_path, tmp_path / "none.svs"):
        assert not is_slide(other), other


def test_the_real_slides_are_known_and_by_content_alone(cmu, tcga, dicom, tmp_path):
    assert all(map(is_slide, (cmu, tcga, dicom, *dicom.glob("*.dcm"))))
    assert is_slide(Path(shutil.copy(cmu, tmp_path / "photograph.png")))


# Errors.


def said(path, **options):
    with pytest.raises(DataError) as error:
        open_slide(path, **options)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert text.count("\n") == 0
    return text


def test_a_slide_without_um_per_px_asks_for_it_where_it_is_needed(tcga):
    slide = open_slide(tcga)
    assert slide.mpp is None
    for ask in (
        lambda: slide.read(0, 0, 224, 0.5),
        lambda: next(slide.tiles(224, 0.5)),
        lambda: slide.overview(8.0),
    ):
        with pytest.raises(DataError, match=r"svs: states no um/px; say --slide-mpp X$"):
            ask()
    assert open_slide(tcga, mpp=0.5).overview(8.0).shape == (223, 278, 3)


@pytest.mark.parametrize(
    ("mpp", "fault"),
    [
        (None, "states no um/px"),
        ((0.5, 0.52), "states 0.5 um/px across and 0.52 down, which differ"),
        (352.78, "states 352.78 um/px, which no scanner has"),
        (0.02, "states 0.02 um/px, which no scanner has"),
    ],
)
def test_um_per_px_that_cannot_be_relied_on_is_said_and_not_used(
    mpp, fault, drawn_slide, tissue, tmp_path
):
    path = drawn_slide(tmp_path / "a.tif", tissue, mpp=mpp)
    slide = open_slide(path)
    with pytest.raises(DataError) as error:
        slide.overview(8.0)
    assert str(error.value) == f"{path}: {fault}; say --slide-mpp X"
    assert open_slide(path, mpp=0.5).mpp_fault == ""


def test_um_per_px_that_differ_by_one_per_cent_are_averaged(drawn_slide, tissue, tmp_path):
    path = drawn_slide(tmp_path / "a.tif", tissue, mpp=(0.5, 0.505))
    assert open_slide(path).mpp == pytest.approx(0.5025, rel=1e-3)


def test_a_power_of_the_objective_is_no_um_per_px(drawn_slide, tissue, tmp_path):
    slide = open_slide(drawn_slide(tmp_path / "a.svs", tissue, mpp=None, compression="j2k"))
    assert (slide.objective, slide.mpp) == (20.0, None)


@pytest.mark.parametrize("mpp", [0.01, 12.0, float("nan")])
def test_the_user_may_not_state_um_per_px_that_no_scanner_has(mpp, drawn):
    with pytest.raises(ConfigError, match=r"name 0\.05 to 10"):
        open_slide(drawn, mpp=mpp)


def test_a_flat_tiff_is_named_an_image_field(tissue, tmp_path):
    tifffile.imwrite(tmp_path / "flat.tif", tissue, photometric="rgb")
    assert "a flat TIFF without tiles: an image field, not a slide" in said(tmp_path / "flat.tif")


def test_what_is_no_slide_is_said_so(tmp_path):
    (tmp_path / "notes.txt").write_text("a slide" * 50)
    assert "is no slide in a format that OpenSlide knows" in said(tmp_path / "notes.txt")
    assert "folder without a DICOM slide" in said(tmp_path)
    assert "No such file" in said(tmp_path / "none.svs")


def test_dicom_that_is_no_slide_is_said_so(tmp_path):
    path = tmp_path / "ct.dcm"
    uid = b"1.2.840.10008.5.1.4.1.1.2\0"  # CT image storage
    syntax = b"1.2.840.10008.1.2.1\0"
    group = b"\x02\0\x02\0UI" + len(uid).to_bytes(2, "little") + uid
    group += b"\x02\0\x10\0UI" + len(syntax).to_bytes(2, "little") + syntax
    length = b"\x02\0\0\0UL\x04\0" + len(group).to_bytes(4, "little")
    path.write_bytes(bytes(128) + b"DICM" + length + group)
    assert "is DICOM but no whole-slide image" in said(path)
    assert not is_slide(path)
    assert not is_slide(tmp_path)


def test_a_folder_of_two_dicom_slides_is_not_read_as_one(dicom, tmp_path):
    original = (dicom / "2.dcm").read_bytes()
    start = original.index(b"\x20\x00\x0e\x00UI") + 8
    (tmp_path / "a.dcm").write_bytes(original)
    other = original[: start + 3] + b"9" + original[start + 4 :]
    (tmp_path / "b.dcm").write_bytes(other)
    assert "holds 2 DICOM slides; name a file of one" in said(tmp_path)


@pytest.mark.parametrize("kept", [0.6, 0.97])
def test_a_truncated_slide_is_refused(kept, drawn):
    whole = drawn.read_bytes()
    drawn.write_bytes(whole[: int(kept * len(whole))])
    assert "copy or download it again" in said(drawn)


def test_a_truncated_real_slide_is_refused(cmu, tmp_path):
    path = tmp_path / "cut.svs"
    path.write_bytes(cmu.read_bytes()[:1_000_000])
    assert "copy or download it again" in said(path)


def test_a_slide_whose_last_tile_is_cut_off_is_refused_with_the_tile(drawn_slide, tissue, tmp_path):
    path = drawn_slide(tmp_path / "a.tif", tissue)
    path.write_bytes(path.read_bytes()[:-10])
    assert "is truncated: the tile in column 3 and row 3 of level 0 ends at byte" in said(path)


def test_a_directory_that_places_too_few_tiles_is_damaged(drawn_slide, tissue, tmp_path):
    path = drawn_slide(tmp_path / "a.tif", tissue)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name in ("TileByteCounts", "TileOffsets"):
            tag = file.pages[0].tags[name]
            tag.overwrite(tag.value[:9])
    assert "copy or download it again" in said(path)


@pytest.mark.parametrize("tag", ["TileLength", "TileWidth", "ImageLength"])
def test_a_side_of_no_pixels_is_damage(tag, drawn_slide, tissue, tmp_path):
    path = drawn_slide(tmp_path / "a.svs", tissue, compression="j2k")
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags[tag].overwrite(0)
    assert "a.svs" in said(path)


def test_missing_tiles_are_white_and_counted(drawn):
    with tifffile.TiffFile(drawn, mode="r+b") as file:
        tag = file.pages[0].tags["TileByteCounts"]
        tag.overwrite([0 if index in (1, 5) else count for index, count in enumerate(tag.value)])
    slide = open_slide(drawn)
    assert slide.source.missing == 2
    assert (slide.region(256, 0, 256, 256) == 255).all()
    found = slide.region(200, 200, 224, 224)
    np.testing.assert_array_equal(found, by_openslide(drawn, 200, 200, 224))


@pytest.mark.parametrize("form", ["jpeg", "j2k", "deflate"])
@pytest.mark.parametrize("harm", ["junk", "half"])
def test_a_corrupt_tile_is_named_by_its_position(form, harm, drawn_slide, tissue, tmp_path):
    path = drawn_slide(tmp_path / "a.tif", tissue, compression=form)
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[0].dataoffsets[6], file.pages[0].databytecounts[6]
    start = offset if harm == "junk" else offset + count // 2
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\0" * (offset + count - start))
    slide = open_slide(path)
    with pytest.raises(
        DataError, match=r"a\.tif: the tile in column 2 and row 1 of level 0 cannot"
    ):
        slide.region(600, 300, 100, 100)
    assert slide.region(0, 0, 100, 100).mean() < 250  # the others can still be read


def test_a_corrupt_tile_stops_openslide_only_there(drawn, monkeypatch):
    with tifffile.TiffFile(drawn) as file:
        offset = file.pages[0].dataoffsets[6]
    with drawn.open("r+b") as file:
        file.seek(offset)
        file.write(b"\0" * 200)
    monkeypatch.setattr(opening, "tiff_source", lambda *_, **__: None)
    slide = open_slide(drawn)
    with pytest.raises(DataError, match=r"the 100 x 100 pixels at x 600, y 300 of level 0 cannot"):
        slide.region(600, 300, 100, 100)
    assert slide.region(0, 0, 100, 100).mean() < 250


def test_without_the_extra_the_command_to_install_it_is_named(drawn, monkeypatch):
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(ModuleNotFoundError) as error:
        open_slide(drawn)
    assert 'pip install "eosin[slides]"' in str(missing_extra(error.value))
    assert not is_slide(drawn)  # a TIFF: the name decides
    assert is_slide(drawn.rename(drawn.with_suffix(".svs")))


@pytest.mark.parametrize(("width", "size"), [(0, 10), (-1, 10), (float("inf"), 10), (10, 0)])
def test_a_square_without_extent_is_refused(width, size, drawn):
    with pytest.raises(ConfigError):
        open_slide(drawn).region(0, 0, width, size)


# The command.


def test_info_says_what_the_slide_is(cmu, drawn):
    result = CliRunner().invoke(app, ["slide", "info", str(cmu), "--json"])
    assert json.loads(result.output) == {
        "path": str(cmu),
        "vendor": "aperio",
        "sides": [2220, 2967],
        "levels": [[2220, 2967]],
        "mpp": 0.499,
        "objective": 20.0,
        "tile": [240, 240],
        "compression": "JPEG",
        "missing_tiles": 0,
        "reader": "eosin",
    }


def test_info_says_what_is_wrong_with_the_um_per_px(tcga):
    shown = CliRunner().invoke(app, ["slide", "info", str(tcga)]).output
    assert "4443 x 3567, 2221 x 1783" in shown
    assert "states no um/px; say --slide-mpp X" in shown
    told = CliRunner().invoke(app, ["slide", "info", str(tcga), "--slide-mpp", "0.25"]).output
    assert "um/px         0.25" in told
