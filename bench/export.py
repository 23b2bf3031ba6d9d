"""`openmimo data export` against the real libraries: every format loaded by its trainer, answers scored by its reward.

    bash bench/peers/export.sh && python bench/export.py      # a minute

Math problems and programs of the tiny recipe, each with a right and a wrong answer; the last line is JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from openmimo.data.export import WRITERS, export
from openmimo.data.problems.build import draw
from openmimo.model.tokenizer import train_bpe
from openmimo.rows import Problem, Test

PYTHON = Path(__file__).parents[1] / ".bench" / "export" / "bin" / "python"


def main() -> int:
    if not PYTHON.is_file():
        print("skipped: the trainers are not here; run bash bench/peers/export.sh")
        return 0
    exercises = draw({"chain_sum": 1, "gcd": 1, "code": 2}, 12, "train", 0, Counter(), unique=True)
    problems = [e.problem for e in exercises]
    answers = {p.id: {"right": right_of(p), "wrong": wrong_of(p)} for p in problems}
    stdin = Problem("doubled", "code", [{"role": "user", "content": "Print twice the number that is read."}],
                    tests=[Test(str(n), "stdin", f"{n}\n", f"{2 * n}\n") for n in (1, 7, -3)])  # fmt: skip
    problems.append(stdin)
    answers["doubled"] = {
        "right": "```python\nprint(2 * int(input()))\n```",
        "wrong": "```python\nprint(3 * int(input()))\n```",
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for to in WRITERS:
            print(to, dict(export(problems, to, folder / (f"{to}.parquet" if to == "verl" else f"{to}.jsonl"))))
        train_bpe(["What is the sum of all numbers? " * 50], 300, folder / "tokenizer")
        (folder / "answers.json").write_text(json.dumps(answers))
        found = {}
        for to in WRITERS:
            command = [PYTHON, Path(__file__).parent / "peers" / "export_peer.py", folder, to]
            done = subprocess.run(command, capture_output=True, text=True)
            last = done.stdout.strip().split("\n")[-1]
            found[to] = (
                json.loads(last) if done.returncode == 0 else {"error": "it crashed", "trace": done.stderr[-1200:]}
            )
    report = {}
    for to, row in found.items():
        if "error" in row:
            print(f"{to}: {row['error']}\n{row['trace']}")
            report[to] = {"error": row["error"]}
            continue
        right, wrong = row.get("right", []), row.get("wrong", [])
        report[to] = {"rows": row["rows"], "loader": row["loader"], "scored": len(right), "right_rewarded": sum(s == 1 for s in right),
                      "wrong_rewarded": sum(s == 1 for s in wrong)}  # fmt: skip
        print(f"{to}: {row['rows']} rows by {row['loader']}; {report[to]['right_rewarded']} of {len(right)} right answers and "
              f"{report[to]['wrong_rewarded']} of {len(wrong)} wrong ones rewarded")  # fmt: skip
    print(json.dumps(report))
    return 0


def right_of(problem: Problem) -> str:
    return problem.golden if problem.kind == "math" else f"```python\n{problem.golden}```"


def wrong_of(problem: Problem) -> str:
    if problem.kind == "math":
        return problem.golden.replace(f"\\boxed{{{problem.answer}}}", f"\\boxed{{{int(problem.answer) + 1}}}")
    return f"```python\ndef {problem.entry_point}(xs):\n    return 123456789\n```"


if __name__ == "__main__":
    sys.exit(main())
