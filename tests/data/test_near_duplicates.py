"""Pictures that are one picture are found in every disguise, and others are left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from eosin.data.field_overlap import close_up, field_overlap
from eosin.data.fingerprints import Fingerprint, fingerprint, read_each
from eosin.data.near_duplicates import (
    NAMES,
    equal_pictures,
    find_near_duplicates,
    turn_image,
    turn_waves,
    turned_pairs,
)
from eosin.pixels.reading import UInt8Image, read_image


def tissue(seed: int, *, height: int = 115, width: int = 175) -> UInt8Image:
    """A pink field with purple blobs of many sizes."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), (225, 170, 205), np.uint8)
    for _ in range(120):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        colour = tuple(int(v) for v in rng.integers((90, 50, 110), (190, 130, 200)))
        cv2.circle(image, centre, int(rng.integers(2, 14)), colour, -1)
    return image


def search(*images: UInt8Image) -> list[tuple[int, int, int]]:
    prints = [fingerprint(image) for image in images]
    found = find_near_duplicates(prints, lambda index: images[index])
    return [(match.first, match.second, match.orientation) for match in found]


def jpeg(image: UInt8Image, quality: int) -> UInt8Image:
    packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)


def scaled(image: UInt8Image, factor: float) -> UInt8Image:
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor), np.uint8)


def test_orientations_are_the_ones_that_their_names_say() -> None:
    image = tissue(0)
    known = {
        "flipped horizontally": np.fliplr(image),
        "flipped vertically": np.flipud(image),
        "rotated 180°": np.rot90(image, 2),
        "rotated 90° left": np.rot90(image, 1),
        "rotated 90° right": np.rot90(image, -1),
        "flipped along the diagonal": image.transpose(1, 0, 2),
    }
    for name, expected in known.items():
        assert np.array_equal(turn_image(image, NAMES.index(name)), expected), name


@pytest.mark.parametrize("orientation", range(8))
def test_turning_the_waves_equals_the_waves_of_the_turned_image(orientation: int) -> None:
    image = tissue(1, height=128, width=128)  # a multiple of 32: no rounding between the two ways
    turned = fingerprint(turn_image(image, orientation)).waves
    # Bytes are rounded before the cosine transform: half a grey level at most in any wave.
    assert turn_waves(fingerprint(image).waves, orientation) == pytest.approx(turned, abs=0.05)


@pytest.mark.parametrize("orientation", range(1, 8))
@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: jpeg(image, 60),
        lambda image: scaled(image, 0.5),
        lambda image: scaled(image, 2.0),
        lambda image: np.asarray(cv2.resize(image, (224, 224)), np.uint8),
    ],
    ids=["as it is", "JPEG 60", "half size", "double size", "stretched to a square"],
)
def test_a_turned_and_changed_copy_is_found_with_its_turn(
    orientation: int, change: Callable[[UInt8Image], UInt8Image]
) -> None:
    others = [tissue(seed) for seed in range(10, 16)]
    copy = turn_image(change(others[2]), orientation)
    assert search(*others, copy) == [(2, 6, orientation)]


def test_a_field_taken_again_darker_and_shifted_is_found() -> None:
    wide = tissue(3, height=240, width=360)
    first, again = wide[10:230, 10:340], (wide[16:236, 16:346] * 0.8).astype(np.uint8)
    assert search(tissue(4), first, again) == [(1, 2, 0)]
    overlap = field_overlap(close_up(first), close_up(again))
    assert overlap.agreement > 0.95
    assert overlap.share == pytest.approx((324 / 330) * (214 / 220), abs=0.02)


def test_neighbouring_fields_that_share_half_their_tissue_are_not_duplicates() -> None:
    wide = tissue(5, height=240, width=500)
    assert search(wide[:, :330], wide[:, 165:495]) == []


def test_blank_fields_are_not_duplicates_of_each_other() -> None:
    rng = np.random.default_rng(0)
    white = [np.asarray(rng.normal(240, 2, (230, 350, 3)), np.uint8) for _ in range(5)]
    # The same lamp: brighter in the middle, in every field.
    rows, columns = np.mgrid[-1:1:230j, -1:1:350j]
    lamp = (12 * (rows**2 + columns**2))[:, :, None]
    shaded = [np.asarray(image - lamp, np.uint8) for image in white]
    assert search(*white, *shaded) == []
    assert all(fingerprint(image).blank for image in (*white, *shaded))


def test_flat_colours_are_not_even_equal_but_copies_of_a_noisy_blank_are() -> None:
    flat = np.full((50, 50, 3), 243, np.uint8)
    noisy = np.asarray(np.random.default_rng(1).normal(240, 3, (50, 50, 3)), np.uint8)
    prints = [fingerprint(image) for image in (flat, flat, noisy, noisy)]
    assert equal_pictures(prints) == [(2, 3)]


def test_k_copies_of_a_picture_give_k_minus_one_matches() -> None:
    image = tissue(6)
    copies = [turn_image(image, orientation) for orientation in (1, 2, 3, 4)]
    assert len(search(image, *copies)) == 4
    assert equal_pictures([fingerprint(image)] * 4) == [(0, 1), (0, 2), (0, 3)]


def test_unlike_pictures_propose_few_pairs_so_that_the_search_stays_near_linear() -> None:
    rng = np.random.default_rng(2)
    reach = np.maximum(np.hypot(*np.mgrid[:12, :12]), 1)
    prints = [
        Fingerprint(
            pixels=index.to_bytes(4, "big"),
            colours=b"",
            shape=(230, 350),
            means=rng.normal((180, 140, 135), (25, 9, 5)).astype(np.float32),
            waves=(rng.normal(0, 6, (12, 12)) / reach).astype(np.float32),
            blank=False,
            uniform=False,
        )
        for index in range(2000)
    ]
    assert len(turned_pairs(prints)) < 0.001 * 2000**2 / 2

    def never(index: int) -> UInt8Image:
        raise AssertionError(f"picture {index} needed no second look")

    assert find_near_duplicates(prints, never) == []


def test_one_picture_alone_has_no_duplicate() -> None:
    assert search(tissue(7)) == []


def test_the_same_fields_of_breakhis_taken_twice_are_found_and_no_others(real_data: Path) -> None:
    paths = sorted((real_data / "breakhis100x").glob("*.png"))
    prints = [item for item in read_each(paths, fingerprint) if isinstance(item, Fingerprint)]
    assert len(prints) == 422
    found = find_near_duplicates(prints, lambda index: read_image(paths[index]))
    names = {(paths[match.first].stem, paths[match.second].stem) for match in found}
    assert names == {  # looked at by a person: each pair is one field
        ("SOB_B_TA-14-3411F-100-002", "SOB_B_TA-14-3411F-100-011"),
        ("SOB_M_PC-14-15704-100-024", "SOB_M_PC-14-15704-100-026"),
        ("SOB_M_PC-14-9146-100-016", "SOB_M_PC-14-9146-100-018"),
    }
