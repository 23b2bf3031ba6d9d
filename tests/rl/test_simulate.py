"""The simulator: a step by hand, the same batches under every schedule, ratios by hand, scenarios that cannot be."""

import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, openmimo
from hypothesis import given, settings
from hypothesis import strategies as st

from openmimo.errors import UserError
from openmimo.rl.easy_pool import Task
from openmimo.rl.rollout.bias import bias
from openmimo.rl.rollout.policy import SCHEDULES, Schedule, StepPolicy
from openmimo.rl.rollout.replica import Replica
from openmimo.rl.rollout.scenario import Outcome, World, load_scenario, parse_scenario
from openmimo.rl.rollout.simulate import simulate
from openmimo.rl.rollout.table import table

DYNAMIC = ("naive", "continuous", "async", "early")
SMALL = {
    "name": "small", "steps": 3, "problems": 500, "batch": 8, "group": 4, "replicas": 3, "slots": 8,
    "overhead_s": 1.0, "decode": {"base_s": 0.01, "row_s": 0.001},
    "lengths": {"median": 100, "problem_sigma": 0.8, "sample_sigma": 0.4, "cap": 1000},
    "keep": {"rate": 0.4, "length_correlation": 0.3, "spread": 0.5}, "judge": {"group_s": 0.3, "servers": 2},
}  # fmt: skip


def scenario_of(**changes):
    return parse_scenario(SMALL | changes, "small")


class ByHand:
    """Outcomes from a list: (lengths, valid, seconds of judging) of task n, half of them expected to be valid."""

    def __init__(self, *rows):
        self.rows = rows

    def tasks(self, step):
        return self

    def commit(self, tasks, outcomes):
        pass

    def __getitem__(self, n):
        return Task(str(n), False, 0.5)

    def expected(self, n):
        return False, 0.5

    def outcome(self, step, n, task):
        return Outcome(*self.rows[n])


def test_a_replica_by_hand():
    """Two slots, one token a second each; with both busy half of it."""
    replica = Replica([1.0, 1.0, 0.5], slots=2, start_s=0.0)
    replica.start(0, [4.0, 2.0], 0.0)
    replica.start(1, [1.0], 0.0)  # waits for a slot
    assert replica.next() == 4.0  # 2 tokens at half speed
    assert replica.leave(4.0) == [(0, None)] and replica.next() == 6.0  # task 1 came in: 1 token at half speed
    assert replica.leave(6.0) == [(1, 2.0)] and replica.next() == 7.0  # alone: the last token in a second
    assert replica.leave(7.0) == [(0, 11.0)] and replica.next() is None  # slots held 7 + 4 seconds
    assert replica.busy() == 7.0


def test_an_aborted_task_frees_its_slots_and_is_not_busy_time():
    replica = Replica([1.0, 1.0, 0.5], slots=2, start_s=0.0)
    replica.start(0, [10.0], 0.0)
    replica.start(1, [3.0, 5.0], 0.0)
    assert replica.abort(0, 2.0) == (1, 2.0, 1.0)  # one sample, 2 slot-seconds, 1 token
    assert replica.next() == 2.0 + 2 / 0.5  # the second sample of task 1 came in, the first has 2 tokens to go
    assert replica.leave(6.0) == [(1, None)]
    assert replica.next() == 6.0 + 3.0 and replica.leave(9.0) == [(1, 6.0 + 7.0)]
    assert replica.busy() == 9.0


def test_a_prompt_holds_the_replica_up():
    replica = Replica([1.0, 1.0], slots=1, start_s=0.5)
    replica.start(0, [2.0], 1.0)
    assert replica.next() == 3.5


def test_naive_and_seamless_by_hand():
    """One replica with two slots, groups of one sample, B = 2; task 0 is long, 1 has no gradient, 2 and 3 have one."""
    rows = ([10.0], True, 1.0), ([2.0], False, 1.0), ([3.0], True, 1.0), ([1.0], True, 1.0), ([9.0], True, 1.0)
    scenario = scenario_of(
        batch=2, group=1, replicas=1, slots=2, overhead_s=0.0, steps=1, decode={"base_s": 1.0},
        judge={"group_s": 1.0, "servers": 2}, keep={"rate": 0.5},
    )  # fmt: skip
    found = simulate(scenario, {name: SCHEDULES[name] for name in DYNAMIC}, ByHand(*rows))
    assert {m.batches[0] for m in found.values()} == {(0, 2)}
    assert found["naive"].seconds == 10 + 2 + 3 + 2  # the round's longest, two rewards; again
    # Seamless: 1 ends at 2; with 0.5 expected of it and of 0, task 2 starts then and ends at 5; 3 runs from 5 to 6.
    # 2 and 3 are judged valid at 6 and 7: then k <= 3, and it waits for 0, complete at 10, judged at 11.
    assert found["early"].seconds == 11
    assert found["early"].valid >= 2 and found["async"].seconds >= 11
    rates = table(found, 1, 2, 0.9)
    assert rates["early"]["rollout_speedup"] == pytest.approx(17 / 11)
    assert rates["early"]["overall_speedup"] == pytest.approx(1 / (0.1 + 0.9 * 11 / 17))
    naive_slots = 10 + 2 + 3 + 1
    assert rates["naive"]["idle_ratio"] == pytest.approx(1 - naive_slots / 34)
    assert rates["naive"]["busy_idle_ratio"] == pytest.approx(1 - 13 / 17)
    assert rates["naive"]["waste_ratio"] == pytest.approx(1 / 2)
    normalized = rates["early"]["idle_ratio"] / rates["naive"]["idle_ratio"] * 11 / 17
    assert rates["early"]["normalized_idle"] == pytest.approx(normalized)


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 4), st.integers(4, 12), st.floats(0.3, 1.0), st.floats(0.0, 2.0),
    st.sampled_from([{}, {"order": "longest_first"}, {"selective": 0.5, "forecast": "problem"}]),
)  # fmt: skip
def test_every_schedule_trains_on_the_same(seed, replicas, slots, keep, judge, options):
    """Cluster, latency and schedule change when things happen, never what is trained: batches of three steps, so S too."""
    batches = set()
    for cluster in ({"replicas": replicas, "slots": slots}, {"replicas": 2, "slots": 5}):
        times = {"judge": {"group_s": judge, "servers": 1 + seed % 3}, "keep": {"rate": keep, "spread": 0.5}}
        found = simulate(scenario_of(seed=seed, problems=40, **cluster, **times, **options))
        batches |= {str(found[name].batches) for name in DYNAMIC}
    assert len(batches) == 1


def test_other_tasks_are_other_batches():
    """Negative control for the above."""
    assert simulate(scenario_of())["early"].batches != simulate(scenario_of(seed=1))["early"].batches


def test_the_bias_meter_of_a_simulated_run_and_of_its_control():
    rules = {"early": SCHEDULES["early"], "first": Schedule(stop="first_finished")}
    scenario = scenario_of(steps=6, slots=32, keep={"rate": 0.5})
    meters = {}
    for name, measured in simulate(scenario, rules).items():
        steps = zip(measured.batches, measured.valids, measured.lengths, strict=True)
        meters[name] = [bias(batch, valid, lengths) for batch, valid, lengths in steps]
    assert meters["early"] == [0.0] * 6 and sum(meters["first"]) / 6 > 0.1


def test_what_may_happen_at_once_costs_less_time():
    """Each component of Seamless Rollout helps where it should, on the report's shape at a sixteenth of its size."""
    report = load_scenario(REPOSITORY / "recipes/scenarios/report.toml")
    small = report.model_copy(update={"replicas": 16, "batch": 32, "steps": 3,
                                      "judge": report.judge.model_copy(update={"group_s": 16 * report.judge.group_s})})  # fmt: skip
    rows = table(simulate(small), small.replicas, small.slots, small.rollout_share)
    assert rows["naive"]["rollout_speedup"] == 1 < rows["continuous"]["rollout_speedup"]
    assert rows["async"]["rollout_speedup"] <= rows["early"]["rollout_speedup"]
    assert rows["static"]["rollout_speedup"] == pytest.approx(2.82, rel=0.1)
    assert rows["early"]["busy_idle_ratio"] < rows["naive"]["busy_idle_ratio"]


def operations(batch: int, schedule: str) -> float:
    """Bytecodes a task that one step takes."""
    counted = [0]

    def trace(frame, event, _):
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        counted[0] += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = simulate(scenario_of(batch=batch, steps=1, problems=50), {schedule: SCHEDULES[schedule]})
    finally:
        sys.settrace(before)
    return counted[0] / found[schedule].started


def test_a_task_costs_the_same_among_few_and_among_many(monkeypatch):
    """On the same slots; the control's forecast looks at every task of the step."""
    few, many = (operations(batch, "early") for batch in (30, 150))
    assert many <= 1.01 * few
    forecast = StepPolicy.forecast

    def looking(policy):
        for _ in policy.verdicts:
            pass
        return forecast(policy)

    monkeypatch.setattr(StepPolicy, "forecast", looking)
    few, many = (operations(batch, "early") for batch in (30, 150))
    assert many > 1.05 * few


def test_histories_choose_better():
    """Where problems differ, drawing what taught something before needs fewer tasks for the same batch."""
    scenario = scenario_of(keep={"rate": 0.4, "spread": 0.9}, warm_epochs=2, steps=4)
    used = {}
    for selective in (1.0, 0.5):
        measured = simulate(scenario.model_copy(update={"selective": selective}), {"early": SCHEDULES["early"]})
        used[selective] = measured["early"].used
    assert used[0.5] < 0.8 * used[1.0]


def test_the_mean_keep_rate_is_the_scenarios():
    for keep in ({"spread": 0.9}, {"length_correlation": -0.8}, {"spread": 0.5, "length_correlation": 0.5}):
        world = World(scenario_of(problems=20_000, keep={"rate": 0.4} | keep))
        assert sum(world.keep) / 20_000 == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("name = 'x", "not TOML"),
        ("name = 'x'\nbatchs = 3", "unknown key 'batchs'; did you mean 'batch'?"),
        ("name = 'x'\nbatch = 0", "batch: Input should be greater than 0"),
        (None, "no such scenario"),
    ],
)
def test_a_scenario_that_cannot_be(tmp_path, text, wanted):
    path = tmp_path / "s.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=wanted.replace("?", r"\?")):
        load_scenario(path)
    with pytest.raises(UserError, match="must hold a group"):
        scenario_of(replicas=1, slots=2)
    with pytest.raises(UserError, match="must be below 1"):
        scenario_of(keep={"rate": 0.5, "spread": 0.9, "length_correlation": 0.9})


def test_the_command(tmp_path):
    scenario = Path(tmp_path / "s.toml")
    scenario.write_text(
        'name = "s"\nbatch = 4\ngroup = 2\nreplicas = 2\nslots = 4\nsteps = 2\n[decode]\nbase_s = 0.01\n'
        "[lengths]\nmedian = 50\n[keep]\nrate = 0.5\n[judge]\ngroup_s = 0.1\n"
    )
    found = openmimo("simulate", scenario)
    assert found.returncode == 0, found.stderr
    assert "early" in found.stdout and "waste" in found.stdout
    found = openmimo("simulate", scenario, "--policy", "sloppy")
    assert found.returncode == 2 and "static, naive, continuous, async, early" in found.stderr
