"""Neighbours on a slide: found from coordinates, or the coordinates are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eosin.data.folder import read_folder
from eosin.data.neighbours import find_neighbours
from eosin.errors import DataError
from eosin.slides.tile import Tile


def placed(*corners: tuple[object, object], patient: str = "8863", slide: str = "") -> pd.DataFrame:
    rows = [
        {"path": f"/p/{patient}{slide}_x{x}_y{y}.png", "patient": patient, "slide": slide}
        | {"x": str(x), "y": str(y)}
        for x, y in corners
    ]
    return pd.DataFrame(rows)


def square(side: int, *, pitch: int = 50, start: int = 1001) -> list[tuple[int, int]]:
    return [(start + pitch * i, start + pitch * j) for j in range(side) for i in range(side)]


def test_inside_edge_and_corner_have_nine_six_and_four_patches_in_their_square() -> None:
    found = find_neighbours(placed(*square(3)))
    assert found is not None
    assert found.pitch == 50
    assert found.count.tolist() == [4, 6, 4, 6, 9, 6, 4, 6, 4]


def test_the_mean_is_that_of_the_patches_in_the_square_alone() -> None:
    values = np.arange(16.0)[:, None] ** 2
    found = find_neighbours(placed(*square(4)))
    assert found is not None
    by_hand = [
        np.mean([values[4 * v + u] for v in range(4) for u in range(4)
                 if abs(u - k % 4) <= 1 and abs(v - k // 4) <= 1])
        for k in range(16)
    ]  # fmt: skip
    np.testing.assert_allclose(found.mean(values)[:, 0], by_hand)


def test_a_gap_makes_fewer_neighbours_and_a_wider_square_more() -> None:
    rows = placed(*(corner for corner in square(5) if corner != (1051, 1051)))
    near, far = find_neighbours(rows), find_neighbours(rows, window=5)
    assert near is not None
    assert far is not None
    middle = rows.index[(rows["x"] == "1101") & (rows["y"] == "1101")][0]
    assert near.count[middle] == 8
    assert far.count[middle] == 24


def test_another_patient_and_another_slide_are_no_neighbours_on_the_same_place() -> None:
    rows = pd.concat(
        [placed(*square(2)), placed(*square(2), patient="8865"), placed(*square(2), slide="B")],
        ignore_index=True,
    )
    found = find_neighbours(rows)
    assert found is not None
    assert found.count.tolist() == [4] * 12
    assert find_neighbours(rows.iloc[::-1].reset_index(drop=True)).count.tolist() == [4] * 12


def test_the_pitch_of_a_run_holds_where_only_every_second_patch_is_scored() -> None:
    sparse = placed(*square(3, pitch=100))
    alone = find_neighbours(sparse, pitch=50)
    assert alone is not None
    assert alone.pitch == 50
    assert alone.count.tolist() == [1] * 9


def test_another_grid_than_the_runs_has_its_own_pitch() -> None:
    found = find_neighbours(placed(*square(3, pitch=224)), pitch=50)
    assert found is not None
    assert found.pitch == 224
    assert found.count.max() == 9


def test_images_without_coordinates_stand_alone_among_others() -> None:
    rows = pd.concat([placed(*square(2)), placed(("", ""), ("1001", ""))], ignore_index=True)
    found = find_neighbours(rows)
    assert found is not None
    assert found.placed.tolist() == [True] * 4 + [False] * 2
    assert found.count.tolist() == [4] * 4 + [1] * 2
    assert find_neighbours(placed(("", ""), ("", ""))) is None
    assert find_neighbours(rows.drop(columns=["x"])) is None


def test_patches_that_share_no_row_or_column_have_no_pitch_and_no_neighbour() -> None:
    for expected in (None, 50.0):  # the pitch of a Run, which they do not fit
        found = find_neighbours(placed((1, 1), (60, 77), (200, 333)), pitch=expected)
        assert found is not None
        assert found.pitch is None
        assert found.count.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("corners", "said"),
    [
        ([*square(3), (1120, 1001)], "x1120_y1001.png: x = 1120, y = 1001 lies off the grid.*50"),
        ([*square(2), (1001, 1001)], "has the coordinates of .* on the same slide"),
        ([*square(2), ("left", 1001)], "x = 'left', y = '1001' are no coordinates; want numbers"),
        ([*square(2), ("inf", 1001)], "x = 'inf'.*are no coordinates"),
        ([*square(2), (10**12 + 1, 1001)], "more than 1,048,576 patches"),
    ],
)
def test_coordinates_that_cannot_be_are_refused_in_one_sentence(
    corners: list[tuple[object, object]], said: str
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        find_neighbours(placed(*corners))
    assert "\n" not in str(caught.value)


def test_the_real_patches_lie_fifty_pixels_apart(real_data) -> None:
    manifest = read_folder(real_data / "idc", patient=r"^(\d+)_").manifest
    found = find_neighbours(manifest.frame)
    assert found is not None
    assert found.pitch == 50
    assert found.placed.all()
    assert (found.count > 1).mean() > 0.99
    assert found.count.max() == 9


@pytest.mark.parametrize("expected", [None, 1.0, 50.0])
def test_tiles_of_slides_of_different_um_px_lie_one_tile_apart(expected: float | None) -> None:
    widths = {"a.svs": 448, "b.svs": 224}
    tiles = [
        Tile(Path("/lab") / slide, column * width, row * width, width, 224)
        for slide, width in widths.items()
        for row in range(2)
        for column in range(3)
    ]
    frame = pd.DataFrame(
        {
            "path": [str(tile.path) for tile in tiles],
            "patient": [tile.slide.name for tile in tiles],
            "slide": [tile.slide.stem for tile in tiles],
            "x": [str(tile.x) for tile in tiles],
            "y": [str(tile.y) for tile in tiles],
        }
    )
    found = find_neighbours(frame, pitch=expected)
    assert found is not None
    assert found.pitch == 1
    assert found.count.tolist() == [4, 6, 4] * 4


def test_the_pitch_of_tiles_is_not_that_of_patches_in_pixels() -> None:
    found = find_neighbours(placed(*square(3)), pitch=1.0)
    assert found is not None
    assert found.pitch == 50
