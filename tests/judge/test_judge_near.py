"""A verdict that chance may decide is decided once: alone, and remembered by what it depends on."""

from dataclasses import replace

import pytest

from openmimo.judge import near
from openmimo.judge.pool import Judge
from openmimo.rows import Limits, Problem, Test, TestVerdict

ASK = [{"role": "user", "content": "Solve it."}]
BURN = "import time\ndef f(n):\n    while n and time.process_time() < {}:\n        pass\n    return n\n"
PROBLEM = Problem(
    "p", "code", ASK, entry_point="f", tests=[Test("a", "call", [0], 0), Test("b", "call", [1], 1)], limits=Limits(0.2)
)


@pytest.fixture
def judge():
    with Judge() as judge:
        yield judge


def kinds(judge, problem, program):
    return [verdict.verdict for verdict in judge.judge_many([(problem, program)])[0]]


def test_a_test_near_its_limit_runs_alone_once(judge, monkeypatch):
    memory = near.Memory()
    monkeypatch.setattr("openmimo.judge.pool.MEMORY", memory)
    start = judge.judge_many([(PROBLEM, "import time\ndef f(n):\n    return time.process_time()")])[0][0]
    assert start.verdict == "WA" and judge.again == 0 and not memory.verdicts  # nothing near: nothing again
    program = BURN.format("began + 0.15").replace("def f", "began = time.process_time()\ndef f")
    assert kinds(judge, PROBLEM, program) == ["AC", "AC"] and judge.again == 1
    assert kinds(judge, replace(PROBLEM, id="q"), program) == ["AC", "AC"] and judge.again == 1  # known by content
    assert [verdict.test_id for verdict in memory.verdicts.values()] == ["b"]
    for changed in (
        (replace(PROBLEM, limits=Limits(0.21)), program),
        (PROBLEM, program + "#"),
        (replace(PROBLEM, tests=[PROBLEM.tests[0], Test("b", "call", [2], 2)]), program),
        (replace(PROBLEM, tags={"python_equality": True}), program),
    ):
        before = judge.again
        assert kinds(judge, *changed) == ["AC", "AC"] and judge.again == before + 1


def test_what_is_remembered_is_the_verdict(judge, monkeypatch):
    """Control: a memory that holds another verdict is believed, so it is the memory that answers."""

    class Liar(near.Memory):
        def recall(self, key, test_id):
            return TestVerdict(test_id, "TLE")

    monkeypatch.setattr("openmimo.judge.pool.MEMORY", Liar())
    program = BURN.format("began + 0.15").replace("def f", "began = time.process_time()\ndef f")
    assert kinds(judge, PROBLEM, program) == ["AC", "TLE"] and judge.again == 0


def test_the_memory_is_bounded():
    memory = near.Memory(most=2)
    for number in range(3):
        memory.keep(bytes([number]), TestVerdict(str(number), "AC"))
    assert memory.recall(b"\0", "x") is None and memory.recall(b"\2", "x") == TestVerdict("x", "AC")
