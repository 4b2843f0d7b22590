"""The verdict: a true map passes, and every kind of untrue one fails with its own reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from eosin.arrays import Floats
from eosin.explanation.faithfulness import Thresholds, judge
from eosin.explanation.faithfulness_table import Finding
from eosin.explanation.perturbation import PerturbationOptions, PerturbationResult, perturb
from eosin.explanation.randomisation import Randomised
from eosin.pixels.reading import UInt8Image

OPTIONS = PerturbationOptions(cells=8, steps=8)
CHANGED = Randomised(head=0.1, whole=-0.2)
SQUARE = (slice(8, 24), slice(40, 56))


def field() -> UInt8Image:
    """A 64 x 64 field of textured tissue."""
    return np.random.default_rng(5).integers(80, 200, (64, 64, 3)).astype(np.uint8)


def true_map() -> Floats:
    """What ``looks_at_square`` uses, on a grid of 8 x 8."""
    region = np.zeros((8, 8))
    region[1:3, 5:7] = 1
    return region


def looks_at_square(images: Sequence[UInt8Image]) -> Floats:
    """A network that answers with the share of one region it can see, from 0.1 to 0.9.

    Not quite: some pixels happen to have the colour of the fill.
    """
    original = field()[SQUARE]
    return np.array([0.1 + 0.8 * (image[SQUARE] == original).mean() for image in images])


def removed_by(heatmap: Floats, *, seed: int = 0) -> PerturbationResult:
    return perturb(field(), heatmap, looks_at_square, options=replace(OPTIONS, seed=seed))


def test_a_map_of_the_region_that_the_network_uses_is_faithful() -> None:
    verdict = judge(removed_by(true_map()), CHANGED)
    assert verdict.faithful
    found = re.fullmatch(
        r"faithful: deletion AUC (0\.\d\d) against random (0\.\d\d), insertion (0\.\d\d); "
        r"their gap of (0\.\d\d) beats all 10 random maps",
        verdict.sentence,
    )
    assert found is not None
    # From 0.9 to 0.1 within the first of 8 steps: 0.1 + 0.8 / 16, and the opposite for insertion.
    deletion, random, insertion, gap = (float(value) for value in found.groups())
    assert [deletion, random, insertion] == pytest.approx([0.15, 0.5, 0.85], abs=0.03)
    assert gap == pytest.approx(insertion - deletion, abs=0.011)  # of figures with two decimals


def test_the_inverted_map_is_not_faithful() -> None:
    verdict = judge(removed_by(-true_map()), CHANGED)
    assert not verdict.faithful
    assert verdict.sentence.startswith("not faithful: no better than random (deletion AUC 0.8")
    assert verdict.finding is Finding.RANDOM


def test_the_same_map_over_another_region_is_not_faithful() -> None:
    assert not judge(removed_by(np.roll(true_map(), (4, -4), axis=(0, 1))), CHANGED).faithful


def test_maps_drawn_blindly_pass_about_as_seldom_as_promised() -> None:
    """One of eleven by luck; two in eleven of 60 draws would be a verdict that promises too much.

    The blind maps are blobs anywhere, of the smoothness of real maps.
    """
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[0:8, 0:8]
    passed = 0
    for draw in range(60):
        top, left = generator.uniform(-0.5, 7.5, 2)
        blob = np.exp(-((rows - top) ** 2 + (columns - left) ** 2) / 4)
        passed += judge(removed_by(blob, seed=draw), CHANGED).faithful
    assert passed / 60 < 2 / 11


def test_a_network_that_answers_the_same_to_everything_has_nothing_to_explain() -> None:
    steady = perturb(
        field(), true_map(), lambda images: np.full(len(images), 0.97), options=OPTIONS
    )
    assert judge(steady, CHANGED).sentence == (
        "not faithful: nothing to explain, the class probability moves by no more than 0.00 "
        "whatever is removed"
    )


def test_a_network_that_moves_as_untrained_ones_do_has_learned_nothing_to_explain() -> None:
    verdict = judge(removed_by(true_map()), CHANGED, untrained_span=0.5)
    assert not verdict.faithful
    assert "the class probability moves by 0.79, in untrained networks by 0.50" in verdict.sentence
    assert verdict.finding is Finding.NOTHING
    assert judge(removed_by(true_map()), CHANGED, untrained_span=0.3).faithful


@pytest.mark.parametrize(
    ("randomised", "part"),
    [(Randomised(head=1.0, whole=0.0), "head"), (Randomised(head=0.2, whole=0.9), "network")],
)
def test_a_map_that_survives_randomisation_is_not_faithful(
    randomised: Randomised, part: str
) -> None:
    verdict = judge(removed_by(true_map()), randomised)
    assert not verdict.faithful
    assert f"the map does not change when the {part} is randomised" in verdict.sentence
    assert verdict.finding is Finding.UNCHANGED


def test_a_flat_map_is_not_faithful() -> None:
    verdict = judge(removed_by(np.zeros((7, 7))), CHANGED)
    assert verdict.sentence == "not faithful: the map has one value everywhere"
    assert verdict.finding is Finding.FLAT


def test_a_map_that_a_blob_in_the_middle_matches_is_not_faithful() -> None:
    result = removed_by(true_map())
    verdict = judge(replace(result, centre=result.heatmap), CHANGED)
    assert "no better than a blob in the middle" in verdict.sentence
    assert verdict.finding is Finding.CENTRE


def test_a_verdict_without_random_networks_says_so() -> None:
    verdict = judge(removed_by(true_map()))
    assert verdict.faithful
    assert verdict.sentence.endswith("; not tried on a randomised network")


def test_a_map_between_the_random_ones_is_told_how_many_do_as_well() -> None:
    result = removed_by(true_map())
    rival = replace(result, random=(result.heatmap, *result.random[1:]))
    assert "1 of 10 random maps did as well or better" in judge(rival, CHANGED).sentence
    lenient = judge(rival, CHANGED, thresholds=Thresholds(as_good=0.1))
    assert lenient.faithful
    assert lenient.sentence.endswith("beats 9 of 10 random maps")
