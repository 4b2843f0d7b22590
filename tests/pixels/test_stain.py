"""Stain normalisation on images whose stains are known, and on the real BreakHis originals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from eosin.artefacts.codec import plain, validated
from eosin.errors import ConfigError, DataError
from eosin.pixels.stain import (
    Macenko,
    Reinhard,
    Vahadane,
    create_normalizer,
    normalizer_of_step,
)
from eosin.pixels.stain_copies import StainCopies
from eosin.pixels.tissue_sample import UnstainedError

METHODS = ["reinhard", "macenko", "vahadane"]
MACENKO_STAINS = ((0.5626, 0.7201, 0.4062), (0.2159, 0.8012, 0.5581))
PINK_STAINS = ((0.60, 0.65, 0.45), (0.30, 0.90, 0.30))
GLASS = (255, 255, 255)


def through_json(copies: StainCopies | dict[str, object]) -> StainCopies:
    fields = copies if isinstance(copies, dict) else plain(copies)
    return validated(StainCopies, {"format_version": 2, **fields}, "stain.json", fix="")


def degrees_between(found, known):
    known = np.array(known) / np.linalg.norm(known, axis=1, keepdims=True)
    return np.degrees(np.arccos(np.clip((found * known).sum(axis=1), -1, 1)))


@pytest.mark.parametrize("kind", [Macenko, Vahadane])
@pytest.mark.parametrize("stains", [MACENKO_STAINS, PINK_STAINS])
@pytest.mark.parametrize("strength", [0.7, 1.5])
def test_known_stain_vectors_are_recovered_within_two_degrees(tissue, kind, stains, strength):
    image = tissue(stains, seed=3, strength=strength)
    found = kind().fit(image).stain_matrix_
    assert degrees_between(found, stains).max() < 2


@pytest.mark.parametrize("kind", [Macenko, Vahadane])
def test_stain_vectors_are_recovered_where_every_pixel_holds_both_stains(kind):
    generator = np.random.default_rng(5)
    stains = np.array(MACENKO_STAINS) / np.linalg.norm(MACENKO_STAINS, axis=1, keepdims=True)
    amounts = generator.uniform(0, 1.5, (200, 200, 2))
    image = np.rint(240 * np.exp(-amounts @ stains) - 1).clip(0, 255).astype(np.uint8)
    assert degrees_between(kind().fit(image).stain_matrix_, stains).max() < 2


def test_the_penalty_of_the_paper_draws_the_vectors_together(tissue):
    image = tissue(MACENKO_STAINS)
    own, paper = (Vahadane(penalty=p).fit(image).stain_matrix_ for p in (0.005, 0.1))
    assert own[0] @ own[1] < paper[0] @ paper[1]


def test_max_concentration_is_the_99th_percentile_of_the_amounts_drawn():
    generator = np.random.default_rng(1)
    stains = np.array(MACENKO_STAINS) / np.linalg.norm(MACENKO_STAINS, axis=1, keepdims=True)
    amounts = generator.beta(0.3, 0.3, (300, 300, 2)) * [1.4, 0.9]
    image = np.rint(240 * np.exp(-amounts @ stains) - 1).clip(0, 255).astype(np.uint8)
    drawn = np.percentile(amounts.reshape(-1, 2), 99, axis=0)
    assert Macenko().fit(image).max_concentration_ == pytest.approx(drawn, rel=0.03)


def test_macenko_agrees_with_torchstain_within_two_grey_levels_on_every_original(originals):
    torchstain = pytest.importorskip("torchstain.numpy.normalizers.macenko")
    target = originals["SOB_M_DC-14-2523-40-010.png"]
    peer = torchstain.NumpyMacenkoNormalizer()
    peer.fit(target)
    normalizer = Macenko().fit(target)
    for name, image in originals.items():
        expected = peer.normalize(image, stains=False)[0].astype(int)
        assert np.abs(normalizer.transform(image) - expected).mean() < 2, name


@pytest.mark.parametrize("method", METHODS)
def test_every_original_is_transformed_and_a_rerun_gives_the_same_bytes(originals, method):
    target = originals["SOB_B_F-14-25197-400-033.png"]
    first, second = (create_normalizer(method).fit(target) for _ in range(2))
    for name, image in originals.items():
        result = first.transform_with_reason(image)
        assert result.reason is None, name
        assert np.array_equal(result.image, second.transform(image)), name


@pytest.mark.parametrize("method", METHODS)
def test_an_image_normalised_to_itself_hardly_changes(tissue, method):
    image = tissue(seed=4)
    unchanged = create_normalizer(method).fit(image).transform(image)
    assert np.abs(unchanged.astype(int) - image).mean() < 1


@pytest.mark.parametrize("method", ["macenko", "vahadane"])
def test_a_repainted_image_has_the_target_s_stains(tissue, method):
    normalizer = create_normalizer(method).fit(tissue(PINK_STAINS, seed=1, strength=0.9))
    repainted = normalizer.transform(tissue(MACENKO_STAINS, seed=2, strength=1.4))
    found = normalizer.estimate(repainted)
    assert degrees_between(found.stain_matrix, normalizer.stain_matrix_).max() < 2
    assert found.max_concentration == pytest.approx(normalizer.max_concentration_, rel=0.05)


def test_reinhard_gives_the_tissue_the_target_s_mean_and_spread(tissue):
    normalizer = Reinhard().fit(tissue(PINK_STAINS, seed=1))
    found = normalizer.estimate(normalizer.transform(tissue(MACENKO_STAINS, seed=2)))
    assert found.mean == pytest.approx(normalizer.mean_, abs=1.5)
    assert found.spread == pytest.approx(normalizer.spread_, rel=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_white_glass_stays_exactly_white(tissue, method):
    image = tissue(seed=6)
    glass = (image == 255).all(axis=2)
    assert glass.mean() > 0.02
    normalizer = create_normalizer(method).fit(tissue(PINK_STAINS, seed=7, strength=1.6))
    assert (normalizer.transform(image)[glass] == GLASS).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_patient_s_stain_is_estimated_over_all_their_images(tissue, method):
    normalizer = create_normalizer(method).fit(tissue(PINK_STAINS, seed=1))
    pale, dark = tissue(seed=2, strength=0.6), tissue(seed=3, strength=1.4)
    patient = normalizer.estimate([pale, dark])
    own = np.abs(normalizer.transform(pale).mean() - normalizer.transform(dark).mean())
    shared = np.abs(
        normalizer.transform(pale, source=patient).mean()
        - normalizer.transform(dark, source=patient).mean()
    )
    assert shared > 2 * own  # a patient's pale image stays paler than their dark one


def test_several_targets_have_one_vote_each_and_blank_ones_have_none(tissue):
    blank = np.full((64, 64, 3), 250, np.uint8)
    images = [tissue(seed=seed, strength=strength) for seed, strength in enumerate((0.8, 1, 1.9))]
    most = [Macenko().fit(image).max_concentration_ for image in images]
    together = Macenko().fit([*images, blank]).max_concentration_
    assert together.tolist() == np.median(most, axis=0).tolist()


@pytest.mark.parametrize("method", METHODS)
def test_a_normalizer_survives_json_and_transforms_to_the_same_bytes(tissue, method):
    image = tissue(seed=8)
    normalizer = create_normalizer(method).fit([tissue(PINK_STAINS, seed=s) for s in (1, 2)])
    again = normalizer_of_step(through_json(StainCopies(step=normalizer.step())).step)
    assert type(again) is type(normalizer)
    assert np.array_equal(again.transform(image), normalizer.transform(image))


def test_settings_are_kept_with_the_target(tissue):
    step = Macenko(beta=0.2, alpha=2.0).fit(tissue()).step("patient")
    assert (step.method, step.beta, step.alpha, step.per) == ("macenko", 0.2, 2.0, "patient")
    assert normalizer_of_step(step).step("patient") == step


@pytest.mark.parametrize("method", METHODS)
def test_threads_that_share_a_normalizer_give_what_one_thread_gives(tissue, method):
    images = [tissue(seed=seed, size=128) for seed in range(8)]
    normalizer = create_normalizer(method).fit(tissue(PINK_STAINS))
    expected = [normalizer.transform(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(normalizer.transform, images * 4))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected * 4, strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_the_bytes_do_not_depend_on_how_many_threads_opencv_may_use(tissue, method):
    image = tissue(seed=10, size=512)
    normalizer = create_normalizer(method).fit(tissue(PINK_STAINS))
    threads = cv2.getNumThreads()
    try:
        found = []
        for allowed in (1, 2, 3, 8):
            cv2.setNumThreads(allowed)
            found.append(normalizer.transform(image))
    finally:
        cv2.setNumThreads(threads)
    assert all(np.array_equal(each, found[0]) for each in found[1:])


@pytest.mark.parametrize("method", METHODS)
def test_a_mirrored_read_only_view_is_transformed_and_left_as_it_was(tissue, method):
    image = tissue(seed=9)
    image.setflags(write=False)
    before = image.copy()
    normalizer = create_normalizer(method).fit(image)
    mirrored = normalizer.transform(image[:, ::-1], source=normalizer.estimate(image))
    assert np.array_equal(mirrored[:, ::-1], normalizer.transform(image))
    assert np.array_equal(image, before)


def test_what_cannot_be_a_target_is_refused_with_the_reason(tissue):
    with pytest.raises(UnstainedError, match="blank"):
        Macenko().fit(np.full((64, 64, 3), 255, np.uint8))
    with pytest.raises(ConfigError, match=r"Vahadane is not fitted; call fit\(image\) first"):
        Vahadane().transform(tissue())
    with pytest.raises(ConfigError, match="at least one"):
        Reinhard().fit([])
    with pytest.raises(DataError, match="uint8"):
        Macenko().fit(tissue().astype(np.float32))
    with pytest.raises(DataError, match=r"\(256, 256\)"):
        Macenko().fit(tissue()[..., 0])


def test_a_source_of_another_method_is_refused(tissue):
    image = tissue()
    with pytest.raises(ConfigError, match="StainEstimate"):
        Macenko().fit(image).transform(image, source=Reinhard().estimate(image))


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "ruifrok", "target": {}},
        {"method": "macenko", "target": None},
        {"method": "macenko", "beta": 0.15, "alpha": 1.0, "target": {"stain_matrix": [[1, 0, 0]]}},
        {"method": "macenko", "beta": "x", "alpha": 1.0, "target": {}},
        {"method": "macenko", "beta": 0.15, "alpha": 60.0, "target": {}},
        {
            "method": "vahadane",
            "penalty": 0.005,
            "target": {"stain_matrix": [[0.6, 0.8, 0], [0.6, 0.8, 0]], "max_concentration": [1, 1]},
        },
        {"method": "reinhard", "target": {"mean": [60, 20, -20], "spread": [10, 0, 5]}},
    ],
)
def test_a_stain_step_on_disk_that_is_none_is_refused(fields):
    with pytest.raises(DataError, match=r"stain\.json: "):
        through_json({"kind": "stain copies", "step": {"per": "image", **fields}})
