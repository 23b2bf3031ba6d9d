"""Where engines and judges work: what a recipe may name, what a run says of its batches, engines that are pulled over a
network, judges on servers."""

import socket
import subprocess
import sys
import threading
import time

import pytest
import torch
from miniature import checkpoint_folder, problems
from pydantic import ValidationError
from test_live import outcome, trainer_of

from openmimo.infer.engine import Engine
from openmimo.recipe import Rl
from openmimo.rl.rollout.engines import INVARIANT, purity
from openmimo.rl.rollout.feed import Feed
from openmimo.rl.rollout.pulled import Pulled
from openmimo.rl.rollout.workers import WorkerLost
from openmimo.rl.score import score_responses
from openmimo.rl.stage import Answers, judge_at

torch.set_num_threads(1)


def test_what_a_recipe_may_name():
    for where in ("processes", "ray", "http://a:1,https://b"):
        assert Rl(steps=1, engines_at=where).engines_at == where
    for field, where in (("engines_at", "slurm"), ("engines_at", "http://a:1, http://b"), ("judges_at", "a:8300")):
        with pytest.raises(ValidationError, match=field):
            Rl(steps=1, **{field: where})


def test_a_run_says_whether_its_batches_are_pure(monkeypatch):
    monkeypatch.delenv(INVARIANT, raising=False)
    assert purity("processes") == purity("ray") and "are a function of" in purity("ray")
    assert "NOT a function" in purity("http://gpu:8000")
    monkeypatch.setenv(INVARIANT, "1")
    assert "batch-invariant mode" in purity("http://gpu:8000")


class InThread(Pulled):
    """The smallest engine elsewhere: in this process, worked on by the thread that pulls. Dies once, at a task from dies_at on."""

    def __init__(self, model, stop_ids, slots, vocab_size, dies_at=None):
        super().__init__(slots)
        self.make = lambda: Feed(Engine(model, stop_ids, slots, vocab_size), slots)
        self.lock, self.dies_at, self.version = threading.Lock(), dies_at, -1
        self.begin()

    def begin(self):
        self.feed, self.dead = self.make(), False
        self.listen()

    def send(self, what, *values):
        with self.lock:
            if what == "weights":
                self.feed.clear()
                self.feed.engine.update_weights(*values)
                self.version = values[1]
            else:
                getattr(self.feed, what)(*values)
                if what == "start" and self.dies_at is not None and values[0] >= self.dies_at:
                    self.dead, self.dies_at = True, None

    def round(self):
        with self.lock:
            if self.dead:
                raise WorkerLost
            return self.version, *self.feed.work(), self.feed.take_steps()


def test_pulled_engines_give_the_same_data(tmp_path):
    """Two of them, of which one is lost with its tasks."""
    folder = checkpoint_folder(tmp_path / "model")
    naive = outcome(trainer_of(folder, schedule="naive"))
    trainer = trainer_of(folder)
    made_of = (trainer.model, [trainer.tokenizer.eos_id], 6, trainer.tokenizer.vocab_size)
    trainer.driver.workers = [InThread(*made_of, dies_at=1), InThread(*made_of)]
    assert outcome(trainer) == naive
    assert trainer.driver.workers[0].dies_at is None


def test_judges_on_a_server(request):
    """A real server of ours: math answers and programs by RemoteJudge, as the stage asks for it."""
    pytest.importorskip("uvicorn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "openmimo.cli", "judge", "serve", "--port", str(port), "--workers", "1"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    request.addfinalizer(lambda: (server.kill(), server.wait()))
    until = time.monotonic() + 60
    while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < until:
        time.sleep(0.1)
    with judge_at(f"http://127.0.0.1:{port}", []) as judge:
        rows = problems(1)
        texts = [f"\\boxed{{{rows[0].answer}}}", "\\boxed{99}"]
        found = score_responses([rows[0]] * 2, texts, ["stop"] * 2, judge, Answers(judge))
    assert [one.passed for one in found] == [True, False]
