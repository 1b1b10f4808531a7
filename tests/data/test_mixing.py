"""The order of samples: exact rates, each record once an epoch, random access, no starvation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanmix.data.mixing import WINDOW, SampleOrder

rate_lists = st.lists(
    st.floats(1e-6, 1e6, allow_nan=False) | st.integers(1, 3000).map(float),
    min_size=1,
    max_size=40,
)


def order(rates, sizes=None, seed=0):
    sizes = sizes or [10] * len(rates)
    return SampleOrder(rates, sizes, [f"task{i}" for i in range(len(rates))], seed)


@given(rate_lists, st.lists(st.integers(0, 10**9), min_size=2, max_size=20))
@settings(deadline=None)
def test_counts_are_whole_exact_and_never_go_back(rates, prefixes):
    mix = order(rates)
    shares = np.array(rates) / sum(rates)
    bound = math.log2(len(rates)) + 1
    before = np.zeros(len(rates), np.int64)
    for samples in sorted(prefixes):
        counts = mix.counts(samples)
        assert counts.sum() == samples
        assert (counts >= before).all()
        assert np.abs(counts - samples * shares).max() < bound
        before = counts


@given(rate_lists, st.integers(0, 2**40))
@settings(deadline=None)
def test_one_more_sample_goes_to_one_task(rates, samples):
    mix = order(rates)
    step = mix.counts(samples + 1) - mix.counts(samples)
    assert sorted(step)[-1] == 1 and step.sum() == 1


@given(rate_lists, st.integers(0, 50), st.integers(0, 2**63))
@settings(deadline=None, max_examples=30)
def test_every_prefix_of_windows_has_the_exact_counts(rates, start, seed):
    mix = order(rates, seed=seed)
    for window in (start, start + 1):
        first, last = mix.counts(window * WINDOW), mix.counts((window + 1) * WINDOW)
        drawn = [mix.sample(window * WINDOW + i) for i in range(WINDOW)]
        for task in range(len(rates)):
            ranks = [sample.rank for sample in drawn if sample.task == task]
            assert ranks == list(range(first[task], last[task]))


def test_no_task_starves_among_1836():
    rng = np.random.default_rng(0)
    rates = np.concatenate([rng.uniform(1, 3000, 1800), np.full(36, 1e-3)])
    mix = order(list(rates))
    shares = rates / rates.sum()
    for samples in (WINDOW, 10**5, 10**7, 3 * 10**9):
        counts = mix.counts(samples)
        assert np.abs(counts - samples * shares).max() < math.log2(1836) + 1
    assert (mix.counts(int(20 / shares.min())) >= 1).all()


def test_each_record_once_an_epoch():
    sizes = [7, 300, 64]
    mix = order([1.0, 2.0, 1.0], sizes)
    seen = {}
    for number in range(8 * WINDOW):
        sample = mix.sample(number)
        assert sample.epoch == sample.rank // sizes[sample.task]
        seen.setdefault((sample.task, sample.epoch), []).append(sample.index)
    whole = [key for key, places in seen.items() if len(places) == sizes[key[0]]]
    assert len(whole) > 200
    for (task, epoch), places in seen.items():
        assert len(set(places)) == len(places)
        assert set(places) <= set(range(sizes[task]))
        if (task, epoch + 1) in seen:
            assert sorted(places) == list(range(sizes[task]))
    assert seen[1, 0] != seen[1, 1] and seen[1, 0] != sorted(seen[1, 0])


def test_a_large_task_too_has_each_record_once_an_epoch():
    size = 20_000
    mix = order([1.0], [size])
    places = [mix.sample(number).index for number in range(2 * size)]
    assert sorted(places[:size]) == sorted(places[size:]) == list(range(size))
    assert places[:size] != places[size:] and places[:100] != sorted(places[:100])


def test_random_access_needs_no_replay():
    rates = [3.0, 1.0, 5.0]
    walked = order(rates)
    expected = [walked.sample(number) for number in range(3 * WINDOW)]
    jumped = order(rates)
    for number in (3 * WINDOW - 1, 5, WINDOW, 2 * WINDOW - 1, 0):
        assert jumped.sample(number) == expected[number]
    assert order(rates).sample(10**15).task in (0, 1, 2)


def test_the_order_is_mixed_and_seeded():
    first, second = order([1.0, 1.0], seed=1), order([1.0, 1.0], seed=2)
    tasks = [[mix.sample(i).task for i in range(200)] for mix in (first, second)]
    assert tasks[0] != tasks[1]
    changes = np.mean(np.diff(tasks[0]) != 0)
    assert 0.35 < changes < 0.65


def test_the_order_never_changes():
    """Runs resume on it: these numbers may only change with a new major version."""
    mix = order([5.0, 3.0, 2.0], [10, 20, 50_000], seed=17)
    assert [tuple(mix.sample(number)) for number in (0, 1, 1023, 5000, 5001)] == [
        (0, 0, 0, 8),
        (2, 0, 0, 19023),
        (0, 511, 51, 7),
        (0, 2498, 249, 9),
        (1, 1502, 75, 15),
    ]


@pytest.mark.parametrize(
    ("rates", "sizes", "message"),
    [
        ([0.0], [1], "rate of a is 0.0"),
        ([float("nan")], [1], "rate of a is nan"),
        ([1.0], [0], "size of a is 0"),
        ([1.0, 2.0], [1], "2 rates"),
        ([], [], "0 rates"),
    ],
)
def test_bad_rates_are_refused(rates, sizes, message):
    with pytest.raises(ValueError, match=message):
        SampleOrder(rates, sizes, ["a"][: len(sizes)], 0)
