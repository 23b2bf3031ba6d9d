"""Seamless Rollout live: the rows of the report's Table 2 on one fixed scenario, the same batches, the simulator beside.

    python bench/seamless.py                  # five steps of five schedules, about four minutes on two cores

Two worker processes x 32 slots, B = 16 groups of G = 8. A model of 0.1M parameters with random weights samples from 120
ids of which one ends a response, so lengths are about geometric (p99 / p50 near 6.6). A response's program prints the
parity of its length and is run by the judge, in its sandbox; of 100 problems 41 accept one parity, 30 none, 29 both: that
is the keep-rate. Nothing else is chosen. Naive: rounds of exactly B groups, a barrier, rewards one after another. Every
schedule does the same five steps with an update after each, from the same weights; then batches and weights are compared,
and each row's trace is replayed in the simulator. The last line is JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import tempfile
import time
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import torch
from rich.console import Console

from openmimo.judge.pool import Judge
from openmimo.model.config import ModelConfig
from openmimo.model.transformer import Transformer
from openmimo.recipe import Optim, Rl
from openmimo.rl.easy_pool import Outcome, TaskSampler
from openmimo.rl.rollout.group import batch_hash, is_valid
from openmimo.rl.rollout.live import Driver
from openmimo.rl.rollout.policy import SCHEDULES
from openmimo.rl.rollout.replay import replayed
from openmimo.rl.rollout.simulate import Measured, simulate
from openmimo.rl.rollout.table import table
from openmimo.rl.rollout.trace import Trace, read_trace
from openmimo.rl.rollout.whatif import table_of
from openmimo.rl.rollout.workers import Process
from openmimo.rl.score import Scored
from openmimo.rl.update import update
from openmimo.rows import Limits, Problem, Test
from openmimo.train.optim import Optimisers

MODELS = {
    "small": ModelConfig(vocab_size=128, hidden_size=64, layers=2, heads=2, kv_heads=1, head_dim=32, ffn_size=160,
                         max_length=1024, mtp_layers=0, rope_base=10_000.0),
    "compute-bound": ModelConfig(vocab_size=128, hidden_size=256, layers=4, heads=8, kv_heads=4, head_dim=32, ffn_size=704,
                         max_length=1024, mtp_layers=0, rope_base=10_000.0),
}  # fmt: skip
VOCABULARY, END, SLOTS, WORKERS = 120, 7, 32, 2
MAX_TOKENS = 900


def problems() -> list[Problem]:
    """41 whose programs may be right or wrong, 30 that nobody solves, 29 that all do."""
    kinds = ["mid"] * 41 + ["hard"] * 30 + ["easy"] * 29
    found = []
    for n, kind in enumerate(kinds):
        code = f"print({{'mid': PARITY, 'hard': 2, 'easy': 1}}[{kind!r}])"
        found.append(
            Problem(f"{kind}{n}", "code", [{"role": "user", "content": code}], golden=code,
                    tests=[Test("t", "stdin", "", "1\n")], limits=Limits())
        )  # fmt: skip
    return found


def scorer(judge: Judge):
    """Builds each response's program and has it judged."""

    def score(owners, texts, reasons):
        programs = [
            (p, p.golden.replace("PARITY", text) + f"\nsum(x * x for x in range(20000))  # {n}")
            for n, (p, text) in enumerate(zip(owners, texts, strict=True))
        ]
        verdicts = judge.judge_many(programs)
        rights = [all(v.verdict == "AC" for v in vector) for vector in verdicts]
        return [Scored(Fraction(right), right, vector) for right, vector in zip(rights, verdicts, strict=True)]

    return score


def run(name: str, steps: int, folder: Path, config: ModelConfig, console: Console) -> dict:
    """Five steps of one schedule: times, hashes of the batches and the weights."""
    rl = Rl(optim=Optim(name="muon", adam_ratio=1.0, weight_decay=0.0), lr=1e-4, steps=steps, batch=16, group=8,
            minibatch=16, max_tokens=MAX_TOKENS, schedule=name, engines=WORKERS, micro_batch=16)  # fmt: skip
    torch.manual_seed(0)
    model = Transformer(config)
    rows = problems()
    prompts = {p.id: tuple(int(x) for x in np.random.default_rng(n).integers(8, VOCABULARY, 24))
               for n, p in enumerate(rows)}  # fmt: skip
    sampler, optim = TaskSampler([p.id for p in rows], 0, 0.0), Optimisers(model, rl.optim)
    sampler.rates["main"] = 0.41
    folder.mkdir()
    hashes, rollout_s, reward_s, train_s, lengths, kept, used, valid = [], 0.0, 0.0, 0.0, [], 0, 0, 0
    with ExitStack() as stack:
        judge = stack.enter_context(Judge(workers=1))
        workers = [Process(model, [END], SLOTS, VOCABULARY) for _ in range(WORKERS)]
        driver = Driver(workers, [scorer(judge)], {p.id: p for p in rows}, prompts, lambda ids: str(len(ids) % 2), rl, 0,
                        trace=Trace(folder / "trace.jsonl"))  # fmt: skip
        stack.callback(driver.close)
        for worker in workers:
            worker.connection.poll(60)
        for step in range(steps):
            model.eval()
            tasks = sampler.tasks(step)
            found = driver.collect(step, tasks, model.state_dict())
            sampler.commit(tasks, [Outcome(is_valid(g.scored, rl.filter), False, g.length) for g in found.used])
            began = time.perf_counter()
            update(model, found.batch, optim, rl.lr, rl)
            train_s += time.perf_counter() - began
            rollout_s, reward_s = rollout_s + found.rollout_s, reward_s + found.reward_s
            hashes.append(batch_hash(found.batch))
            lengths += [len(e.token_ids) for g in found.used for e in g.events]
            kept, used = kept + sum(is_valid(g.scored, rl.filter) for g in found.used), used + len(found.used)
            valid += len(found.batch) + found.surplus
            console.print(f"{name} step {step + 1}: rollout {found.rollout_s:.2f} s", highlight=False)
    weights = hashlib.blake2b(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest()[:16]
    return {"hashes": hashes, "weights": weights, "rollout_s": rollout_s, "reward_s": reward_s, "train_s": train_s,
            "lengths": lengths, "kept": kept / used, "valid": valid}  # fmt: skip


def measured(folder: Path) -> Measured:
    """A row's trace in the simulator's terms, so that both go through the same definitions."""
    found = Measured()
    for step in read_trace(folder / "trace.jsonl"):
        whole = [life for life in step.lives if life.end != "aborted"]
        found.seconds += step.row["ended"] - step.row["began"]
        found.slot_s += sum(life.slot_s for life in whole)
        for worker in range(WORKERS):
            end = 0.0
            for began, done in sorted((life.began, life.done) for life in whole if life.worker == worker):
                found.busy_s += max(0.0, done - max(began, end))
                end = max(end, done)
        found.tokens += sum(sum(life.lengths) for life in whole)
        found.started += len(step.lives)
        found.complete += len(whole)
        found.valid += sum(bool(life.valid) for life in whole)
        found.trained += sum(life.end == "kept" for life in whole)
        used = [life for life in step.lives if life.n < step.row["used"]]
        found.used += len(used)
        found.valids.append([bool(life.valid) for life in used])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--model", choices=MODELS, default="small")
    args = parser.parse_args()
    console = Console()
    torch.set_num_threads(1)
    config = MODELS[args.model]
    parameters = sum(p.numel() for p in Transformer(config).parameters())
    console.print(f"{platform.processor() or platform.machine()}, {psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}; "
                  f"{parameters:,} parameters, {WORKERS} workers x {SLOTS} slots", highlight=False)  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        folders = {name: Path(temporary) / name for name in SCHEDULES}
        runs = {name: run(name, args.steps, folders[name], config, console) for name in SCHEDULES}
        lives = {name: measured(folders[name]) for name in SCHEDULES}
        errors = {}
        for name, folder in folders.items():
            scenario, replay = replayed(folder)
            predicted = simulate(scenario, {name: SCHEDULES[name]}, replay)[name].seconds
            errors[name] = predicted / lives[name].seconds - 1
    naive = runs["naive"]
    share = naive["rollout_s"] / (naive["rollout_s"] + naive["train_s"])
    rows = table(lives, WORKERS, SLOTS, share)
    p50, p99 = np.quantile(naive["lengths"], (0.5, 0.99))
    judging = naive["reward_s"] / naive["rollout_s"]
    for name, row in rows.items():
        row["normalized_idle"] = row.get("normalized_idle", 1.0)
        row["measured_overall"] = (naive["rollout_s"] + naive["train_s"]) / (
            runs[name]["rollout_s"] + runs[name]["train_s"]
        )
    identical = len({(tuple(r["hashes"]), r["weights"]) for n, r in runs.items() if n != "static"}) == 1
    scenario_ok = bool(0.38 <= naive["kept"] <= 0.44 and p99 / p50 >= 6 and 0.05 <= judging <= 0.15)
    console.print(table_of(rows))
    console.print(f"keep-rate {naive['kept']:.2f}, length p50 {p50:.0f} p99 {p99:.0f}, judging {judging:.1%} of naive's rollout, "
                  f"f {share:.3f}; batches and weights of all dynamic rows identical: {identical}", highlight=False)  # fmt: skip
    console.print("overall, measured: " + ", ".join(f"{n} {r['measured_overall']:.2f}x" for n, r in rows.items()))
    console.print("simulated from the trace: " + ", ".join(f"{n} {e:+.1%}" for n, e in errors.items()))
    keys = ("rollout_speedup", "overall_speedup", "normalized_idle", "idle_ratio", "busy_idle_ratio", "waste_ratio")
    print(
        json.dumps(
            {
                "rows": {name: {key: round(float(row[key]), 4) for key in keys} for name, row in rows.items()},
                "f": round(share, 4),
                "scenario_ok": scenario_ok,
                "identical_batches": identical,
                "simulator_error": {name: round(error, 4) for name, error in errors.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
