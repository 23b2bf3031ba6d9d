"""Evaluation of a checkpoint on held-out problems [R 3.5]: n samples a problem, right or wrong by the rules of RL.

openmimo eval --from FOLDER --problems FILE.jsonl --out FOLDER
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from openmimo.errors import UserError
from openmimo.infer.engine import Engine, Request, check_length, generate
from openmimo.judge.maths import MathJudge
from openmimo.judge.pool import judge_for
from openmimo.model.hub import load_checkpoint
from openmimo.model.tokenizer import Tokenizer
from openmimo.recipe import Eval
from openmimo.rl.score import require_judged, score_responses
from openmimo.rows import Problem, check_problems, read_rows, write_jsonl
from openmimo.runs import Context
from openmimo.train.log import Log

CHUNK = 64  # problems between two rows of progress


def run(context: Context) -> None:
    """The run's stages `eval-NAME`: samples.jsonl."""
    recipe = context.recipe
    name = context.stage.removeprefix("eval-")
    problems = list(read_rows(context.inputs["problems"] / "test.jsonl", Problem))
    evaluate(context.inputs[name], problems, recipe.eval, recipe.seed, recipe.engine.slots, context.folder, context.log)


def evaluate(
    source: Path, problems: list[Problem], settings: Eval, seed: int, slots: int, folder: Path, log: Log
) -> list[dict]:
    """Writes `folder/samples.jsonl`, one row a problem, and returns the rows."""
    check_problems(problems, "eval")
    for problem in problems:
        if not isinstance(level := problem.tags.get("difficulty", 0), int):
            raise UserError(
                f"eval: problem {problem.id!r}: tags.difficulty {level!r} is not a whole number; correct it"
            )
    tokenizer = Tokenizer.load(source)
    engine = Engine(load_checkpoint(source), [tokenizer.eos_id], slots, tokenizer.vocab_size)
    rows = []
    with judge_for(problems) as judge, MathJudge() as maths:
        score = partial(score_responses, judge=judge, math_judge=maths, reward_kind="all_or_nothing", difficulty=None)
        for start in range(0, len(problems), CHUNK):
            rows += sample(engine, tokenizer, problems[start : start + CHUNK], settings, seed, score)
            flags = [s["passed"] for row in rows for s in row["samples"]]
            log.row({"step": len(rows), "total": len(problems), "reward": sum(flags) / len(flags)})
    write_jsonl(folder / "samples.jsonl", rows)
    return rows


def sample(engine: Engine, tokenizer: Tokenizer, problems: list[Problem], settings: Eval, seed: int, score) -> list:
    """The rows of some problems."""
    n = settings.samples
    requests = [
        Request(tuple(tokenizer.encode_chat(p.messages)), settings.max_tokens, ("eval", p.id, sample),
                settings.temperature, settings.top_p, seed)
        for p in problems
        for sample in range(n)
    ]  # fmt: skip
    for p, request in zip((p for p in problems for _ in range(n)), requests, strict=True):
        where = f"eval: problem {p.id}"
        check_length(request.prompt, request.max_tokens, engine.model.config.max_length, where, "eval.max_tokens")
    events = generate(engine, requests)
    texts = [tokenizer.decode(e.token_ids) for e in events]
    scored = score([p for p in problems for _ in range(n)], texts, [e.finish_reason for e in events])
    require_judged([p for p in problems for _ in range(n)], scored)
    rows = []
    for number, p in enumerate(problems):
        at = range(number * n, (number + 1) * n)
        rows.append(
            {
                "problem_id": p.id,
                "family": str(p.tags.get("family", p.kind)),
                "difficulty": int(p.tags.get("difficulty", 0)),
                "kind": p.kind,
                "rung": next((v.rung for i in at for v in scored[i].verdicts), None),
                "question": p.messages[-1]["content"],
                "answer": p.answer if p.kind == "math" else p.golden,
                "samples": [
                    {
                        "text": texts[i],
                        "passed": scored[i].passed,
                        "finish_reason": events[i].finish_reason,
                        "tokens": len(events[i].token_ids),
                    }
                    for i in at
                ],
            }
        )
    return rows
