"""Evaluation of a checkpoint on held-out problems [R 3.5]: n samples a problem, right or wrong by the rules of RL.

openmimo eval --from FOLDER --problems FILE.jsonl --out FOLDER
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from openmimo.errors import UserError
from openmimo.eval.stream import stream
from openmimo.infer.engine import Engine, Event, Request, check_length
from openmimo.judge.maths import MathJudge
from openmimo.judge.pool import judge_for
from openmimo.model.hub import load_checkpoint
from openmimo.model.tokenizer import Tokenizer
from openmimo.recipe import Eval
from openmimo.rl.score import Scored, require_judged, score_responses
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
    engine = Engine(load_checkpoint(source), [tokenizer.eos_id], slots, tokenizer.vocab_size, consume=True)
    requests = [
        [Request(tuple(tokenizer.encode_chat(p.messages)), settings.max_tokens, ("eval", p.id, sample),
                 settings.temperature, settings.top_p, seed) for sample in range(settings.samples)]
        for p in problems
    ]  # fmt: skip
    for p, (request, *_) in zip(problems, requests, strict=True):
        where = f"eval: problem {p.id}"
        check_length(request.prompt, request.max_tokens, engine.model.config.max_length, where, "eval.max_tokens")
    rows: dict[int, dict] = {}
    right = 0
    with judge_for(problems) as judge, MathJudge() as maths:
        score = partial(score_responses, judge=judge, math_judge=maths, reward_kind="all_or_nothing", difficulty=None)
        for number, samples in stream(engine, slots, requests, lambda n, e: judged(problems[n], e, tokenizer, score)):
            rows[number] = row_of(problems[number], samples)
            right += sum(sample["passed"] for sample in rows[number]["samples"])
            if len(rows) % CHUNK == 0 or len(rows) == len(problems):
                reward = right / (len(rows) * settings.samples)
                log.row({"step": len(rows), "total": len(problems), "reward": reward})
    found = [rows[number] for number in range(len(problems))]
    write_jsonl(folder / "samples.jsonl", found)
    return found


def judged(p: Problem, events: list[Event], tokenizer: Tokenizer, score) -> list[tuple[str, Scored]]:
    """Text and verdict of some of a problem's samples."""
    owners, texts = [p] * len(events), [tokenizer.decode(e.token_ids) for e in events]
    scored = score(owners, texts, [e.finish_reason for e in events])
    require_judged(owners, scored)
    return list(zip(texts, scored, strict=True))


def row_of(p: Problem, found: list[tuple[Event, tuple[str, Scored]]]) -> dict:
    """A problem's row: its samples, judged."""
    samples = [
        {"text": text, "passed": s.passed, "finish_reason": e.finish_reason, "tokens": len(e.token_ids)}
        for e, (text, s) in found
    ]
    return {
        "problem_id": p.id,
        "family": str(p.tags.get("family", p.kind)),
        "difficulty": int(p.tags.get("difficulty", 0)),
        "kind": p.kind,
        "rung": next((v.rung for _, (_, s) in found for v in s.verdicts), None),
        "question": p.messages[-1]["content"],
        "answer": p.answer if p.kind == "math" else p.golden,
        "samples": samples,
    }
