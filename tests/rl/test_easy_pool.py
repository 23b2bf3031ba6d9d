"""The task sampler: pure draws, epochs of the main set, the easy pool's share, moves and returns."""

import json
from collections import Counter

import pytest

from openmimo.rl.easy_pool import Outcome, TaskSampler

IDS = [f"p{n:02}" for n in range(10)]


def drawn(sampler, step, count):
    """(problem, from the pool?) of tasks 0..count-1."""
    tasks = sampler.tasks(step)
    return [(tasks[n].problem, tasks[n].from_pool) for n in range(count)]


def commit(sampler, step, used, easy, valid=lambda problem: True, length=lambda problem: 1):
    """Tasks 0..used-1 count; of their problems those in `easy` were solved by all."""
    tasks = sampler.tasks(step)
    names = [tasks[n].problem for n in range(used)]
    sampler.commit(tasks, [Outcome(valid(p), p in easy, length(p)) for p in names])


def test_a_draw_changes_nothing_and_is_a_prefix_of_a_longer_one():
    sampler = TaskSampler(IDS, seed=0, alpha=0.5)
    sampler.pool = ["p01", "p02"]
    before = json.dumps(sampler.state())
    long = drawn(sampler, 3, 40)
    assert drawn(sampler, 3, 12) == long[:12] and drawn(sampler, 3, 40) == long
    assert json.dumps(sampler.state()) == before
    assert drawn(sampler, 4, 40) != long
    assert drawn(TaskSampler(IDS, seed=1, alpha=0.5), 3, 40) != drawn(TaskSampler(IDS, seed=0, alpha=0.5), 3, 40)


def test_the_order_of_the_ids_does_not_matter():
    assert drawn(TaskSampler(IDS[::-1], 0, 0.1), 0, 25) == drawn(TaskSampler(IDS, 0, 0.1), 0, 25)


def test_the_main_set_comes_in_epochs():
    """Each epoch every problem once, in an order of its own."""
    tasks = drawn(TaskSampler(IDS, seed=0, alpha=0.0), 0, 30)
    epochs = [[p for p, _ in tasks[at : at + 10]] for at in (0, 10, 20)]
    assert all(sorted(epoch) == IDS for epoch in epochs) and epochs[0] != epochs[1] != epochs[2]
    assert not any(from_pool for _, from_pool in tasks)


def test_void_tasks_are_drawn_again():
    """Of 9 started groups 4 counted: the next step begins with the fifth problem."""
    sampler = TaskSampler(IDS, seed=0, alpha=0.0)
    started = [p for p, _ in drawn(sampler, 0, 9)]
    commit(sampler, 0, 4, ())
    assert [p for p, _ in drawn(sampler, 1, 5)] == started[4:]
    commit(sampler, 1, 0, ())
    assert [p for p, _ in drawn(sampler, 2, 5)] == started[4:]


def test_solved_problems_move_to_the_pool_and_return():
    sampler = TaskSampler(IDS, seed=0, alpha=0.0)
    first = [p for p, _ in drawn(sampler, 0, 3)]
    commit(sampler, 0, 3, {first[0], first[2]})
    assert sampler.pool == sorted([first[0], first[2]])
    names = [p for p, _ in drawn(sampler, 1, 24)]
    assert not set(names) & set(sampler.pool) and Counter(names).most_common()[-1][1] >= 2
    sampler.alpha = 0.9
    names = [p for p, _ in drawn(sampler, 1, 9)]
    assert set(sampler.pool) <= set(names)
    commit(sampler, 1, 9, {first[2]})  # drawn from the pool again: one fell below 1, one is solved and stays, once
    assert sampler.pool == [first[2]]
    sampler.alpha = 0.0
    assert first[0] in [p for p, _ in drawn(sampler, 2, 24)]


def test_the_pools_share_is_alpha():
    """2,000 tasks over many steps; every pool problem has its turn."""
    sampler = TaskSampler(IDS, seed=0, alpha=0.1)
    sampler.pool = ["p03", "p07", "p09"]
    tasks = [task for step in range(100) for task in drawn(sampler, step, 20)]
    share = sum(from_pool for _, from_pool in tasks) / len(tasks)
    assert 0.08 < share < 0.12
    counts = Counter(p for p, from_pool in tasks if from_pool)
    assert counts.keys() == set(sampler.pool) and min(counts.values()) > 30
    assert all((p in sampler.pool) == from_pool for p, from_pool in tasks)
    sampler.alpha = 0.0
    assert not any(from_pool for _, from_pool in drawn(sampler, 0, 200))


def test_when_all_is_easy_the_pool_is_all_there_is():
    sampler = TaskSampler(IDS[:3], seed=0, alpha=0.1)
    commit(sampler, 0, 3, IDS[:3])
    tasks = drawn(sampler, 1, 30)
    assert all(from_pool for _, from_pool in tasks) and {p for p, _ in tasks} == set(IDS[:3])
    commit(sampler, 1, 30, {IDS[0], IDS[2]})
    assert sampler.pool == [IDS[0], IDS[2]]
    assert {p for p, from_pool in drawn(sampler, 2, 30) if not from_pool} == {IDS[1]}


def test_twice_the_same_id_is_one_problem():
    """Otherwise a sampler whose problems are all easy would look for another one for ever."""
    sampler = TaskSampler(["a", "a", "b"], seed=0, alpha=0.0)
    commit(sampler, 0, 2, {"a", "b"})
    assert {p for p, _ in drawn(sampler, 1, 20)} == {"a", "b"}


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_a_restored_sampler_goes_on_the_same(alpha):
    """State survives JSON at every step; solved problems come and go."""
    easy = [set(IDS[step % 10 : step % 10 + 4]) for step in range(20)]
    whole, states, expected = TaskSampler(IDS, 0, alpha), [], []
    for step in range(20):
        states.append(json.dumps(whole.state()))
        expected.append(drawn(whole, step, 7))
        commit(whole, step, 5, easy[step])
    assert len({len(json.loads(s)["pool"]) for s in states}) > 2
    for at in (1, 8, 19):
        sampler = TaskSampler(IDS, 0, alpha)
        sampler.restore(json.loads(states[at]))
        for step in range(at, 20):
            assert drawn(sampler, step, 7) == expected[step]
            commit(sampler, step, 5, easy[step])
        assert sampler.state() == whole.state()
    assert drawn(TaskSampler(IDS, 0, alpha), 8, 7) != expected[8]  # negative control: no state


def test_a_window_goes_longest_first_and_survives_a_step_that_ends_inside_it():
    """Windows of 4 over 10 problems; p's group is as long as its number says."""
    sampler = TaskSampler(IDS, seed=0, alpha=0.0, window=4)
    seeded = [p for p, _ in drawn(TaskSampler(IDS, seed=0, alpha=0.0), 0, 20)]
    assert [p for p, _ in drawn(sampler, 0, 10)] == seeded[:10]  # nothing is known yet
    commit(sampler, 0, 10, (), length=lambda p: int(p[1:]))
    windows = [seeded[at : at + 4] for at in (10, 14)] + [seeded[18:20]]
    expected = [p for window in windows for p in sorted(window, reverse=True)]
    assert [p for p, _ in drawn(sampler, 1, 10)] == expected
    commit(sampler, 1, 2, (), length=lambda p: 0)  # what was just drawn is short now: the open window stays as it was
    assert sampler.open == expected[2:4]
    restored = TaskSampler(IDS, seed=0, alpha=0.0, window=4)
    restored.restore(json.loads(json.dumps(sampler.state())))
    for each in (sampler, restored):
        assert [p for p, _ in drawn(each, 2, 8)] == expected[2:]


def test_selective_drawing_skips_what_taught_nothing_last_time():
    """Half of 40 problems never have a gradient. Over ten epochs they are drawn less and less, but never given up."""
    ids = [f"p{n:02}" for n in range(40)]
    counts = {}
    for selective in (1.0, 0.5):
        sampler, drawn_of = TaskSampler(ids, seed=0, alpha=0.0, selective=selective), Counter()
        for step in range(60):
            drawn_of.update(p for p, _ in drawn(sampler, step, 8))
            commit(sampler, step, 8, (), valid=lambda p: p < "p20")
        counts[selective] = sum(n for p, n in drawn_of.items() if p >= "p20") / 480
        assert all(drawn_of[p] > 1 for p in ids)
    assert counts[1.0] == pytest.approx(0.5, abs=0.02) and counts[0.5] < 0.3
    assert {h.barren == 0 for p, h in sampler.histories.items() if p < "p20"} == {True}


def test_the_forecast_of_a_problem_by_hand():
    sampler = TaskSampler(IDS, seed=0, alpha=0.0, own=True)
    sampler.rates = {"main": 0.5, "pool": 0.01}
    assert sampler.forecast("p00", False) == 0.5 and sampler.forecast("p00", True) == 0.05
    for _ in range(3):
        commit(sampler, 0, 1, (), valid=lambda p: True)
    ((problem, history),) = [(p, h) for p, h in sampler.histories.items() if h.drawn][:1] or [(None, None)]
    rate = sampler.rates["main"]
    assert sampler.forecast(problem, False) == pytest.approx((2 * rate + history.valid) / (2 + history.drawn))
    sampler.own = False
    assert sampler.forecast(problem, False) == rate


def test_keep_rates_follow_each_side():
    sampler = TaskSampler(IDS, seed=0, alpha=0.5)
    sampler.pool = ["p01", "p02"]
    tasks = drawn(sampler, 0, 12)
    from_pool = sum(pool for _, pool in tasks)
    assert 0 < from_pool < 12
    commit(sampler, 0, 12, {"p01", "p02"}, valid=lambda p: p in ("p01", "p03"))
    for name, side in (("main", False), ("pool", True)):
        seen = [p in ("p01", "p03") for p, pool in tasks if pool is side]
        assert sampler.rates[name] == pytest.approx(
            0.9 * {"main": 0.6, "pool": 0.3}[name] + 0.1 * max(0.05, sum(seen) / len(seen))
        )


def test_the_committed_state_is_a_function_of_tasks_up_to_k():
    """Drawing further than k, as every schedule does differently, changes nothing."""
    states = []
    for further in (5, 6, 40):
        sampler = TaskSampler(IDS, seed=0, alpha=0.3, window=4, selective=0.5, own=True)
        for step in range(12):
            tasks = sampler.tasks(step)
            tasks[further - 1]
            names = [tasks[n].problem for n in range(5)]
            sampler.commit(tasks, [Outcome(p > "p03", p > "p06", int(p[1:])) for p in names])
        states.append(sampler.state())
    assert states[0] == states[1] == states[2]
