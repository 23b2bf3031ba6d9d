"""Honest programs are accepted, every test has its verdict, and a lost worker costs nothing."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openmimo.errors import UserError
from openmimo.judge import wire
from openmimo.judge.leash import Worker
from openmimo.judge.pool import Judge
from openmimo.rows import Limits, Problem, Test

ASK = [{"role": "user", "content": "Solve it."}]
MBPP = Path(__file__).resolve().parents[3] / "shared/data/mbpp_plus.jsonl.gz"
ROOMY = Limits(cpu_s=5, wall_s=20, memory_mb=512, output_kb=8192)


@pytest.fixture(scope="module")
def judge():
    with Judge(2) as judge:
        yield judge


def calls(*pairs, limits=ROOMY, **more):
    tests = [Test(str(number), "call", arguments, output) for number, (arguments, output) in enumerate(pairs)]
    return Problem("p", "code", ASK, entry_point="f", tests=tests, limits=limits, **more)


def texts(*pairs, kind="stdin", limits=ROOMY):
    return Problem("p", "code", ASK, tests=[Test(str(n), kind, i, o) for n, (i, o) in enumerate(pairs)], limits=limits)


def verdicts(judge, problem, program):
    return [verdict.verdict for verdict in judge.judge_many([(problem, program)])[0]]


HONEST_STDIN = {
    "input loop": "while True:\n    try:\n        print(int(input()) ** 2)\n    except EOFError:\n        break",
    "for line in sys.stdin": "import sys\nfor line in sys.stdin:\n    print(int(line) ** 2)",
    "sys.stdin.buffer": "import sys\nfor n in sys.stdin.buffer.read().split():\n    sys.stdout.write(f'{int(n) ** 2}\\n')",
    "os.read": "import os\nfor n in os.read(0, 10000).split():\n    os.write(1, b'%d\\r\\n' % (int(n) ** 2))",
    "open(0), exit()": "for n in open(0):\n    print(int(n) ** 2, '  ')\nprint()\nexit()",
    "printing at exit": "import atexit, sys\nout = []\natexit.register(lambda: sys.stdout.write('\\n'.join(out)))\n"
    "for n in sys.stdin:\n    out.append(str(int(n) ** 2))",
    "a thread with a deep stack": "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 26)\n"
    "def deep(n):\n    return 0 if n == 0 else 1 + deep(n - 1)\n"
    "def main():\n    deep(20000)\n    for n in sys.stdin:\n        print(int(n) ** 2)\n"
    "threading.Thread(target=main).start()",
    "if main": "def main():\n    for n in open(0):\n        print(int(n) ** 2)\nif __name__ == '__main__':\n    main()",
}


@pytest.mark.parametrize("name", HONEST_STDIN)
def test_honest_stdin_program(judge, name):
    problem = texts(("3\n5\n", "9\n25\n"), ("-4\r\n", "16"))
    assert verdicts(judge, problem, HONEST_STDIN[name]) == ["AC", "AC"]


def test_large_output_and_input(judge):
    numbers = "\n".join(map(str, range(700_000)))
    assert verdicts(judge, texts((numbers, numbers)), "import sys\nprint(sys.stdin.read())") == ["AC"]


def test_results_keep_their_types(judge):
    cases = {
        "return {1: (2, [3.0, None]), 'a': {4, 5}}": {1: (2, [3.0, None]), "a": {5, 4}},
        "import collections\n    return collections.Counter('aab')": {"a": 2, "b": 1},
        "return True": True,
        "return float('nan'), 0.1 + 0.2, -float('inf')": (float("nan"), 0.3, -float("inf")),
        "return {'$tuple': [1]}": {"$dict": [["$tuple", [1]]]},
        "return 7 ** 9000": 7**9000,
        "return b'x', 2 + 3j, frozenset('a')": (b"x", 2 + 3j, frozenset("a")),
        "return x": (1, {2}),
    }
    for body, output in cases.items():
        problem = calls(([{"$tuple": [1, {"$set": [2]}]}], output))
        assert verdicts(judge, problem, f"def f(x):\n    {body}") == ["AC"], body


def test_types_are_not_mixed_up(judge):
    for body, output in {"True": 1, "1.0": 1, "(1,)": [1], "'1'": 1, "[1]": (1,), "None": 0, "{1}": [1]}.items():
        assert verdicts(judge, calls(([], output)), f"def f():\n    return {body}") == ["WA"], body
    assert verdicts(judge, calls(([], [1]), tags={"tuple_equals_list": True}), "def f():\n    return (1,)") == ["AC"]


def test_every_test_has_its_own_verdict(judge):
    program = """
import os
def f(n):
    if n == 1: return "wrong"
    if n == 2: raise KeyError
    if n == 3:
        while True: pass
    if n == 4: return [0] * 10**9
    if n == 5: os._exit(0)
    if n == 6: return "x" * 2_000_000
    if n == 7: return lambda: 0
    return n
"""
    limits = Limits(cpu_s=0.2, wall_s=2, memory_mb=128)
    problem = calls(*[([n], n) for n in range(9)], limits=limits)
    found = judge.judge_many([(problem, program)])[0]
    assert [v.verdict for v in found] == ["AC", "WA", "RE", "TLE", "MLE", "RE", "OLE", "RE", "AC"]
    assert [v.test_id for v in found] == [str(n) for n in range(9)]
    assert 0.4 <= found[3].cpu_s < 0.6 and found[0].cpu_s < 0.1 and found[0].memory_mb > 1


def test_sleep_is_not_cpu_time(judge):
    problem = calls(([], 1), limits=Limits(cpu_s=0.2, wall_s=5))
    found = judge.judge_many([(problem, "import time\ndef f():\n    time.sleep(0.4)\n    return 1")])[0][0]
    assert found.verdict == "AC" and found.wall_s >= 0.4 and found.cpu_s < 0.2


def test_program_that_does_not_load(judge):
    for program in (
        "def f(:",
        "raise ValueError",
        "x = 1",
        "import numpy_is_not_here",
        "\0",
        "import sys; sys.exit(0)",
    ):
        assert verdicts(judge, calls(([], 1), ([], 2)), program) == ["RE", "RE"]
    endless = calls(*[([], 1)] * 20, limits=Limits(cpu_s=0.2))
    start = time.monotonic()
    assert verdicts(judge, endless, "while True: pass") == ["TLE"] * 20
    assert time.monotonic() - start < 2


def test_programs_are_reproducible(judge):
    problem = calls(([], random.Random(0).random()), ([], random.Random(0).random()))
    assert verdicts(judge, problem, "import random\ndef f():\n    return random.random()") == ["AC", "AC"]
    command = [sys.executable, "-c", "print(hash('abc'))"]
    hashed = subprocess.run(command, env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True).stdout
    assert verdicts(judge, calls(([], int(hashed))), "def f():\n    return hash('abc')") == ["AC"]


def test_stdin_comparison(judge):
    assert verdicts(judge, texts(("", "a\nb")), "print('a  \\r')\nprint('b')\nprint()") == ["AC"]
    assert verdicts(judge, texts(("", "a\nb")), "print('a b')") == ["WA"]
    assert verdicts(judge, texts(("", "ab")), "print(' ab')") == ["WA"]
    assert verdicts(judge, texts(("", ["1 2", "2 1"]), kind="checker"), "print('2 1')") == ["AC"]
    assert verdicts(judge, texts(("", ["1 2", "2 1"]), kind="checker"), "print('1 2\\n2 1')") == ["WA"]
    assert verdicts(judge, texts(("", "a")), "import sys\nprint('a')\nsys.exit(1)") == ["RE"]


def test_bad_problems_are_user_errors(judge):
    for problem in (
        Problem("p", "code", ASK),
        calls((1, 1)),
        texts((1, "1")),
        calls(([object()], 1)),
        calls(([], object())),
    ):
        with pytest.raises(UserError, match="'p'"):
            judge.judge_many([(problem, "def f():\n    return 1")])
    assert verdicts(judge, calls(([], 1)), "def f():\n    return 1") == ["AC"]
    with pytest.raises(UserError, match="workers"):
        Judge(0)


def test_a_program_that_no_worker_survives_is_our_fault(judge, monkeypatch):
    tries = []
    deadly = "while True: pass"

    def send(worker, case, honest=Worker.send):
        honest(worker, case)
        if case.program == deadly.encode():
            tries.append(worker)
            os.kill(worker.process.pid, signal.SIGKILL)

    monkeypatch.setattr(Worker, "send", send)
    problem = calls(([], 1), ([], 2))
    found = judge.judge_many([(problem, deadly), (problem, "def f():\n    return 1")])
    assert [[v.verdict for v in of_program] for of_program in found] == [["IE", "IE"], ["AC", "WA"]]
    assert len(set(tries)) == 3


@pytest.mark.skipif(not MBPP.is_file(), reason="../shared/data/mbpp_plus.jsonl.gz is not here")
def test_mbpp_canonical_solutions(judge):
    with gzip.open(MBPP, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    items = []
    for row in random.Random(0).sample(rows, 10):
        names: dict = {}
        exec(row["canonical_solution"], names)
        tests = []
        for number, arguments in enumerate((row["base_input"] + row["plus_input"])[:20]):
            output = wire.encode(names[row["entry_point"]](*json.loads(json.dumps(arguments))))
            tests.append(Test(str(number), "call", arguments, output))
        problem = Problem(row["task_id"], "code", ASK, entry_point=row["entry_point"], tests=tests, limits=ROOMY)
        items.append((problem, row["canonical_solution"]))
    for (problem, _), found in zip(items, judge.judge_many(items), strict=True):
        assert {v.verdict for v in found} == {"AC"}, problem.id
