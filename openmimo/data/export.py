"""Problems in the rows of others' RL trainers: verl, TRL, verifiers, slime, open-instruct.

    openmimo data export problems.jsonl --to verl --out train.parquet

Each writer gives what its trainer's stock reward reads, so that no code of yours is needed where it has one: verl's
boxed-answer and prime_code rewards, TRL's accuracy_reward, slime's `rm_type`, open-instruct's verifiers. What a trainer
cannot be told (a test with several accepted outputs, say) is left out, and counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from openmimo.errors import UserError
from openmimo.rows import Problem, write_jsonl

Row = dict[str, Any]


def verl(problem: Problem, index: int) -> Row:
    """data_source picks verl's stock reward: the boxed answer's for `lighteval/MATH`, prime_code's for `apps`."""
    if problem.kind == "math":
        source, truth = "lighteval/MATH", problem.answer
    else:
        source, truth = "apps", json.dumps(_apps(problem))
    extra = {"index": index, "split": problem.split, "id": problem.id, "source": problem.source}
    return {"data_source": source, "prompt": problem.messages, "ability": problem.kind,
            "reward_model": {"style": "rule", "ground_truth": truth}, "extra_info": extra}  # fmt: skip


def trl(problem: Problem, index: int) -> Row:
    """A conversational prompt; `solution` is what accuracy_reward compares with (code: empty); tests as JSON text, for
    a reward of yours: every column reaches it."""
    solution = f"$\\boxed{{{problem.answer}}}$" if problem.kind == "math" else ""
    return {"prompt": problem.messages, "solution": solution, "tests": json.dumps(_tests(problem)), "id": problem.id, "kind": problem.kind}  # fmt: skip


def verifiers(problem: Problem, index: int) -> Row:
    """prompt, answer, info (JSON text), task: the columns of a verifiers environment."""
    info = {"id": problem.id, "source": problem.source, "entry_point": problem.entry_point, "tests": _tests(problem)}
    return {"prompt": problem.messages, "answer": problem.answer or "", "info": json.dumps(info), "task": problem.kind}


def slime(problem: Problem, index: int) -> Row:
    """For --input-key prompt --label-key label --metadata-key metadata --apply-chat-template."""
    label = problem.answer if problem.kind == "math" else json.dumps(_tests(problem))
    metadata = {"id": problem.id, "source": problem.source, "kind": problem.kind}
    if problem.kind == "math":
        metadata["rm_type"] = "math"
    return {"prompt": problem.messages, "label": label, "metadata": metadata}


def open_instruct(problem: Problem, index: int) -> Row:
    """`dataset` picks the verifier: math, code (assertions) or code_stdio (inputs and outputs)."""
    if problem.kind == "math":
        return {"messages": problem.messages, "ground_truth": problem.answer, "dataset": "math", "id": problem.id}
    _one_kind(problem)
    calls = problem.tests[0].kind == "call"
    truth = [_assertion(problem, t) if calls else {"input": t.input, "output": t.output} for t in problem.tests]
    return {"messages": problem.messages, "ground_truth": json.dumps(truth), "dataset": "code" if calls else "code_stdio", "id": problem.id}  # fmt: skip


WRITERS: dict[str, Callable[[Problem, int], Row]] = {
    "verl": verl, "trl": trl, "verifiers": verifiers, "slime": slime, "open-instruct": open_instruct
}  # fmt: skip


class Untellable(ValueError):
    """Why a problem has no row in a format."""


def export(problems: Iterable[Problem], to: str, out: Path) -> Counter:
    """Writes a .jsonl or .parquet file, whole or not at all; counts what was written and left out."""
    if to not in WRITERS:
        raise UserError(f"--to {to}: not one of {', '.join(WRITERS)}")
    if out.suffix not in (".jsonl", ".parquet"):
        raise UserError(f"{out}: give a name that ends in .parquet or .jsonl")
    rows, counts = [], Counter()
    for problem in problems:
        try:
            rows.append(WRITERS[to](problem, len(rows)))
        except Untellable as reason:
            counts[f"left out, {reason}"] += 1
    counts["written"] = len(rows)
    if not rows:
        raise UserError(f"{out}: no problem can be written for {to} ({dict(counts)}); see docs/data.md")
    if out.suffix == ".jsonl":
        write_jsonl(out, rows)
        return counts
    import pyarrow as pa
    import pyarrow.parquet as pq

    part = out.with_name(out.name + ".part")
    pq.write_table(pa.Table.from_pylist(rows), part)
    part.replace(out)
    return counts


def _tests(problem: Problem) -> list[Row]:
    return [{"kind": t.kind, "input": t.input, "output": t.output} for t in problem.tests]


def _one_kind(problem: Problem) -> None:
    if not problem.tests:
        raise Untellable("code without tests")
    if len({t.kind for t in problem.tests}) > 1:
        raise Untellable("tests of two kinds")
    if problem.tests[0].kind == "checker":
        raise Untellable("tests with several accepted outputs")
    try:
        json.dumps([[t.input, t.output] for t in problem.tests], allow_nan=False)
    except (TypeError, ValueError):
        raise Untellable("tests that JSON cannot hold") from None


def _apps(problem: Problem) -> Row:
    """The layout of APPS: for calls, an input is its arguments, one JSON value a line, and an output is JSON."""
    _one_kind(problem)
    if problem.tests[0].kind == "stdin":
        return {"inputs": [t.input for t in problem.tests], "outputs": [t.output for t in problem.tests]}
    return {"fn_name": problem.entry_point, "inputs": ["\n".join(json.dumps(a) for a in t.input) for t in problem.tests],
            "outputs": [json.dumps(t.output) for t in problem.tests]}  # fmt: skip


def _assertion(problem: Problem, test) -> str:
    """`assert f(1, 2) == 3`; floats within the tolerance that the judge grants."""
    call = f"{problem.entry_point}({', '.join(map(repr, test.input))})"
    if isinstance(test.output, float):
        return f"assert abs({call} - {test.output!r}) <= 1e-6 * abs({test.output!r}) + 1e-9"
    return f"assert {call} == {test.output!r}"
