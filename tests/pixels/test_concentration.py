"""Percentiles taken from the tail only are the percentiles of everything."""

from __future__ import annotations

import numpy as np
import pytest

from eosin.pixels.concentration import high_percentile


@pytest.mark.parametrize("percent", [75.0, 98.0, 99.0, 100.0])
@pytest.mark.parametrize("count", [1, 2, 17, 1000, 100_003])
def test_the_tail_gives_the_percentile_of_all_values(percent, count):
    values = np.random.default_rng(count).gamma(2, size=count).astype(np.float32)
    assert high_percentile(values, percent) == pytest.approx(np.percentile(values, percent), 1e-5)


def test_a_look_that_misses_the_tail_falls_back_to_all_values():
    values = np.zeros(1600, np.float32)
    values[::16] = np.arange(100)  # the look sees high values only
    assert high_percentile(values, 90.0) == pytest.approx(np.percentile(values, 90.0))


def test_many_equal_values_are_no_trouble():
    values = np.repeat(np.float32([0.25, 0.5]), 5000)
    assert high_percentile(values, 99.0) == 0.5
