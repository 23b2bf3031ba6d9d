"""RL data [R 3.2] and test difficulty [R 3.3.1], from rollouts.

Code problems without tests, or whose golden program fails one, are dropped; so are problems that the SFT model solves
in more than `max_pass_rate` of its rollouts (code too: our choice, the report drops code only when all are right). Each
test's pass rate pools the programs of the SFT and the base model. A math problem is sampled no further once its rollouts
to come cannot change the verdict (openmimo/data/synthesis/band.py); programs are all sampled, for the tests' sake. Not done here: n-gram dedup of the problems (they are
distinct by construction), and dropping what strong models never solve (every problem has a verified solution).
"""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path

from openmimo.data.synthesis.band import Band
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
    band = Band(settings.rollouts, settings.max_pass_rate)
    with judge_for(problems) as judge, MathJudge() as maths:
        if judge:
            context.log.say(f"programs are judged on rung {judge.rung}")
        problems, dropped = golden_passes(problems, judge)
        score = partial(score_responses, judge=judge, math_judge=maths, reward_kind="all_or_nothing", difficulty=None)
        for name in ("sft", "base"):
            mine = problems if name == "sft" else [p for p in problems if p.kind == "code"]
            rollouts += roll(context.inputs[name], name, mine, band, recipe, score, context.log)
    right = right_answers([r for r in rollouts if r.model == "sft"])
    kept = [p for p in problems if band.settled(*right[p.id])]
    spared = len(problems) * band.rollouts - sum(r.model == "sft" for r in rollouts)
    dropped[f"SFT pass rate above {settings.max_pass_rate}"] = len(problems) - len(kept)
    if not kept:
        raise UserError("curate: no problem is hard enough for RL; raise curate.max_pass_rate or add harder problems")
    table = DifficultyTable.build([p for p in problems if p.kind == "code"], rollouts)
    write_rows(context.folder / "problems.jsonl", kept)
    write_rows(context.folder / "rollouts.jsonl", rollouts)
    table.save(context.folder / "difficulty.json")
    counts = {"problems": len(problems) + dropped.total() - (len(problems) - len(kept)), "kept": len(kept)} | dropped
    counts["rollouts not needed"] = spared
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


def roll(source: Path, name: str, problems: list[Problem], band: Band, recipe, score, log: Log) -> list[Rollout]:
    """Responses of a model to each problem, scored, as Rollout rows: all of the band's, for math until it is settled."""
    tokenizer = Tokenizer.load(source)
    engine = Engine(
        load_checkpoint(source), [tokenizer.eos_id], recipe.engine.slots, tokenizer.vocab_size, consume=True
    )
    rows: list[Rollout] = []
    for start in range(0, len(problems), 64):
        some, found = problems[start : start + 64], []
        rounds, place = {p.id: (0, 0) for p in some}, {p.id: start + i for i, p in enumerate(some)}
        while owners := [
            (p, done + n) for p in some for done in (rounds[p.id][1],) for n in range(_wanted(p, band, *rounds[p.id]))
        ]:
            requests = [
                Request(tuple(tokenizer.encode_chat(p.messages)), recipe.rl.max_tokens, ("curate", name, p.id, n),
                        seed=recipe.seed)
                for p, n in owners
            ]  # fmt: skip
            events = generate(engine, requests)
            asked = [p for p, _ in owners]
            texts = [tokenizer.decode(e.token_ids) for e in events]
            scored: list[Scored] = score(asked, texts, [e.finish_reason for e in events])
            require_judged(asked, scored)
            for (p, n), e, s, text in zip(owners, events, scored, texts, strict=True):
                found.append(
                    Rollout(p.id, name, 0, 0, place[p.id], n, [], [], e.finish_reason, float(s.reward), text, list(s.verdicts))
                )  # fmt: skip
            rounds |= right_answers(found)
        rows += sorted(found, key=lambda r: (r.task, r.sample))
        log.row({"step": start + len(some), "total": len(problems), "model": name,
                 "reward": sum(r.reward for r in found) / len(found)})  # fmt: skip
    return rows


def _wanted(problem: Problem, band: Band, right: int, done: int) -> int:
    """How many responses the next round samples."""
    return band.next_round(right, done) if problem.kind == "math" else band.rollouts - done


def right_answers(rollouts: list[Rollout]) -> dict[str, tuple[int, int]]:
    """Problem -> (how many of its rollouts have full reward, how many there are)."""
    counts: dict[str, tuple[int, int]] = {}
    for r in rollouts:
        right, done = counts.get(r.problem_id, (0, 0))
        counts[r.problem_id] = right + (r.reward == 1), done + 1
    return counts
