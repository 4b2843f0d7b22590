"""Augmentation moves pixels as told and draws the same for the same image and epoch."""

import numpy as np
import pytest

from eosin.training.augmentation import augment, draws
from eosin.training.config import TrainingConfig

STILL = TrainingConfig(
    horizontal_flip=0.0,
    vertical_flip=0.0,
    rotation_degrees=0.0,
    translation=0.0,
    scale=0.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue=0.0,
)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def drawn(epoch: int = 1, index: int = 0) -> np.random.Generator:
    return draws(2, seed=7, epoch=epoch, index=index)


def test_nothing_switched_on_changes_nothing(image):
    assert np.array_equal(augment(image, STILL, drawn()), image)


def test_flips_of_probability_one_mirror_exactly(image):
    across = STILL.with_overrides({"horizontal_flip": 1.0})
    down = STILL.with_overrides({"vertical_flip": 1.0})
    both = across.with_overrides({"vertical_flip": 1.0})
    assert np.array_equal(augment(image, across, drawn()), image[:, ::-1])
    assert np.array_equal(augment(image, down, drawn()), image[::-1])
    assert np.array_equal(augment(image, both, drawn()), image[::-1, ::-1])


def test_a_flip_of_probability_a_half_happens_half_the_time(image):
    config = STILL.with_overrides({"horizontal_flip": 0.5})
    flipped = sum(
        np.array_equal(augment(image, config, drawn(index=index)), image[:, ::-1])
        for index in range(400)
    )
    assert 160 < flipped < 240  # four standard deviations


def test_the_same_seed_epoch_and_image_draw_the_same_and_any_other_does_not(image):
    config = TrainingConfig()
    first = augment(image, config, drawn())
    assert np.array_equal(augment(image, config, drawn()), first)
    for other in (
        drawn(epoch=2),
        drawn(index=1),
        draws(2, seed=8, epoch=1),
        draws(1, seed=7, epoch=1),
    ):
        assert not np.array_equal(augment(image, config, other), first)


def test_what_a_shift_uncovers_is_mirrored_tissue_and_never_black(image):
    bright = np.maximum(image, 100)
    config = STILL.with_overrides({"translation": 0.3, "rotation_degrees": 36.0})
    for index in range(20):
        assert augment(bright, config, drawn(index=index)).min() >= 100


def test_a_shift_stays_within_the_share_of_the_side():
    dot = np.zeros((100, 100, 3), np.uint8)
    dot[48:52, 48:52] = 255
    config = STILL.with_overrides({"translation": 0.3})
    positions = [
        np.argwhere(augment(dot, config, drawn(index=index))[..., 0] > 127).mean(axis=0)
        for index in range(60)
    ]
    reach = np.abs(np.array(positions) - 49.5).max()
    assert 24 < reach <= 30.5


def test_colour_changes_keep_greys_grey_and_move_brightness_within_its_share():
    grey = np.full((8, 8, 3), 120, np.uint8)
    turned = augment(grey, STILL.with_overrides({"hue": 0.5, "saturation": 0.9}), drawn())
    assert np.abs(turned.astype(int) - 120).max() <= 1
    config = STILL.with_overrides({"brightness": 0.15})
    levels = [augment(grey, config, drawn(index=index))[0, 0, 0] for index in range(100)]
    assert 102 <= min(levels) < 108
    assert 132 < max(levels) <= 138


def test_the_input_is_left_as_it_was(image):
    before = image.copy()
    augment(image, TrainingConfig(), drawn())
    assert np.array_equal(image, before)
