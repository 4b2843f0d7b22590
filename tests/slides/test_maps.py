"""A map lies on its slide: every value where its tile is, to the cell and to the micron."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from eosin.arrays import Floats, Ints
from eosin.errors import DataError
from eosin.slides.grid import Extent, TileGrid
from eosin.slides.maps import map_of, read_map, write_map

tifffile = pytest.importorskip("tifffile")
SLIDE = Extent(46_000, 32_914, 0.2527)


def tissue(step: float, *, share: float = 0.4) -> tuple[Ints, Ints, Floats]:
    """Corners of some tiles of a slide, as a tiler rounds them to whole pixels, and values."""
    rng = np.random.default_rng(5)
    shape = int(SLIDE.height / step), int(SLIDE.width / step)
    row, column = np.nonzero(rng.random(shape) < share)
    x, y = (np.rint(index * step).astype(np.int64) for index in (column, row))
    return x, y, rng.random(len(x))


@pytest.mark.parametrize("width", [448.0, 443.213, 886.427])
@pytest.mark.parametrize("share", [1.0, 0.4, 0.02])
def test_what_is_read_back_is_the_table_of_tiles(
    tmp_path: Path, width: float, share: float
) -> None:
    x, y, values = tissue(width, share=share)
    write_map(tmp_path / "a.ome.tiff", values, TileGrid.of(x, y, width), SLIDE, name="µ < 1 & odd")
    read = read_map(tmp_path / "a.ome.tiff")
    assert (read.name, read.extent, read.step) == ("µ < 1 & odd", SLIDE, width)
    at_x, at_y, found = read.cells()
    order, wanted = np.lexsort((at_x, at_y)), np.lexsort((x, y))
    assert at_x[order].tolist() == x[wanted].tolist()
    assert at_y[order].tolist() == y[wanted].tolist()
    assert np.abs(found[order] - values[wanted]).max() < 1e-6


@pytest.mark.parametrize(("width", "step"), [(443.213, 221.6065), (448.0, 336.0), (300, 810.25)])
def test_tiles_that_overlap_or_lie_apart_stand_in_the_columns_of_their_step(
    width: float, step: float
) -> None:
    x, y, _ = tissue(step)
    found = TileGrid.of(x, y, width, step=step)
    assert found.columns.tolist() == np.rint(x / step).tolist()
    assert found.rows.tolist() == np.rint(y / step).tolist()
    with pytest.raises(DataError, match="state the step"):
        TileGrid.of(x, y, width * 0.9)


def test_where_tiles_overlap_by_half_a_cell_is_the_mean_of_the_tiles_that_cover_it() -> None:
    x, y, values = tissue(1000.0, share=0.5)
    made = map_of(values, TileGrid.of(x, y, 2000.0, step=1000.0), SLIDE)
    checked = 0
    for row in range(33):
        for column in range(46):
            centre = np.array([column, row]) * 1000.0 + 500
            over = (x <= centre[0]) & (centre[0] < x + 2000)
            over &= (y <= centre[1]) & (centre[1] < y + 2000)
            if over.any():
                assert made.values[row, column] == pytest.approx(values[over].mean(), abs=1e-6)
            else:
                assert np.isnan(made.values[row, column])
            checked += over.sum() > 1
    assert checked > 500
    assert np.isnan(made.values[33:]).all()


def test_where_tiles_overlap_by_a_quarter_a_cell_is_the_tile_that_begins_there() -> None:
    x, y, values = tissue(750.0)
    made = map_of(values, TileGrid.of(x, y, 1000.0, step=750.0), SLIDE)
    assert np.isfinite(made.values).sum() == len(x)
    assert made.values[np.rint(y / 750).astype(int), np.rint(x / 750).astype(int)] == (
        pytest.approx(values, abs=1e-6)
    )


def test_a_tile_without_a_value_is_not_scored() -> None:
    x, y = np.array([0, 448, 896]), np.array([448, 448, 448])
    made = map_of(np.array([0.25, np.nan, 1.0]), TileGrid.of(x, y, 448.0), SLIDE)
    assert [part.tolist() for part in made.cells()] == [[0, 896], [448, 448], [0.25, 1.0]]


def test_the_metadata_puts_each_pixel_on_its_tile_in_microns(tmp_path: Path) -> None:
    ome_types = pytest.importorskip("ome_types")
    x, y, values = tissue(443.213)
    path = tmp_path / "a.ome.tif"
    write_map(path, values, TileGrid.of(x, y, 443.213), SLIDE, name="malignant")
    ome = ome_types.from_tiff(path, validate=False)
    (image,) = ome.images
    pixels = image.pixels
    assert (image.name, pixels.channels[0].name) == ("malignant", "malignant")
    assert pixels.physical_size_x_unit.value == pixels.physical_size_y_unit.value == "µm"
    assert pixels.type.value == "float"
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert (pixels.size_y, pixels.size_x) == file.series[0].shape
        array = file.series[0].asarray()
    for column, row, value in ((x[k], y[k], values[k]) for k in range(0, len(x), 97)):
        middle = (np.array([column, row]) + 443.213 / 2) * SLIDE.mpp  # of the tile on the slide, um
        index = middle / [pixels.physical_size_x, pixels.physical_size_y]
        assert index % 1 == pytest.approx([0.5, 0.5], abs=0.51 / 443.213)  # the pixel's middle
        assert array[int(index[1]), int(index[0])] == pytest.approx(value, abs=1e-6)
    facts = {item.k: item.value for item in ome.structured_annotations[0].value.ms}
    assert facts["step"] == "443.213"


def test_the_levels_are_sub_ifds_that_halve_exactly_and_ignore_what_is_not_scored(
    tmp_path: Path,
) -> None:
    x, y, values = tissue(96.0, share=0.7)
    made = write_map(tmp_path / "a.ome.tiff", values, TileGrid.of(x, y, 96.0), SLIDE)
    with tifffile.TiffFile(tmp_path / "a.ome.tiff") as file:
        levels = [level.asarray() for level in file.series[0].levels]
        assert len(file.series) == len(file.pages) == 1
        assert file.pages[0].subifds is not None
        assert {level.pages[0].compression.name for level in file.series[0].levels} == (
            {"ADOBE_DEFLATE"}
        )
    assert [level.shape for level in levels] == [(344, 480), (172, 240), (86, 120)]
    np.testing.assert_array_equal(levels[0], made.values)
    for fine, coarse in pairwise(levels):
        for row, column in ((0, 0), (17, 40), (60, 99)):
            block = fine[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            assert coarse[row, column] == pytest.approx(np.nanmean(block), abs=1e-6)
    assert np.isnan(levels[0]).sum() > 10_000


def test_pyvips_reads_the_same_pixels_density_and_levels(tmp_path: Path) -> None:
    pyvips = pytest.importorskip("pyvips")
    x, y, values = tissue(443.213)
    made = write_map(tmp_path / "a.ome.tiff", values, TileGrid.of(x, y, 443.213), SLIDE)
    image = pyvips.Image.new_from_file(str(tmp_path / "a.ome.tiff"))
    assert (image.format, image.bands) == ("float", 1)
    np.testing.assert_array_equal(image.numpy(), made.values)
    assert 1000 / image.xres == pytest.approx(443.213 * SLIDE.mpp, rel=1e-6)  # um a pixel
    half = pyvips.Image.tiffload(str(tmp_path / "a.ome.tiff"), subifd=0)
    assert (half.width * 2, half.height * 2) == (image.width, image.height)
    assert 1000 / half.xres == pytest.approx(2 * 443.213 * SLIDE.mpp, rel=1e-6)


def test_a_map_of_one_tile_is_a_map(tmp_path: Path) -> None:
    one = TileGrid.of(np.array([0]), np.array([0]), 448.0)
    write_map(tmp_path / "a.ome.tiff", np.array([0.5]), one, Extent(300, 200, 0.5))
    assert read_map(tmp_path / "a.ome.tiff").cells()[2].tolist() == [0.5]


def test_equal_maps_are_equal_files(tmp_path: Path) -> None:
    x, y, values = tissue(448.0)
    tiles = TileGrid.of(x, y, 448.0)
    for name in ("a.ome.tiff", "b.ome.tiff"):
        write_map(tmp_path / name, values, tiles, SLIDE)
    assert (tmp_path / "a.ome.tiff").read_bytes() == (tmp_path / "b.ome.tiff").read_bytes()


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        ([0, 448, 700], [0, 0, 0], "beside a grid"),
        ([100, 548], [100, 100], "beside a grid"),
        ([448, 0, 448], [0, 0, 0], r"the tile at \(448, 0\) is there 2 times"),
        ([], [], "0 x, 0 y"),
        ([0, 448], [0], "2 x, 1 y"),
    ],
)
def test_tiles_that_lie_on_no_grid_are_refused(x: list[int], y: list[int], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        TileGrid.of(np.array(x, np.int64), np.array(y, np.int64), 448.0)


def test_what_cannot_be_a_map_of_the_slide_is_refused(tmp_path: Path) -> None:
    tiles = TileGrid.of(np.array([0, 448]), np.array([0, 448]), 448.0)
    for values, extent, reason in (
        ([0.1, np.inf], SLIDE, "want one number for each of 2 tiles"),
        ([0.1], SLIDE, "want one number for each of 2 tiles"),
        ([0.1, 0.2], Extent(400, 400, 0.25), "outside of a slide"),
    ):
        with pytest.raises(DataError, match=reason):
            map_of(np.array(values), tiles, extent)
    with pytest.raises(DataError, match=r"end in \.ome\.tiff"):
        write_map(tmp_path / "a.tiff", np.array([0.1, 0.2]), tiles, SLIDE)


def test_another_file_is_no_map(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "other.tiff", np.zeros((4, 4), np.float32))
    (tmp_path / "text.tiff").write_text("no TIFF")
    for name in ("other.tiff", "text.tiff", "absent.tiff"):
        with pytest.raises(DataError, match=name):
            read_map(tmp_path / name)


def test_a_map_that_is_cut_off_is_a_data_error_at_every_length(tmp_path: Path) -> None:
    x, y, values = tissue(2000.0)
    write_map(tmp_path / "a.ome.tiff", values, TileGrid.of(x, y, 2000.0), SLIDE)
    with tifffile.TiffFile(tmp_path / "a.ome.tiff") as file:
        needed = file.pages[0].dataoffsets[0] + file.pages[0].databytecounts[0]
    whole = (tmp_path / "a.ome.tiff").read_bytes()
    for length in range(0, needed, 13):
        (tmp_path / "cut.tiff").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.tiff"):
            read_map(tmp_path / "cut.tiff")
