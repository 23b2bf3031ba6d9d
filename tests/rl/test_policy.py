"""The rollout policy: how many groups to start, which of them are the batch, the forecast's memory. By hand."""

import pytest

from openmimo.rl.rollout.policy import SAFETY, KeepRates, first_valid, groups_to_start

Y, N = True, False


@pytest.mark.parametrize(
    ("valid", "wanted", "chosen", "used"),
    [
        ([Y, Y, Y, Y], 2, [0, 1], 2),  # the rest is waste
        ([N, Y, N, Y, Y], 2, [1, 3], 4),  # used: all up to the last selected one
        ([Y, N, N], 1, [0], 1),
        ([N, Y, N], 2, [1], 3),  # not enough: everything counts
        ([N, N], 1, [], 2),
        ([], 3, [], 0),
        ([Y], 1, [0], 1),
    ],
)
def test_the_batch_is_the_first_valid_groups_in_start_order(valid, wanted, chosen, used):
    assert first_valid(valid, wanted) == (chosen, used)


def test_a_group_that_began_later_never_replaces_one_that_began_before():
    """Whatever comes after the last selected group changes nothing."""
    valid = [N, Y, Y, N, Y]
    for tail in ([], [Y], [N, Y, Y]):
        assert first_valid(valid + tail, 3) == ([1, 2, 4], 5)


@pytest.mark.parametrize(
    ("missing", "main", "pool", "alpha", "count"),
    [
        (16, 1.0, 0.0, 0.0, 18),  # 17.6
        (16, 0.5, 0.0, 0.0, 36),  # 35.2
        (16, 0.5, 0.3, 0.1, 37),  # rate 0.48: 36.67
        (1, 1.0, 1.0, 0.0, 2),  # 1.1
        (10, 0.0, 0.0, 0.1, 220),  # never less than a rate of 0.05
    ],
)
def test_groups_to_start_is_the_forecast_with_a_tenth_more(missing, main, pool, alpha, count):
    assert SAFETY == 1.1
    assert groups_to_start(missing, KeepRates(main, pool), alpha) == count


def test_keep_rates_follow_each_side():
    rates = KeepRates(main=0.6, pool=0.3)
    rates.update([N, N, N, N, Y, Y], [Y, N, N, N, Y, N])
    assert rates.main == pytest.approx(0.9 * 0.6 + 0.1 * 0.25)
    assert rates.pool == pytest.approx(0.9 * 0.3 + 0.1 * 0.5)
    rates.update([N, N], [N, N])  # nothing kept counts as 0.05; the pool was not drawn and stays
    assert rates.main == pytest.approx(0.9 * 0.565 + 0.1 * 0.05)
    assert rates.pool == pytest.approx(0.32)
    before = (rates.main, rates.pool)
    rates.update([], [])
    assert (rates.main, rates.pool) == before
