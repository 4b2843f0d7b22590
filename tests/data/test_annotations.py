"""What people drew, read to the pixel, and the labels of the tiles that it covers."""

import gzip
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from eosin.data.annotations import Region, label_tiles, read_annotations
from eosin.errors import ConfigError, DataError
from eosin.slides.geojson import TileResults, write_geojson
from eosin.slides.grid import TileGrid

SQUARE = [[0, 0], [100, 0], [100, 100], [0, 100], [0, 0]]
HOLE = [[25, 25], [25, 75], [75, 75], [75, 25], [25, 25]]


def feature(geometry: object, name: object = "Tumor", **properties: object) -> dict[str, object]:
    """An annotation as QuPath 0.5 exports it."""
    named = {"classification": {"name": name, "color": [200, 0, 0]}} if name else {}
    properties = {"objectType": "annotation", **named, **properties}
    return {"type": "Feature", "id": "b4", "geometry": geometry, "properties": properties}


def polygon(*rings: object) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": list(rings)}


def written(folder: Path, content: object, name: str = "a.geojson") -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def imagescope(regions: str, layer: str = "Tumor") -> str:
    """A file as ImageScope 12 writes it."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Annotations MicronsPerPixel="0.252700">
 <Annotation Id="1" Name="{layer}" ReadOnly="0" LineColor="65280" Visible="1" Type="4">
  <Attributes><Attribute Name="Description" Id="0" Value=""/></Attributes>
  <Regions><RegionAttributeHeaders><AttributeHeader Id="9999" Name="Region"/>
  </RegionAttributeHeaders>{regions}</Regions><Plots/>
 </Annotation>
</Annotations>"""


def drawn(corners: list[list[float]], number: int = 1, **attributes: str) -> str:
    rest = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in corners)
    return f'<Region Id="{number}" {rest}><Vertices>{vertices}</Vertices></Region>'


@pytest.mark.parametrize("wrap", ["collection", "array", "feature"])
@pytest.mark.parametrize("name", ["a.geojson", "a.json.gz"])
def test_a_polygon_of_qupath_keeps_its_class_corners_and_hole(
    tmp_path: Path, wrap: str, name: str
) -> None:
    one = feature(polygon(SQUARE, HOLE))
    collection = {"type": "FeatureCollection", "features": [one]}
    content = {"collection": collection, "array": [one], "feature": one}[wrap]
    (region,) = read_annotations(written(tmp_path, content, name), sides=(100, 100))
    assert region.label == "Tumor"
    assert [ring.tolist() for ring in region.outer] == [SQUARE[:-1]]
    assert [ring.tolist() for ring in region.holes] == [HOLE[:-1]]


def test_parts_and_holes_of_a_multipolygon_belong_to_one_region(tmp_path: Path) -> None:
    moved = [[x + 200, y] for x, y in SQUARE]
    parts = {"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE], [moved]]}
    (region,) = read_annotations(written(tmp_path, [feature(parts)]))
    assert [ring[0].tolist() for ring in region.outer] == [[0, 0], [200, 0]]
    x, y = np.array([0, 200, 25]), np.array([0, 0, 25])
    assert label_tiles([region], x, y, 50.0, least=0.75) == ["Tumor", "Tumor", ""]


def test_without_the_slides_sides_an_outline_may_leave_it(tmp_path: Path) -> None:
    path = written(tmp_path, imagescope(drawn([[-3, -2], [90, 0], [0, 1e6]])))
    assert read_annotations(path)[0].outer[0].min() == -3
    with pytest.raises(DataError, match=r"\(-3, -2\) is outside"):
        read_annotations(path, sides=(100, 2_000_000))


def test_a_derived_class_of_qupath_is_read_by_its_names(tmp_path: Path) -> None:
    named = {"names": ["Tumor", "Positive"], "color": [1, 2, 3]}
    path = written(tmp_path, [feature(polygon(SQUARE), None, classification=named)])
    assert read_annotations(path)[0].label == "Tumor: Positive"


@pytest.mark.parametrize("first", [0, 200])
def test_a_hole_of_imagescope_belongs_to_the_region_that_it_begins_in(
    tmp_path: Path, first: int
) -> None:
    parts = [[[x + shift, y] for x, y in SQUARE[:-1]] for shift in (first, 200 - first)]
    hole = drawn(HOLE[:-1], 1, NegativeROA="1")
    xml = imagescope(hole + "".join(drawn(part, 2 + k) for k, part in enumerate(parts)))
    regions = read_annotations(written(tmp_path, xml))
    assert [len(one.holes) for one in regions] == [one.outer[0][:, 0].min() == 0 for one in regions]
    assert [one.outer[0][0, 0] for one in regions] == [first, 200 - first]


def test_what_eosin_writes_for_qupath_is_read_back(tmp_path: Path) -> None:
    columns, rows = np.array([0, 1, 2, 0, 2, 0, 1, 2, 1]), np.array([0, 0, 0, 1, 1, 2, 2, 2, 1])
    tiles = TileGrid.of(columns * 448, rows * 448, 448.0)
    classes = ["malignant"] * 8 + ["benign"]
    colours = {"malignant": (200, 0, 0), "benign": (0, 0, 200)}
    results = TileResults("a.svs", tiles, classes, colours, {})
    for merged, count in ((True, 2), (False, 9)):
        path = tmp_path / f"{merged}.geojson.gz"
        write_geojson(path, results, merged=merged)
        regions = read_annotations(path, sides=(1344, 1344))
        assert len(regions) == count
        assert label_tiles(regions, tiles.x, tiles.y, 448.0, least=1.0) == classes


def test_imagescope_regions_take_the_text_or_the_layers_name_and_their_holes(
    tmp_path: Path,
) -> None:
    far = [[x + 200, y] for x, y in SQUARE[:-1]]
    xml = imagescope(
        drawn(SQUARE[:-1], 1, Type="0", Text="", NegativeROA="0")
        + drawn(far, 2, Type="1", Text="DCIS", NegativeROA="0")
        + drawn([[x + 200, y] for x, y in HOLE[:-1]], 3, Type="0", NegativeROA="1")
    )
    for name in ("a.xml", "a.xml.gz"):
        tumour, dcis = read_annotations(written(tmp_path, xml, name), sides=(300, 100))
        assert (tumour.label, dcis.label) == ("Tumor", "DCIS")
        assert tumour.outer[0].tolist() == SQUARE[:-1]
        assert not tumour.holes
        assert dcis.holes[0].tolist() == [[x + 200, y] for x, y in HOLE[:-1]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("no JSON", "neither XML nor JSON"),
        ("[" * 100_000, "neither XML nor JSON"),
        ('{"features": 5}', "its root: no features"),
        ([feature(polygon(SQUARE[:-1]))], "feature 0: a ring is not closed"),
        ([feature(polygon(SQUARE)), feature(polygon([[0, 0], [9, 9], [0, 0]]))], "feature 1: a ri"),
        ([feature(polygon([[0, 0], [9, 9], [0, 0], [9, 9], [0, 0]]))], "less than 3 corners"),
        ([feature(polygon([[x + 1, y] for x, y in SQUARE]))], r"\(101, 0\) is outside of the sl"),
        ([feature(polygon([[x, y - 1] for x, y in SQUARE]))], r"\(0, -1\) is outside of the sli"),
        ([feature(polygon([*SQUARE[:2], [float("nan"), 3], SQUARE[0]]))], "no pairs of numbers"),
        ([feature({"type": "Point", "coordinates": [1, 2]})], "a geometry of type Point"),
        ([feature({"type": "LineString", "coordinates": SQUARE})], "type LineString"),
        ([feature(polygon(SQUARE), None)], "feature 0: no class"),
        ([{"type": "Feature"}], "feature 0: not built as a GeoJSON Feature"),
        (imagescope(drawn(SQUARE[:2])), "layer 1, region 1: a ring has less than 3 corners"),
        (imagescope(drawn([])), "layer 1, region 1: its corners are no pairs of numbers"),
        (imagescope(drawn(SQUARE[:-1]), layer=""), "layer 1, region 1: no class"),
        (imagescope(drawn(SQUARE[:-1], Type="4")), "region 1: of type 4; want an outline"),
        (imagescope(drawn(SQUARE[:-1], NegativeROA="1")), "a hole that begins in no region"),
        (imagescope(drawn([[1, 2], [3, 4], [5, "x"]])), "no pairs of numbers"),  # type: ignore[list-item]
        (imagescope(drawn([[1, 2], [900, 4], [5, 7]])), r"\(900, 4\) is outside of the slide"),
        (imagescope("<Region>"), "not whole as XML"),
    ],
)
def test_what_is_wrong_is_told_with_the_file_and_the_element(
    tmp_path: Path, content: object, reason: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(DataError, match=reason) as caught:
        read_annotations(path, sides=(100, 100))
    assert str(path) in str(caught.value)


def test_entities_are_not_expanded_and_files_are_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    ten = "".join(f'<!ENTITY a{k} "{f"&a{k - 1};" * 10}">' for k in range(1, 10))
    for kind in (f'<!ENTITY a0 "lol">{ten}', f'<!ENTITY a9 SYSTEM "file://{tmp_path}/secret">'):
        xml = imagescope(drawn(SQUARE[:-1], Text="&a9;"))
        head, body = xml.split("\n", 1)
        with pytest.raises(DataError, match="a document type"):
            read_annotations(written(tmp_path, f"{head}<!DOCTYPE Annotations [{kind}]>{body}"))


def test_a_damaged_file_is_a_data_error_and_nothing_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = {"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE]]}
    pieces = ["null", "[]", "{}", "5", '"x"', "[1]", "[[1,2]]", "1e999", "-3", "true"]
    whole = json.dumps([feature(parts), feature(polygon(SQUARE))])
    tokens = [k for k, letter in enumerate(whole) if letter in '[{"0123456789']
    refused = 0
    for _ in range(600):
        start = int(rng.choice(tokens))
        text = whole[:start] + str(rng.choice(pieces)) + whole[start + int(rng.integers(1, 40)) :]
        try:
            read_annotations(written(tmp_path, text))
        except DataError:
            refused += 1
    assert refused > 500
    spoilt = json.loads(whole)
    for key in ("properties", "geometry"):
        for value in (None, 5, "x", [], {}, {"type": 5}, {"type": "Polygon", "coordinates": 7}):
            with pytest.raises(DataError):
                read_annotations(written(tmp_path, [{**spoilt[0], key: value}]))
    (tmp_path / "half.gz").write_bytes(gzip.compress(whole.encode())[:60])
    with pytest.raises(DataError, match="cannot be read"):
        read_annotations(tmp_path / "half.gz")
    packed = bytearray(gzip.compress(whole.encode()))
    packed[40:60] = bytes(20)
    (tmp_path / "spoilt.gz").write_bytes(packed)
    with pytest.raises(DataError, match=r"spoilt\.gz: cannot be read"):
        read_annotations(tmp_path / "spoilt.gz")
    with pytest.raises(DataError, match=r"absent\.xml: cannot be read"):
        read_annotations(tmp_path / "absent.xml")


def region(*outer: list[list[float]], label: str = "Tumor", holes: tuple = ()) -> Region:
    return Region(
        label, tuple(np.array(r, float) for r in outer), tuple(np.array(r, float) for r in holes)
    )


def test_a_tile_has_the_class_that_covers_it_by_half_or_as_much_as_is_asked_for() -> None:
    half = region([[0, 0], [50, 0], [50, 100], [0, 100]])
    x, y = np.array([0, 0, 200]), np.array([0, 1, 0])
    assert label_tiles([half], x, y, 100.0) == ["Tumor", "", ""]  # 50 %, 49.5 %, none
    assert label_tiles([half], x, y, 100.0, least=0.49) == ["Tumor", "Tumor", ""]
    assert label_tiles([half], x, y, 100.0, least=0.51) == ["", "", ""]
    assert label_tiles([], x, y, 100.0) == ["", "", ""]


def test_the_larger_cover_wins_and_of_equal_ones_the_later() -> None:
    left = region([[0, 0], [55, 0], [55, 100], [0, 100]], label="DCIS")
    right = region([[40, 0], [100, 0], [100, 100], [40, 100]], label="Invasive")
    zero = np.array([0])
    assert label_tiles([left, right], zero, zero, 100.0) == ["Invasive"]
    assert label_tiles([right, left], zero, zero, 100.0) == ["Invasive"]
    again = region([[0, 0], [60, 0], [60, 100], [0, 100]], label="DCIS")
    assert label_tiles([right, again], zero, zero, 100.0) == ["DCIS"]
    assert label_tiles([again, right], zero, zero, 100.0) == ["Invasive"]


def test_two_regions_of_a_class_cover_a_tile_together() -> None:
    parts = [
        region([[0, 0], [30, 0], [30, 100], [0, 100]]),
        region([[60, 0], [90, 0], [90, 100], [60, 100]]),
    ]
    zero = np.array([0])
    assert label_tiles(parts, zero, zero, 100.0, least=0.6) == ["Tumor"]
    assert label_tiles(parts, zero, zero, 100.0, least=0.61) == [""]


@pytest.mark.parametrize("seed", range(4))
def test_the_area_in_each_tile_is_that_of_a_fine_raster(seed: int) -> None:
    rng, side, fine = np.random.default_rng(seed), 1000, 4
    angle = np.linspace(0, 2 * np.pi, 300, endpoint=False)
    waves = sum(rng.normal(0, 0.3 / k) * np.cos(k * angle + rng.uniform(0, 7)) for k in range(2, 9))
    star = 500 + (320 * np.clip(1 + waves, 0.3, 1.5))[:, None] * np.stack(
        [np.cos(angle), np.sin(angle)], 1
    )
    hole = 500 + 60 * np.stack([np.cos(angle), np.sin(angle)], 1)
    mask = np.zeros((side * fine, side * fine), np.uint8)
    for ring, value in ((star, 1), (hole, 0)):
        cv2.fillPoly(mask, [np.rint(ring * fine - 0.5).astype(np.int32)], value)
    annotation = Region("Tumor", (star[:: 1 if seed % 2 else -1],), (hole,))
    width = 61
    y, x = (index.ravel() * 60 + 7 for index in np.indices((15, 15)))
    covers = [
        mask[b * fine : (b + width) * fine, a * fine : (a + width) * fine].mean()
        for a, b in zip(x, y, strict=True)
    ]
    for least in (0.1, 0.5, 0.9):
        labels = label_tiles([annotation], x, y, float(width), least=least)
        sure = np.abs(np.array(covers) - least) > 0.01
        assert sure.sum() > 200
        assert [bool(label) for label, s in zip(labels, sure, strict=True) if s] == [
            cover >= least for cover, s in zip(covers, sure, strict=True) if s
        ]


def test_a_hand_drawn_triangle_is_cut_exactly() -> None:
    triangle = region([[0, 0], [200, 0], [0, 200]])  # cuts the tile at (100, 0) along its diagonal
    x, y = np.array([0, 100, 100, 50]), np.array([0, 0, 100, 50])
    assert label_tiles([triangle], x, y, 100.0, least=0.5) == ["Tumor", "Tumor", "", "Tumor"]
    assert label_tiles([triangle], x, y, 100.0, least=0.5001) == ["Tumor", "", "", ""]
    assert label_tiles([triangle], x, y, 100.0, least=1.0) == ["Tumor", "", "", ""]


def test_a_corner_that_barely_enters_a_tile_counts() -> None:
    spike = region([[0, 0], [100.5, 50], [0, 100]])
    x, y = np.array([100, 101]), np.array([0, 0])
    share = 0.5 * (0.5 * 100 / 100.5) / 2 / 100**2
    assert label_tiles([spike], x, y, 100.0, least=share * 0.99) == ["Tumor", ""]
    assert label_tiles([spike], x, y, 100.0, least=share * 1.01) == ["", ""]


@pytest.mark.parametrize("least", [0.0, -0.5, 1.01, float("nan")])
def test_a_share_that_is_none_is_refused(least: float) -> None:
    with pytest.raises(ConfigError, match="a share of a tile"):
        label_tiles([], np.array([0]), np.array([0]), 100.0, least=least)
