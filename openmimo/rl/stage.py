"""The run's stages `rl` (from SFT) and `rl-zero` (from Base) [R 3.3]: same problems, same template, same settings."""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from openmimo.errors import UserError
from openmimo.judge.maths import MathJudge
from openmimo.judge.pool import judge_for
from openmimo.model.hub import save_into
from openmimo.recipe import Rl
from openmimo.rl.difficulty import DifficultyTable
from openmimo.rl.rollout.journal import FILE as JOURNAL
from openmimo.rl.score import score_responses
from openmimo.rl.trainer import Trainer
from openmimo.rows import Problem, read_rows
from openmimo.runs import Context
from openmimo.train.checkpoint import Checkpointer
from openmimo.train.log import Log


def run(context: Context) -> None:
    """RL from the SFT model."""
    _from(context, "sft", context.recipe.rl.steps)


def zero(context: Context) -> None:
    """RL-Zero: RL from the base model."""
    _from(context, "base", context.recipe.rl.zero_steps or context.recipe.rl.steps)


def _from(context: Context, source: str, steps: int) -> None:
    recipe, curated = context.recipe, context.inputs["curate"]
    problems = list(read_rows(curated / "problems.jsonl", Problem))
    table = DifficultyTable.load(curated / "difficulty.json")
    checkpointer = Checkpointer(context.folder, recipe.checkpoint.every_s)
    train(
        context.inputs[source], problems, recipe.rl, steps, recipe.seed, recipe.engine.slots, context.folder,
        checkpointer, context.log, difficulty=table,
    )  # fmt: skip


def train(
    source: Path, problems: list[Problem], rl: Rl, steps: int, seed: int, slots: int, folder: Path,
    checkpointer: Checkpointer, log: Log, difficulty: DifficultyTable | None = None, reward: str | None = None,
) -> None:  # fmt: skip
    """Trains `source` on `problems` and writes the checkpoint into `folder`. difficulty: levels of each problem's
    tests (None: one level); reward: `module:function` in place of the rules, see rl/score.py."""
    with ExitStack() as stack:
        scorers, judges = [], []
        for _ in range(rl.judges):
            judges.append(stack.enter_context(judge_at(rl.judges_at, problems)))
            maths = stack.enter_context(MathJudge()) if rl.judges_at == "local" else Answers(judges[-1])
            kind = reward or rl.reward
            scorers.append(
                partial(score_responses, judge=judges[-1], math_judge=maths, reward_kind=kind, difficulty=difficulty)
            )
        if rungs := sorted({judge.rung for judge in judges if hasattr(judge, "rung")}):
            log.say(f"programs are judged on rung {', '.join(rungs)}")
        trainer = stack.enter_context(closing(Trainer(source, problems, rl, seed, slots, scorers, folder)))
        trainer.train(steps, checkpointer, log)
        if again := sum(getattr(judge, "again", 0) for judge in judges):
            log.say(
                f"{again} tests ended near a limit and were judged again, alone: the one thing a repeat may decide anew"
            )
    (folder / JOURNAL).unlink()
    save_into(folder, trainer.model, source)


class Answers:
    """Math answers judged where the programs are."""

    def __init__(self, judge):
        self.judge_many = judge.judge_answers


def judge_at(where: str, problems: list[Problem]):
    """A judge for one thread: of this machine, of a Ray cluster, or a client of judge servers."""
    if where == "local":
        return judge_for(problems)
    if where == "ray":
        from openmimo.judge.on_ray import RayJudge

        return RayJudge(actors=1)
    try:
        from openmimo.judge.remote import RemoteJudge
    except ImportError as error:
        raise UserError(f"rl.judges_at: {error.name} is missing; `pip install 'openmimo[serve]'`") from None

    return RemoteJudge(where.split(","))
