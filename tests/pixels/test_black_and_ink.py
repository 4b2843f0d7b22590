"""Black borders and ink: no part of a stain, and left as they are by every stain step."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from eosin.pixels.foreign import foreign_pixels
from eosin.pixels.reading import read_image
from eosin.pixels.stain import Macenko, create_normalizer
from eosin.pixels.stain_jitter import StainJitter, draw_stain_factors, restain, scale_stains

METHODS = ["reinhard", "macenko", "vahadane"]
TARGET_STAINS = ((0.60, 0.65, 0.45), (0.30, 0.90, 0.30))
INKS = {
    "blue": (30, 60, 170),
    "dark blue": (15, 25, 120),
    "pure blue": (0, 0, 255),
    "green": (20, 120, 70),
    "teal": (0, 130, 125),
    "red": (220, 25, 30),
    "black": (32, 30, 35),
    "dark grey": (48, 45, 50),
}
NO_INKS = {
    "blood": (190, 45, 60),
    "eosin": (240, 60, 130),
    "nucleus": (55, 35, 105),
    "blue nucleus": (65, 70, 150),
    "violet": (90, 30, 140),
    "pigment": (120, 75, 35),
}


@pytest.fixture(scope="module", params=METHODS)
def fitted(request, tissue):
    return create_normalizer(request.param).fit(tissue(TARGET_STAINS, seed=11, strength=0.8))


def with_border(image, share, *, value=0):
    width = max(1, round(image.shape[1] * share))
    bordered = image.copy()
    bordered[:, :width] = value
    return bordered, width


def with_stroke(image, colour):
    """A pen's stroke, smooth at its edges, and where it is drawn in full."""
    drawn = np.zeros(image.shape[:2], np.uint8)
    points = np.array([[10, 40], [120, 90], [60, 170], [240, 230]])
    cv2.polylines(drawn, [points], False, 255, 12, cv2.LINE_AA)
    cover = drawn[..., None] / 255
    return np.rint(image * (1 - cover) + np.array(colour) * cover).astype(np.uint8), drawn == 255


def apart(one, other):
    return np.abs(one.astype(int) - other).mean()


def as_jpeg(image, quality=75):
    _, stream = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(stream, cv2.IMREAD_COLOR)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.3])
@pytest.mark.parametrize("value", [0, 20])
def test_a_black_border_moves_the_tissue_beside_it_no_more_than_its_absence(
    fitted, tissue, share, value
):
    image = tissue(seed=5, size=512)
    bordered, width = with_border(image, share, value=value)
    alone = fitted.transform(np.ascontiguousarray(image[:, width:]))
    changed = fitted.transform(bordered)
    assert apart(changed[:, width:], alone) < (0.5 if share == 0.01 else 1.0)
    assert np.array_equal(changed[:, :width], bordered[:, :width])


def test_one_per_cent_of_black_hardly_moves_the_tissue_of_the_originals(originals):
    first, *others = originals.values()
    for method in METHODS:
        normalizer = create_normalizer(method).fit(first)
        moves = []
        for image in others:
            bordered, width = with_border(image, 0.01)
            before, after = normalizer.transform(image), normalizer.transform(bordered)
            moves.append(apart(after[:, width:], before[:, width:]))
        assert np.mean(moves) < 0.3, method
        assert max(moves) < 0.55, method


@pytest.mark.parametrize(
    "change",
    [
        as_jpeg,
        lambda image: cv2.resize(image, (190, 190), interpolation=cv2.INTER_AREA),
        lambda image: cv2.resize(image, (700, 700), interpolation=cv2.INTER_CUBIC),
    ],
    ids=["compressed", "made smaller", "made larger"],
)
def test_a_border_whose_edge_has_run_into_the_tissue_is_black_nevertheless(fitted, tissue, change):
    image = tissue(seed=5, size=384)
    bordered, width = with_border(image, 0.05)
    bordered, whole = change(bordered), change(image)
    edge = round(width * bordered.shape[1] / 384)
    changed = fitted.transform(bordered)
    assert apart(changed[:, edge + 12 :], fitted.transform(whole)[:, edge + 12 :]) < 0.7
    assert changed[:, : edge - 3].max() == bordered[:, : edge - 3].max() < 40


def test_a_border_that_lies_askew_is_black_to_its_thin_end(fitted, tissue):
    image = tissue(seed=5, size=384)
    turn = cv2.getRotationMatrix2D((192, 192), 0.5, 1)
    askew = cv2.warpAffine(image, turn, (384, 384))
    filled = cv2.warpAffine(image, turn, (384, 384), borderMode=cv2.BORDER_REFLECT)
    inside = np.s_[8:-8, 8:-8]
    assert apart(fitted.transform(askew)[inside], fitted.transform(filled)[inside]) < 0.7


def test_a_tile_nearly_all_padding_is_transformed_as_its_tissue_alone(fitted, tissue):
    image = tissue(seed=5, size=400)
    padded = np.zeros_like(image)
    padded[:, 340:] = image[:, 340:]
    alone = fitted.transform(np.ascontiguousarray(image[:, 340:]))
    assert apart(fitted.transform(padded)[:, 340:], alone) < 2
    assert fitted.transform(padded)[:, :340].max() == 0


def test_black_and_glass_without_tissue_are_blank(fitted):
    image = np.full((100, 100, 3), 255, np.uint8)
    image[:40] = 0
    assert fitted.transform_with_reason(image).reason == "blank"
    image[50:70] = INKS["green"]
    result = fitted.transform_with_reason(image)
    assert result.reason == "blank"
    assert np.array_equal(result.image, image)


def test_ink_from_edge_to_edge_is_blank(fitted):
    assert fitted.transform_with_reason(np.full((64, 64, 3), INKS["blue"], np.uint8)).reason


@pytest.mark.parametrize("pen", list(INKS))
def test_a_stroke_of_ink_is_found_and_nothing_else(tissue, pen):
    image, stroke = with_stroke(tissue(seed=6), INKS[pen])
    found = foreign_pixels(image)
    assert found[stroke].mean() > 0.99
    near = cv2.dilate(stroke.astype(np.uint8), np.ones((5, 5))) > 0
    assert not found[~near].any()


@pytest.mark.parametrize("pen", ["blue", "green", "red", "black"])
def test_a_compressed_stroke_is_found_too(tissue, pen):
    image, stroke = with_stroke(tissue(seed=6), INKS[pen])
    core = cv2.erode(stroke.astype(np.uint8), np.ones((5, 5))) > 0
    assert foreign_pixels(as_jpeg(image))[core].mean() > 0.95


@pytest.mark.parametrize("colour", list(NO_INKS))
def test_what_haematoxylin_eosin_blood_and_pigment_can_be_is_no_ink(tissue, colour):
    image, _ = with_stroke(tissue(seed=6), NO_INKS[colour])
    assert foreign_pixels(image) is None


@pytest.mark.parametrize("pen", ["blue", "green", "red", "black"])
def test_ink_keeps_its_colour_and_the_tissue_beside_it_its_stain(fitted, tissue, pen):
    image = tissue(seed=6)
    inked, stroke = with_stroke(image, INKS[pen])
    changed = fitted.transform(inked)
    assert np.array_equal(changed[stroke], inked[stroke])
    beside = cv2.dilate(stroke.astype(np.uint8), np.ones((9, 9))) == 0
    assert apart(changed[beside], fitted.transform(image)[beside]) < 1.0


def test_a_patient_s_stain_is_that_of_the_tissue_in_padded_and_inked_tiles(fitted, tissue):
    tiles = [tissue(seed=seed) for seed in (21, 22, 23)]
    spoilt = [tiles[0], with_border(tiles[1], 0.3)[0], with_stroke(tiles[2], INKS["green"])[0]]
    clean, found = fitted.estimate(tiles), fitted.estimate(spoilt)
    before = fitted.transform(tiles[0], source=clean)
    assert apart(fitted.transform(tiles[0], source=found), before) < 0.5
    changed = fitted.transform(spoilt[1], source=found)
    assert changed[:, :77].max() == 0
    assert apart(changed[:, 77:], fitted.transform(tiles[1], source=clean)[:, 77:]) < 0.5


def test_black_and_ink_stay_as_they_are_under_jitter_and_other_patients_stains(tissue):
    image, stroke = with_stroke(tissue(seed=7), INKS["green"])
    image, width = with_border(image, 0.05)
    stroke[:, :width] = True
    generator = np.random.default_rng(0)
    other = Macenko().estimate(tissue(TARGET_STAINS, seed=8))
    changed = [
        scale_stains(image, draw_stain_factors(StainJitter(0.9, 0.9), generator)) for _ in range(5)
    ]
    changed.append(restain(image, Macenko().estimate(image), other))
    for each in changed:
        assert np.array_equal(each[stroke], image[stroke])
        assert not np.array_equal(each, image)
    clean = tissue(seed=7)
    beside = cv2.dilate(stroke.astype(np.uint8), np.ones((9, 9))) == 0
    factors = (1.3, 0.8)
    assert np.array_equal(
        scale_stains(image, factors)[beside], scale_stains(clean, factors)[beside]
    )


def test_dark_specks_are_not_black_and_a_dark_exposure_is_not_ink(tissue):
    image = tissue(seed=9, strength=1.5)
    assert foreign_pixels(image) is None
    specks = np.random.default_rng(0).random(image.shape[:2]) < 0.002
    image[specks] = 10
    assert foreign_pixels(image) is None
    assert foreign_pixels((tissue(seed=9) * 0.4).astype(np.uint8)) is None


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (2, 3000)])
def test_thin_images_keep_their_black_end(fitted, tissue, shape):
    pixels = tissue(seed=5, size=128).reshape(-1, 3)[: shape[0] * shape[1]]
    image = np.ascontiguousarray(pixels.reshape(*shape, 3))
    image.reshape(-1, 3)[:500] = 0
    result = fitted.transform_with_reason(image)
    assert result.reason is None
    assert result.image.reshape(-1, 3)[:500].max() == 0


def test_real_tissue_without_ink_shows_none(originals, real_data):
    for name, image in originals.items():
        assert foreign_pixels(image) is None, name
    for path in sorted((real_data / "breakhis100x").rglob("*.png"))[::6]:
        assert foreign_pixels(read_image(path)) is None, path.name


@pytest.mark.parametrize(
    ("name", "colour", "share"),
    [
        ("8913_idx5_x851_y601_class0.png", "green", 0.15),
        ("8867_idx5_x3101_y1451_class0.png", "black", 0.03),
    ],
)
def test_the_dye_of_real_surgical_margins_is_found(real_data, name, colour, share):
    path = next((real_data / "idc").rglob(name), None)
    if path is None:
        pytest.skip(f"no {name} below {real_data / 'idc'}")
    image = read_image(path)
    found = foreign_pixels(image)
    assert found.mean() > share
    red, green, _ = image[found].mean(axis=0)
    assert green > 1.3 * red if colour == "green" else max(red, green) < 60
