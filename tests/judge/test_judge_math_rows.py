"""Math answers on the gold answers of MATH and GSM8K: rewritten ones are right, other ones wrong, and nothing hangs.

A fixed sample here, all of them under `make prove`; without the short-circuit, so every pair is Math-Verify's to judge.
"""

import json
import os
import random
import re
import time
from pathlib import Path

import pytest
from rewritten_answers import rewrites

from openmimo.judge.maths import MathJudge

DATA = Path(__file__).parents[3] / "shared" / "data"
EQUAL = [
    (r"\frac{3}{4}", "0.75"), ("75\\%", r"\frac{3}{4}"), ("25", r"25\%"), (r"\frac{1}{4}", r"25\%"), (r"2\frac{1}{2}", "2.5"),
    (r"\dfrac{\pi}{2}", r"\frac\pi 2"), ("1,234.5", "1234.5"), (r"12\text{ cm}", r"12 \text{ centimeters}"), ("12", r"12\text{ cm}"),
    (r"\$5", "5"), (r"5\text{ dollars}", r"\$5"), (r"\{3,1,2\}", r"\{1,2,3\}"), ("3, 1, 2", "1,2,3"),
    (r"(-\infty,2]\cup[3,\infty)", r"\left(-\infty,2\right] \cup \left[3,\infty\right)"), ("(0.5, 2)", r"\left(\frac{1}{2},2\right)"),
    (r"90^{\circ}", r"90^\circ"), ("90", r"90^{ \circ }"), (r"90\text{ degrees}", r"90^\circ"), ("monday", r"\text{Monday}"),
    (r"\text{(C)}", r"\text{C}"), ("5 = x", "x=5"), ("2x+1=y", "y=2x+1"), (r"a + b + c", "c+b+a"), (r"\sin^2 t", r"\sin(t)^2"),
    (r"8\!:\!34 \text{ p.m.}", r"8:34\text{ p.m.}"), (r"1011_2", r"1011_{2}"), (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix}2/2\\4/2\end{pmatrix}"),
    (r"\sqrt{8}", r"2\sqrt 2"), (r"i + 1", "1+i"), ("-0.5", r"-\frac12"), (r"\approx 8.24", "8.24"), (r"x \in [0,1]", "[0,1]"),
]  # fmt: skip
SIMILAR = [  # (answer, gold): close in writing, different in meaning
    *((str(n + 1), str(n)) for n in (0, 9, 99, 1000, 123456, -1)),
    *((f"-{n}", str(n)) for n in (1, 7, 12, 360)),
    *((f"{n}0", str(n)) for n in (1, 5, 42)),
    *((f"{n / 10}", str(n)) for n in (5, 42, 100)),
    *((rf"\frac{{{b}}}{{{a}}}", rf"\frac{{{a}}}{{{b}}}") for a, b in ((1, 2), (3, 4), (22, 7), (5, 9), (7, 10))),
    *((rf"\frac{{{a + 1}}}{{{b}}}", rf"\frac{{{a}}}{{{b}}}") for a, b in ((1, 2), (3, 4), (22, 7), (5, 9))),
    *((f"{x}", rf"\frac{{{a}}}{{{b}}}") for x, a, b in ((0.3, 1, 3), (0.33, 1, 3), (0.66, 2, 3), (0.1, 1, 9), (3.14, 22, 7))),
    *((rf"\sqrt{{{n}}}", str(n)) for n in (2, 3, 10)),
    *((rf"{a}\sqrt{{{b}}}", rf"{b}\sqrt{{{a}}}") for a, b in ((2, 3), (3, 5), (5, 7))),
    *((rf"{n}\pi", str(n)) for n in (2, 14)), *((rf"\pi^{n}", rf"{n}\pi") for n in (2, 3)),
    ("3.14", r"\pi"), ("1.41", r"\sqrt{2}"), ("2.72", "e"), ("2^3", "3^2"), ("2^{10}", "1000"), ("x^2", "2x"), ("x^2+1", "x^2-1"),
    ("(x+1)^2", "x^2+1"), ("x+y", "x-y"), ("xy", "x+y"), (r"\frac{x}{y}", r"\frac{y}{x}"), ("2x+1", "2x-1"), ("y=2x-1", "y=2x+1"),
    ("x=2y+1", "y=2x+1"), ("(1,2)", "(2,1)"), ("(1,2,3)", "(1,2)"), ("(-1,2)", "(1,2)"), ("(1,2)", "[1,2]"), ("(1,2]", "[1,2)"),
    ("[1,2]", "[1,3]"), (r"(-\infty,2)", r"(-\infty,2]"), (r"(-\infty,2)\cup(2,\infty)", r"(-\infty,\infty)"), (r"[1,\infty)", r"(1,\infty)"),
    (r"\{1,2\}", r"\{1,2,3\}"), (r"\{1,2,4\}", r"\{1,2,3\}"), ("1,2", "1,3"), ("1,2,3", "1,2"), ("1", "1,2"), ("2", r"\pm 2"),
    (r"\text{Tuesday}", r"\text{Monday}"), (r"\text{odd}", r"\text{even}"), (r"\text{tea}", r"\text{eat}"), ("no", r"\text{yes}"),
    (r"\text{(A)}", r"\text{(B)}"), ("C", "D"), (r"30^\circ", r"60^\circ"), (r"45^\circ", r"\frac{\pi}{3}"), (r"25\%", r"75\%"),
    (r"2.5\%", r"25\%"), ("0.025", r"25\%"), (r"5\text{ cm}", r"5\text{ m}"), (r"5\text{ minutes}", r"5\text{ hours}"), (r"3\text{ feet}", r"3\text{ inches}"),
    (r"5\text{ cents}", r"5\text{ dollars}"), ("101_3", "101_2"), ("110_2", "101_2"), ("7:30", "7:03"), ("4:51 a.m.", "4:51 p.m."),
    ("05:00", "07:00"), ("5:7", "5:6"), ("1+i", "1-i"), ("i", "-i"), ("2i", "2"), (r"|x|", "-x"), (r"\log 2", r"\ln 2"), (r"\sin x", r"\cos x"),
    (r"\begin{pmatrix} 1 & 2 \end{pmatrix}", r"\begin{pmatrix} 2 & 1 \end{pmatrix}"), (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 3 \end{pmatrix}"),
    (r"\infty", r"-\infty"), (r"\emptyset", r"\{0\}"), (r"\frac{1}{x+1}", r"\frac{1}{x}+1"), ("2(x+1)", "2x+1"), ("10^5", "10^6"), (r"5!", "5"),
]  # fmt: skip


@pytest.fixture(scope="module")
def judge():
    with MathJudge(len(os.sched_getaffinity(0))) as judge:
        yield judge


def gold(name):
    """The gold answers of a data set, those that are there and not empty, in order."""
    path = DATA / {"math": "math_train.json", "gsm8k": "gsm8k_train.jsonl"}[name]
    if not path.is_file():
        pytest.skip(f"../shared/data/{path.name} is not here")
    if name == "math":
        return [row["answer"] for row in json.loads(path.read_text()) if row["answer"]]
    return [json.loads(line)["answer"].split("####")[1].strip() for line in path.read_text().splitlines()]


def worth(answer):
    """What two golds of equal value share: no unit, no percent or degree sign, no name of an unknown."""
    text = re.sub(r"\\text\s*\{[^{}]*\}|\\%|\^\{?\\circ\}?|^[A-Za-z]\s*=|\\\$|\\!|\s", "", answer)
    return text or answer


def next_different(answers):
    """(the next row's different gold, gold) of every row."""
    found = []
    for place, answer in enumerate(answers):
        later = answers[place + 1 :] + answers[:place]
        found.append((next(other for other in later if worth(other) != worth(answer)), answer))
    return found


def check_rewritten(judge, answers):
    rewritten = [(kind, text, answer) for answer in answers for kind, text in rewrites(answer)]
    verdicts = judge.judge_many([(text, answer) for _, text, answer in rewritten], short_circuit=False)
    missed = [one for one, verdict in zip(rewritten, verdicts, strict=True) if verdict != "right"]
    assert len(missed) <= 0.01 * len(rewritten), missed[:40]
    return rewritten, missed


def check_next(judge, answers):
    pairs = next_different(answers)
    verdicts = judge.judge_many(pairs, short_circuit=False)
    assert [(pair, verdict) for pair, verdict in zip(pairs, verdicts, strict=True) if verdict != "wrong"] == []


def test_equal_forms_are_right(judge):
    verdicts = judge.judge_many(EQUAL, short_circuit=False)
    assert [pair for pair, verdict in zip(EQUAL, verdicts, strict=True) if verdict != "right"] == []


def test_similar_answers_are_wrong(judge):
    assert len(set(SIMILAR)) >= 100
    verdicts = judge.judge_many(SIMILAR)
    assert [(pair, verdict) for pair, verdict in zip(SIMILAR, verdicts, strict=True) if verdict == "right"] == []


@pytest.mark.parametrize("name", ["math", "gsm8k"])
def test_sample_of_gold_answers(judge, name):
    answers = random.Random(0).sample(gold(name), 60)
    check_rewritten(judge, answers)
    check_next(judge, answers)


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["math", "gsm8k"])
def test_all_gold_answers(judge, name):
    answers = gold(name)
    rewritten, missed = check_rewritten(judge, answers)
    print(f"{name}: {len(rewritten) - len(missed)} of {len(rewritten)} rewritten golds right; missed: {missed}")
    check_next(judge, answers)


PIECES = [
    "^", "_", "{", "}", "\\frac", "\\sqrt", "(", ")", "9", "10^", "!", "!!", "\\left(", "\\right)", "x", "\\sum_{n=1}^{99999}",
    "\\prod", "\\int_0^{10^9}", "e^{", "\\binom{10^9}{10^8}", "99999999", "\\pmod", "=", ",", "\\text{", "\\\\", "&", "|",
    "\\begin{matrix}", "\\end{matrix}", "\0", "\x1b", "é", "∞", "\\infty", "^{^{^{", "1/0", "\\log", "\\sin", "10^{10^{10}}",
    "(1+x)^{999}", "\\ln(\\ln(", "i^i", "0^0", "%", "\\%", "'", '"', "`", "__import__('os')", "\n", "\r", "lambda x:x",
]  # fmt: skip


def hostile(count):
    """Strings that models or their enemies might box: towers, factorials, unclosed groups, code, control characters."""
    draw = random.Random(0)
    return ["".join(draw.choices(PIECES, k=draw.randint(1, 30))) for _ in range(count)]


def test_hostile_strings_do_not_hang(judge, monkeypatch):
    monkeypatch.setattr("openmimo.judge.maths.CPU_S", 1.0)
    strings = hostile(60)
    verdicts = judge.judge_many([(text, "42") for text in strings], short_circuit=False)
    assert "right" not in verdicts and "IE" not in verdicts
    assert judge.judge_many([("0.5", "1/2")]) == ["right"]


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_thousand_hostile_strings(judge):
    strings = hostile(1000)
    began = time.monotonic()
    verdicts = judge.judge_many([(text, "42") for text in strings], short_circuit=False)
    assert "right" not in verdicts and "IE" not in verdicts
    assert time.monotonic() - began < 3000
    assert judge.judge_many([("0.5", "1/2")]) == ["right"]
