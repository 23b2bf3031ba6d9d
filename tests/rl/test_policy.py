"""The rollout policy, driven by chance: whatever completes first, batch and k are the same. And by hand, row by row."""

import random
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmimo.rl.rollout.bias import bias, ks_distance
from openmimo.rl.rollout.policy import (
    MAX_LOSSES,
    SCHEDULES,
    Abort,
    Finish,
    GiveUp,
    Judge,
    Schedule,
    Start,
    StepPolicy,
)

Y, N = True, False
DYNAMIC = ["naive", "continuous", "async", "early"]
FIRST_FINISHED = Schedule(stop="first_finished")


def play(schedule, batch, valid, seed, capacity=None, max_tasks=None, faults=0.0, rates=(0.4, 0.2)):
    """Plays a step with events in an order by chance; returns (Finish, launches, policy). The order of completion and
    of verdicts, and lost engines and judges, are all drawn from `seed`; `valid(n)` is the group's outcome."""
    rng = random.Random(seed)
    policy = StepPolicy(schedule, batch, lambda n: (n % 7 == 3, rates[n % 7 == 3]), 3, capacity, max_tasks)
    running, judging, launches, lost = [], [], [], {}
    actions = policy.begin()
    while True:
        for action in actions:
            match action:
                case Start(n):
                    running.append(n)
                    launches.append(action)
                case Judge(n):
                    judging.append(n)
                case Abort(n):
                    running, judging = [m for m in running if m != n], [m for m in judging if m != n]
                case Finish():
                    assert not running and not judging, "what still ran was not aborted"
                    return action, launches, policy
        if running and rng.random() < 0.5:  # samples complete one by one, in any order
            more = policy.sampled(rng.choice(running))
            running += [a.n for a in more]
            launches += more
        events = [("completed", n) for n in running] + [("judged", n) for n in judging]
        assert events, "the policy waits for nothing"
        what, n = rng.choice(events)
        held, holder = (running, "engine") if what == "completed" else (judging, "judge")
        held.remove(n)
        if rng.random() < faults and lost.get((n, holder), 0) < MAX_LOSSES - 1:
            lost[n, holder] = lost.get((n, holder), 0) + 1
            actions = policy.failed(n, holder)
        else:
            actions = policy.completed(n) if what == "completed" else policy.judged(n, valid(n))


def by_definition(batch, valid, limit):
    """The stop rule, read from the recipe: the first k with B valid among 0..k."""
    counts = list(accumulate(map(valid, range(limit))))
    used = next((k + 1 for k, count in enumerate(counts) if count == batch), limit)
    return Finish(tuple(n for n in range(used) if valid(n)), used)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(1, 12), st.floats(0.0, 1.0), st.sampled_from([None, 1, 3, 20]),
    st.sampled_from([0.0, 0.2]),
)  # fmt: skip
def test_every_schedule_gives_the_same_batch(seed, batch, keep, capacity, faults):
    """Order of completion, latency of the judge, lost workers, capacity and schedule change nothing."""

    def valid(n):
        return random.Random(f"{seed} {n}").random() < keep

    expected = by_definition(batch, valid, 8 * batch)
    for name in DYNAMIC:
        found, launches, policy = play(SCHEDULES[name], batch, valid, seed, capacity, faults=faults)
        assert found == expected, name
        assert policy.started <= 8 * batch and expected.used <= policy.started
        fresh = [a for a in launches if "lost" not in a.reason]
        assert [a.n for a in fresh] == list(range(policy.started))
        if SCHEDULES[name].continuous:
            assert all(a.forecast < batch for a in fresh)


def test_the_property_sees_a_rule_that_depends_on_the_order():
    """Negative control: what completes first gives another batch with another order."""
    found = {play(FIRST_FINISHED, 6, lambda n: n % 3 != 0, seed, capacity=36)[0].batch for seed in range(20)}
    assert len(found) > 5


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 10), st.sampled_from(DYNAMIC))
def test_the_bias_meter_is_zero(seed, batch, name):
    lengths = [random.Random(f"{seed} {n}").lognormvariate(5, 1) for n in range(8 * batch)]
    valid = [length > 60 for length in lengths]
    found, *_ = play(SCHEDULES[name], batch, lambda n: valid[n], seed)
    if found.batch:
        assert bias(found.batch, valid, lengths) == 0


def test_the_bias_meter_sees_a_rule_that_prefers_short_ones():
    """Control: when a task completes at its length, the first finished are the short ones."""
    rng, total = random.Random(0), 0.0
    for _ in range(20):
        lengths = [rng.lognormvariate(5, 1) for _ in range(128)]
        policy = StepPolicy(FIRST_FINISHED, 16, lambda n: (False, 0.5), slots=64)
        running = [a.n for a in policy.begin()]
        finish = None
        while finish is None:
            n = min(running, key=lambda m: lengths[m])
            running.remove(n)
            for action in [*policy.completed(n), *policy.judged(n, True)]:
                if isinstance(action, Start):
                    running.append(action.n)
                finish = action if isinstance(action, Finish) else finish
        total += bias(finish.batch, [True] * 128, lengths)
    assert total / 20 > 0.15


def test_ks_distance_by_hand():
    assert ks_distance([1, 2, 3, 4], [1, 2, 3, 4]) == 0
    assert ks_distance([1, 2], [3, 4]) == 1
    assert ks_distance([1, 2, 3, 4], [2, 3, 4, 5]) == 0.25
    assert ks_distance([1, 1, 2], [1, 2, 2]) == pytest.approx(1 / 3)


def actions_of(policy, *events):
    """Feeds events; returns the actions of the last one."""
    actions = policy.begin()
    for event in events:
        if event[0] == "c":
            actions = policy.completed(int(event[1:]))
        else:
            actions = policy.judged(int(event[2:]), event[1] == "+")
    return actions


def starts(actions):
    return [a.n for a in actions if isinstance(a, Start)]


def test_naive_goes_in_rounds_and_judges_one_by_one_behind_the_barrier():
    policy = StepPolicy(SCHEDULES["naive"], 2, lambda n: (False, 0.5))
    assert starts(policy.begin()) == [0, 1]
    assert policy.completed(1) == []
    assert policy.completed(0) == [Judge(1)]  # the barrier is passed; one reward at a time
    assert policy.judged(1, True) == [Judge(0)]
    assert starts(policy.judged(0, False)) == [2, 3]
    policy.completed(2), policy.completed(3), policy.judged(2, True)
    assert policy.judged(3, True) == [Finish((1, 2), 3)]  # 3 is waste and was never there


def test_static_is_one_round_of_which_all_is_kept():
    policy = StepPolicy(SCHEDULES["static"], 2, lambda n: (False, 0.5))
    assert actions_of(policy, "c0", "c1", "j-0", "j-1") == [Finish((0, 1), 2)]


def test_the_forecast_by_hand():
    """B = 4 at p = 0.5 with six slots. The prior weighs a quarter batch: 1 valid group."""
    policy = StepPolicy(SCHEDULES["early"], 4, lambda n: (False, 0.5), slots=6)
    first = policy.begin()
    assert starts(first) == [0, 1, 2, 3, 4, 5] and [a.forecast for a in first] == [0, 0.5, 1, 1.5, 2, 2.5]
    assert starts(policy.completed(2)) == [6]  # a place is free: 6 x 0.5 = 3 < 4
    assert policy.forecast() == 3.5
    assert policy.judged(2, False) == []  # 0 and 1 are missing, so it says nothing of the rest; no place is free
    assert policy.forecast() == pytest.approx(6 * 0.5)
    assert starts(policy.completed(0)) == [7]
    assert policy.judged(0, True) == []  # rate (1 + 1) / (1 / 0.5 + 1) = 2/3
    assert policy.forecast() == pytest.approx(1 + 6 * 2 / 3)
    assert starts(policy.completed(1)) == []  # 5 is enough
    assert starts(policy.judged(1, True)) == []  # 0 to 2 are known: rate (1 + 2) / (1 / 0.5 + 3) = 3/5
    assert policy.forecast() == pytest.approx(2 + 5 * 3 / 5)


def test_main_set_and_pool_have_keep_rates_of_their_own():
    policy = StepPolicy(SCHEDULES["early"], 8, lambda n: (n % 2 == 1, 0.5), slots=4)
    actions_of(policy, "c0", "j+0", "c2", "j+2")
    main, pool = policy.sides
    assert main.expected(2.0) == pytest.approx(main.active * (2 + 1) / (2 / 0.5 + 1))  # 1 is missing before 2
    assert pool.expected(2.0) == pytest.approx(pool.active * 0.5)


def test_synchronous_rewards_hold_up_the_starts():
    policy = StepPolicy(SCHEDULES["continuous"], 4, lambda n: (False, 0.4), slots=2)
    assert starts(policy.begin()) == [0, 1]
    assert policy.completed(0) == [Judge(0)]  # a place is free, but nothing starts
    assert policy.completed(1) == []
    actions = policy.judged(0, False)  # 1 is complete too: two places are free
    assert starts(actions) == [2, 3] and actions[-1] == Judge(1)
    assert actions[0].forecast == pytest.approx(1 / (1 / 0.4 + 1))  # task 1 at the rate (1 + 0) / (1 / 0.4 + 1)


def test_early_termination_waits_for_what_began_before_and_aborts_what_began_after():
    policy = StepPolicy(SCHEDULES["early"], 2, lambda n: (False, 0.3), slots=8)
    assert len(starts(policy.begin())) == 7
    assert actions_of(StepPolicy(SCHEDULES["early"], 2, lambda n: (False, 0.3), slots=8), "c4", "j+4") == []
    policy.completed(4), policy.judged(4, True), policy.completed(2)
    assert policy.judged(2, True) == [Abort(5), Abort(6)]  # two are valid: k <= 4, so 5 and 6 are void
    policy.completed(0), policy.judged(0, False), policy.completed(3), policy.judged(3, False)
    policy.completed(1)
    assert policy.judged(1, True) == [Finish((1, 2), 3)]
    assert policy.completed(5) == [] and policy.judged(6, True) == []  # late events change nothing


def test_async_drains_what_early_termination_aborts():
    policy = StepPolicy(SCHEDULES["async"], 1, lambda n: (False, 0.3), slots=4)
    assert actions_of(policy, "c0", "j+0") == []
    for n in (1, 2, 3):
        policy.completed(n)
    policy.judged(1, True), policy.judged(2, False)
    assert policy.judged(3, True) == [Finish((0,), 1)]


@pytest.mark.parametrize("name", DYNAMIC)
def test_after_max_tasks_the_batch_is_what_is_valid(name):
    found, _, policy = play(SCHEDULES[name], 4, lambda n: n in (3, 9), seed=1, max_tasks=12)
    assert found == Finish((3, 9), 12) and policy.started == 12
    assert play(SCHEDULES[name], 4, lambda n: False, seed=1, max_tasks=12)[0] == Finish((), 12)


def test_a_lost_task_starts_again_and_the_third_loss_stops_the_step():
    policy = StepPolicy(SCHEDULES["early"], 2, lambda n: (False, 0.5), slots=3)
    policy.begin()
    assert [(a.n, a.reason) for a in policy.failed(1, "engine")] == [(1, "engine lost")]
    policy.completed(1)
    assert policy.failed(1, "judge") == [Judge(1)] and policy.failed(1, "judge") == [Judge(1)]
    assert policy.failed(7, "engine") == []  # nobody's
    assert policy.failed(1, "judge") == [GiveUp(1, "judge")]
    assert policy.completed(0) == []


def test_a_task_starts_as_soon_as_a_slot_is_free():
    """Groups of 4 in 6 slots: two start, the third when three samples are complete, not when a whole task is."""
    policy = StepPolicy(SCHEDULES["early"], 8, lambda n: (False, 0.5), group=4, slots=6)
    assert starts(policy.begin()) == [0, 1]
    assert policy.sampled(0) == [] and policy.sampled(1) == []
    assert starts(policy.sampled(1)) == [2] and policy.outstanding == 3 + 2 + 4
    assert starts(policy.failed(1, "engine")) == [1] and policy.outstanding == 3 + 4 + 4
    assert policy.sampled(9) == []
    policy.completed(0), policy.completed(1), policy.completed(2)
    assert policy.outstanding == sum(policy.generating.values())
