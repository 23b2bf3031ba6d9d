"""Every score against a number derived by hand or by trying all cases."""

import itertools
import json
import math
import random
from fractions import Fraction

import pytest

from openmimo.errors import UserError
from openmimo.eval.metrics import (
    apart,
    average,
    avg_at,
    ci95,
    paired_difference,
    pass_at_k,
    pass_at_k_curve,
    summarise,
    verdicts,
)

T, F = True, False


def row(problem, passed, family="sums", difficulty=1):
    samples = [{"text": "", "passed": bool(p), "finish_reason": "stop", "tokens": 1} for p in passed]
    return {"problem_id": problem, "family": family, "difficulty": difficulty, "samples": samples}


def test_avg_by_hand():
    assert avg_at([[T, F], [T, T]]) == 0.75
    assert avg_at([[F] * 8, [T] + [F] * 7]) == 1 / 16


def test_interval_by_hand():
    # Means 1/4, 2/4, 3/4: M = 1/2, sum of squares 2/16, / (3 - 1) = 1/16, / 3 = 1/48, SE = 1 / (4 sqrt 3) = 0.14434.
    samples = [[T, F, F, F], [T, T, F, F], [T, T, T, F]]
    low, high = ci95(samples)
    assert low == pytest.approx(0.5 - 1.959964 * 0.1443376, abs=1e-6)
    assert high == pytest.approx(0.5 + 1.959964 * 0.1443376, abs=1e-6)


def test_interval_stays_in_0_to_1_and_degenerate_cases():
    assert ci95([[T, T], [T, T], [T, F]])[1] == 1.0
    assert ci95([[F, F], [F, F], [T, F]])[0] == 0.0
    assert ci95([[T, F]]) == [0.0, 1.0], "one question says nothing about others"
    assert ci95([[T, T], [T, T]]) == [1.0, 1.0]


def test_clustering_widens_the_interval_where_answers_to_a_question_agree():
    agree = [[T] * 8] * 10 + [[F] * 8] * 10
    naive = [[passed] for question in agree for passed in question]  # 160 answers as if they were 160 questions
    assert avg_at(agree) == avg_at(naive) == 0.5
    clustered_width, naive_width = (high - low for low, high in (ci95(agree), ci95(naive)))
    # SE = sqrt(20 * 0.25 / 19 / 20) against sqrt(160 * 0.25 / 159 / 160).
    assert clustered_width / naive_width == pytest.approx(math.sqrt(159 / 19))


def test_the_interval_covers_the_truth_about_95_times_in_100():
    rng, covered, runs = random.Random(0), 0, 400
    for _ in range(runs):
        skills = [rng.random() for _ in range(60)]  # the population's mean is 1/2
        low, high = ci95([[rng.random() < skill for _ in range(4)] for skill in skills])
        covered += low <= 0.5 <= high
    assert 0.92 <= covered / runs <= 0.98


@pytest.mark.parametrize("n", range(1, 8))
def test_pass_at_k_against_all_subsets(n):
    for c in range(n + 1):
        answers = [T] * c + [F] * (n - c)
        for k in range(1, n + 1):
            draws = list(itertools.combinations(answers, k))
            assert pass_at_k(n, c, k) == float(Fraction(sum(map(any, draws)), len(draws)))


def test_pass_at_k_is_unbiased():
    # The expected value over all 2^n outcomes of answers that are right with chance p is exactly 1 - (1 - p)^k.
    n, k, p = 6, 3, Fraction(1, 3)
    expected = sum(
        math.comb(n, c) * p**c * (1 - p) ** (n - c) * Fraction(pass_at_k(n, c, k)).limit_denominator(1000)
        for c in range(n + 1)
    )
    assert expected == 1 - (1 - p) ** k


def test_pass_at_k_refuses_what_makes_no_sense():
    for n, c, k in ((8, 9, 1), (8, -1, 1), (8, 0, 0), (8, 0, 9)):
        with pytest.raises(UserError, match="pass@k"):
            pass_at_k(n, c, k)


def test_curve_is_the_mean_over_questions_and_starts_at_avg():
    samples = [[T, F, F, F], [F] * 4]  # one right of four: k / 4; none right: 0
    assert pass_at_k_curve(samples) == {"1": 0.125, "2": 0.25, "3": 0.375, "4": 0.5}
    samples = [[random.Random(i * 8 + j).random() < 0.4 for j in range(8)] for i in range(20)]
    curve = pass_at_k_curve(samples)
    assert curve["1"] == pytest.approx(avg_at(samples)) and list(curve) == [str(k) for k in range(1, 9)]
    assert sorted(curve.values()) == list(curve.values())


def test_summary_by_family_and_difficulty():
    rows = [
        row("a", [1] * 8, "sums", 1),
        row("b", [0] * 8, "sums", 10),
        row("c", [1] * 4 + [0] * 4, "code", 2),
    ]
    summary = summarise(rows)
    assert summary["avg8"] == average(summary) == 0.5 and summary["questions"] == 3 and summary["samples"] == 8
    assert summary["by_family"]["sums"]["avg8"] == 0.5 and summary["by_family"]["code"]["ci95"] == [0.0, 1.0]
    assert list(summary["by_difficulty"]) == ["1", "2", "10"], "in order of size, not of letters"
    assert summary["by_difficulty"]["10"]["pass_at_k"]["8"] == 0.0
    assert summary["pass_at_k"]["8"] == pytest.approx(2 / 3)
    assert json.loads(json.dumps(summary)) == summary
    assert "avg2" in summarise([row("a", [1, 0])])


def test_summary_refuses_uneven_or_no_samples():
    with pytest.raises(UserError, match="some questions have 1 samples and some 2"):
        summarise([row("a", [1]), row("b", [1, 0])])
    with pytest.raises(UserError, match="no sampled answers"):
        summarise([])
    with pytest.raises(UserError, match="no sampled answers"):
        summarise([row("a", [])])


def test_paired_difference_by_hand():
    # Differences 1/2, 1/2, 0: mean 1/3, sum of squares 1/6, / 2 / 3 = 1/36, SE = 1/6.
    new = [row("a", [1, 1]), row("b", [1, 0]), row("c", [0, 0])]
    old = [row("c", [0, 0]), row("a", [1, 0]), row("b", [0, 0])]
    difference = paired_difference(new, old)
    assert difference["difference"] == pytest.approx(1 / 3) and difference["questions"] == 3
    assert difference["ci95"] == pytest.approx([1 / 3 - 1.959964 / 6, 1 / 3 + 1.959964 / 6])
    reverse = paired_difference(old, new)
    assert reverse["difference"] == -difference["difference"]
    assert reverse["ci95"] == pytest.approx([-bound for bound in reversed(difference["ci95"])])


def test_pairing_is_narrower_where_both_models_find_the_same_questions_hard():
    old = [row(str(i), [i % 4 > j for j in range(4)]) for i in range(16)]
    new = [row(str(i), [i % 4 >= j for j in range(4)]) for i in range(16)]  # one answer more right on each
    difference = paired_difference(new, old)
    assert difference["difference"] == 0.25 and difference["ci95"] == [0.25, 0.25]
    assert not apart(ci95(verdicts(new)), ci95(verdicts(old))), "the separate intervals cannot tell them apart"


def test_paired_difference_needs_the_same_questions():
    with pytest.raises(UserError, match="'b'"):
        paired_difference([row("a", [1])], [row("a", [1]), row("b", [1])])


def test_apart():
    assert apart([0.1, 0.2], [0.21, 0.3]) and apart([0.21, 0.3], [0.1, 0.2])
    assert not apart([0.1, 0.2], [0.2, 0.3]) and not apart([0.1, 0.9], [0.4, 0.5])
