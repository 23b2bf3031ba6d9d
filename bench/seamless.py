"""Seamless Rollout live: the rows of the report's Table 2 on one fixed scenario, the same batches, the simulator beside.

    python bench/seamless.py                          # five steps of five schedules, eight minutes on two cores
    python bench/seamless.py --lengths report         # a naive round's slots are as idle as in the report's cluster
    python bench/seamless.py --slots 64               # a naive round fits the slots
    python bench/seamless.py --model compute-bound --schedules naive early --steps 2 --rows-only    # as it comes out

Two worker processes x 32 slots, B = 16 groups of G = 8. A model of 0.1M parameters with random weights samples from 200
ids of which one ends a response, so lengths are about geometric (p99 / p50 near 6.6). A response's program prints the
parity of its length and is run by the judge, in its sandbox; of 100 problems 41 accept one parity, 30 none, 29 both: that
is the keep-rate. Nothing else is chosen. Naive: rounds of exactly B groups, a barrier, rewards one after another. Every
schedule does the same five steps with an update after each, from the same weights; then batches and weights are compared,
and each row's trace is replayed in the simulator. The schedules take turns, step by step.

--lengths report: 128 samples a round lack the extremes of the report's 8192, so its slots idle less (63 %) than those of
scenario `report`, which is calibrated on the static and naive rows (86 %). Here 12 % of the responses last 600 tokens on
average, the others 40 (p99 / p50 about 40); the share is what brings naive, and nothing else was looked at, to 86 %.

ceiling: what the same tasks cost in the simulator, started in the same order by a forecast that knows each verdict: no
schedule that keeps the order can do better on these slots. beyond: seamless with histories (selective drawing, a forecast
for each problem, after three steps to learn them), other data than naive's, still a function of the seed. Then the same
data with one worker, a judge slowed at random, a worker killed, drafting; and validation, all tasks streamed, against all
generated and then judged one after another. The last line is JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import torch
from rich.console import Console
from seamless_scenario import (
    BEGIN,
    END,
    LENGTHS,
    MAX_TOKENS,
    MODELS,
    VOCABULARY,
    WORKERS,
    drafting,
    measured,
    problems,
    prompts,
    scorer,
    two_kinds,
)

from openmimo.eval.stream import stream
from openmimo.infer.engine import Engine, Request, generate
from openmimo.judge.pool import Judge
from openmimo.model.config import ModelConfig
from openmimo.model.transformer import Transformer
from openmimo.recipe import Optim, Rl
from openmimo.rl.easy_pool import Outcome, TaskSampler
from openmimo.rl.rollout.group import batch_hash, is_valid
from openmimo.rl.rollout.live import Driver
from openmimo.rl.rollout.policy import SCHEDULES
from openmimo.rl.rollout.replay import Recorded, replayed
from openmimo.rl.rollout.simulate import simulate
from openmimo.rl.rollout.table import table
from openmimo.rl.rollout.trace import Trace
from openmimo.rl.rollout.whatif import table_of
from openmimo.rl.rollout.workers import Process
from openmimo.rl.update import update
from openmimo.rows import Test
from openmimo.train.optim import Optimisers

LEARNING, SAME = 3, 2  # steps in which `beyond` learns its histories; steps of each comparison of data


@dataclass
class Bench:
    """What all runs share."""

    folder: Path
    config: ModelConfig
    slots: int
    lengths: str
    console: Console

    def model(self) -> Transformer:
        torch.manual_seed(0)
        model = Transformer(self.config)
        if LENGTHS[self.lengths]:
            two_kinds(model, *LENGTHS[self.lengths])
        return model

    def prompts(self) -> dict[str, tuple[int, ...]]:
        end = (BEGIN,) if LENGTHS[self.lengths] else ()
        return {p: (*ids, *end) for p, ids in prompts(problems()).items()}

    def run(self, name: str, steps: int, schedule: str | None = None, workers: int = WORKERS, late: bool = False,
            kill: bool = False, drafts: bool = False, beyond: bool = False) -> Generator[None, None, dict]:  # fmt: skip
        """Steps of one schedule, each with its update; yields after each, returns times, hashes of the batches and the
        weights. kill: a worker, in the second step."""
        rl = Rl(optim=Optim(name="muon", adam_ratio=1.0, weight_decay=0.0), lr=1e-4, steps=steps, batch=16, group=8,
                minibatch=16, max_tokens=MAX_TOKENS, schedule=schedule or name, micro_batch=16)  # fmt: skip
        model, rows = self.model(), problems()
        optim = Optimisers(model, rl.optim)
        sampler = TaskSampler([p.id for p in rows], 0, 0.0, 1, 0.3 if beyond else 1.0, beyond)
        sampler.rates["main"] = 0.41
        folder = self.folder / name
        folder.mkdir()
        found = {"hashes": [], "rollout_s": 0.0, "reward_s": 0.0, "train_s": 0.0, "lengths": [], "kept": 0, "used": 0}
        with ExitStack() as stack:
            judge = stack.enter_context(Judge(workers=1))
            made_of = (model, [END], self.slots, VOCABULARY)
            engines = [drafting(*made_of)] if drafts else [Process(*made_of) for _ in range(workers)]
            driver = Driver(engines, [scorer(judge, late)], {p.id: p for p in rows}, self.prompts(),
                            lambda ids: str(len(ids) % 2), rl, 0, trace=Trace(folder / "trace.jsonl"))  # fmt: skip
            stack.callback(driver.close)
            for engine in engines:
                assert drafts or engine.connection.poll(60)
            for step in range(steps):
                if kill and step == 1:
                    threading.Timer(0.5, engines[0].process.kill).start()
                model.eval()
                tasks = sampler.tasks(step)
                rollouts = driver.collect(step, tasks, model.state_dict())
                sampler.commit(tasks, [Outcome(is_valid(g.scored, rl.filter), False, g.length) for g in rollouts.used])
                began = time.perf_counter()
                update(model, rollouts.batch, optim, rl.lr, rl)
                train_s = time.perf_counter() - began
                yield
                if beyond and step < LEARNING:
                    continue
                found["train_s"] += train_s
                found["rollout_s"] += rollouts.rollout_s
                found["reward_s"] += rollouts.reward_s
                found["hashes"].append(batch_hash(rollouts.batch))
                found["lengths"] += [len(e.token_ids) for g in rollouts.used for e in g.events]
                found["kept"] += sum(is_valid(g.scored, rl.filter) for g in rollouts.used)
                found["used"] += len(rollouts.used)
                self.console.print(f"{name} step {step + 1}: rollout {rollouts.rollout_s:.2f} s", highlight=False)
        weights = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
        return found | {"weights": hashlib.blake2b(weights).hexdigest()[:16]}

    def validation(self, count: int = 48, samples: int = 8) -> dict[str, float]:
        """All tasks streamed, against all generated and then judged one problem after another. The bound: one core
        generates, the other judges, and neither ever waits."""
        rows = [replace(p, tests=[Test(str(n), "stdin", str(n), "1\n") for n in range(20)]) for p in problems()[:count]]
        asked = [[Request(self.prompts()[p.id], MAX_TOKENS, ("eval", p.id, i)) for i in range(samples)] for p in rows]
        engine = Engine(self.model(), [END], self.slots, VOCABULARY)
        with Judge(workers=1) as judge:
            score = scorer(judge)

            def judged(n, events):
                began = time.perf_counter()
                found = score([rows[n]] * len(events), [str(len(e.token_ids) % 2) for e in events], [""] * len(events))
                seconds.append(time.perf_counter() - began)
                return [s.passed for s in found]

            seconds: list[float] = []
            list(stream(engine, self.slots, asked[:2], judged))  # warm
            began = time.perf_counter()
            events = generate(engine, [request for of_problem in asked for request in of_problem])
            generation = time.perf_counter() - began
            naive_found = [judged(n, events[n * samples : (n + 1) * samples]) for n in range(count)]
            naive = time.perf_counter() - began
            began = time.perf_counter()
            streamed = {n: [one for _, one in found] for n, found in stream(engine, self.slots, asked, judged)}
            seamless = time.perf_counter() - began
        assert [streamed[n] for n in range(count)] == naive_found
        return {"naive_s": naive, "generation_s": generation, "judging_s": naive - generation, "seamless_s": seamless,
                "speedup": naive / seamless, "bound": naive / max(generation, naive - generation)}  # fmt: skip


def together(runs: dict[str, Generator]) -> dict[str, dict]:
    """Step by step in turns, so that whatever else the machine does meets all alike; what each returns."""
    found: dict[str, dict] = {}
    while len(found) < len(runs):
        for name, run in runs.items():
            if name not in found:
                try:
                    next(run)
                except StopIteration as end:
                    found[name] = end.value
    return found


def ceiling(folder: Path) -> float:
    """Seconds of the steps in a trace, with the trace's own decode times, under a forecast that knows each verdict."""
    scenario, replay = replayed(folder)

    class Known(Recorded):
        def expected(self, n):
            return False, 0.9999 if replay.outcome(self.number, n, self[n]).valid else 1e-9

    for number, recorded in enumerate(replay.steps):
        recorded.__class__, recorded.number = Known, number
    return simulate(scenario, {"early": SCHEDULES["early"]}, replay)["early"].seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--model", choices=MODELS, default="small")
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--lengths", choices=LENGTHS, default="geometric")
    parser.add_argument("--schedules", nargs="+", choices=SCHEDULES, default=SCHEDULES, help="beside naive and early")
    parser.add_argument("--rows-only", action="store_true", help="without beyond, the same data and validation")
    parser.add_argument("--keep", type=Path, help="a folder for the traces, for `openmimo trace`")
    args = parser.parse_args()
    console = Console(width=150)
    torch.set_num_threads(1)
    schedules = {n: s for n, s in SCHEDULES.items() if n in (*args.schedules, "naive", "early")}
    config = MODELS[args.model]
    parameters = sum(p.numel() for p in Transformer(config).parameters())
    console.print(f"{platform.processor() or platform.machine()}, {psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}; "
                  f"{parameters:,} parameters, {WORKERS} workers x {args.slots} slots", highlight=False)  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        bench = Bench(folder, config, args.slots, args.lengths, console)
        running = {name: bench.run(name, args.steps) for name in schedules}
        if not args.rows_only:
            running["beyond"] = bench.run("beyond", LEARNING + args.steps, "early", beyond=True)
            for _ in range(LEARNING):
                next(running["beyond"])
        runs = together(running)
        lives = {name: measured(folder / name) for name in schedules}
        errors = {}
        for name, schedule in schedules.items():
            scenario, replay = replayed(folder / name)
            predicted = simulate(scenario, {name: schedule}, replay)[name].seconds
            errors[name] = round(predicted / lives[name].seconds - 1, 4)
        best = lives["naive"].seconds / ceiling(folder / "early")
        naive = runs["naive"]
        share = naive["rollout_s"] / (naive["rollout_s"] + naive["train_s"])
        rows = table(lives, WORKERS, args.slots, share)
        p50, p99 = np.quantile(naive["lengths"], (0.5, 0.99))
        judging, kept = naive["reward_s"] / naive["rollout_s"], naive["kept"] / naive["used"]
        for name, row in rows.items():
            whole = runs[name]["rollout_s"] + runs[name]["train_s"]
            row["measured_overall"] = (naive["rollout_s"] + naive["train_s"]) / whole
        identical = (
            len({(tuple(r["hashes"]), r["weights"]) for n, r in runs.items() if n in lives and n != "static"}) == 1
        )
        console.print(table_of(rows))
        console.print(f"keep-rate {kept:.2f}, length p50 {p50:.0f} p99 {p99:.0f}, judging {judging:.1%} of naive's rollout, "
                      f"f {share:.3f}; batches and weights of all dynamic rows identical: {identical}", highlight=False)  # fmt: skip
        console.print("overall, measured: " + ", ".join(f"{n} {r['measured_overall']:.2f}x" for n, r in rows.items()))
        console.print(f"ceiling of the rollout speed-up on these slots: {best:.2f}x", highlight=False)
        console.print("simulated from the trace: " + ", ".join(f"{n} {e:+.1%}" for n, e in errors.items()))
        keys = ("rollout_speedup", "overall_speedup", "measured_overall", "normalized_idle", "idle_ratio", "busy_idle_ratio", "waste_ratio")  # fmt: skip
        more = {} if args.rows_only else further(bench, runs)
    print(
        json.dumps(
            {
                "rows": {name: {key: round(float(row[key]), 4) for key in keys} for name, row in rows.items()},
                "ceiling": round(best, 4),
                "f": round(share, 4),
                "judging_share": round(judging, 4),
                "length_ratio": round(p99 / p50, 3),
                "keep_rate": round(kept, 4),
                "scenario_ok": bool(0.38 <= kept <= 0.44 and p99 / p50 >= 6 and 0.05 <= judging <= 0.15),
                "identical_batches": identical and all(more.get("same_data", {}).values()),
                "simulator_error": errors,
            }
            | more
        )
    )


def further(bench: Bench, runs: dict[str, dict]) -> dict:
    """Beyond the report, the same data under other circumstances, validation."""
    naive, beyond = runs["naive"], runs["beyond"]
    found = {"beyond_speedup": naive["rollout_s"] / beyond["rollout_s"]}
    bench.console.print(
        f"beyond: rollout {found['beyond_speedup']:.2f}x, keep-rate {beyond['kept'] / beyond['used']:.2f}"
    )
    cases = {"one worker": {"workers": 1}, "late judge": {"late": True}, "worker killed": {"kill": True},
             "drafting": {"drafts": True}}  # fmt: skip
    same = {}
    for name, changes in cases.items():
        hashes = together({"": bench.run(name, SAME, "early", **changes)})[""]["hashes"]
        same[name] = hashes == naive["hashes"][:SAME]
    bench.console.print("same batches:", ", ".join(f"{name} {value}" for name, value in same.items()))
    validation = bench.validation()
    shown = ", ".join(f"{key} {value:.2f}" for key, value in validation.items())
    bench.console.print(f"validation: {shown}", highlight=False)
    speedup, bound = (round(validation[key], 4) for key in ("speedup", "bound"))
    return {k: round(v, 4) for k, v in found.items()} | {
        "same_data": same, "validation_speedup": speedup, "validation_bound": bound
    }  # fmt: skip


if __name__ == "__main__":
    main()
