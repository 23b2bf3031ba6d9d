"""RL data [R 3.2] and test difficulty [R 3.3.1], from rollouts.

Code problems without tests, or whose golden program fails one, are dropped; so are problems that the SFT model solves
in more than `max_pass_rate` of its rollouts (code too: our choice, the report drops code only when all are right). Each
test's pass rate pools the programs of the SFT and the base model. Not done here: n-gram dedup of the problems (they are
distinct by construction), and dropping what strong models never solve (every problem has a verified solution).
"""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path

from openmimo.errors import UserError
from openmimo.infer.engine import Engine, Request, generate
from openmimo.judge.maths import MathJudge
from openmimo.judge.pool import Judge, judge_for, require_verdicts
from openmimo.model.hub import load_checkpoint
from openmimo.model.tokenizer import Tokenizer
from openmimo.rl.difficulty import DifficultyTable
from openmimo.rl.score import Scored, require_judged, score_responses
from openmimo.rows import Problem, Rollout, read_rows, write_rows
from openmimo.runs import Context
from openmimo.train.log import Log


def run(context: Context) -> None:
    """The run's stage `curate`: problems.jsonl, difficulty.json, rollouts.jsonl and counts.json."""
    recipe, settings = context.recipe, context.recipe.curate
    problems = list(read_rows(context.inputs["problems"] / "train.jsonl", Problem))
    problems = problems[: settings.problems] if settings.problems else problems
    rollouts: list[Rollout] = []
    with judge_for(problems) as judge, MathJudge() as maths:
        if judge:
            context.log.say(f"programs are judged on rung {judge.rung}")
        problems, dropped = golden_passes(problems, judge)
        score = partial(score_responses, judge=judge, math_judge=maths, reward_kind="all_or_nothing", difficulty=None)
        for name in ("sft", "base"):
            mine = problems if name == "sft" else [p for p in problems if p.kind == "code"]
            rollouts += roll(context.inputs[name], name, mine, settings.rollouts, recipe, score, context.log)
    rates = pass_rates([r for r in rollouts if r.model == "sft"])
    kept = [p for p in problems if rates[p.id] <= settings.max_pass_rate]
    dropped[f"SFT pass rate above {settings.max_pass_rate}"] = len(problems) - len(kept)
    if not kept:
        raise UserError("curate: no problem is hard enough for RL; raise curate.max_pass_rate or add harder problems")
    table = DifficultyTable.build([p for p in problems if p.kind == "code"], rollouts)
    write_rows(context.folder / "problems.jsonl", kept)
    write_rows(context.folder / "rollouts.jsonl", rollouts)
    table.save(context.folder / "difficulty.json")
    counts = {"problems": len(problems) + dropped.total() - (len(problems) - len(kept)), "kept": len(kept)} | dropped
    (context.folder / "counts.json").write_text(json.dumps(counts, indent=1) + "\n")
    context.log.say("; ".join(f"{n:,} {what}" for what, n in counts.items()))


def golden_passes(problems: list[Problem], judge: Judge | None) -> tuple[list[Problem], Counter]:
    """Code problems need tests, and a golden program that passes them all; math problems stay."""
    dropped: Counter = Counter()
    tested = [p for p in problems if p.kind == "math" or p.tests]
    dropped["code without tests"] = len(problems) - len(tested)
    code = [p for p in tested if p.kind == "code" and p.golden]
    verdicts = judge.judge_many([(p, p.golden) for p in code]) if code else []
    require_verdicts(code, verdicts)
    failed = {p.id for p, vector in zip(code, verdicts, strict=True) if any(v.verdict != "AC" for v in vector)}
    dropped["golden program fails"] = len(failed)
    return [p for p in tested if p.id not in failed], +dropped


def roll(source: Path, name: str, problems: list[Problem], count: int, recipe, score, log: Log) -> list[Rollout]:
    """`count` responses of a model to each problem, scored, as Rollout rows."""
    tokenizer = Tokenizer.load(source)
    engine = Engine(
        load_checkpoint(source), [tokenizer.eos_id], recipe.engine.slots, tokenizer.vocab_size, consume=True
    )
    rows: list[Rollout] = []
    for start in range(0, len(problems), 64):
        some = problems[start : start + 64]
        requests = [
            Request(tuple(tokenizer.encode_chat(p.messages)), recipe.rl.max_tokens, ("curate", name, p.id, n),
                    seed=recipe.seed)
            for p in some
            for n in range(count)
        ]  # fmt: skip
        events = generate(engine, requests)
        owners = [p for p in some for _ in range(count)]
        texts = [tokenizer.decode(e.token_ids) for e in events]
        scored: list[Scored] = score(owners, texts, [e.finish_reason for e in events])
        require_judged(owners, scored)
        for n, (p, e, s, text) in enumerate(zip(owners, events, scored, texts, strict=True)):
            rows.append(
                Rollout(p.id, name, 0, 0, start + n // count, n % count, [], [], e.finish_reason, float(s.reward),
                        text, list(s.verdicts))
            )  # fmt: skip
        log.row({"step": start + len(some), "total": len(problems), "model": name,
                 "reward": sum(float(s.reward) for s in scored) / len(scored)})  # fmt: skip
    return rows


def pass_rates(rollouts: list[Rollout]) -> dict[str, float]:
    """Problem -> share of its rollouts with full reward."""
    right: dict[str, list[bool]] = {}
    for r in rollouts:
        right.setdefault(r.problem_id, []).append(r.reward == 1)
    return {problem: sum(flags) / len(flags) for problem, flags in right.items()}
