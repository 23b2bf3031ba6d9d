"""Programs that do not compute the answer get no test accepted, on any rung, and leave nothing behind.

One file an attack in `attacks/`: `solve(numbers)` should return the sum of squares; those whose docstring says `kind: stdin`
should print the square of the number that they read. `roomy`: with ten times the CPU time, so that another limit bites.
`open on: RUNG`: that rung does not promise to stop it. Here all of them run on the highest rung that the machine offers
and a sample on the others; `make prove` runs all on all, and 2,000 in a row.
"""

import os
import random
import re
import socket
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from openmimo.errors import UserError
from openmimo.judge.pool import RUNGS, Judge
from openmimo.rows import Limits, Problem, Test

ATTACKS = sorted(Path(__file__).with_name("attacks").glob("*.py"))
LIMITS = Limits(cpu_s=0.1, wall_s=0.5, memory_mb=64, output_kb=1024)
ASK = [{"role": "user", "content": "Solve it."}]
CALLS = Problem(
    "squares",
    "code",
    ASK,
    entry_point="solve",
    tests=[Test("a", "call", [[1, 2, 3]], 14), Test("b", "call", [[4]], 16)],
    limits=LIMITS,
)
STDIN = Problem("square", "code", ASK, tests=[Test("a", "stdin", "7\n", "49\n")], limits=LIMITS)
HONEST = {
    "squares": "def solve(numbers):\n    return sum(n * n for n in numbers)",
    "square": "print(int(input()) ** 2)",
}


def is_offered(rung):
    """Whether the machine offers the rung, and we would take it: limits alone do not hold programs of our own user."""
    if rung == "rlimits" and os.getuid():
        return False
    try:
        Judge(1, rung=rung).close()
        return True
    except UserError:
        return False


OFFERED = [rung for rung in RUNGS if is_offered(rung)]
SAMPLE = random.Random(0).sample(ATTACKS, 12)
TRIED = [(rung, path) for rung in OFFERED for path in (ATTACKS if rung == OFFERED[0] else SAMPLE)]


@pytest.fixture(scope="module", params=OFFERED)
def judge(request):
    with Judge(1, rung=request.param) as judge:
        yield judge
        assert nothing_left(judge)


def nothing_left(judge):
    """Whether only the idle workers remain of all that ran, and their folders are empty."""
    boxes = {worker.box.name for worker in judge.workers}
    idle = {worker.process.pid for worker in judge.workers}
    idle |= (
        {child.pid for pid in idle for child in psutil.Process(pid).children()}
        if judge.rung.startswith("namespaces")
        else set()
    )
    running = {p.pid for p in psutil.process_iter(["cmdline"]) if boxes & set(p.info["cmdline"] or [])}
    return running == idle and not any(os.listdir(box) for box in boxes)


def verdicts(judge, problem, program):
    return [verdict.verdict for verdict in judge.judge_many([(problem, program)])[0]]


EXPECTED_VERDICTS = {
    "always_equal_int": "WA",
    "always_equal_object": "RE",
    "not_a_number": "WA",
    "exit_early": "RE",
    "infinite_loop": "TLE",
    "muted_signals": "TLE",
    "sleep_for_ever": "TLE",
    "false_clock": "TLE",
    "memory_bomb": "MLE",
    "memory_of_many": "MLE",
    "time_in_children": "TLE",
    "time_in_threads": "TLE",
    "alarm_reset": "TLE",
    "kill_itself": "RE",
    "leave_in_globals": "RE",
    "closed_stdin": "TLE",
    "lying_number": "WA",
    "forge_faults": "RE",
    "flood_stdout": "OLE",
    "print_at_exit": "WA",
    "right_but_crashes": "RE",
}


def attack(judge, path):
    """Runs one attack; its verdicts, which hold no AC and no IE."""
    program = path.read_text()
    problem = STDIN if "kind: stdin" in program else CALLS
    if "roomy" in program:
        problem = replace(problem, limits=replace(LIMITS, cpu_s=1, wall_s=3))
    found = verdicts(judge, problem, program)
    assert "IE" not in found, found
    assert "AC" not in found or re.search(rf"open on: {judge.rung}(?![\w-])", program), found
    return problem, found


@pytest.mark.parametrize("judge, path", TRIED, indirect=["judge"], ids=lambda part: getattr(part, "stem", part))
def test_attack_is_not_accepted(judge, path):
    start = time.monotonic()
    problem, found = attack(judge, path)
    expected = EXPECTED_VERDICTS.get(path.stem)
    assert expected is None or set(found) == {expected}, found
    assert time.monotonic() - start < 60
    assert nothing_left(judge)
    assert verdicts(judge, replace(problem, limits=Limits()), HONEST[problem.id]) == ["AC"] * len(problem.tests)


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rung", OFFERED)
def test_nothing_is_left_after_many_attacks(rung):
    """All attacks, again and again; then 0 processes, files and mounts more than before."""
    mounts = Path("/proc/mounts").read_text()
    before = set(psutil.pids()), sorted(os.listdir("/dev/shm"))
    with Judge(2, rung=rung) as judge:
        for number in range(2000 // len(OFFERED)):
            attack(judge, ATTACKS[number % len(ATTACKS)])
            assert nothing_left(judge)
        honest = [(CALLS, HONEST["squares"]), (STDIN, HONEST["square"])]
        assert [[v.verdict for v in found] for found in judge.judge_many(honest)] == [["AC", "AC"], ["AC"]]
    assert Path("/proc/mounts").read_text() == mounts
    new = [entry for entry in os.scandir("/dev/shm") if entry.name not in before[1]]  # others' judges work there too
    left = [e for e in new if e.stat().st_uid >= 1_000_000_000 or e.name.startswith(f"openmimo-judge-{os.getpid()}-")]
    assert left == [] or rung == "rlimits"  # which does not keep a program from writing there
    ours = [p for p in psutil.process_iter(["cmdline", "uids"]) if p.pid not in before[0] and is_ours(p)]
    assert ours == []


def is_ours(process):
    """Whether a process is a worker's or a program's: by its command line, which a fork keeps, or by its user id."""
    return "import worker" in " ".join(process.info["cmdline"] or []) or process.info["uids"].real >= 1_000_000_000


def test_answers_on_disk_are_out_of_reach(judge, tmp_path):
    answers = tmp_path / "problems.jsonl"
    answers.write_text("14")
    tmp_path.chmod(0o755)
    program = f"def solve(numbers):\n    return int(open({str(answers)!r}).read())"
    assert verdicts(judge, CALLS, program) == ["RE", "RE"] or judge.rung == "rlimits"


def test_network_is_shut(judge):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        program = f"import socket\ndef solve(numbers):\n    socket.create_connection({address!r})\n    return 14"
        assert verdicts(judge, CALLS, program) == ["RE", "RE"]


def test_nothing_passes_from_one_program_to_the_next(judge):
    leave = "import os\ndef solve(numbers):\n    open('14', 'w').close()\n    os.mkdir('../14')\n    return None"
    find = "import os\ndef solve(numbers):\n    return 14 if '14' in os.listdir('.') + os.listdir('..') else None"
    for _ in range(2):
        assert verdicts(judge, CALLS, leave)[0] in ("WA", "RE")
        assert "AC" not in verdicts(judge, CALLS, find)


HUNT = """
import ctypes, gc, re, sys

def solve(numbers):
    mark = re.compile(b"secret of the last progra[m]")  # no match for itself
    found, frame = [], sys._getframe()
    while frame:
        found += [*frame.f_locals.values(), *frame.f_globals.values()]
        frame = frame.f_back
    found += [value for thing in list(found) for value in getattr(thing, "__dict__", {}).values()]
    found += [item for thing in list(found) if type(thing) in (list, tuple) for item in thing]
    found += gc.get_objects()
    texts = [bytes(thing) for thing in found if isinstance(thing, (bytes, bytearray))]
    texts += [ctypes.string_at(page << 12, 4096) for page in {id(thing) >> 12 for thing in found}]
    return 14 if any(map(mark.search, texts)) else len(texts)
"""


def test_results_of_the_last_program_are_not_in_memory(judge):
    leave = "def solve(numbers):\n    return 'secret of the last' + ' program'"
    roomy = replace(CALLS, limits=Limits(cpu_s=5))
    assert verdicts(judge, roomy, leave) == ["WA", "WA"]
    assert verdicts(judge, roomy, HUNT) == ["WA", "WA"]
    control = HUNT.replace("def solve", "kept = b'secret of the last ' + bytes('program', 'ascii')\n\ndef solve")
    assert verdicts(judge, roomy, control) == ["AC", "WA"]
