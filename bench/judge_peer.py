"""A peer of bench/judge.py in its own environment: reads tasks, then judges them all each time it is asked to.

    .bench/judge-NAME/bin/python bench/judge_peer.py NAME < tasks.json         (NAME: bare, least, evalplus, verl, verl-light)

First line of standard input: a JSON list of [program, function's name, inputs, outputs, atol], values in the judge's
tagged JSON. Then for each byte: one round; answers a line `seconds accepted`. `bare` and `least` fork and wait, 300 times
a round, the one from a process with a worker's modules, the other from a Python with none. `verl` is given the folder of
an installed torch.
"""

import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
FORKS = 300


def evalplus(tasks):
    """evalplus.eval.untrusted_check on all tests of every task: how many it accepts."""
    from evalplus.eval import PASS, untrusted_check

    def judge(program, name, inputs, outputs, atol):
        return untrusted_check("mbpp", program, inputs, name, outputs, atol, [1.0] * len(inputs))[0] == PASS

    return lambda: sum(judge(*task) for task in tasks)


def verl(tasks):
    """verl's checker where verl calls it: in a process that holds torch, since the package itself imports it."""
    sys.path.append(sys.argv[2])
    import torch  # noqa: F401

    return verl_light(tasks)


def verl_light(tasks):
    """verl.utils.reward_score.prime_code's check_correctness, which reads arguments as lines of JSON."""
    import importlib.util

    found = importlib.util.find_spec("verl").submodule_search_locations[0]
    sys.path.insert(0, f"{found}/utils/reward_score")  # past verl's own __init__
    from prime_code.utils import check_correctness

    def judge(program, name, inputs, outputs, _):
        lines = ["\n".join(map(json.dumps, arguments)) for arguments in inputs]
        asked = {"fn_name": name, "inputs": lines, "outputs": list(map(json.dumps, outputs))}
        verdicts, _ = check_correctness(asked, program, timeout=5, debug=False)
        return len(verdicts) == len(inputs) and all(verdict is True for verdict in verdicts)

    return lambda: sum(judge(*task) for task in tasks)


def bare(_):
    """Forks of a small warm process: what a worker has loaded, and nothing around the child."""
    import gc

    import candidate

    ends = os.dup(0), os.dup(1)
    candidate.warm_up()  # it puts files in memory there
    for number, end in enumerate(ends):
        os.dup2(end, number)
    gc.disable()
    gc.freeze()
    return least(_)


def least(_):
    """The least that a process for each test can cost: fork and wait."""

    def forks():
        for _ in range(FORKS):
            if (pid := os.fork()) == 0:
                os._exit(0)
            os.waitpid(pid, 0)
        return FORKS

    return forks


def main():
    asks = sys.stdin
    line = asks.buffer.readline()
    tasks, kinds = [], {"bare": bare, "least": least, "evalplus": evalplus, "verl": verl, "verl-light": verl_light}
    sys.path.insert(0, str(ROOT / "openmimo" / "judge"))
    if sys.argv[1] not in ("bare", "least"):
        import wire

        tasks = [(p, n, wire.decode(i), wire.decode(o), atol) for p, n, i, o, atol in json.loads(line)]
    run = kinds[sys.argv[1]](tasks)
    out = os.dup(1)
    os.dup2(2, 1)  # nothing that a program prints may pass for a figure
    while asks.buffer.read(1):  # not os.read: what `readline` read ahead would be lost
        began = time.perf_counter()
        accepted = run()
        os.write(out, f"{time.perf_counter() - began} {accepted}\n".encode())


if __name__ == "__main__":
    main()
