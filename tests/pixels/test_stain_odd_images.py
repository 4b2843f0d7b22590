"""Images that show no stain come back as they were, with the code that says why."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from eosin.pixels.stain import create_normalizer

METHODS = ["reinhard", "macenko", "vahadane"]


def constant(*colour, size=(40, 50)):
    return np.full((*size, 3), colour, np.uint8)


def ramp():
    return np.repeat(np.arange(40, 200, dtype=np.uint8)[:, None, None], 60, axis=1).repeat(3, 2)


def speck():
    image = constant(252, 252, 252, size=(100, 100))
    image[40:50, 40:60] = np.random.default_rng(0).integers(60, 200, (10, 20, 3), np.uint8)
    return image


ODD = {
    "white": (constant(255, 255, 255), "blank"),
    "off-white": (constant(225, 218, 222), "blank"),
    "black": (constant(0, 0, 0), "dark"),
    "underexposed": (np.random.default_rng(0).integers(0, 20, (50, 50, 3), np.uint8), "dark"),
    "pink": (constant(220, 120, 180), "single-colour"),
    "one pixel": (constant(220, 120, 180, size=(1, 1)), "single-colour"),
    "grey ramp": (ramp(), "grey"),
    "speck": (speck(), "nearly-blank"),
    "no pixels": (np.zeros((0, 7, 3), np.uint8), "too-small"),
}


@pytest.fixture(scope="module", params=METHODS)
def fitted(request, tissue):
    return create_normalizer(request.param).fit(tissue(seed=11, size=128))


@pytest.mark.parametrize("name", list(ODD))
def test_an_odd_image_comes_back_bit_for_bit_with_its_reason(fitted, name):
    image, reason = ODD[name]
    result = fitted.transform_with_reason(image)
    assert result.reason == reason
    assert np.array_equal(result.image, image)
    assert not np.shares_memory(result.image, image)


def test_a_tile_of_eight_pixels_is_too_small_alone_but_not_with_its_patient_s_stain(fitted, tissue):
    patient = tissue(seed=12, size=128)
    tile = np.ascontiguousarray(patient[60:68, 60:68])
    assert fitted.transform_with_reason(tile).reason == "too-small"
    known = fitted.transform_with_reason(tile, source=fitted.estimate(patient))
    assert known.reason is None
    whole = fitted.transform(patient)
    assert np.array_equal(known.image, whole[60:68, 60:68])


def test_a_blank_tile_stays_as_it_is_even_with_its_patient_s_stain(fitted, tissue):
    blank = constant(225, 218, 222)
    result = fitted.transform_with_reason(blank, source=fitted.estimate(tissue(seed=12)))
    assert result.reason == "blank"
    assert np.array_equal(result.image, blank)


def test_tissue_of_one_stain_only_is_no_pair_of_stains():
    amounts = np.random.default_rng(0).uniform(0.3, 1.5, (80, 80, 1))
    image = np.rint(240 * np.exp(-amounts * [[0.56, 0.72, 0.41]]) - 1).astype(np.uint8)
    for method in ("macenko", "vahadane"):
        normalizer = create_normalizer(method)
        with pytest.raises(Exception, match="single-stain"):
            normalizer.estimate(image)


@settings(deadline=None, max_examples=120)
@given(
    image=arrays.arrays(
        np.uint8,
        st.tuples(st.integers(0, 40), st.integers(0, 40), st.just(3)),
        elements=st.integers(0, 255),
    )
)
def test_no_image_crashes_warns_or_is_changed_in_place(fitted, image):
    before = image.copy()
    result = fitted.transform_with_reason(image)
    assert result.image.shape == image.shape
    assert result.image.dtype == np.uint8
    assert np.array_equal(image, before)
    if result.reason is not None:
        assert np.array_equal(result.image, image)


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 10_000),
    low=st.integers(0, 255),
    high=st.integers(0, 255),
    tint=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    white=st.floats(0, 1),
)
def test_noise_of_any_tint_and_share_of_white_never_loses_its_white(
    fitted, seed, low, high, tint, white
):
    generator = np.random.default_rng(seed)
    values = generator.integers(min(low, high), max(low, high) + 1, (30, 30, 3)) * np.array(tint)
    image = values.astype(np.uint8)
    glass = generator.random((30, 30)) < white
    image[glass] = 255
    assert (fitted.transform(image)[glass] == 255).all()


@pytest.mark.parametrize("height", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
def test_a_tile_of_any_small_shape_is_transformed_as_in_its_image(fitted, tissue, height, width):
    patient = tissue(seed=12, size=128)
    whole = fitted.transform(patient)
    tile = patient[60 : 60 + height, 60 : 60 + width]
    result = fitted.transform_with_reason(tile, source=fitted.estimate(patient))
    same = tile if result.reason else whole[60 : 60 + height, 60 : 60 + width]
    assert np.array_equal(result.image, same)
    assert height * width < 4 or result.reason is None
