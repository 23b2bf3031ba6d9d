"""Math answers: equal forms are right, others wrong, a list of guesses is wrong, and nothing hangs."""

import os
import signal
import time

import pytest

from openmimo.judge import maths
from openmimo.judge.maths import MathJudge, Verifier
from openmimo.judge.maths_text import settled

RIGHT = [
    ("7", "7"), ("007", "7"), ("1,000", "1000"), (r"1,\!000", "1000"), ("1{,}000", "1000"), ("$7$", "7"), ("7.", "7"),
    (r"\dfrac{1}{2}", r"\frac{1}{2}"), ("0.5", r"\frac{1}{2}"), ("1/2", "0.5"), (r"\frac12", "0.5"), ("0.50", "1/2"),
    (r"\sqrt{12}", r"2\sqrt{3}"), ("x = 5", "5"), ("f(2)=5", "5"), (r"\{2, 1\}", r"\{1,2\}"), ("2, 1", "1, 2"),
    ("(1, 2)", "(1,2)"), (r"\left(1,\frac{4}{2}\right)", "(1,2)"), ("[0, 1)", r"\left[0,1\right)"), ("90", r"90^\circ"),
    (r"50\%", "0.5"), ("5", r"5\text{ cm}"), ("Monday", r"\text{Monday}"), ("(x+1)^2", "x^2+2x+1"), ("y=2x+1", "y = 2x + 1"),
    (r"-\frac{1}{2}", r"\frac{-1}{2}"), (r"1\frac{1}{2}", "1.5"), (r"\pm 2", "2, -2"), (r"\text{(B)}", "B"),
]  # fmt: skip
WRONG = [
    ("8", "7"), ("-7", "7"), ("1000", "1,001"), ("0.51", r"\frac{1}{2}"), ("x = 6", "5"), (r"\{1, 3\}", r"\{1,2\}"),
    ("(2, 1)", "(1,2)"), ("(0, 1)", "[0,1)"), ("Tuesday", r"\text{Monday}"), ("x^2+1", "(x+1)^2"), ("1 2", "12"),
    ("12", "1 2"), (r"\sqrt{13}", r"2\sqrt{3}"), ("1, 2, 3", "1, 2"),
]  # fmt: skip
GUESSES = [
    "9, 10, 11", "9; 10", "9 or 10", r"9 \text{ or } 10", r"10 \text{ and } 9", "9 | 10", r"9 \mid 10", r"9 \cup 10",
    "9\n10", r"9 \\ 10", "9 = 10", "8 = 9 = 10", r"9 \equiv 10", r"9 \to 10", r"9 \Rightarrow 10", r"\{9, 10\}", "[0, 20]",
    r"\pm 10", r"9 \quad 10", r"\neq 10", "not 10", "10?", r"9 \vee 10", "9} \\boxed{10", r"9 \newline 10", "9...10",
    ", ".join(map(str, range(100))),
]  # fmt: skip


@pytest.fixture(scope="module")
def judge():
    with MathJudge() as judge:
        yield judge


def test_equal_forms_are_right(judge):
    verdicts = judge.judge_many(RIGHT)
    assert [pair for pair, verdict in zip(RIGHT, verdicts, strict=True) if verdict != "right"] == []


def test_other_values_are_wrong(judge):
    verdicts = judge.judge_many(WRONG)
    assert [pair for pair, verdict in zip(WRONG, verdicts, strict=True) if verdict != "wrong"] == []


def test_guesses_do_not_pass(judge):
    assert "right" not in judge.judge_many([(guess, "10") for guess in GUESSES])


def test_no_answer_is_unparsable(judge):
    hopeless = [None, "", "  ", "{", "\\", "^", "1" * 10_000, r"\frac{"]
    assert judge.judge_many([(answer, "10") for answer in hopeless]) == ["unparsable"] * len(hopeless)


def test_plain_cases_need_no_process():
    with MathJudge() as judge:
        pairs = [("7", "7"), ("8", "7"), ("x + 1", "x+1"), (None, "7"), ("1,2,3", "2")]
        assert judge.judge_many(pairs) == ["right", "wrong", "right", "unparsable", "wrong"]
        assert not judge.workers
    assert settled("0.5", "1/2") is None


def test_a_hostile_answer_costs_its_time_and_no_more(monkeypatch):
    monkeypatch.setattr(maths, "CPU_S", 0.5)
    with MathJudge() as judge:
        assert judge.judge_many([("0.5", "1/2")]) == ["right"]
        start = time.monotonic()
        assert judge.judge_many([(r"10^{10^{10^{10}}}", "1/2"), ("0.25", "1/4")]) == ["unparsable", "right"]
        assert time.monotonic() - start < 10


def test_a_dead_process_is_replaced_and_then_our_fault(judge, monkeypatch):
    judge.judge_many([("0.5", "1/2")])
    os.kill(judge.workers[0].process.pid, signal.SIGKILL)
    assert judge.judge_many([("0.5", "1/2")]) == ["right"]

    def start(self, honest=Verifier.start):
        honest(self)
        self.process.kill()

    monkeypatch.setattr(Verifier, "start", start)
    judge.close()
    assert judge.judge_many([("0.5", "1/2"), ("3", "3")]) == ["IE", "right"]
