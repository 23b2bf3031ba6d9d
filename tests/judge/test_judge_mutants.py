"""Wrong programs are rejected: changed golden solutions of MBPP+ that show a difference on at least one of its tests.
And the verdicts on right and wrong ones are the same however crowded the machine is."""

import gzip
import json
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from mutants import differ, mutants

from openmimo.judge.formats import read_problems
from openmimo.judge.pool import Judge
from openmimo.rows import Limits, Problem, Test

MBPP = Path(__file__).parents[3] / "shared" / "data" / "mbpp_plus.jsonl.gz"
ASK = [{"role": "user", "content": "Solve it."}]
SLOW = {"Mbpp/255", "Mbpp/599", "Mbpp/389", "Mbpp/583", "Mbpp/630"}


def wrong_programs(judge, names, each, tests):
    """(problem, mutant) for the named problems, cut to so many tests; mutants that show on one of these."""
    if not MBPP.is_file():
        pytest.skip("../shared/data/mbpp_plus.jsonl.gz is not here")
    problems = [replace(p, tests=p.tests[:tests]) for p in read_problems(MBPP, judge, only=names)]
    pairs = [(p, mutant) for p in problems for mutant in mutants(p.golden, each, p.id)]
    after = [p.tags.get("after", "") for p, _ in pairs]
    asked = [
        (p.golden + end, mutant + end, p.entry_point, [t.input for t in p.tests])
        for (p, mutant), end in zip(pairs, after, strict=True)
    ]
    return [pair for pair, shows in zip(pairs, differ(asked), strict=True) if shows]


def accepted(judge, pairs, stop_on_failure=False):
    """The ids of problems of which a program passed all tests."""
    found = judge.judge_many([(p, program) for p, program in pairs], stop_on_failure)
    for (p, _), verdicts in zip(pairs, found, strict=True):
        assert len(verdicts) == len(p.tests) or (stop_on_failure and verdicts[-1].verdict not in ("AC", "IE"))
    return [p.id for (p, _), verdicts in zip(pairs, found, strict=True) if {v.verdict for v in verdicts} == {"AC"}]


@pytest.fixture(scope="module")
def judge():
    with Judge(2) as judge:
        yield judge


def test_mutants_are_rejected(judge):
    if not MBPP.is_file():
        pytest.skip("../shared/data/mbpp_plus.jsonl.gz is not here")
    with gzip.open(MBPP, "rt") as lines:
        names = sorted({json.loads(line)["task_id"] for line in lines} - SLOW)
    pairs = wrong_programs(judge, set(random.Random(2).sample(names, 20)), 3, 20)
    assert len(pairs) >= 30
    assert accepted(judge, pairs) == []
    right = {p.id: (p, p.golden) for p, _ in pairs}
    assert accepted(judge, list(right.values())) == list(right)  # control: the unchanged ones pass the same tests


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_all_mutants_are_rejected(judge):
    pairs = wrong_programs(judge, None, 6, None)
    print(f"{len(pairs)} mutants")
    assert len(pairs) >= 1000
    assert accepted(judge, pairs, stop_on_failure=True) == []  # some never end: two seconds a test otherwise


BURN = "import time\nbegan = time.process_time()\nwhile time.process_time() - began < {}:\n    pass\nprint(int(input()) + 1)"
CROWD = {
    BURN.format(0.12): "AC",
    "while True:\n    pass": "TLE",
    "import time\ntime.sleep(0.2)\nprint(int(input()) + 1)": "AC",
    "import time\ntime.sleep(100)": "TLE",
    "print(int(input()))": "WA",
    "kept = bytearray(1 << 30)": "MLE",
    "print(int(input()) + 1)\nraise ValueError": "RE",
}


def test_a_crowd_of_workers_changes_no_verdict():
    """Four workers for each core: CPU time decides, and time spent waiting for the CPU is nobody's."""
    limits = Limits(cpu_s=0.3, wall_s=0.6)
    problem = Problem(
        "next", "code", ASK, tests=[Test("a", "stdin", "6", "7"), Test("b", "stdin", "7", "8")], limits=limits
    )
    programs = [*CROWD] * 3
    with Judge(4 * len(os.sched_getaffinity(0))) as judge:
        found = judge.judge_many([(problem, program) for program in programs])
    for program, verdicts in zip(programs, found, strict=True):
        assert [v.verdict for v in verdicts] == [CROWD[program]] * 2, program


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_crowd_judges_mbpp_as_one_worker_does():
    with Judge(1) as judge:
        pairs = wrong_programs(judge, None, 1, 40)
        pairs += [(p, p.golden) for p, _ in pairs]
        alone = judge.judge_many(pairs)
    with Judge(4 * len(os.sched_getaffinity(0))) as judge:
        crowd = judge.judge_many(pairs)
    assert [[v.verdict for v in found] for found in crowd] == [[v.verdict for v in found] for found in alone]
