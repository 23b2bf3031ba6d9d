"""The task sampler: pure draws, epochs of the main set, the easy pool's share, moves and returns."""

import json
from collections import Counter

import pytest

from openmimo.rl.easy_pool import TaskSampler

IDS = [f"p{n:02}" for n in range(10)]


def solved_by(sampler, step, used, easy):
    """What `commit` is told: of the problems that were drawn, those in `easy` were solved."""
    return {problem: problem in easy for problem, _ in sampler.draw(step, used)}


def test_a_draw_changes_nothing_and_is_a_prefix_of_a_longer_one():
    sampler = TaskSampler(IDS, seed=0, alpha=0.5)
    sampler.pool = ["p01", "p02"]
    before = json.dumps(sampler.state())
    long = sampler.draw(3, 40)
    assert sampler.draw(3, 12) == long[:12] and sampler.draw(3, 40) == long
    assert json.dumps(sampler.state()) == before
    assert sampler.draw(4, 40) != long
    assert TaskSampler(IDS, seed=1, alpha=0.5).draw(3, 40) != TaskSampler(IDS, seed=0, alpha=0.5).draw(3, 40)


def test_the_order_of_the_ids_does_not_matter():
    assert TaskSampler(IDS[::-1], 0, 0.1).draw(0, 25) == TaskSampler(IDS, 0, 0.1).draw(0, 25)


def test_the_main_set_comes_in_epochs():
    """Each epoch every problem once, in an order of its own."""
    tasks = TaskSampler(IDS, seed=0, alpha=0.0).draw(0, 30)
    epochs = [[p for p, _ in tasks[at : at + 10]] for at in (0, 10, 20)]
    assert all(sorted(epoch) == IDS for epoch in epochs) and epochs[0] != epochs[1] != epochs[2]
    assert not any(from_pool for _, from_pool in tasks)


def test_void_tasks_are_drawn_again():
    """Of 9 started groups 4 counted: the next step begins with the fifth problem."""
    sampler = TaskSampler(IDS, seed=0, alpha=0.0)
    started = [p for p, _ in sampler.draw(0, 9)]
    sampler.commit(0, 4, solved_by(sampler, 0, 4, ()))
    assert [p for p, _ in sampler.draw(1, 5)] == started[4:]
    sampler.commit(1, 0, {})
    assert [p for p, _ in sampler.draw(2, 5)] == started[4:]


def test_solved_problems_move_to_the_pool_and_return():
    sampler = TaskSampler(IDS, seed=0, alpha=0.0)
    first = [p for p, _ in sampler.draw(0, 3)]
    sampler.commit(0, 3, {first[0]: True, first[1]: False, first[2]: True})
    assert sampler.pool == sorted([first[0], first[2]])
    drawn = [p for p, _ in sampler.draw(1, 24)]
    assert not set(drawn) & set(sampler.pool) and Counter(drawn).most_common()[-1][1] >= 2
    sampler.commit(1, 0, {first[0]: False})  # as if it had been drawn from the pool and fell below 1
    assert sampler.pool == [first[2]]
    assert first[0] in [p for p, _ in sampler.draw(2, 24)]
    sampler.commit(2, 0, {first[2]: True})  # solved again: it stays, once
    assert sampler.pool == [first[2]]


def test_the_pools_share_is_alpha():
    """2,000 tasks over many steps; every pool problem has its turn."""
    sampler = TaskSampler(IDS, seed=0, alpha=0.1)
    sampler.pool = ["p03", "p07", "p09"]
    tasks = [task for step in range(100) for task in sampler.draw(step, 20)]
    share = sum(from_pool for _, from_pool in tasks) / len(tasks)
    assert 0.08 < share < 0.12
    counts = Counter(p for p, from_pool in tasks if from_pool)
    assert counts.keys() == set(sampler.pool) and min(counts.values()) > 30
    assert all((p in sampler.pool) == from_pool for p, from_pool in tasks)
    sampler.alpha = 0.0
    assert not any(from_pool for _, from_pool in sampler.draw(0, 200))


def test_when_all_is_easy_the_pool_is_all_there_is():
    sampler = TaskSampler(IDS[:3], seed=0, alpha=0.1)
    sampler.commit(0, 3, dict.fromkeys(IDS[:3], True))
    tasks = sampler.draw(1, 30)
    assert all(from_pool for _, from_pool in tasks) and {p for p, _ in tasks} == set(IDS[:3])
    sampler.commit(1, 30, {IDS[1]: False})
    assert sampler.pool == [IDS[0], IDS[2]]
    assert {p for p, from_pool in sampler.draw(2, 30) if not from_pool} == {IDS[1]}


def test_twice_the_same_id_is_one_problem():
    """Otherwise a sampler whose problems are all easy would look for another one for ever."""
    sampler = TaskSampler(["a", "a", "b"], seed=0, alpha=0.0)
    sampler.commit(0, 2, {"a": True, "b": True})
    assert {p for p, _ in sampler.draw(1, 20)} == {"a", "b"}


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_a_restored_sampler_goes_on_the_same(alpha):
    """State survives JSON at every step; solved problems come and go."""
    easy = [set(IDS[step % 10 : step % 10 + 4]) for step in range(20)]
    whole, states, expected = TaskSampler(IDS, 0, alpha), [], []
    for step in range(20):
        states.append(json.dumps(whole.state()))
        expected.append(whole.draw(step, 7))
        whole.commit(step, 5, solved_by(whole, step, 5, easy[step]))
    assert len({len(json.loads(s)["pool"]) for s in states}) > 2
    for at in (1, 8, 19):
        sampler = TaskSampler(IDS, 0, alpha)
        sampler.restore(json.loads(states[at]))
        for step in range(at, 20):
            assert sampler.draw(step, 7) == expected[step]
            sampler.commit(step, 5, solved_by(sampler, step, 5, easy[step]))
        assert sampler.state() == whole.state()
    assert TaskSampler(IDS, 0, alpha).draw(8, 7) != expected[8]  # negative control: no state
