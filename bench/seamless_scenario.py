"""The fixed scenario of bench/seamless.py: models, problems with their judge, and a trace in the simulator's terms."""

from __future__ import annotations

import math
import random
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from openmimo.infer.draft import MTPDrafter
from openmimo.infer.engine import Engine
from openmimo.judge.pool import Judge
from openmimo.model.config import ModelConfig
from openmimo.model.transformer import Transformer
from openmimo.rl.rollout.simulate import Measured
from openmimo.rl.rollout.trace import read_trace
from openmimo.rl.rollout.workers import Local
from openmimo.rl.score import Scored
from openmimo.rows import Limits, Problem, Test

MODELS = {
    "small": ModelConfig(vocab_size=208, hidden_size=64, layers=2, heads=2, kv_heads=1, head_dim=32, ffn_size=160,
                         max_length=1600, mtp_layers=0, rope_base=10_000.0),
    "compute-bound": ModelConfig(vocab_size=208, hidden_size=256, layers=4, heads=8, kv_heads=4, head_dim=32, ffn_size=704,
                         max_length=1600, mtp_layers=0, rope_base=10_000.0),
}  # fmt: skip
VOCABULARY, END, BEGIN, WORKERS = 200, 7, 200, 2
MAX_TOKENS = 1500
LARGE = 100.0  # an embedding's coordinate; the others are about 1
LENGTHS = {"geometric": (), "report": (40, 600, 0.12)}  # mean tokens of short and of long responses, share of long ones


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


def scorer(judge: Judge, late: bool = False):
    """Builds each response's program and has it judged. late: after a while that is another one each time."""

    def score(owners, texts, reasons):
        if late:
            time.sleep(random.random() / 4)
        verdicts = judge.judge_many([(p, p.golden.replace("PARITY", t)) for p, t in zip(owners, texts, strict=True)])
        rights = [all(v.verdict == "AC" for v in vector) for vector in verdicts]
        return [Scored(Fraction(right), right, vector) for right, vector in zip(rights, verdicts, strict=True)]

    return score


def prompts(rows: list[Problem]) -> dict[str, tuple[int, ...]]:
    """24 tokens for each problem."""
    chosen = {p.id: np.random.default_rng(n).integers(8, VOCABULARY, 24) for n, p in enumerate(rows)}
    return {p: tuple(int(x) for x in ids) for p, ids in chosen.items()}


def two_kinds(model: Transformer, short: float, long: float, share: float) -> None:
    """Sets three of the hidden coordinates by hand, so that the first token says whether a response is short or long: after
    BEGIN comes an id of the upper half with probability `share`, an id is followed by one of its own half, and END comes
    with 1 / short or 1 / long. All else stays random, and small beside it."""
    tokens = torch.arange(VOCABULARY)
    kinds = {0: tokens[(tokens < VOCABULARY // 2) & (tokens != END)], 1: tokens[tokens >= VOCABULARY // 2]}
    scale = model.config.hidden_size**0.5  # of the one large coordinate, after the last norm
    with torch.no_grad():
        embedding, head = model.model.embed_tokens.weight, model.lm_head.weight
        embedding[:, :3], head[:, :3] = 0.0, math.log(1e-9) / scale
        embedding[BEGIN, 2] = LARGE
        for kind, (ids, mean, chance) in enumerate(zip(kinds.values(), (short, long), (1 - share, share), strict=True)):
            embedding[ids, kind] = LARGE
            head[ids, 2] = math.log(chance / len(ids)) / scale
            head[ids, kind] = math.log((1 - 1 / mean) / len(ids)) / scale
            head[END, kind] = math.log(1 / mean) / scale


def drafting(model: Transformer, stop_ids: list[int], slots: int, vocabulary: int) -> Local:
    """An engine in this process with an MTP layer that drafts; the layer is another random one, so few guesses hold."""
    torch.manual_seed(1)
    worker = Local(model, stop_ids, slots, vocabulary)
    other = Transformer(model.config.model_copy(update={"mtp_layers": 1}))
    extra = {name: value for name, value in other.state_dict().items() if ".mtp_layers." in name}
    other.load_state_dict(model.state_dict() | extra)
    worker.feed.engine = Engine(other, stop_ids, slots, vocabulary, drafter=MTPDrafter(1))
    load = worker.feed.engine.update_weights
    worker.feed.engine.update_weights = lambda state, version: load({**state, **extra}, version)
    return worker


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
