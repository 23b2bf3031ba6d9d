"""The sequential test of pass rates: its verdict is the full test's, and it never samples more than it must."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmimo.data.synthesis.band import Band
from openmimo.errors import UserError


def full(band: Band, answers: list[bool]) -> bool:
    """The rule as it is written, on all rollouts."""
    right = sum(answers)
    return right >= band.least and right * 10 <= round(band.most * 10) * band.rollouts


def sequential(band: Band, answers: list[bool]) -> tuple[bool, int]:
    """(verdict, responses used), in the band's rounds."""
    done = right = 0
    while (verdict := band.settled(right, done)) is None:
        size = band.next_round(right, done)
        assert size > 0
        right, done = right + sum(answers[done : done + size]), done + size
    assert band.next_round(right, done) == 0
    return verdict, done


bands = st.tuples(st.integers(1, 20), st.integers(0, 10), st.integers(0, 20)).map(lambda t: Band(t[0], t[1] / 10, min(t[2], t[0])))  # fmt: skip


@given(bands, st.data())
def test_the_verdict_is_the_full_tests(band, data):
    answers = data.draw(st.lists(st.booleans(), min_size=band.rollouts, max_size=band.rollouts))
    verdict, done = sequential(band, answers)
    assert verdict == full(band, answers) and done <= band.rollouts


@given(bands, st.data())
def test_it_stops_as_soon_as_nothing_can_change(band, data):
    """At every prefix: settled if and only if all completions have one verdict (checked by trying the extremes and all
    counts between); and a round never goes beyond the first settled prefix."""
    answers = data.draw(st.lists(st.booleans(), min_size=band.rollouts, max_size=band.rollouts))
    first = None
    for done in range(band.rollouts + 1):
        right = sum(answers[:done])
        verdicts = {full(band, [True] * (right + more) + [False] * (band.rollouts - right - more)) for more in range(band.rollouts - done + 1)}  # fmt: skip
        assert band.settled(right, done) == (verdicts.pop() if len(verdicts) == 1 else None)
        if first is None and band.settled(right, done) is not None:
            first = done
    assert sequential(band, answers)[1] == first


def test_by_hand():
    band = Band(16, 0.9)  # the report's: more than 90 % of 16 is 15 or 16
    assert (
        band.ceiling == 14
        and band.settled(0, 2) is True
        and band.settled(15, 15) is False
        and band.settled(14, 15) is None
    )
    assert band.next_round(0, 0) == 2 and band.next_round(1, 2) == 1 and band.next_round(13, 14) == 1
    assert Band(16, 0.9, 1).settled(0, 2) is None and Band(16, 0.9, 1).settled(1, 3) is True
    assert Band(16, 0.99).ceiling == 15 and Band(10, 0.9).ceiling == 9
    with pytest.raises(UserError, match="rollout"):
        Band(0)


def test_what_it_spares():
    """Mean responses at the report's band, by simulation: near 2 / (1 - p) for hard problems, 16 never exceeded."""
    rng, band = random.Random(0), Band(16, 0.9)
    for p, most in ((0.0, 2.0), (0.3, 3.2), (0.5, 4.6), (0.9, 14.5)):
        used = [sequential(band, [rng.random() < p for _ in range(16)])[1] for _ in range(300)]
        assert sum(used) / len(used) <= most
