"""The learning rate warms up, falls along a cosine, or stays."""

import pytest

from eosin.training.optimisation import learning_rate_factor


def test_the_cosine_rises_over_the_warm_up_is_half_in_the_middle_and_ends_near_zero():
    factors = [
        learning_rate_factor(step, steps=104, warmup=4, schedule="cosine") for step in range(104)
    ]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[54] == pytest.approx(0.5)
    assert 0 < factors[-1] < 0.001
    assert factors[4:] == sorted(factors[4:], reverse=True)


def test_a_constant_rate_stays_and_a_training_all_warm_up_never_divides_by_zero():
    assert learning_rate_factor(99, steps=100, warmup=0, schedule="constant") == 1.0
    assert learning_rate_factor(3, steps=4, warmup=4, schedule="cosine") == pytest.approx(0.8)
