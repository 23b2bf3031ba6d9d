"""The judge's speed, isolated as always, beside a bare fork, evalplus' checker and verl's prime_code, all on one core.

    make bench-peers && python bench/judge.py            # about three minutes; a peer that is not there is null
    python bench/judge.py --rung landlock --problems 40

Everything (judge, worker, programs, peers) is bound to one CPU, so figures are per core. Sides take turns in short rounds
and the medians are compared. Bare forks are those of a small warm process, a worker without walls: it forks, the child
ends at once, it waits. `least` is the same from a Python that has imported nothing, for comparison.
MBPP+ (../shared/data/mbpp_plus.jsonl.gz): golden solutions on all their tests, of those
problems whose arguments and results are plain JSON without floats or objects, since verl's checker reads no others. verl
forks from a process that holds torch, as its own package and its trainer do; `verl-light` is its checker without torch.
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
from importlib.util import find_spec
from pathlib import Path

from math_answers import math_answers_per_s

from openmimo.judge.formats import read_problems
from openmimo.judge.pool import RUNGS, Judge
from openmimo.rows import Problem, Test

ROOT = Path(__file__).parents[1]
MBPP = ROOT.parent / "shared" / "data" / "mbpp_plus.jsonl.gz"
ROUNDS = 9
FORKS = ("bare", "least")
ASK = [{"role": "user", "content": "Square it."}]
STDIN = Problem("s", "code", ASK, tests=[Test(str(n), "stdin", f"{n}\n", f"{n * n}\n") for n in range(160)])
CALLS = Problem("c", "code", ASK, entry_point="f", tests=[Test(str(n), "call", [n], n * n) for n in range(100)])
STDIN_PROGRAM = "n = int(input())\nprint(n * n)\n"
CALLS_PROGRAM = "def f(n):\n    return n * n\n"


class Peer:
    """A peer's process: `round()` gives seconds and how many programs it accepted."""

    def __init__(self, name: str, tasks: list):
        command = [sys.executable, "-I", "-S"] if name in FORKS else [str(place_of(name) / "bin" / "python")]
        command += [str(Path(__file__).with_name("judge_peer.py")), name]
        command += [str(Path(torch.origin).parents[1])] if name == "verl" and (torch := find_spec("torch")) else []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.process.stdin.write(json.dumps(tasks).encode() + b"\n")

    def round(self) -> tuple[float, int]:
        self.process.stdin.write(b"x")
        seconds, accepted = self.process.stdout.readline().split()
        return float(seconds), int(accepted)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def place_of(peer: str) -> Path:
    """The peer's environment."""
    return ROOT / ".bench" / f"judge-{peer.partition('-')[0]}"


def seconds_of(judge: Judge, items: list[tuple[Problem, str]]) -> float:
    """Wall seconds of judging these; every verdict must be AC."""
    began = time.perf_counter()
    found = judge.judge_many(items)
    seconds = time.perf_counter() - began
    assert {v.verdict for verdicts in found for v in verdicts} == {"AC"}
    return seconds


def against_forks(judge: Judge) -> dict[str, float]:
    """stdin tests, a fresh process each, beside bare forks; call tests that share one."""
    peers = {name: Peer(name, []) for name in FORKS}
    names = (*(f"{name}_forks_per_s_core" for name in FORKS), "stdin_tests_per_s_core", "call_tests_per_s_core")
    rates: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name, peer in peers.items():
            seconds, forks = peer.round()
            rates[f"{name}_forks_per_s_core"].append(forks / seconds)
        rates["stdin_tests_per_s_core"].append(len(STDIN.tests) / seconds_of(judge, [(STDIN, STDIN_PROGRAM)]))
        rates["call_tests_per_s_core"].append(1000 / seconds_of(judge, [(CALLS, CALLS_PROGRAM)] * 10))
    for peer in peers.values():
        peer.close()
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
    problems = random.Random(0).sample(problems, min(count or len(problems), len(problems)))
    ours, tests = [(p, p.golden) for p in problems], sum(len(p.tests) for p in problems)
    tasks = [[p.golden, p.entry_point, [t.input for t in p.tests], [t.output for t in p.tests], 0] for p in problems]
    print(f"\n{len(problems)} programs of MBPP+, {tests} tests")
    for name in ("evalplus", "verl", "verl-light"):
        if not (place_of(name) / ".ready").exists():
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
        ratio = statistics.median(mine[1:]) / statistics.median(theirs)
        print(f"{name:10} ours is {ratio:.2f} times as fast")
        if f"ratio_{name}" in ratios:
            ratios[f"ratio_{name}"] = ratio
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rung", choices=RUNGS, help="default: the highest that the machine offers")
    parser.add_argument("--problems", type=int, default=0, help="of MBPP+, in the race with the peers [default: all]")
    args = parser.parse_args()
    cpu = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    with Judge(1, rung=args.rung) as judge:
        print(
            f"{platform.machine()}, CPU {cpu} alone of {os.cpu_count()}, Python {platform.python_version()}, rung {judge.rung}"
        )
        found: dict[str, float | str | None] = {"rung": judge.rung, **against_forks(judge)}
        for name in (name for name in found if name != "rung"):
            print(f"{name:24} {found[name]:9.0f}   {1e3 / found[name]:.3f} ms each")
        for name in FORKS:
            times = found[f"{name}_forks_per_s_core"] / found["stdin_tests_per_s_core"]
            print(f"a stdin test costs {times:.2f} {name} forks")
        found |= against_peers(judge, args.problems)
    found["math_answers_per_s"] = math_answers_per_s()
    print(json.dumps({name: round(v, 2) if isinstance(v, float) else v for name, v in found.items()}))


if __name__ == "__main__":
    main()
