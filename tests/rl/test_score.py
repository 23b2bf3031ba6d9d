"""A batch of responses of both kinds becomes rewards; a user's own function plugs in."""

from fractions import Fraction as F

import pytest

from openmimo.errors import UserError
from openmimo.judge.maths import MathJudge
from openmimo.judge.pool import Judge
from openmimo.rl.difficulty import DifficultyTable
from openmimo.rl.score import Scored, load_reward, score_responses
from openmimo.rows import Problem, Test, TestVerdict

ASK = [{"role": "user", "content": "?"}]
MATH = Problem("m", "math", ASK, answer="1/2")
CODE = Problem("c", "code", ASK, entry_point="f", tests=[Test(str(n), "call", [n], abs(n)) for n in (-1, 0, 1)])
TABLE = DifficultyTable({"c": [["0", "1"], ["-1"]]}, {"c": {"0": F(1), "1": F(1), "-1": F(0)}})
RIGHT = "<think>hm</think>\n```python\ndef f(n):\n    return abs(n)\n```"
HALF = "```python\ndef f(n):\n    return n\n```"


@pytest.fixture(scope="module")
def judges():
    with Judge() as judge, MathJudge() as math_judge:
        yield judge, math_judge


def test_rewards_of_a_batch(judges):
    batch = [
        (MATH, r"\boxed{0.5}", "stop", F(1), True),
        (CODE, RIGHT, "stop", F(1), True),
        (CODE, HALF, "stop", F(1, 2), False),
        (MATH, r"\boxed{0.5}", "length", F(0), False),
        (CODE, RIGHT, "length", F(0), False),
        (CODE, "def f(n): return abs(n)", "stop", F(0), False),
        (MATH, r"<think>\boxed{0.5}", "stop", F(0), False),
        (MATH, r"\boxed{0.6}", "stop", F(0), False),
        (CODE, RIGHT + " ", "stop", F(1), True),
        (MATH, r"\boxed{\frac{1}{2}}", "stop", F(1), True),
    ]
    problems, responses, reasons, rewards, passed = zip(*batch, strict=True)
    found = score_responses(problems, responses, reasons, *judges, "strict", TABLE)
    assert [scored.reward for scored in found] == list(rewards)
    assert [scored.passed for scored in found] == list(passed)
    assert [verdict.verdict for verdict in found[2].verdicts] == ["WA", "AC", "AC"]
    assert found[4].verdicts == found[5].verdicts == [] and found[4].answer is None
    assert found[0].answer == "0.5" and found[2].answer == "def f(n):\n    return n\n"


@pytest.mark.parametrize(("kind", "points"), [("soft", F(1, 2)), ("linear", F(2, 3)), ("all_or_nothing", 0)])
def test_reward_kinds(judges, kind, points):
    assert score_responses([CODE], [HALF], ["stop"], *judges, kind, TABLE)[0].reward == points


def test_without_a_table_all_tests_are_one_level(judges):
    assert score_responses([CODE], [HALF], ["stop"], *judges, "strict")[0].reward == 0
    assert score_responses([CODE], [HALF], ["stop"], *judges, "soft")[0].reward == F(2, 3)


class CountingJudge:
    """Stands in for both judges; remembers what it was asked."""

    def __init__(self, verdict):
        self.verdict, self.asked = verdict, []

    def judge_many(self, items):
        self.asked += items
        if isinstance(items[0][0], Problem):
            return [[TestVerdict(test.id, self.verdict) for test in problem.tests] for problem, _ in items]
        return [self.verdict for _ in items]


def test_the_same_program_is_judged_once():
    judge = CountingJudge("AC")
    score_responses([CODE] * 4, [RIGHT, HALF, RIGHT, HALF], ["stop"] * 4, judge, None)
    assert len(judge.asked) == 2


def test_our_fault_earns_nothing():
    judge = CountingJudge("IE")
    found = score_responses([CODE, MATH], [RIGHT, r"\boxed{1}"], ["stop"] * 2, judge, judge)
    assert [(scored.reward, scored.passed) for scored in found] == [(None, False)] * 2


def test_own_reward(judges, tmp_path, monkeypatch):
    (tmp_path / "own_reward.py").write_text(
        "def short(problem, response):\n    return 1 if len(response) < 3 else 0.25\n"
        "def bad(problem, response):\n    return 2\n"
        "def nothing(problem, response):\n    pass\n"
        "number = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = score_responses([MATH] * 3, ["a", "abc", "a"], ["stop", "stop", "length"], *judges, "own_reward:short")
    assert found == [Scored(F(1), True), Scored(F(1, 4), False), Scored(F(0), False)]
    for name in ("own_reward:bad", "own_reward:nothing"):
        with pytest.raises(UserError, match="number in"):
            load_reward(name)(MATH, "a")
    for name in ("own_reward:none", "no_such_module:f", "own_reward:number", "own_reward:", ":f"):
        with pytest.raises(UserError, match="module:function"):
            load_reward(name)


def test_bad_arguments_are_user_errors(judges):
    with pytest.raises(UserError, match="finish reasons"):
        score_responses([MATH], ["a"], [], *judges)
    with pytest.raises(UserError, match="not one of"):
        score_responses([MATH], ["a"], ["stop"], *judges, "best")
