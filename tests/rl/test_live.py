"""The live driver on a tiny model: whatever the schedule, the workers, the judge's pace and the accidents, one batch."""

import os
import random
import signal
import time
from fractions import Fraction as F

import pytest
import torch
from miniature import checkpoint_folder, problems

from openmimo.errors import UserError
from openmimo.recipe import Optim, Rl
from openmimo.rl.rollout.journal import Journal
from openmimo.rl.rollout.replay import fit_decode, replayed
from openmimo.rl.rollout.simulate import simulate
from openmimo.rl.rollout.trace import read_trace
from openmimo.rl.rollout.workers import Process
from openmimo.rl.score import Scored
from openmimo.rl.trainer import Trainer

torch.set_num_threads(1)
RL = Rl(
    optim=Optim(name="muon", adam_ratio=1.0, weight_decay=0.0), lr=3e-3, steps=2, batch=4, minibatch=4, group=4,
    max_tokens=24, easy_alpha=0.2, micro_batch=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint_folder(tmp_path_factory.mktemp("live") / "model")


def score(owners, texts, reasons):
    """By the text alone; problems of odd number are never solved, so their groups have no gradient."""
    rights = [len(text) % 2 == 0 and int(owners[0].id[1:]) % 2 == 0 for text in texts]
    return [Scored(F(right), right) for right in rights]


def slow(owners, texts, reasons):
    """The same, after a while that is another one each time."""
    time.sleep(random.random() / 20)
    return score(owners, texts, reasons)


def trainer_of(folder, *, scorers=(score,), slots=16, keep=None, **changes) -> Trainer:
    return Trainer(folder, problems(9), RL.model_copy(update=changes), 0, slots, list(scorers), keep)


def outcome(trainer, steps=2):
    """Hashes of the batches, S and the weights after some steps."""
    try:
        hashes = [trainer.step(step, steps)["batch_hash"] for step in range(steps)]
    finally:
        trainer.close()
    weights = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
    return hashes, trainer.sampler.state(), weights.numpy().tobytes()


@pytest.fixture(scope="module")
def naive(folder):
    """What naive rollouts in one process give: what all others are compared with."""
    return outcome(trainer_of(folder, schedule="naive"))


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "continuous", "slots": 5},
        {"schedule": "async", "scorers": (slow, slow, slow)},
        {"schedule": "early"},
        {"schedule": "early", "slots": 3, "scorers": (slow, slow)},
        {"schedule": "early", "slots": 64},
        {"schedule": "early", "engines": 2, "slots": 6},
        pytest.param({"schedule": "early", "engines": 1, "scorers": (slow,), "slots": 8}, marks=pytest.mark.proof),
        pytest.param({"schedule": "naive", "engines": 2, "slots": 4}, marks=pytest.mark.proof),
    ],
    ids=lambda changes: "-".join(str(v) for v in changes.values() if not isinstance(v, tuple)),
)
def test_the_same_data_bit_for_bit(folder, naive, changes):
    """Batches, S' and weights of two steps: schedules, slots, slow judges, one and two worker processes."""
    assert outcome(trainer_of(folder, **changes)) == naive


def test_the_comparison_sees_another_seed_and_static(folder, naive):
    """Negative controls."""
    assert outcome(trainer_of(folder, schedule="static"))[0] != naive[0]
    other = Trainer(folder, problems(9), RL, 1, 16, [score])
    assert outcome(other)[0] != naive[0]


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.proof)])
def test_a_worker_that_dies_or_hangs_changes_nothing(folder, naive, how):
    """One of two workers, in the middle of its tasks; its tasks start again under their numbers."""
    trainer = trainer_of(folder, engines=2, slots=6)
    workers = trainer.driver.workers
    for worker in workers:
        worker.hang_s = 10.0
        assert worker.connection.poll(60)
    hit, start = [], workers[0].start

    def start_and_suffer(n, requests):
        start(n, requests)
        if not hit and n > 1:
            hit.append(n)
            os.kill(workers[0].process.pid, how)

    workers[0].start = start_and_suffer
    assert outcome(trainer) == naive and hit


def test_an_engine_that_was_idle_for_long_is_not_lost(folder, naive):
    """Training between two steps may last longer than `hang_s`; silence counts from the first task on."""
    trainer = trainer_of(folder, engines=1, slots=6)
    (worker,) = trainer.driver.workers
    assert worker.connection.poll(60)
    process, collect = worker.process, trainer.driver.collect

    def after_a_while(*step):
        worker.heard = time.monotonic() - 2 * worker.hang_s
        return collect(*step)

    trainer.driver.collect = after_a_while
    try:
        assert [trainer.step(step, 2)["batch_hash"] for step in range(2)] == naive[0]
        assert worker.process is process
    finally:
        trainer.close()


@pytest.mark.proof
def test_a_task_that_kills_three_workers_stops_the_step(folder):
    trainer = trainer_of(folder, engines=1, slots=6)
    (worker,) = trainer.driver.workers
    start = worker.start

    def start_and_die(n, requests):
        start(n, requests)
        if n == 1:
            worker.process.kill()

    worker.start = start_and_die
    try:
        with pytest.raises(UserError, match=r"task \d of step 1\) took down three engines"):
            trainer.step(0, 2)
    finally:
        trainer.close()
    assert worker.process.poll() is not None


class Killed(BaseException):
    """Stands in for kill -9."""


def test_a_step_cut_off_at_any_event_goes_on_to_the_same_batch(folder, naive, tmp_path, monkeypatch):
    """After each line of the journal, and within it, the run dies; what a new one finds there is not done again."""
    whole = tmp_path / "whole"
    whole.mkdir()
    outcome(trainer_of(folder, keep=whole), steps=1)
    lines = (whole / "journal.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) >= 8
    for at in range(len(lines)):
        broken = tmp_path / f"at{at}"
        broken.mkdir()
        (broken / "journal.jsonl").write_bytes(b"".join(lines[:at]) + lines[at][: len(lines[at]) // 2])
        trainer = trainer_of(folder, keep=broken, scorers=[score])
        asked = []
        start = trainer.driver.workers[0].start
        monkeypatch.setattr(trainer.driver.workers[0], "start", lambda n, r, s=start, a=asked: (a.append(n), s(n, r)))
        assert trainer.step(0, 2)["batch_hash"] == naive[0][0], at
        trainer.close()
        known = {n for n in range(40) if Journal(broken / "journal.jsonl").events(0, n)}
        complete = sum(b'"events"' in line for line in lines[:at])
        assert len(asked) <= len(known | set(asked)) - complete


def test_a_journal_of_other_steps_is_not_asked(folder, naive, tmp_path):
    """Step 0's lines do not answer for step 1."""
    assert outcome(trainer_of(folder, keep=tmp_path)) == naive
    journal = Journal(tmp_path / "journal.jsonl")
    assert journal.events(0, 0) != journal.events(1, 0) and journal.events(2, 0) is None
    assert {s.reward for s in journal.scored(0, 0)} <= {F(0), F(1)}


def test_an_error_while_scoring_stops_the_step_and_the_next_one_is_clean(folder, naive):
    broken = []

    def once(owners, texts, reasons):
        if not broken:
            broken.append(owners[0].id)
            raise UserError("the judge is not there")
        return score(owners, texts, reasons)

    trainer = trainer_of(folder, scorers=[once])
    with pytest.raises(UserError, match="the judge is not there"):
        trainer.step(0, 2)
    assert outcome(trainer) == naive


def test_the_trace_tells_every_tasks_life(folder, tmp_path):
    """Times in order, the batch kept, what was aborted, and the simulator's replay on it."""
    trainer = trainer_of(folder, keep=tmp_path, engines=1, slots=8)
    outcome(trainer)
    steps = read_trace(tmp_path / "trace.jsonl")
    assert [step.row["step"] for step in steps] == [0, 1]
    for step in steps:
        ends = [life.end for life in step.lives]
        assert ends.count("kept") == 4 and set(ends) <= {"kept", "dropped", "surplus", "aborted"}
        assert [life.n for life in step.lives] == list(range(step.row["started"]))
        for life in step.lives:
            assert life.reason and life.start <= life.ended <= step.row["ended"]
            if life.end in ("kept", "dropped"):
                assert step.row["began"] <= life.start <= life.began < life.done <= life.judge <= life.judged
                assert life.n < step.row["used"] and len(life.lengths) == 4 and life.slot_s > 0
    scenario, replay = replayed(tmp_path)
    found = simulate(scenario, replay=replay)
    assert (scenario.batch, scenario.group, scenario.replicas, scenario.slots) == (4, 4, 1, 8)
    for name in ("naive", "early"):
        assert found[name].batches == [tuple(x.n for x in s.lives if x.end == "kept") for s in steps]


def test_the_fit_of_the_decode_time_by_hand():
    """2 ms and 0.1 ms a row, 3 ms a new group of 4."""

    class Step:
        row = {
            "decode": [[[rows, new, 2e-3 + 1e-4 * rows + 3e-3 * new / 4] for rows in (1, 4, 9) for new in (0, 4, 8)]]
        }

    assert fit_decode([Step], 4) == pytest.approx((2e-3, 1e-4, 3e-3))


def test_a_worker_ends_with_its_parent(folder):
    trainer = trainer_of(folder, engines=1)
    (worker,) = trainer.driver.workers
    assert isinstance(worker, Process) and worker.process.poll() is None
    trainer.close()
    assert worker.process.poll() is not None
