"""The RL stage [R 3.3]: roll out groups seamlessly, reward by rules, update on the valid ones, commit S.

    openmimo rl --from FOLDER --problems FILE.jsonl --out FOLDER [--reward module:function]

A step is a function of (recipe, seed, weights, sampler state, step). Its end is saved every few seconds; a run that is
killed repeats the steps since, bit-equal; what they had generated and judged is in the journal, and is not done again.
"""

from __future__ import annotations

import time
from pathlib import Path

from openmimo.errors import UserError
from openmimo.infer.engine import check_length
from openmimo.model.hub import load_checkpoint
from openmimo.model.tokenizer import Tokenizer
from openmimo.recipe import Rl
from openmimo.rl.easy_pool import Outcome, TaskSampler
from openmimo.rl.grpo import has_signal
from openmimo.rl.rollout.bias import bias
from openmimo.rl.rollout.engines import engines_of, purity
from openmimo.rl.rollout.group import Group, Rollouts, batch_hash, is_valid
from openmimo.rl.rollout.journal import FILE as JOURNAL
from openmimo.rl.rollout.journal import Journal
from openmimo.rl.rollout.live import Driver, Score
from openmimo.rl.rollout.trace import FILE as TRACE
from openmimo.rl.rollout.trace import Trace
from openmimo.rl.update import update
from openmimo.rows import Problem, check_problems
from openmimo.train.checkpoint import Checkpointer
from openmimo.train.log import Log
from openmimo.train.optim import Optimisers


class Trainer:
    """Holds what a step reads and changes. scorers: each maps (problems, responses, finish reasons) to rewards, in a
    thread of its own. folder: for the journal and the trace; None keeps neither."""

    def __init__(
        self, source: Path, problems: list[Problem], rl: Rl, seed: int, slots: int, scorers: list[Score],
        folder: Path | None = None,
    ):  # fmt: skip
        check_problems(problems, "rl")
        self.source, self.rl, self.seed = source, rl, seed
        self.tokenizer = Tokenizer.load(source)
        self.model = load_checkpoint(source)
        for parameter in self.model.model.mtp_layers.parameters():
            parameter.requires_grad_(False)  # MTP is frozen in RL
        self.optim = Optimisers(self.model, rl.optim)
        window = rl.batch if rl.order == "longest_first" else 1
        own = rl.forecast == "problem"
        self.sampler = TaskSampler([p.id for p in problems], seed, rl.easy_alpha, window, rl.selective, own)
        prompts = {p.id: tuple(self.tokenizer.encode_chat(p.messages)) for p in problems}
        for problem, prompt in prompts.items():
            where = f"rl: problem {problem}"
            check_length(prompt, rl.max_tokens, self.model.config.max_length, where, "rl.max_tokens")
        made_of = (self.model, [self.tokenizer.eos_id], slots, self.tokenizer.vocab_size)
        workers = engines_of(rl, *made_of, source)
        self.driver = Driver(
            workers, scorers, {p.id: p for p in problems}, prompts, self.tokenizer.decode, rl, seed,
            Journal(folder and folder / JOURNAL), Trace(folder and folder / TRACE),
        )  # fmt: skip

    def train(self, steps: int, checkpointer: Checkpointer, log: Log) -> None:
        """Runs to `steps`, resuming from the last checkpoint."""
        log.say(purity(self.rl.engines_at))
        first = self.resume(checkpointer, log)
        for step in range(first, steps):
            row = self.step(step, steps)
            log.row(row)
            if row["batch"] < self.rl.batch:
                log.say(f"step {step + 1}: only {row['batch']} of {self.rl.batch} groups were valid among "
                        f"{row['groups']}; raise rl.max_tasks_per_step, or give harder or easier problems")  # fmt: skip
            if checkpointer.due():
                checkpointer.save(self.state(step + 1, log))
                self.driver.journal.clear()

    def step(self, step: int, steps: int) -> dict:
        """One iteration; returns the row to log."""
        rl = self.rl
        self.model.eval()
        tasks = self.sampler.tasks(step)
        rollouts = self.driver.collect(step, tasks, self.model.state_dict())
        if not rollouts.batch:
            raise UserError(self.nothing_valid(step, rollouts.used))
        outcomes = [Outcome(is_valid(g.scored, rl.filter), all(s.passed for s in g.scored), g.length)
                    for g in rollouts.used]  # fmt: skip
        self.sampler.commit(tasks, outcomes)
        began = time.perf_counter()
        lr = rl.lr * min(1.0, (step + 1) / max(1, rl.warmup_steps))
        learns = any(has_signal(g.rewards) for g in rollouts.batch)
        losses = update(self.model, rollouts.batch, self.optim, lr, rl) if learns else {}
        return {
            "step": step + 1,
            "total": steps,
            **self.summary(rollouts),
            **losses,
            "lr": lr,
            "rollout_s": rollouts.rollout_s,
            "reward_s": rollouts.reward_s,
            "train_s": time.perf_counter() - began,
        }

    def nothing_valid(self, step: int, groups: list[Group]) -> str:
        """Why a step without any valid group cannot go on: which problems are too easy, which too hard."""
        easy = sorted({g.problem.id for g in groups if all(s.passed for s in g.scored)})
        hard = sorted({g.problem.id for g in groups} - set(easy))
        named = [
            f"{len(ids)} too {what} ({', '.join(ids[:5])}{', ...' if len(ids) > 5 else ''})"
            for what, ids in (("easy", easy), ("hard", hard))
            if ids
        ]
        return (
            f"rl: step {step + 1}: none of {len(groups)} groups was valid ({self.rl.filter}): problems "
            f"{' and '.join(named)}; give problems between, or raise rl.group, rl.max_tokens or rl.max_tasks_per_step"
        )

    def summary(self, rollouts: Rollouts) -> dict:
        """What a step's rollouts were like, over every group that counts (not only those trained on). surplus, aborted:
        of what was started, a matter of timing. length_bias: see rollout/bias; 0, or the stopping rule is broken."""
        used, batch = rollouts.used, [g.task for g in rollouts.batch]
        valid = [self.rl.schedule == "static" or is_valid(g.scored, self.rl.filter) for g in used]
        scored = [s for g in used for s in g.scored]
        events = [e for g in used for e in g.events]
        return {
            "reward": float(sum(s.reward for s in scored) / len(scored)),
            "pass_rate": sum(s.passed for s in scored) / len(scored),
            "response_length": sum(len(e.token_ids) for e in events) / len(events),
            "truncated": sum(e.finish_reason == "length" for e in events) / len(events),
            "kept": sum(is_valid(g.scored, self.rl.filter) for g in used) / len(used),
            "length_bias": bias(batch, valid, [g.length for g in used]),
            "groups": len(used),
            "batch": len(rollouts.batch),
            "pool": len(self.sampler.pool),
            "batch_hash": batch_hash(rollouts.batch),
            "started": rollouts.started,
            "surplus": rollouts.surplus,
        }

    def close(self) -> None:
        """Ends the engines."""
        self.driver.close()

    def state(self, step: int, log: Log) -> dict:
        return {
            "step": step,
            "model": self.model.state_dict(),
            "optim": self.optim.state_dict(),
            "sampler": self.sampler.state(),
            "log": log.place(),
        }

    def resume(self, checkpointer: Checkpointer, log: Log) -> int:
        """Loads the last checkpoint; returns the step to go on with."""
        state = checkpointer.load()
        if not state:
            return 0
        self.model.load_state_dict(state["model"])
        self.optim.load_state_dict(state["optim"])
        self.sampler.restore(state["sampler"])
        log.rewind(state["log"])
        log.say(f"goes on from step {state['step']}")
        return state["step"]
