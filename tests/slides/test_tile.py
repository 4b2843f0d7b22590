"""The path of a tile says all that reading it takes."""

from pathlib import Path

import pytest

from eosin.slides.tile import Tile, file_of


@pytest.mark.parametrize("width", [448.0, 448.898, 224.5])
def test_a_tile_is_known_again_by_its_path(width: float) -> None:
    tile = Tile(Path("/lab/a.svs"), 1024, 2048, width, 224)
    assert Tile.of(tile.path) == tile
    assert file_of(tile.path) == Path("/lab/a.svs")


def test_the_path_of_a_tile_reads_as_it_is_documented() -> None:
    tile = Tile(Path("a.svs"), 1024, 2048, 448.9, 224)
    assert str(tile.path) == "a.svs/tile_x1024_y2048_w448.9_s224"


@pytest.mark.parametrize("name", ["8863_idx5_x1001_y951_class0.png", "tile_x1_y1_w2_s0", "a.svs"])
def test_other_paths_are_no_tiles(name: str) -> None:
    assert Tile.of(Path("/lab") / name) is None
    assert file_of(Path(name)) == Path(name)
