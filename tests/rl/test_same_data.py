"""The same data whatever happens: real responses that come in any order, judges as late as chance has it, engines that
are lost; and a process that is killed with -9 at any event of a step, then resumed."""

import os
import random
import signal
import time
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from miniature import checkpoint_folder
from test_live import outcome, score, trainer_of

from openmimo.infer.engine import generate
from openmimo.rl.rollout.feed import Done
from openmimo.rl.rollout.policy import StepPolicy
from openmimo.rl.rollout.workers import Local, WorkerLost

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint_folder(tmp_path_factory.mktemp("same") / "model")


@pytest.fixture(scope="module")
def naive(folder):
    return outcome(trainer_of(folder, schedule="naive"))


class Chance(Local):
    """The engine's own responses, handed over in an order by chance; now and then it is lost with all it held. known:
    responses by (weights' version, task), so that they are generated once a test file."""

    def __init__(self, inner: Local, rng: random.Random, faults: float, known: dict, hits: dict[int, int]):
        self.engine, self.slots, self.left = inner.feed.engine, inner.slots, {}
        self.rng, self.faults, self.known = rng, faults, known
        self.held: dict[int, int] = {}
        self.hits = hits  # of all workers: how often a task was lost; the third time would stop the step
        self.feed = SimpleNamespace(busy=False)

    def update(self, state, version):
        self.engine.update_weights(state, version)
        self.held = {}
        self.hits.clear()

    def start(self, n, requests):
        if (self.engine.version, n) not in self.known:
            self.known[self.engine.version, n] = generate(self.engine, requests)
        self.held[n] = len(requests) - 1
        self.feed.busy = True

    def abort(self, n):
        self.held.pop(n, None)

    def receive(self):
        if self.held and self.rng.random() < self.faults and max(self.hits.get(n, 0) for n in self.held) < 2:
            for n in self.held:
                self.hits[n] = self.hits.get(n, 0) + 1
            raise WorkerLost
        partly, done = [], []
        for n in self.rng.sample(sorted(self.held), min(len(self.held), self.rng.randint(0, 2))):
            if self.held[n] and self.rng.random() < 0.6:
                self.held[n] -= 1
                partly.append(n)
            else:
                del self.held[n]
                now = [time.monotonic()] * 4
                done.append(Done(n, self.known[self.engine.version, n], now, now, now))
        self.feed.busy = bool(self.held)
        return partly, done

    def take_steps(self):
        return []

    def restart(self):
        self.held, self.left = {}, {}

    def close(self):
        pass


KNOWN: dict = {}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 2**32), st.sampled_from(["naive", "continuous", "async", "early"]), st.integers(1, 3),
    st.sampled_from([0.0, 0.1]), st.sampled_from([4, 10, 64]),
)  # fmt: skip
def test_any_order_any_latency_any_fault_gives_the_same_data(folder, naive, seed, schedule, judges, faults, slots):
    """Hashes of two steps' batches, S and the weights after them."""
    rng = random.Random(seed)

    def late(owners, texts, reasons):
        time.sleep(rng.random() / 200)
        return score(owners, texts, reasons)

    trainer = trainer_of(folder, schedule=schedule, slots=slots, scorers=(late,) * judges)
    inner = trainer.driver.workers[0]
    hits: dict[int, int] = {}
    trainer.driver.workers = [Chance(inner, rng, faults, KNOWN, hits) for _ in range(2)]
    assert outcome(trainer) == naive


def test_the_hash_sees_one_other_token(folder, naive):
    """Negative control: what is compared above is what was generated."""
    known = {key: list(events) for key, events in KNOWN.items()}
    assert known, "run the whole file"
    for events in known.values():
        events[0] = events[0].__class__(**vars(events[0]) | {"logprobs": [x - 1e-6 for x in events[0].logprobs]})
    trainer = trainer_of(folder)
    inner = trainer.driver.workers[0]
    trainer.driver.workers = [Chance(inner, random.Random(0), 0.0, known, {})]
    assert outcome(trainer)[0] != naive[0]


def killed_at(folder, keep, at: int) -> bool:
    """Runs a step in a process of its own that kills itself with -9 at the policy's event number `at`; whether it did."""
    child = os.fork()
    if child == 0:
        count = 0

        def counted(handle):
            def event(self, *args):
                nonlocal count
                count += 1
                if count > at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return handle(self, *args)

            return event

        try:
            for name in ("sampled", "completed", "judged"):
                setattr(StepPolicy, name, counted(getattr(StepPolicy, name)))
            trainer_of(folder, keep=keep).step(0, 2)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def resumed(folder, naive_hash, weights, tmp_path, at: int) -> bool:
    """Killed at an event and resumed: the same batch and weights. False where the step has no such event."""
    keep = tmp_path / str(at)
    keep.mkdir()
    if not killed_at(folder, keep, at):
        return False
    hashes, _, found = outcome(trainer_of(folder, keep=keep), steps=1)
    assert (hashes, found) == ([naive_hash], weights), at
    return True


@pytest.fixture(scope="module")
def one_step(folder):
    return outcome(trainer_of(folder, schedule="naive"), steps=1)


@pytest.mark.parametrize("at", [0, 9, 30])
def test_kill_9_in_a_step_then_resume(folder, one_step, tmp_path, at):
    assert resumed(folder, one_step[0][0], one_step[2], tmp_path, at)


@pytest.mark.proof
def test_kill_9_at_every_event_of_a_step(folder, one_step, tmp_path):
    """As above, at each event until there is none left."""
    at = 0
    while resumed(folder, one_step[0][0], one_step[2], tmp_path, at):
        at += 1
    assert at > 30
