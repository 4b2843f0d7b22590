"""Means over draws of the folds: known means, intervals over the same patients, differences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from eosin.artefacts.predictions import Predictions, make_predictions
from eosin.errors import DataError
from eosin.evaluation.draws import score_draws
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.tasks import Task

TASK = Task("binary", ("benign", "malignant"), positive="malignant")


def table(share: float, *, seed: int, patients: int = 12, images: int = 6) -> Predictions:
    """Images of as many benign as malignant patients, each right with probability ``share``."""
    rng = np.random.default_rng(seed)
    malignant = np.repeat(np.arange(patients) % 2, images).astype(bool)
    frame = pd.DataFrame(
        {
            "path": [f"/i/{p}-{k}.png" for p in range(patients) for k in range(images)],
            "patient": [f"14-{p}" for p in range(patients) for _ in range(images)],
            "label": np.where(malignant, "malignant", "benign"),
            "magnification": "100",
            "fold": "",
        }
    )
    right = rng.random(len(frame)) < share
    chance = np.where(malignant == right, 0.6, 0.4) + rng.uniform(-0.09, 0.09, len(frame))
    return make_predictions(frame, np.c_[1 - chance, chance], task=TASK)


def test_the_mean_and_the_range_are_those_of_the_single_evaluations() -> None:
    draws = [table(0.7, seed=seed) for seed in range(3)]
    single = [
        evaluate_predictions(draw, level=level, resamples=100).value(metric).value
        for level, metric in (("image", "accuracy"), ("image", "roc_auc"), ("patient", "roc_auc"))
        for draw in draws
    ]
    found = score_draws(draws, resamples=200).figures
    assert [(f.mean.metric, f.mean.level) for f in found] == [
        ("accuracy", "image"),
        ("roc_auc", "image"),
        ("roc_auc", "patient"),
    ]
    for figure, values in zip(found, np.reshape(np.array(single, float), (3, 3)), strict=True):
        mean = figure.mean
        assert mean.value == pytest.approx(values.mean())
        assert (figure.least, figure.most) == pytest.approx((values.min(), values.max()))
        assert mean.low is not None
        assert mean.high is not None
        assert mean.low <= mean.value <= mean.high
        assert (figure.draws, mean.images, mean.patients) == (3, 72, 12)


def test_averaging_the_same_draw_changes_neither_figure_nor_interval() -> None:
    draw = table(0.7, seed=1)
    once, thrice = (
        score_draws([draw], resamples=300).figures,
        score_draws([draw] * 3, resamples=300).figures,
    )
    for one, three in zip(once, thrice, strict=True):
        found, same = one.mean, three.mean
        assert (found.value, found.low, found.high) == pytest.approx(
            (same.value, same.low, same.high)
        )


def test_against_a_baseline_each_draw_is_paired_with_its_own() -> None:
    good, poor = ([table(share, seed=seed) for seed in range(3)] for share in (0.9, 0.6))
    scored = [score_draws(side, resamples=300) for side in (good, poor)]
    better = scored[0].less(scored[1]).figures[0].mean
    alone = [side.figures[0].mean.value or 0.0 for side in scored]
    assert better.value == pytest.approx(alone[0] - alone[1])
    assert better.low is not None
    assert better.low > 0
    nothing = scored[0].less(scored[0]).figures[0].mean
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)


def test_a_baseline_that_lacks_images_is_paired_on_those_that_both_have() -> None:
    good, poor = ([table(share, seed=seed) for seed in range(2)] for share in (0.9, 0.6))
    kept = [draw.where(draw.frame["patient"] != "14-3") for draw in (*good, *poor)]
    lacking = score_draws(kept[2:], resamples=200)
    found = score_draws(good, resamples=200).less(lacking).figures
    same = score_draws(kept[:2], resamples=200).less(lacking).figures
    assert found == same
    assert {each.mean.images for each in found if each.mean.level == "image"} == {66}


def test_draws_of_other_images_or_in_other_numbers_are_refused() -> None:
    draw = table(0.7, seed=1)
    with pytest.raises(DataError, match="got 1 and 2"):
        score_draws([draw, draw]).less(score_draws([draw]))
    other = table(0.7, seed=1)
    other = other.where(other.frame["patient"] == "14-0")
    shifted = make_predictions(
        other.frame.assign(path=[f"/j/{n}.png" for n in range(len(other))]),
        other.probabilities,
        task=TASK,
    )
    with pytest.raises(DataError, match="got none"):
        score_draws([])
    with pytest.raises(DataError, match="no image is in all tables"):
        score_draws([draw, shifted])
