"""What the data does: extraction, the three stages, synthetic data repeated; one tiny model, the same tokens, the same seeds.

    bash bench/peers/extract.sh && .venv/bin/python bench/data_effect.py     # half an hour on one core; goes on where it was

extraction: the same documentation pages as text by openmimo, by trafilatura, as whole pages and as their authors wrote them
(bench/data_effect_texts.py); bits a byte of other pages, as their authors wrote them. stages: the recipe's three stages against
the same tokens in one flat mix. repeats: the recipe's synthetic tokens as 1, 4 and 16 epochs of fewer documents. For these two:
bits a byte of held-out documents by source (of what has a loss), and the score on the recipe's held-out problems. A seed sets the
initial weights and the order of documents, for all arms alike; intervals are 95 % (t) over seeds, differences are paired by
seed, those of scores by question too. Draws docs/data_effect.svg; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from rich.console import Console

from openmimo.data.pack import PackedBatches, TokenStore
from openmimo.eval.metrics import avg_at, ci95, paired_difference, verdicts
from openmimo.eval.stage import evaluate
from openmimo.execute import execute
from openmimo.model.config import ModelConfig
from openmimo.model.hub import save_into
from openmimo.model.tokenizer import Tokenizer, train_bpe
from openmimo.model.transformer import Transformer, cross_entropy, segment_mask
from openmimo.progress import Progress
from openmimo.recipe import Pretrain, Recipe, Segment, Stage, load_recipe
from openmimo.rows import Problem, read_jsonl, read_rows
from openmimo.runs import RunFolder, write_atomic
from openmimo.stages import STAGES
from openmimo.train.checkpoint import Checkpointer
from openmimo.train.log import Log
from openmimo.train.loop import fit
from openmimo.train.schedule import Schedule

ROOT = Path(__file__).parents[1]
SHAPE = {"hidden_size": 96, "layers": 2, "heads": 3, "kv_heads": 1, "ffn_size": 256, "mtp_layers": 0, "rope_base": 1000}
LENGTH, ROWS = 256, 2  # of a step
HELD_OUT, MOST = 10, 500  # every tenth document is; so many tokens of each are measured
SAMPLES = 3  # responses a problem and seed
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
ARMS = {  # the first of each is what the others are compared with
    "extraction": ("trafilatura", "openmimo", "whole page", "source"),
    "stages": ("one flat mix", "three stages"),
    "repeats": ("three stages", "4 epochs", "16 epochs"),
}


@dataclass(frozen=True)
class Arm:
    """What is trained on, and by which stages; what is measured."""

    name: str
    store: TokenStore
    stages: list[Stage]
    held_out: TokenStore
    tokenizer: Path
    problems: list[Problem]


def table(recipe: Recipe, stages: list[Stage]) -> Pretrain:
    """The recipe's learning rate, shrunk to these stages; one length and batch, so that arms differ in their data alone."""
    factor = sum(s.tokens for s in stages) / recipe.pretrain.tokens
    lr = [s.model_copy(update={"tokens": s.tokens and s.tokens * factor}) for s in recipe.pretrain.lr]
    flat = {name: [Segment(shape="constant", to=to)] for name, to in (("batch", ROWS), ("mtp_weight", 0))}
    return recipe.pretrain.model_copy(update={"lr": lr, "stages": stages, **flat})


def stage(name: str, tokens: float, mix: dict[str, float]) -> Stage:
    return Stage(name=name, tokens=tokens, length=LENGTH, rope_base=SHAPE["rope_base"], mix=mix)


def extraction_arms(tokens: float, out: Path) -> list[Arm]:
    """The tokenizer is trained on the authors' text, so that it favours no extractor."""
    if not (path := out / "texts.json").exists():
        python, script = ROOT / ".bench" / "extract" / "bin" / "python", ROOT / "bench" / "data_effect_texts.py"
        subprocess.run([python, script, path.with_suffix(".part")], check=True)
        path.with_suffix(".part").rename(path)
    texts = json.loads(path.read_text())
    train_bpe(texts["train"]["source"], 1024, out / "tokenizer")
    tokenizer = Tokenizer.load(out / "tokenizer")

    def store(sources: dict[str, list[str]], most: int | None = None) -> TokenStore:
        encode, end = tokenizer.encode_batch, tokenizer.document_id
        return TokenStore.of({n: [([*ids[:most], end], 0) for ids in encode(texts)] for n, texts in sources.items()})

    held_out, stages = store(texts["held_out"], MOST), [stage("pages", tokens, {"pages": 1.0})]
    arms = [Arm(n, store({"pages": t}), stages, held_out, out / "tokenizer", []) for n, t in texts["train"].items()]
    print("tokens of the pages: " + ", ".join(f"{arm.name} {arm.store.tokens('pages'):,}" for arm in arms))
    return arms


def corpus_arms(recipe: Recipe, tokens: float, run: Path) -> list[Arm]:
    """The recipe's stages and sources, of equal documents one; `three stages` sees its synthetic documents once."""
    factor, whole = tokens / recipe.pretrain.tokens, TokenStore(run / "tokens" / "shards")
    stages = [stage(s.name, s.tokens * factor, s.mix) for s in recipe.pretrain.stages]
    names = sorted({name for s in stages for name in s.mix})
    rows = {n: [whole.document(n, i) for i in range(len(whole.docs[n]) - 1)] for n in names}
    documents = {n: list({row[0].tobytes(): row for row in found}.values()) for n, found in rows.items()}
    drawn = {n: sum(s.tokens * s.mix.get(n, 0) for s in stages) for n in names}
    held_out = TokenStore.of({n: [(ids[:MOST], at) for ids, at in d[::HELD_OUT]] for n, d in documents.items()})
    kept = {n: [row for i, row in enumerate(d) if i % HELD_OUT] for n, d in documents.items()}
    ends = np.cumsum([len(ids) for ids, _ in kept["synthetic"]])
    problems = list(read_rows(run / "problems" / "test.jsonl", Problem))

    def arm(name: str, table: list[Stage], epochs: int = 1) -> Arm:
        count = int(np.searchsorted(ends, drawn["synthetic"] / epochs)) + 1
        print(f"{name}: {drawn['synthetic']:,.0f} tokens of {count:,} synthetic documents")
        store = TokenStore.of(kept | {"synthetic": kept["synthetic"][:count]})
        return Arm(name, store, table, held_out, run / "tokens" / "tokenizer", problems)

    flat = [stage("flat", tokens, {n: drawn[n] / tokens for n in names})]
    repeated = [arm(f"{epochs} epochs", stages, epochs) for epochs in (4, 16)]
    return [arm("three stages", stages), arm("one flat mix", flat), *repeated]


@torch.no_grad()
def bits_a_byte(model: Transformer, store: TokenStore, tokenizer: Tokenizer) -> dict[str, float]:
    """By source, over what of it has a loss; at most 20,000 tokens each, the same for all arms."""
    names = [tokenizer.core.id_to_token(i) for i in range(tokenizer.vocab_size)]  # byte-level: a character is a byte
    sizes = np.array([0 if i in (tokenizer.document_id, tokenizer.eos_id) else len(n) for i, n in enumerate(names)])
    found = {}
    for name in store.ids:
        batches, nats, size = PackedBatches(store, 0), 0.0, 0
        for _ in range(min(5, store.tokens(name) // (16 * LENGTH) + 1)):
            batch = batches.next(16, LENGTH, {name: 1.0}, name)
            mask = segment_mask(torch.from_numpy(batch.segments))
            logits = model.logits(model(torch.from_numpy(batch.ids), torch.from_numpy(batch.positions), mask))
            nats += cross_entropy(logits, torch.from_numpy(batch.labels)).item()
            size += int(sizes[batch.labels[batch.labels >= 0]].sum())
        found[name] = nats / math.log(2) / size
    return found


def one(arm: Arm, seed: int, recipe: Recipe, folder: Path) -> dict:
    """Trains and measures, or reads what was measured: {"loss": {source: bits a byte}, "questions": rows}."""
    if not (path := folder / "result.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer, log = Tokenizer.load(arm.tokenizer), Log(folder)
        model = Transformer(ModelConfig(**SHAPE, vocab_size=tokenizer.vocab_size, head_dim=32, max_length=512))
        model.reset_parameters(seed)
        pretrain, checkpointer = table(recipe, arm.stages), Checkpointer(folder, 20)
        batches, schedule = PackedBatches(arm.store, seed), Schedule(pretrain)
        fit(model, batches, schedule, pretrain.optim, pretrain.micro_batch, checkpointer, log)
        loss = bits_a_byte(model.eval(), arm.held_out, tokenizer)
        if arm.problems:
            save_into(folder, model, arm.tokenizer)
            settings = recipe.eval.model_copy(update={"samples": SAMPLES})
            evaluate(folder, arm.problems, settings, seed, recipe.engine.slots, folder, log)
        log.close()
        write_atomic(path, json.dumps({"loss": loss}) + "\n")
    questions = [row for _, row in read_jsonl(folder / "samples.jsonl")] if arm.problems else []
    return json.loads(path.read_text()) | {"questions": questions}


def interval(values: list[float]) -> list[float]:
    """[mean, half width] by Student's t."""
    half = T95[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5
    return [round(statistics.fmean(values), 4), round(half, 4)]


def pooled(found: list[dict]) -> list[dict]:
    """One row a question, with the samples of all seeds."""
    questions = zip(*(f["questions"] for f in found), strict=True)
    return [rows[0] | {"samples": [s for r in rows for s in r["samples"]]} for rows in questions]


def compare(found: list[dict], base: list[dict]) -> dict:
    """An arm's figures, and their differences to the baseline's: losses in per cent of its, scores in points."""
    pairs, sources = list(zip(found, base, strict=True)), found[0]["loss"]
    row: dict = {"bits_a_byte": {s: interval([f["loss"][s] for f in found]) for s in sources}}
    row["percent"] = {s: interval([100 * (f["loss"][s] / b["loss"][s] - 1) for f, b in pairs]) for s in sources}
    if found[0]["questions"]:
        mine, theirs = ([100 * avg_at(verdicts(f["questions"])) for f in arm] for arm in (found, base))
        row["score"] = [*interval(mine), ci95(verdicts(pooled(found)))]
        difference = paired_difference(pooled(found), pooled(base))["ci95"]
        row["points"] = [*interval([a - b for a, b in zip(mine, theirs, strict=True)]), difference]
    return row


def show(title: str, rows: dict[str, dict]) -> None:
    print(f"\n{title}: bits a byte of held-out text (against {ARMS[title][0]}, 95 % over seeds)")
    for name, row in rows.items():
        change = {s: f"{p:+.1f} ± {half:.1f} %" for s, (p, half) in row["percent"].items()}
        print(f"  {name:13}" + "  ".join(f"{s} {v:.3f} ({change[s]})" for s, (v, _) in row["bits_a_byte"].items()))
        for key in ("score", "points"):
            if key in row:
                value, half, (low, high) = row[key]
                by_question = f"[{100 * low:.1f}, {100 * high:.1f}] over questions"
                print(f"  {'':13}{key} {value:.1f} ± {half:.1f} over seeds, {by_question}")


def draw(found: dict[str, dict], path: Path) -> None:
    """A panel a question: held-out bits a byte against the baseline, with intervals."""
    style = {"svg.hashsalt": "openmimo", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}
    with matplotlib.rc_context(style):
        figure, panels = plt.subplots(1, 3, figsize=(10, 3.8), layout="constrained", width_ratios=(4, 5, 5))
        for axes, (title, rows) in zip(panels, found.items(), strict=True):
            base, *others = ARMS[title]
            for place, (name, colour) in enumerate(zip(others, ("#1b62b3", "#b4500b", "#0a7748"), strict=False)):
                values, points = rows[name]["percent"], rows[name].get("points")
                label = f"{name}, score {points[0]:+.1f} ± {points[1]:.1f} points" if points else name
                at = np.arange(len(values)) + (place - (len(others) - 1) / 2) * 0.2
                middle, half = np.array(list(values.values())).T
                axes.errorbar(at, middle, half, fmt="o", color=colour, markersize=5, capsize=2, label=label)
                axes.set_xticks(range(len(values)), [s.replace("-", "\n") for s in values])
            axes.axhline(0, color="#666666", linewidth=0.8)
            axes.set_title(f"{title}: against {'1 epoch' if title == 'repeats' else base}", loc="left", fontsize=10)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(-0.03, -0.17))
        panels[0].set_ylabel("held-out bits a byte, change in %")
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "tiny", help="its corpus is used, or made there")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "data_effect")
    parser.add_argument("--seeds", type=int, default=4, choices=range(2, 11))
    parser.add_argument("--page-tokens", type=float, default=150e3, help="of each arm of extraction")
    parser.add_argument("--tokens", type=float, default=300e3, help="of the other arms")
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipe = load_recipe(ROOT / "recipes" / "tiny.toml")
    args.out.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(args.run)
    with folder.lock(), Progress(Console()) as progress:
        execute([s for s in STAGES if s.name in ("problems", "corpus", "tokens")], recipe, folder, progress)
    arms = extraction_arms(args.page_tokens, args.out) + corpus_arms(recipe, args.tokens, args.run)
    measured: dict[str, list[dict]] = {arm.name: [] for arm in arms}
    began, total = time.monotonic(), args.seeds * len(arms)
    for number, (seed, arm) in enumerate(((s, a) for s in range(args.seeds) for a in arms), 1):
        place = args.out / f"{arm.name}, {sum(s.tokens for s in arm.stages):.0f} tokens, seed {seed}".replace(" ", "-")
        measured[arm.name].append(one(arm, seed, recipe, place))
        print(f"{number} of {total}: {arm.name}, seed {seed}; {time.monotonic() - began:.0f} s", flush=True)
    found = {t: {n: compare(measured[n], measured[names[0]]) for n in names} for t, names in ARMS.items()}
    for title, rows in found.items():
        show(title, rows)
    draw(found, ROOT / "docs" / "data_effect.svg")
    print(json.dumps({"seeds": args.seeds, "page_tokens": args.page_tokens, "tokens": args.tokens, **found}))


if __name__ == "__main__":
    main()
