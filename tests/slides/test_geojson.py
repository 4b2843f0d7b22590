"""What QuPath imports: valid rings where the tiles are, with classes, numbers and lasting ids."""

import gzip
import json
from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from eosin.errors import DataError
from eosin.files import contents
from eosin.slides.geojson import TileResults, write_geojson
from eosin.slides.grid import TileGrid

COLOURS = {"malignant": (200, 30, 30), "benign": (30, 120, 200), "none": (90, 90, 90)}
Ring = list[list[float]]


def read_strictly(path: Path) -> list[dict]:
    """The features of a file that QuPath's and RFC 7946's rules hold for, or AssertionError."""
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    read = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert read.keys() == {"type", "features"}
    assert read["type"] == "FeatureCollection"
    ids = [UUID(feature["id"]) for feature in read["features"]]
    assert len({*ids}) == len(ids)
    for feature in read["features"]:
        assert feature.keys() == {"type", "id", "geometry", "properties"}
        assert (feature["type"], feature["geometry"]["type"]) == ("Feature", "Polygon")
        properties = feature["properties"]
        assert properties["objectType"] in {"tile", "annotation"}
        assert all(isinstance(value, float) for value in properties["measurements"].values())
        if named := properties.get("classification"):
            assert named.keys() == {"name", "color"}
            assert all(isinstance(part, int) and 0 <= part < 256 for part in named["color"])
        outer, *holes = feature["geometry"]["coordinates"]
        assert signed_area(outer) > 0
        assert all(signed_area(hole) < 0 for hole in holes)
        for ring in (outer, *holes):
            assert ring[0] == ring[-1]
            assert len({*map(tuple, ring)}) == len(ring) - 1 >= 4  # no corner twice
        sides = [side for ring in (outer, *holes) for side in pairwise(ring)]
        assert not any(cross(*pair) for pair in combinations(sides, 2))
    return read["features"]


def signed_area(ring: Ring) -> float:
    x, y = np.array(ring).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def cross(one: Sequence[list[float]], other: Sequence[list[float]]) -> bool:
    """Whether two axis-parallel sides have more in common than corners."""
    low, high = np.minimum(*np.array(one)), np.maximum(*np.array(one))
    least, most = np.minimum(*np.array(other)), np.maximum(*np.array(other))
    start, end = np.maximum(low, least), np.minimum(high, most)
    if (start > end).any():
        return False
    if (start < end).any():  # they run along each other
        return True
    return start.tolist() not in list(one) or start.tolist() not in list(other)


def results(picture: str, *, width: float = 448.0, step: float | None = None) -> TileResults:
    """Tiles by a picture of their classes: m, b, n, a space for no tile."""
    step = step or width
    rows = picture.strip("\n").split("\n")
    cells = [(c, r, kind) for r, row in enumerate(rows) for c, kind in enumerate(row) if kind > " "]
    names = {name[0]: name for name in COLOURS} | {".": ""}
    x, y = (np.rint(np.array([cell[k] for cell in cells]) * step).astype(np.int64) for k in (0, 1))
    values = np.arange(len(cells)) / 100
    return TileResults(
        slide="TCGA-A1-A0SB.svs",
        tiles=TileGrid.of(x, y, width, step=step),
        classes=[names[kind] for *_, kind in cells],
        colours=COLOURS,
        measurements={"P(malignant)": values, "Familiarity": np.where(values == 0, np.nan, values)},
        mpp=0.25,
    )


def inside(features: list[dict], x: float, y: float) -> list[str]:
    """Classes of the polygons that hold a point, by the even-odd rule."""
    found = []
    for feature in features:
        crossings = 0
        for ring in feature["geometry"]["coordinates"]:
            for (x1, y1), (x2, y2) in pairwise(ring):
                crossings += x1 == x2 and x1 > x and min(y1, y2) <= y < max(y1, y2)
        found += [feature["properties"]["classification"]["name"]] * (crossings % 2)
    return found


PICTURE = """
mmm bb
m mmbb
mmmb b
   bbb
"""


def test_each_tile_is_an_object_with_its_square_class_and_numbers(tmp_path: Path) -> None:
    made = results(PICTURE, width=443.213)
    assert write_geojson(tmp_path / "a.geojson", made) == len(made.classes) == 18
    features = read_strictly(tmp_path / "a.geojson")
    assert len(features) == 18
    assert features[3]["geometry"]["coordinates"] == [
        [[1773, 0], [2216.213, 0], [2216.213, 443.213], [1773, 443.213], [1773, 0]]
    ]
    assert features[3]["properties"] == {
        "objectType": "tile",
        "measurements": {"P(malignant)": 0.03, "Familiarity": 0.03},
        "classification": {"name": "benign", "color": [30, 120, 200]},
    }
    assert features[0]["properties"]["measurements"] == {"P(malignant)": 0.0}  # no NaN in JSON


def test_an_object_keeps_its_id_and_another_slide_has_other_ids(tmp_path: Path) -> None:
    made = results(PICTURE)
    other = TileResults(**{**{k: getattr(made, k) for k in made.__slots__}, "slide": "b.svs"})
    ids = []
    for merged in (False, True):
        for number, one in enumerate((made, made, other)):
            path = tmp_path / f"{number}.geojson"
            write_geojson(path, one, merged=merged)
            ids.append({feature["id"] for feature in read_strictly(path)})
    assert ids[0] == ids[1]
    assert ids[3] == ids[4]
    assert not ids[0] & ids[2]
    assert not ids[3] & ids[5]
    assert not ids[0] & ids[3]


def test_merged_regions_have_their_holes_area_tiles_and_means(tmp_path: Path) -> None:
    assert write_geojson(tmp_path / "a.geojson", results(PICTURE), merged=True) == 2
    benign, malignant = read_strictly(tmp_path / "a.geojson")
    outer, hole = malignant["geometry"]["coordinates"]
    assert signed_area(outer) == 10 * 448**2
    assert signed_area(hole) == -(448**2)
    assert sorted(hole[:4]) == [[448, 448], [448, 896], [896, 448], [896, 896]]
    tiles = [0, 1, 2, 5, 6, 7, 10, 11, 12]
    assert malignant["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "malignant", "color": [200, 30, 30]},
        "isLocked": True,
        "measurements": {
            "Area µm^2": 9 * 112.0**2,
            "Tiles": 9.0,
            "Mean P(malignant)": pytest.approx(np.mean(tiles) / 100),
            "Mean Familiarity": pytest.approx(np.mean(tiles[1:]) / 100),
        },
    }
    # The gap in the other region meets the outside at a corner alone: it is a hole too.
    assert [signed_area(ring) / 448**2 for ring in benign["geometry"]["coordinates"]] == [10, -1]


@pytest.mark.parametrize(
    ("picture", "rings"),
    [
        ("mb\nbm", [[1], [1], [1], [1]]),  # four regions, which meet at one corner
        ("mmm\nm m\nmm ", [[8, -1]]),  # the hole touches the outside at a corner
        ("mmmm\nm mm\nmm m\nmmmm", [[16, -1, -1]]),  # two holes that touch
        ("mmmmm\nm m m\nmm mm\nm m m\nmmmmm", [[25, -1, -1, -1, -1, -1]]),
        ("m m\n m \nm m", [[1]] * 5),
        ("mmm\nmbm\nmmm", [[1], [9, -1]]),
        ("mmmmm\nmbbbm\nmbmbm\nmbbbm\nmmmmm", [[1], [9, -1], [25, -9]]),
        (".m.\nm.m", [[1], [1], [1]]),  # a tile without a class belongs to no region
    ],
)
def test_regions_that_touch_at_corners_have_simple_rings(
    tmp_path: Path, picture: str, rings: list[list[int]]
) -> None:
    write_geojson(tmp_path / "a.geojson", results(picture), merged=True)
    found = [
        [round(signed_area(ring) / 448**2) for ring in feature["geometry"]["coordinates"]]
        for feature in read_strictly(tmp_path / "a.geojson")
    ]
    assert sorted(found) == rings


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("width", "step"), [(448.0, 448.0), (443.213, 443.213), (448.0, 336.0)])
def test_regions_of_random_tissue_hold_the_centre_of_each_tile_once(
    tmp_path: Path, seed: int, width: float, step: float
) -> None:
    rng = np.random.default_rng(seed)
    kinds = rng.choice(list(" mbn"), (9, 11), p=[0.2, 0.45, 0.25, 0.1])
    kinds[4, 5] = "m"
    made = results(
        "\n".join(f"{''.join(row)}|" for row in kinds).replace("|", ""), width=width, step=step
    )
    write_geojson(tmp_path / "a.geojson", made, merged=True)
    features = read_strictly(tmp_path / "a.geojson")
    assert sum(f["properties"]["measurements"]["Tiles"] for f in features) == len(made.classes)
    for row, column in np.ndindex(kinds.shape):
        x, y = (np.rint(index * step) + width / 2 for index in (column, row))
        name = [name for name in COLOURS if name[0] == kinds[row, column]]
        assert inside(features, x, y) == name


def test_a_region_of_tiles_that_overlap_lies_about_their_centres(tmp_path: Path) -> None:
    write_geojson(tmp_path / "a.geojson", results("mm", width=448.0, step=336.0), merged=True)
    (feature,) = read_strictly(tmp_path / "a.geojson")
    assert feature["geometry"]["coordinates"] == [
        [[56, 56], [728, 56], [728, 392], [56, 392], [56, 56]]
    ]


def test_a_compressed_file_holds_the_same(tmp_path: Path) -> None:
    made = results(PICTURE)
    for name in ("a.geojson", "a.geojson.gz", "b.geojson.gz"):
        write_geojson(tmp_path / name, made)
    plain = (tmp_path / "a.geojson").read_bytes()
    assert gzip.decompress((tmp_path / "a.geojson.gz").read_bytes()) == plain
    assert (tmp_path / "a.geojson.gz").read_bytes() == (tmp_path / "b.geojson.gz").read_bytes()
    assert read_strictly(tmp_path / "a.geojson.gz") == read_strictly(tmp_path / "a.geojson")


def test_what_is_wrong_is_refused_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text("old")
    made = results("mb")
    fields = {name: getattr(made, name) for name in made.__slots__}
    for change, reason in (
        ({"colours": {"benign": (1, 2, 3)}}, "no colour for the class malignant"),
        ({"classes": ["benign"]}, "classes: not one for each of the 2 tiles"),
        ({"measurements": {"P": np.zeros(3)}}, "P: not one for each of the 2 tiles"),
    ):
        with pytest.raises(DataError, match=reason):
            write_geojson(path, TileResults(**{**fields, **change}))
    assert path.read_text() == "old"
    assert contents(tmp_path) == ["a.geojson"]
