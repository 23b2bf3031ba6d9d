"""The judge's speed, isolated as always, beside a bare fork, evalplus' checker and verl's prime_code, all on one core.

    make bench-peers && python bench/judge.py            # about three minutes; a peer that is not there is null
    python bench/judge.py --rung landlock --problems 40

Everything (judge, worker, programs, peers) is bound to one CPU, so figures are per core. Sides take turns in short rounds
and the medians are compared. MBPP+ (../shared/data/mbpp_plus.jsonl.gz): golden solutions on all their tests, of those
problems whose arguments and results are plain JSON without floats or objects, since verl's checker reads no others.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from openmimo.judge.formats import read_problems
from openmimo.judge.maths import MathJudge
from openmimo.judge.pool import RUNGS, Judge
from openmimo.rows import Problem, Test

ROOT = Path(__file__).parents[1]
MBPP = ROOT.parent / "shared" / "data" / "mbpp_plus.jsonl.gz"
ROUNDS = 9
ASK = [{"role": "user", "content": "Square it."}]
STDIN = Problem("s", "code", ASK, tests=[Test(str(n), "stdin", f"{n}\n", f"{n * n}\n") for n in range(160)])
CALLS = Problem("c", "code", ASK, entry_point="f", tests=[Test(str(n), "call", [n], n * n) for n in range(100)])
STDIN_PROGRAM = "n = int(input())\nprint(n * n)\n"
CALLS_PROGRAM = "def f(n):\n    return n * n\n"


class Peer:
    """A peer's process: `round()` gives seconds and how many programs it accepted."""

    def __init__(self, name: str, tasks: list):
        python = sys.executable if name == "bare" else str(ROOT / ".bench" / f"judge-{name}" / "bin" / "python")
        flags = ["-I", "-S"] if name == "bare" else []
        command = [python, *flags, str(Path(__file__).with_name("judge_peer.py")), name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.process.stdin.write(json.dumps(tasks).encode() + b"\n")

    def round(self) -> tuple[float, int]:
        self.process.stdin.write(b"x")
        seconds, accepted = self.process.stdout.readline().split()
        return float(seconds), int(accepted)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def seconds_of(judge: Judge, items: list[tuple[Problem, str]]) -> float:
    """Wall seconds of judging these; every verdict must be AC."""
    began = time.perf_counter()
    found = judge.judge_many(items)
    seconds = time.perf_counter() - began
    assert {v.verdict for verdicts in found for v in verdicts} == {"AC"}
    return seconds


def against_forks(judge: Judge) -> dict[str, float]:
    """stdin tests, a fresh process each, beside bare forks; call tests that share one."""
    bare = Peer("bare", [])
    rates: dict[str, list[float]] = {
        "stdin_tests_per_s_core": [],
        "bare_forks_per_s_core": [],
        "call_tests_per_s_core": [],
    }
    for _ in range(ROUNDS):
        seconds, forks = bare.round()
        rates["bare_forks_per_s_core"].append(forks / seconds)
        rates["stdin_tests_per_s_core"].append(len(STDIN.tests) / seconds_of(judge, [(STDIN, STDIN_PROGRAM)]))
        rates["call_tests_per_s_core"].append(1000 / seconds_of(judge, [(CALLS, CALLS_PROGRAM)] * 10))
    bare.close()
    return {name: statistics.median(values) for name, values in rates.items()}


def is_plain(value: object) -> bool:
    """Whether verl's checker reads it as it is."""
    return (
        value is None or isinstance(value, bool | int | str) or (isinstance(value, list) and all(map(is_plain, value)))
    )


def against_peers(judge: Judge, count: int) -> dict[str, float | None]:
    """Programs a second on the same MBPP+ problems; ours over each peer's."""
    ratios: dict[str, float | None] = {"ratio_evalplus": None, "ratio_verl": None}
    if not MBPP.is_file():
        print(f"{MBPP} is not here: no programs to race on")
        return ratios
    problems = [
        p
        for p in read_problems(MBPP, judge, progress=lambda done, total: print(f"golden solutions: {done} of {total}"))
        if all(is_plain([t.input, t.output]) for t in p.tests) and not p.tags.get("after") and p.limits.cpu_s == 1
    ]
    problems = random.Random(0).sample(problems, min(count, len(problems)))
    ours, tests = [(p, p.golden) for p in problems], sum(len(p.tests) for p in problems)
    tasks = [[p.golden, p.entry_point, [t.input for t in p.tests], [t.output for t in p.tests], 0] for p in problems]
    print(f"\n{len(problems)} programs of MBPP+, {tests} tests")
    for name in ("evalplus", "verl"):
        if not (ROOT / ".bench" / f"judge-{name}" / ".ready").exists():
            print(f"{name:10} not here; `make bench-peers` builds it")
            continue
        peer, mine, theirs = Peer(name, tasks), [], []
        for number in range(4):
            mine.append(len(problems) / seconds_of(judge, ours))
            seconds, accepted = peer.round()
            if number:  # the first is for warming up
                theirs.append(len(problems) / seconds)
            print(
                f"{name:10} round {number}: ours {mine[-1]:.1f}, {name} {len(problems) / seconds:.1f} programs/s, accepted {accepted}"
            )
        peer.close()
        ratios[f"ratio_{name}"] = statistics.median(mine[1:]) / statistics.median(theirs)
    return ratios


def math_answers() -> float:
    """Answers a second that only Math-Verify can settle: a fraction against its decimal form."""
    pairs = [(rf"\frac{{{n}}}{{8}}", str(n / 8)) for n in range(1, 400, 2)]
    with MathJudge(1) as judge:
        judge.judge_many(pairs[:5])
        began = time.perf_counter()
        assert set(judge.judge_many(pairs[5:])) == {"right"}
        return len(pairs[5:]) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rung", choices=RUNGS, help="default: the highest that the machine offers")
    parser.add_argument("--problems", type=int, default=60, help="of MBPP+, in the race with the peers")
    args = parser.parse_args()
    cpu = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    with Judge(1, rung=args.rung) as judge:
        print(
            f"{platform.machine()}, CPU {cpu} alone of {os.cpu_count()}, Python {platform.python_version()}, rung {judge.rung}"
        )
        found: dict[str, float | str | None] = {"rung": judge.rung, **against_forks(judge)}
        for name in ("bare_forks_per_s_core", "stdin_tests_per_s_core", "call_tests_per_s_core"):
            print(f"{name:24} {found[name]:9.0f}   {1e3 / found[name]:.3f} ms each")
        print(f"a stdin test costs {found['bare_forks_per_s_core'] / found['stdin_tests_per_s_core']:.2f} bare forks")
        found |= against_peers(judge, args.problems)
    found["math_answers_per_s"] = math_answers()
    print(json.dumps({name: round(v, 2) if isinstance(v, float) else v for name, v in found.items()}))


if __name__ == "__main__":
    main()
