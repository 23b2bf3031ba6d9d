"""Programs that do not compute the answer get no test accepted, on any rung, and leave nothing behind.

One file an attack in `attacks/`: `solve(numbers)` should return the sum of squares; those of kind stdin should print the
square of the number that they read.
"""

import os
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
LIMITS = Limits(cpu_s=0.1, wall_s=0.15, memory_mb=64, output_kb=1024)
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


@pytest.fixture(scope="module", params=RUNGS)
def judge(request):
    if request.param == "rlimits" and os.getuid():
        pytest.skip("limits alone do not hold programs of our own user")
    try:
        judge = Judge(1, rung=request.param)
    except UserError as error:
        pytest.skip(str(error))
    with judge:
        yield judge
        assert nothing_left(judge)


def nothing_left(judge):
    """Whether only the idle workers remain of all that ran, and their folders are empty."""
    boxes = {worker.box.name for worker in judge.workers}
    idle = {worker.process.pid for worker in judge.workers}
    idle |= (
        {child.pid for pid in idle for child in psutil.Process(pid).children()} if judge.rung == "namespaces" else set()
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
    "forge_faults": "RE",
    "flood_stdout": "OLE",
    "print_at_exit": "WA",
    "right_but_crashes": "RE",
}


@pytest.mark.parametrize("path", ATTACKS, ids=lambda path: path.stem)
def test_attack_is_not_accepted(judge, path):
    program = path.read_text()
    problem = STDIN if "kind: stdin" in program else CALLS
    start = time.monotonic()
    found = verdicts(judge, problem, program)
    assert "AC" not in found and "IE" not in found
    assert set(found) == {EXPECTED_VERDICTS[path.stem]} if path.stem in EXPECTED_VERDICTS else True
    assert time.monotonic() - start < 8
    assert nothing_left(judge)
    assert verdicts(judge, replace(problem, limits=Limits()), HONEST[problem.id]) == ["AC"] * len(problem.tests)


def test_answers_on_disk_are_out_of_reach(judge, tmp_path):
    answers = tmp_path / "problems.jsonl"
    answers.write_text("14")
    tmp_path.chmod(0o755)
    program = f"def solve(numbers):\n    return int(open({str(answers)!r}).read())"
    assert verdicts(judge, CALLS, program) == ["RE", "RE"] or judge.rung == "rlimits"


def test_network_is_shut(judge):
    if judge.rung == "rlimits":
        pytest.skip("the lowest rung does not shut the network")
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
