"""Workers are killed at random while they judge: no program is lost, judged twice or wrongly a failure."""

import contextlib
import os
import random
import signal
import threading

import pytest

from openmimo.judge.leash import Worker
from openmimo.judge.pool import Judge
from openmimo.rows import Problem, Test

ASK = [{"role": "user", "content": "Solve it."}]
CALLS = [Test(str(n), "call", [n], n * n) for n in range(3)]
TEXTS = [Test(str(n), "stdin", str(n), str(n * n)) for n in range(3)]


def programs(count):
    """(problem, program, verdicts that are right): calls and stdin programs, every other one wrong on its last test."""
    for number in range(count):
        value = "n * n" if number % 2 else "n * n if n < 2 else -1"
        if number % 4 < 2:
            problem, text = (
                Problem("calls", "code", ASK, entry_point="f", tests=CALLS),
                f"def f(n):\n    return {value}",
            )
        else:
            problem, text = Problem("texts", "code", ASK, tests=TEXTS), f"n = int(input())\nprint({value})"
        yield problem, text, ["AC", "AC", "AC" if number % 2 else "WA"]


@pytest.fixture
def killer(monkeypatch):
    """`kills(gap)` starts: a random worker is killed a random moment after every `gap`-th request. A gap above two means
    that no program is hit three times, however slow the machine is; the list that it returns counts the kills."""
    draw, killed, timers = random.Random(0), [], []

    def kills(judge, gap):
        sent = 0

        def kill():
            with contextlib.suppress(ProcessLookupError):
                os.kill(draw.choice(judge.workers).process.pid, signal.SIGKILL)
                killed.append(1)

        def send(worker, case, honest=Worker.send):
            nonlocal sent
            sent += 1
            honest(worker, case)
            if sent % gap == 0:
                timers.append(threading.Timer(draw.uniform(0, 0.01), kill))
                timers[-1].start()

        monkeypatch.setattr(Worker, "send", send)
        return killed

    yield kills
    for timer in timers:
        timer.cancel()
        timer.join()


@pytest.mark.parametrize("rung", [None, "landlock"])
@pytest.mark.parametrize("count, gap", [(200, 25), pytest.param(5000, 50, marks=pytest.mark.proof)])
def test_killed_workers_lose_nothing(killer, rung, count, gap):
    asked = list(programs(count))
    with Judge(2, rung=rung) as judge:
        killed = killer(judge, gap)
        found = judge.judge_many([(problem, text) for problem, text, _ in asked])
    assert len(killed) >= count // gap // 2
    for (problem, _, right), verdicts in zip(asked, found, strict=True):
        assert [v.test_id for v in verdicts] == [t.id for t in problem.tests]
        assert [v.verdict for v in verdicts] == right
