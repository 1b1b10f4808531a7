"""Schedules against their closed forms."""

import math

import numpy as np
import pytest

from flanmix.learn.schedule import Schedule


def rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_constant_with_warmup():
    assert rates(Schedule(rate=0.5), [0, 1, 9]) == [0.5] * 3
    np.testing.assert_allclose(
        rates(Schedule(rate=2.0, warmup=4), range(6)), [0.5, 1, 1.5, 2, 2, 2], rtol=1e-6
    )


def test_linear_and_cosine_fall_to_their_end():
    linear = Schedule(kind="linear", rate=1.0, warmup=2, steps=6)
    np.testing.assert_allclose(rates(linear, range(8)), [0.5, 1, 1, 0.75, 0.5, 0.25, 0, 0])
    cosine = Schedule(kind="cosine", rate=1.0, steps=4, final=0.2)
    expected = [0.2 + 0.8 * (1 + math.cos(math.pi * t / 4)) / 2 for t in range(5)]
    np.testing.assert_allclose(rates(cosine, range(7)), [*expected, 0.2, 0.2], rtol=1e-6)


def test_rsqrt_is_the_one_of_t5():
    schedule = Schedule(kind="rsqrt", rate=1.0, warmup=10_000)
    expected = [0.01, 0.01, 1 / math.sqrt(40_000)]
    np.testing.assert_allclose(rates(schedule, [0, 9_999, 40_000]), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"kind": "cosin"}, r"Schedule\.kind is 'cosin'"),
        ({"kind": "linear"}, r"Schedule\.steps is None"),
        ({"kind": "cosine", "steps": 5, "warmup": 5}, r"Schedule\.steps is 5"),
        ({"rate": -1.0}, r"-1\.0"),
    ],
)
def test_a_bad_value_is_named(field, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**field)
