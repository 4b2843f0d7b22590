"""Votes against hand-computed ones: means, majorities and ties, weights in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from eosin.errors import DataError, ModelError
from eosin.inference.members import cast_votes
from eosin.inference.votes import TIE_SHARE, fit_weights, hard_vote, soft_vote, weighted_vote

# Three members, two images, (benign, malignant).
THREE = np.array(
    [
        [[0.9, 0.1], [0.6, 0.4]],
        [[0.4, 0.6], [0.3, 0.7]],
        [[0.8, 0.2], [0.45, 0.55]],
    ]
)


def test_a_soft_vote_is_the_mean_probability() -> None:
    np.testing.assert_allclose(soft_vote(THREE), [[0.7, 0.3], [0.45, 0.55]])


def test_a_hard_vote_is_the_share_of_members_that_chose_each_class() -> None:
    np.testing.assert_allclose(hard_vote(THREE), [[2 / 3, 1 / 3], [1 / 3, 2 / 3]])


def test_a_hard_vote_can_elect_another_class_than_the_mean_would() -> None:
    one_is_sure = np.array([[[0.99, 0.01]], [[0.45, 0.55]], [[0.45, 0.55]]])
    assert soft_vote(one_is_sure).argmax() == 0
    assert hard_vote(one_is_sure).argmax() == 1


def test_a_tie_goes_to_the_class_with_the_higher_mean_probability() -> None:
    tie = np.array([[[0.55, 0.45], [0.9, 0.1]], [[0.2, 0.8], [0.4, 0.6]]])
    shares = hard_vote(tie)
    assert shares.argmax(axis=1).tolist() == [1, 0]
    np.testing.assert_allclose(shares, 0.5, atol=TIE_SHARE)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert shares[0, 1] >= 0.5  # a threshold of one half agrees
    assert shares[1, 1] < 0.5


def test_a_class_without_votes_cannot_win_a_tie_however_probable_on_average() -> None:
    everybodys_second = np.array([[[0.51, 0.0, 0.49]], [[0.0, 0.52, 0.48]]])
    assert soft_vote(everybodys_second).argmax() == 2
    assert hard_vote(everybodys_second).argmax() == 1


def test_a_complete_tie_goes_to_the_class_that_comes_first() -> None:
    mirrored = np.array([[[0.3, 0.7]], [[0.7, 0.3]]])
    assert hard_vote(mirrored).argmax() == 0


def test_a_weighted_vote_is_the_weighted_mean() -> None:
    voted = weighted_vote(THREE, (0.5, 0.25, 0.25))
    np.testing.assert_allclose(voted, [[0.75, 0.25], [0.4875, 0.5125]])


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.5, 0.6, -0.1), (0.5, 0.5, 0.5)])
def test_weights_that_are_no_shares_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ModelError, match="not negative, of sum 1"):
        weighted_vote(THREE, weights)


def test_two_members_that_are_sure_and_disagree_weigh_as_often_as_they_are_right() -> None:
    # The mixed probability of the truth is w on three images and 1 - w on one: best at 3/4.
    first = np.eye(2)[[0, 1, 0, 1]]
    members = np.stack([first, 1 - first])
    labels = np.array([0, 1, 0, 0])
    np.testing.assert_allclose(fit_weights(members, labels), (0.75, 0.25), atol=1e-8)


def test_fitted_weights_satisfy_the_conditions_of_an_optimum_found_by_hand() -> None:
    # Own probabilities 0.8, 0.2 against 0.4, 0.7: d/dw log(0.4+0.4w) + log(0.7-0.5w) = 0
    # gives 0.4 (0.7 - 0.5 w) = 0.5 (0.4 + 0.4 w), so w = 0.08 / 0.4 = 0.2.
    members = np.array([[[0.8, 0.2], [0.8, 0.2]], [[0.4, 0.6], [0.3, 0.7]]])
    np.testing.assert_allclose(fit_weights(members, np.array([0, 1])), (0.2, 0.8), atol=1e-4)


def test_a_member_worse_on_every_image_gets_no_weight() -> None:
    good = np.array([[0.8, 0.2], [0.3, 0.7]])
    bad = np.array([[0.5, 0.5], [0.6, 0.4]])
    weights = fit_weights(np.stack([bad, good]), np.array([0, 1]))
    assert weights == (0.0, 1.0)


def test_fitted_weights_lose_no_more_than_those_of_a_general_optimiser() -> None:
    from scipy.optimize import minimize

    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, 60)
    members = np.stack(
        [rng.dirichlet(np.ones(3), 60) + 0.4 * k * np.eye(3)[labels] for k in range(5)]
    )
    members /= members.sum(axis=2, keepdims=True)
    own = members[:, np.arange(60), labels]

    def loss(weights: np.ndarray) -> float:
        return float(-np.log(weights @ own).mean())

    general = minimize(
        loss,
        np.full(5, 0.2),
        bounds=[(0, 1)] * 5,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={"ftol": 1e-12},
    )
    weights = np.array(fit_weights(members, labels))
    assert weights.sum() == pytest.approx(1)
    assert loss(weights) <= general.fun + 1e-8


def test_weights_are_equal_where_nothing_can_be_told() -> None:
    assert fit_weights(THREE[:, :0], np.empty(0, np.int64)) == pytest.approx((1 / 3,) * 3)
    assert fit_weights(THREE, np.array([1, 1])) == pytest.approx((1 / 3,) * 3)
    twins = np.stack([THREE[0], THREE[0]])
    assert fit_weights(twins, np.array([0, 1])) == pytest.approx((0.5, 0.5))


def test_an_image_that_no_member_can_explain_leaves_weights_finite() -> None:
    members = np.array([[[1.0, 0.0], [0.2, 0.8]], [[1.0, 0.0], [0.6, 0.4]]])
    weights = fit_weights(members, np.array([1, 1])), fit_weights(members, np.array([1, 0]))
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights[1], (0.0, 1.0), atol=1e-6)


def test_a_vote_of_nobody_and_an_unknown_vote_are_refused() -> None:
    with pytest.raises(DataError, match="one member or more"):
        soft_vote(np.empty((0, 2, 2)))
    with pytest.raises(ModelError, match="unknown vote 'loud'"):
        cast_votes(THREE, "loud")
