"""Stain augmentation changes the amount of dye, never the glass, and the same seed says how."""

from __future__ import annotations

import numpy as np
import pytest

from eosin.errors import ConfigError
from eosin.pixels.stain import Macenko
from eosin.pixels.stain_jitter import (
    StainJitter,
    draw_other_patient,
    draw_stain_factors,
    restain,
    scale_stains,
)

PINK_STAINS = ((0.60, 0.65, 0.45), (0.30, 0.90, 0.30))


def jitter_stains(image, generator, jitter=None):
    """Draw two factors and scale the stains by them."""
    return scale_stains(image, draw_stain_factors(jitter or StainJitter(), generator))


def test_factors_of_one_change_nothing(tissue):
    image = tissue(seed=1)
    assert np.abs(scale_stains(image, (1.0, 1.0)).astype(int) - image).max() <= 1


def test_half_the_eosin_halves_the_eosin_and_leaves_the_haematoxylin(tissue):
    image = tissue(seed=2)
    own = Macenko().estimate(image)
    changed = Macenko().estimate(scale_stains(image, (1.0, 0.5), source=own))
    ratio = changed.max_concentration / own.max_concentration
    assert ratio == pytest.approx([1.0, 0.5], abs=0.06)


def test_glass_stays_white_under_any_jitter(tissue):
    image = tissue(seed=3)
    glass = (image == 255).all(axis=2)
    generator = np.random.default_rng(0)
    for _ in range(20):
        jittered = jitter_stains(image, generator, jitter=StainJitter(0.9, 0.9))
        assert (jittered[glass] == 255).all()


def test_the_same_seed_draws_the_same_image_and_the_next_draw_another(tissue):
    image = tissue(seed=4, size=64)
    generator = np.random.default_rng(7)
    first, second = jitter_stains(image, generator), jitter_stains(image, generator)
    assert np.array_equal(first, jitter_stains(image, np.random.default_rng(7)))
    assert not np.array_equal(first, second)


def test_factors_stay_within_the_jitter_and_centre_on_one():
    generator = np.random.default_rng(0)
    factors = np.array([draw_stain_factors(StainJitter(0.1, 0.4), generator) for _ in range(4000)])
    assert np.abs(factors - 1).max(axis=0) == pytest.approx([0.1, 0.4], rel=0.01)
    assert factors.mean(axis=0) == pytest.approx([1, 1], abs=0.02)


def test_a_jitter_that_could_take_away_all_dye_is_refused():
    with pytest.raises(ConfigError, match=r"eosin = 1\.0"):
        StainJitter(eosin=1.0)


def test_a_restained_image_has_the_other_patient_s_stains(tissue):
    image, other = tissue(seed=5), tissue(PINK_STAINS, seed=6, strength=0.8)
    source, target = Macenko().estimate(image), Macenko().estimate(other)
    found = Macenko().estimate(restain(image, source, target))
    cosines = (found.stain_matrix * target.stain_matrix).sum(axis=1)
    assert np.degrees(np.arccos(np.clip(cosines, -1, 1))).max() < 2
    assert found.max_concentration == pytest.approx(target.max_concentration, rel=0.05)


def test_stains_are_drawn_from_every_patient_but_the_image_s_own(tissue):
    stains = {name: Macenko().estimate(tissue(seed=s)) for s, name in enumerate("cab")}
    generator = np.random.default_rng(0)
    drawn = {id(draw_other_patient("a", stains, generator)) for _ in range(40)}
    assert drawn == {id(stains["b"]), id(stains["c"])}
    with pytest.raises(ConfigError, match="other than 'a'"):
        draw_other_patient("a", {"a": stains["a"]}, generator)


def test_the_image_itself_is_never_changed(tissue):
    image = tissue(seed=8, size=64)
    before = image.copy()
    image.setflags(write=False)
    jitter_stains(image[:, ::-1], np.random.default_rng(0))
    estimate = Macenko().estimate(image)
    restain(image, estimate, estimate)
    assert np.array_equal(image, before)
