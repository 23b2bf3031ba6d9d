"""The RL stage on a tiny model: a step is a function of its state, so a killed run goes on bit-equal."""

import json
import math
from fractions import Fraction as F

import pytest
import torch
from miniature import checkpoint_folder, problems

from openmimo.errors import UserError
from openmimo.infer.draft import MTPDrafter
from openmimo.infer.engine import Engine
from openmimo.model.hub import save_into
from openmimo.recipe import Optim, Rl
from openmimo.rl import trainer as room
from openmimo.rl.score import Scored
from openmimo.rl.trainer import Trainer
from openmimo.train.checkpoint import Checkpointer
from openmimo.train.log import Log

torch.set_num_threads(1)
RL = Rl(
    optim=Optim(name="muon", adam_ratio=1.0, weight_decay=0.0), lr=3e-3, steps=3, batch=3, minibatch=3, group=4,
    max_tokens=8, easy_alpha=0.3, micro_batch=5, warmup_steps=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint_folder(tmp_path_factory.mktemp("rl") / "model")


def score(owners, texts, reasons):
    """Half of the responses are right; those to p0 and p1 all are, so that they go to the easy pool."""
    easy = {"p0", "p1"}
    rewards = [F(1) if p.id in easy else F(len(text) % 2) for p, text in zip(owners, texts, strict=True)]
    return [Scored(reward, reward == 1) for reward in rewards]


def trainer_of(folder, score=score, count=6, **changes) -> Trainer:
    return Trainer(folder, problems(count), RL.model_copy(update=changes), seed=0, slots=16, scorers=[score])


class EveryStep(Checkpointer):
    """Saves after every step."""

    def __init__(self, folder):
        super().__init__(folder, 0.0)


class Killed(BaseException):
    """Stands in for kill -9."""


def killed_at(step):
    def listener(row):
        if row.get("step") == step:
            raise Killed

    return listener


def train(trainer, folder, checkpointer=None, listener=None, steps=3):
    log = Log(folder, listener)
    trainer.train(steps, checkpointer or Checkpointer(folder, math.inf), log)
    log.file.close()
    return rows_of(folder)


def rows_of(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    timed = ("time", "started", "surplus")
    return [{k: v for k, v in row.items() if k not in timed and not k.endswith("_s")} for row in rows]


def same_weights(one, two):
    return all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """(trainer, rows) of an unbroken run."""
    trainer = trainer_of(folder)
    return trainer, train(trainer, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("changes", [{}, {"minibatch": 1}, {"loss_norm": "group"}, {"schedule": "static"}])
@pytest.mark.parametrize(("saves", "at"), [(EveryStep, 3), (None, 2)])
def test_a_killed_run_goes_on_bit_equal(folder, whole, tmp_path, changes, saves, at):
    """Killed in step 3 after the checkpoint of step 2, or in step 2 before there was any."""
    if changes:
        unbroken = trainer_of(folder, **changes)
        expected = train(unbroken, tmp_path / "whole")
    else:
        unbroken, expected = whole
    broken = tmp_path / "broken"
    with pytest.raises(Killed):
        train(trainer_of(folder, **changes), broken, saves and saves(broken), killed_at(at))
    resumed = trainer_of(folder, **changes)
    assert train(resumed, broken) == expected
    assert same_weights(resumed, unbroken)
    assert resumed.sampler.state() == unbroken.sampler.state()
    assert unbroken.sampler.pool and unbroken.sampler.place > 0


@pytest.mark.parametrize("part", ["sampler", "optim", "model"])
def test_a_resume_without_all_of_the_state_would_differ(folder, whole, tmp_path, part):
    """Negative control: one part of the checkpoint is that of the beginning."""
    with pytest.raises(Killed):
        train(trainer_of(folder), tmp_path, EveryStep(tmp_path), killed_at(3))
    checkpointer, fresh = Checkpointer(tmp_path, 0), trainer_of(folder)
    state = checkpointer.load()
    state[part] = fresh.state(0, Log(tmp_path / "other"))[part]
    checkpointer.save(state)
    train(fresh, tmp_path)
    assert not same_weights(fresh, whole[0])


def test_the_rows_of_a_run(whole):
    """By hand: what a step logs agrees with the groups it used and with the sampler."""
    trainer, rows = whole
    assert [row["step"] for row in rows] == [1, 2, 3] and {row["total"] for row in rows} == {3}
    assert [row["lr"] for row in rows] == pytest.approx([1.5e-3, 3e-3, 3e-3])
    assert {row["batch"] for row in rows} == {3}
    assert rows[-1]["pool"] == len(trainer.sampler.pool) > 0
    for row in rows:
        assert 0 < row["kept"] <= 1 and row["groups"] >= 3
        assert row["logprob_gap_max"] < 1e-4 and row["clip_fraction"] == 0  # on-policy


def test_reward_and_lengths_are_those_of_the_groups_that_count(folder, monkeypatch):
    trainer = trainer_of(folder)
    seen = []
    collect = trainer.driver.collect
    trainer.driver.collect = lambda *a: seen.append(collect(*a)) or seen[-1]
    row = trainer.step(0, 3)
    events = [e for g in seen[0].used for e in g.events]
    rewards = [float(r) for g in seen[0].used for r in g.rewards]
    assert row["reward"] == pytest.approx(sum(rewards) / len(rewards))
    assert row["response_length"] == pytest.approx(sum(len(e.token_ids) for e in events) / len(events))
    assert row["truncated"] == pytest.approx(sum(e.finish_reason == "length" for e in events) / len(events))
    assert row["kept"] == sum(len(set(g.rewards)) > 1 for g in seen[0].used) / len(seen[0].used)
    tasks = [g.task for g in seen[0].batch]
    assert tasks == sorted(tasks) and seen[0].used[-1].task == tasks[-1]
    assert [g.task for g in seen[0].used] == list(range(len(seen[0].used)))


def test_mtp_is_frozen_and_the_rest_moves(folder, whole):
    before, after = trainer_of(folder).model, whole[0].model
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        assert torch.equal(old, new) == (not new.requires_grad) == (".mtp_layers." in name), name


def test_minibatches_update_more_than_once(folder, tmp_path, monkeypatch):
    """Three groups, one an update: three optimiser steps, off-policy after the first."""
    trainer, lrs = trainer_of(folder, minibatch=1, lr=0.05), []
    step = trainer.optim.step
    trainer.optim.step = lambda lr: lrs.append(lr) or step(lr)
    (first, *_) = train(trainer, tmp_path, steps=2)
    assert lrs == [0.025] * 3 + [0.05] * 3
    assert first["clip_fraction"] > 0


def test_a_group_with_our_fault_stops_the_step(folder, tmp_path):
    """IE is never a reward: the step ends with an error that names the problem, and changes nothing."""

    def faulty(owners, texts, reasons):
        found = score(owners, texts, reasons)
        return [Scored(None, False) if p.id == "p3" else s for p, s in zip(owners, found, strict=True)]

    trainer = trainer_of(folder, faulty)
    before, state = trainer_of(folder), trainer.sampler.state()
    with pytest.raises(UserError, match=r"judging problem p3 failed three times by our fault.*run the same command"):
        trainer.step(0, 3)
    assert same_weights(trainer, before) and trainer.sampler.state() == state


@pytest.mark.parametrize("rewards", ["easy", "hard", "both"])
def test_without_any_valid_group_the_run_stops(folder, rewards):
    """The error names what is too easy and what is too hard; weights and sampler stay."""

    def flat(owners, *_):
        easy = rewards == "easy" or rewards == "both" and owners[0].id in ("p1", "p4")
        return [Scored(F(easy), easy)] * len(owners)

    trainer = trainer_of(folder, flat, max_tasks_per_step=6)
    state = trainer.sampler.state()
    wanted = {
        "easy": "none of 6 groups was valid .*6 too easy .p0, p1, p2, p3, p4, ",
        "hard": "problems 6 too hard",
        "both": "2 too easy .p1, p4. and 4 too hard .p0, p2, p3, p5.",
    }[rewards]
    with pytest.raises(UserError, match=wanted):
        trainer.step(0, 3)
    assert same_weights(trainer, trainer_of(folder)) and trainer.sampler.state() == state


def test_a_step_with_too_few_valid_groups_trains_on_those(folder, tmp_path):
    """Only p2 is between too easy and too hard: one valid group of six."""

    def one(owners, texts, reasons):
        right = [owners[0].id == "p2" and n % 2 == 0 for n in range(len(owners))]
        return [Scored(F(r), r) for r in right]

    said = []
    trainer = trainer_of(folder, one, max_tasks_per_step=6)
    (row,) = train(trainer, tmp_path, steps=1, listener=lambda row: said.append(row.get("text", "")))
    assert (row["batch"], row["groups"]) == (1, 6) and "loss" in row
    assert any("only 1 of 3 groups were valid among 6; raise rl.max_tasks_per_step" in text for text in said)


def test_without_dynamic_sampling_one_round_is_the_batch(folder, tmp_path):
    trainer = trainer_of(folder, schedule="static")
    rows = train(trainer, tmp_path, steps=2)
    assert [(row["groups"], row["batch"]) for row in rows] == [(3, 3)] * 2


def test_without_any_signal_nothing_is_learned(folder, tmp_path):
    """Without dynamic sampling, all rewards equal: the weights stay."""
    trainer = trainer_of(folder, lambda owners, *_: [Scored(F(0), False)] * len(owners), schedule="static")
    (row,) = train(trainer, tmp_path, steps=1)
    assert (row["kept"], row["batch"]) == (0, 3) and "loss" not in row
    assert same_weights(trainer, trainer_of(folder))


def test_the_checkpoint_is_a_folder_that_loads(folder, whole, tmp_path):
    save_into(tmp_path, whole[0].model, folder)
    assert same_weights(trainer_of(tmp_path), whole[0])


def test_problems_that_cannot_be_trained_on(folder):
    with pytest.raises(UserError, match="there are no problems"):
        trainer_of(folder, count=0)
    with pytest.raises(UserError, match="'p0' comes twice"):
        Trainer(folder, problems(2) + problems(1), RL, 0, 16, [score])
    with pytest.raises(UserError, match=r"exceeds the model's 96 positions; rl.max_tokens may be at most"):
        trainer_of(folder, max_tokens=200)
    assert room.Trainer is Trainer


def test_drafting_changes_no_bit_of_rl(folder, tmp_path):
    """Rollouts with MTP guesses, under weights that change every step: the same rows, the same weights."""
    plain, drafting = trainer_of(folder), trainer_of(folder)
    (worker,) = drafting.driver.workers
    stop_ids, vocab_size = list(worker.feed.engine.stop_ids), worker.feed.engine.vocab_size
    worker.feed.engine = Engine(drafting.model, stop_ids, 16, vocab_size, drafter=MTPDrafter(1))
    assert train(plain, tmp_path / "plain") == train(drafting, tmp_path / "drafting")
    assert same_weights(plain, drafting)
    drafted, accepted = worker.feed.engine.drafter.counts.values()
    assert drafted[0] > 100 and accepted[0] > 0
