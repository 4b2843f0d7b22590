"""McNemar, sign flips and Holm: by hand, by enumeration, and against each other."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest

from eosin.errors import DataError
from eosin.evaluation.paired_tests import holm, mcnemar_p, sign_flip_p


@pytest.mark.parametrize(("first", "second"), [(1, 9), (9, 1), (0, 6), (121, 59), (3, 2)])
def test_mcnemar_is_twice_the_binomial_tail(first: int, second: int):
    n = first + second
    tail = sum(comb(n, k) for k in range(min(first, second) + 1)) / 2**n
    assert mcnemar_p(first, second) == pytest.approx(min(1.0, 2 * tail), rel=1e-9)


def test_models_that_never_disagree_or_disagree_evenly_have_p_one():
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(7, 7) == 1.0
    assert sign_flip_p([0, 0, 0]) == 1.0
    assert sign_flip_p([]) == 1.0
    assert sign_flip_p([4, -4]) == 1.0


def test_counts_below_zero_and_halves_of_images_are_refused():
    with pytest.raises(DataError, match="negative"):
        mcnemar_p(-1, 3)
    with pytest.raises(DataError, match="whole numbers"):
        sign_flip_p([0.5, 1])


def test_sign_flips_are_counted_in_full():
    draw = np.random.default_rng(11)
    for _ in range(20):
        gains = draw.integers(-9, 12, 8)
        totals = [abs(np.dot(signs, gains)) for signs in product((-1, 1), repeat=8)]
        share = np.mean(np.array(totals) >= abs(gains.sum()))
        assert sign_flip_p(gains) == pytest.approx(share)


def test_with_one_image_a_patient_sign_flips_are_mcnemar():
    gains = np.repeat([1, -1, 0], [31, 14, 200])
    assert sign_flip_p(gains) == pytest.approx(mcnemar_p(31, 14))


def test_one_patient_of_many_images_proves_nothing_to_the_patient_level_test():
    # 40 images that the first alone gets right, all of one patient, beside four undecided ones.
    assert mcnemar_p(40, 0) < 1e-11
    assert sign_flip_p([40, 0, 0, 0, 0]) == 1.0


def test_patients_enough_for_a_small_p_reach_it_exactly():
    assert sign_flip_p([3] * 10) == pytest.approx(2**-9)


def test_the_patient_level_test_rejects_one_in_twenty_where_mcnemar_rejects_far_more():
    # Two equally good models; each patient of 20 images favours one of them by a coin's toss.
    draw = np.random.default_rng(4)
    by_patient, by_image = 0, 0
    for _ in range(300):
        favour = draw.choice((0.35, 0.65), 25)
        ahead = draw.binomial(20, favour)
        by_patient += sign_flip_p(2 * ahead - 20) <= 0.05
        by_image += mcnemar_p(int(ahead.sum()), int((20 - ahead).sum())) <= 0.05
    assert by_patient / 300 < 0.08
    assert by_image / 300 > 0.15


def test_holm_by_hand():
    # Sorted: 0.005 * 4, 0.01 * 3, 0.03 * 2, 0.04 * 1 -> 0.02, 0.03, 0.06, then not below 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.6, 0.5]) == (1.0, 1.0)
    assert holm([]) == ()
