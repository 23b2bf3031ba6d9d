"""The RL stage [R 3.3]: roll out groups, reward by rules, drop groups without a gradient, update, commit the pool.

    openmimo rl --from FOLDER --problems FILE.jsonl --out FOLDER [--reward module:function]

A step is a function of (recipe, seed, weights, sampler state, step). Its end is saved every few seconds; a run that is
killed repeats the steps since, bit-equal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from openmimo.infer.engine import Engine, check_length
from openmimo.model.hub import load_checkpoint
from openmimo.model.tokenizer import Tokenizer
from openmimo.recipe import Rl
from openmimo.rl.easy_pool import TaskSampler
from openmimo.rl.grpo import has_signal
from openmimo.rl.rollout.naive import Rollouts, RolloutWorker
from openmimo.rl.rollout.policy import KeepRates
from openmimo.rl.update import update
from openmimo.rows import Problem, check_problems
from openmimo.train.checkpoint import Checkpointer
from openmimo.train.log import Log
from openmimo.train.optim import Optimisers


class Trainer:
    """Holds what a step reads and changes. `score` maps (problems, responses, finish reasons) to rewards."""

    def __init__(self, source: Path, problems: list[Problem], rl: Rl, seed: int, slots: int, score: Callable):
        check_problems(problems, "rl")
        self.source, self.rl, self.seed = source, rl, seed
        self.tokenizer = Tokenizer.load(source)
        self.model = load_checkpoint(source)
        for parameter in self.model.model.mtp_layers.parameters():
            parameter.requires_grad_(False)  # MTP is frozen in RL
        self.optim = Optimisers(self.model, rl.optim)
        self.sampler = TaskSampler([p.id for p in problems], seed, rl.easy_alpha)
        self.rates = KeepRates()
        engine = Engine(self.model, [self.tokenizer.eos_id], slots, self.tokenizer.vocab_size)
        prompts: dict[str, tuple[int, ...]] = {}

        for problem in problems:
            prompts[problem.id] = tuple(self.tokenizer.encode_chat(problem.messages))
            check_length(
                prompts[problem.id],
                rl.max_tokens,
                self.model.config.max_length,
                f"rl: problem {problem.id}",
                "rl.max_tokens",
            )
        self.worker = RolloutWorker(
            engine, {p.id: p for p in problems}, prompts, self.tokenizer.decode, score, rl.group, rl.max_tokens, seed
        )

    def train(self, steps: int, checkpointer: Checkpointer, log: Log) -> None:
        """Runs to `steps`, resuming from the last checkpoint."""
        first = self.resume(checkpointer, log)
        for step in range(first, steps):
            row = self.step(step, steps)
            log.row(row)
            if row["batch"] < self.rl.batch:
                log.say(f"step {step + 1}: only {row['batch']} of {self.rl.batch} groups had a gradient after "
                        f"{row['rounds']} rounds; raise rl.max_rounds, or give harder or easier problems")  # fmt: skip
            if checkpointer.due():
                checkpointer.save(self.state(step + 1, log))

    def step(self, step: int, steps: int) -> dict:
        """One iteration; returns the row to log."""
        rl = self.rl
        self.model.eval()
        rollouts = self.worker.collect(step, self.sampler, self.rates, rl.batch, rl.dynamic_sampling, rl.max_rounds)
        self.sampler.commit(step, len(rollouts.used), rollouts.solved)
        began = time.perf_counter()
        lr = rl.lr * min(1.0, (step + 1) / max(1, rl.warmup_steps))
        learns = any(has_signal(g.rewards) for g in rollouts.batch)
        losses = update(self.model, rollouts.batch, self.optim, lr, rl) if learns else {}
        if learns:
            self.worker.engine.update_weights(self.model.state_dict(), step + 1)
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

    def summary(self, rollouts: Rollouts) -> dict:
        """What a step's rollouts were like, over every group that counts (not only those trained on)."""
        used = rollouts.used
        scored = [s for g in used for s in g.scored]
        events = [e for g in used for e in g.events]
        return {
            "reward": float(sum(s.reward for s in scored) / len(scored)),
            "pass_rate": sum(s.passed for s in scored) / len(scored),
            "response_length": sum(len(e.token_ids) for e in events) / len(events),
            "truncated": sum(e.finish_reason == "length" for e in events) / len(events),
            "kept": sum(has_signal(g.rewards) for g in used) / len(used),
            "groups": rollouts.started,
            "batch": len(rollouts.batch),
            "rounds": rollouts.rounds,
            "pool": len(self.sampler.pool),
        }

    def state(self, step: int, log: Log) -> dict:
        return {
            "step": step,
            "model": self.model.state_dict(),
            "optim": self.optim.state_dict(),
            "sampler": self.sampler.state(),
            "rates": [self.rates.main, self.rates.pool],
            "log": log.place(),
        }

    def resume(self, checkpointer: Checkpointer, log: Log) -> int:
        """Loads the last checkpoint; returns the step to go on with."""
        state = checkpointer.load()
        if not state:
            return 0
        self.model.load_state_dict(state["model"])
        self.worker.engine.update_weights(state["model"], state["step"])
        self.optim.load_state_dict(state["optim"])
        self.sampler.restore(state["sampler"])
        self.rates.main, self.rates.pool = state["rates"]
        log.rewind(state["log"])
        log.say(f"goes on from step {state['step']}")
        return state["step"]
