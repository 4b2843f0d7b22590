"""Shifts change what they name, more with each severity, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from eosin.errors import ConfigError
from eosin.pixels.concentration import StainEstimate
from eosin.pixels.shifts import SEVERITIES, SHIFTS, apply_shift, exchange_stain, stain_of_other

PURPLE, PINK = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])


def stained(h: float, e: float) -> StainEstimate:
    matrix = np.stack([PURPLE / np.linalg.norm(PURPLE), PINK / np.linalg.norm(PINK)])
    return StainEstimate(stain_matrix=matrix, max_concentration=np.array([h, e]))


@pytest.fixture
def tissue() -> np.ndarray:
    """Smooth purple and pink of varied strength, 60 x 80."""
    y, x = np.mgrid[0:60, 0:80]
    h = 0.6 * (1 + np.sin(x / 7))[..., None] * PURPLE
    e = 0.4 * (1 + np.cos(y / 5))[..., None] * PINK
    return np.clip(np.rint(240 * np.exp(-(h + e))), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", SHIFTS)
def test_every_severity_changes_the_image_more_than_the_one_before(
    name: str, tissue: np.ndarray
) -> None:
    before = tissue.copy()
    changes = []
    for severity in SEVERITIES:
        changed = apply_shift(tissue, name, severity, np.random.default_rng(0))
        assert changed.shape == tissue.shape
        assert changed.dtype == np.uint8
        changes.append(np.abs(changed.astype(int) - tissue).mean())
    assert np.all(np.diff(changes) > 0)
    assert changes[0] > 0
    np.testing.assert_array_equal(tissue, before)


def test_less_light_multiplies_every_pixel() -> None:
    grey = np.full((4, 4, 3), 200, np.uint8)
    assert set(apply_shift(grey, "brightness", 1, np.random.default_rng(0)).ravel()) == {190}


def test_hue_turns_red_towards_yellow_and_leaves_grey() -> None:
    red = np.full((4, 4, 3), (200, 50, 50), np.uint8)
    turned = apply_shift(red, "hue", 5, np.random.default_rng(0))[0, 0].astype(int)
    # 36 degrees of 60 on the way from red to yellow: green rises from 50 by 36 / 60 of 150
    assert abs(turned[1] - 140) <= 4
    assert abs(turned[0] - 200) <= 2
    grey = np.full((4, 4, 3), 128, np.uint8)
    assert set(apply_shift(grey, "hue", 5, np.random.default_rng(0)).ravel()) == {128}


def test_a_higher_magnification_shows_the_middle_of_the_image() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[10:30, 10:30] = 255
    assert apply_shift(image, "rescale", 4, np.random.default_rng(0)).min() == 255  # twice


def test_noise_is_as_strong_as_it_says_and_the_same_every_time() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    noisy = apply_shift(grey, "noise", 3, np.random.default_rng(5))
    assert abs(noisy.std() - 16) < 0.3
    np.testing.assert_array_equal(noisy, apply_shift(grey, "noise", 3, np.random.default_rng(5)))


def test_more_eosin_leaves_pure_haematoxylin_nearly_as_it_is(tissue: np.ndarray) -> None:
    purple = np.rint(240 * np.exp(-np.full((8, 8, 1), 0.8) * PURPLE)).astype(np.uint8)
    pink = np.rint(240 * np.exp(-np.full((8, 8, 1), 0.8) * PINK)).astype(np.uint8)
    random = np.random.default_rng(0)
    change = np.abs(apply_shift(purple, "eosin", 5, random).astype(int) - purple).mean()
    assert change < 3
    assert np.abs(apply_shift(pink, "eosin", 5, random).astype(int) - pink).mean() > 20


def test_the_fifth_severity_takes_the_most_different_patients_stains() -> None:
    stains = {"a": stained(1.0, 1.0), **{f"p{k}": stained(1.0 + k / 10, 1.0) for k in range(1, 6)}}
    found = [stain_of_other("a", severity, stains) for severity in SEVERITIES]
    assert found == [stains[f"p{k}"] for k in range(1, 6)]
    assert stain_of_other("nobody", 1, stains) is None
    assert stain_of_other("a", 1, {"a": stains["a"]}) is None


def test_an_image_without_known_stains_keeps_them(tissue: np.ndarray) -> None:
    np.testing.assert_array_equal(exchange_stain(tissue, None, stained(2, 2)), tissue)
    darker = exchange_stain(tissue, stained(1, 1), stained(2, 2))
    assert darker.mean() < tissue.mean() - 10


def test_an_unknown_shift_is_refused_with_those_there_are(tissue: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=r"want one of \['blur', 'jpeg'"):
        apply_shift(tissue, "fog", 1, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="1 to 5"):
        apply_shift(tissue, "blur", 6, np.random.default_rng(0))
