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
from openmimo.eval.metrics import ci95, paired_difference, verdicts
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
LENGTH, ROWS = 256, 4  # of a step
HELD_OUT, MOST = 10, 1500  # every tenth document is; so many tokens of it are measured
SAMPLES = 4  # responses a problem and seed
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
BASELINE = {"extraction": "trafilatura", "stages": "one flat mix", "repeats": "1 epoch"}


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

    def store(sources: dict[str, list[str]]) -> TokenStore:
        return TokenStore.of(
            {n: [([*ids, tokenizer.document_id], 0) for ids in tokenizer.encode_batch(t)] for n, t in sources.items()}
        )

    held_out, stages = store(texts["held_out"]), [stage("pages", tokens, {"pages": 1.0})]
    arms = [Arm(n, store({"pages": t}), stages, held_out, out / "tokenizer", []) for n, t in texts["train"].items()]
    for arm in arms:
        print(f"{arm.name}: {arm.store.tokens('pages'):,} tokens, {tokens / arm.store.tokens('pages'):.2f} epochs")
    return arms


def corpus_arms(recipe: Recipe, tokens: float, run: Path) -> list[Arm]:
    """The recipe's stages and sources, of equal documents one; `1 epoch` is `three stages`."""
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
        print(f"{name}: {min(count, len(ends)):,} synthetic documents, {drawn['synthetic']:,.0f} tokens of them drawn")
        store = TokenStore.of(kept | {"synthetic": kept["synthetic"][:count]})
        return Arm(name, store, table, held_out, run / "tokens" / "tokenizer", problems)

    flat = [stage("flat", tokens, {n: drawn[n] / tokens for n in names})]
    repeated = [arm(f"{epochs} epochs", stages, epochs) for epochs in (4, 16)]
    return [arm("three stages", stages), arm("one flat mix", flat), *repeated]


@torch.no_grad()
def bits_a_byte(model: Transformer, store: TokenStore, tokenizer: Tokenizer) -> dict[str, float]:
    """By source, over what of it has a loss; at most 40,000 tokens each, the same for all arms."""
    names = [tokenizer.core.id_to_token(i) for i in range(tokenizer.vocab_size)]  # byte-level: a character is a byte
    sizes = np.array([0 if i in (tokenizer.document_id, tokenizer.eos_id) else len(n) for i, n in enumerate(names)])
    found = {}
    for name in store.ids:
        batches, nats, size = PackedBatches(store, 0), 0.0, 0
        for _ in range(min(10, store.tokens(name) // (16 * LENGTH) + 1)):
            batch = batches.next(16, LENGTH, {name: 1.0}, name)
            ids, labels, segments, positions = map(
                torch.from_numpy, (batch.ids, batch.labels, batch.segments, batch.positions)
            )
            logits = model.logits(model(ids, positions, segment_mask(segments)))
            nats += cross_entropy(logits, labels).item()
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
        batches = PackedBatches(arm.store, seed)
        fit(model, batches, Schedule(pretrain), pretrain.optim, recipe.pretrain.micro_batch, checkpointer, log)
        loss = bits_a_byte(model.eval(), arm.held_out, tokenizer)
        if arm.problems:
            save_into(folder, model, arm.tokenizer)
            settings = recipe.eval.model_copy(update={"samples": SAMPLES})
            evaluate(folder, arm.problems, settings, seed, recipe.engine.slots, folder, log)
        log.close()
        checkpointer.clear()
        write_atomic(path, json.dumps({"loss": loss, "consumed": batches.consumed()}, indent=1) + "\n")
    rows = [row for _, row in read_jsonl(folder / "samples.jsonl")] if arm.problems else []
    return json.loads(path.read_text()) | {"questions": rows}


def interval(values: list[float]) -> list[float]:
    """[mean, half width] by Student's t."""
    half = T95[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else math.nan
    return [round(statistics.fmean(values), 4), round(half, 4)]


def pooled(found: list[dict]) -> list[dict]:
    """One row a question, with the samples of all seeds."""
    return [
        {"problem_id": rows[0]["problem_id"], "samples": [s for row in rows for s in row["samples"]]}
        for rows in zip(*(f["questions"] for f in found), strict=True)
    ]


def compare(arms: dict[str, list[dict]], baseline: str) -> dict[str, dict]:
    """Each arm's figures, and their differences to the baseline: losses in per cent of its, scores in points."""
    result: dict[str, dict] = {}
    for name, found in arms.items():
        row: dict = {"bits_a_byte": {s: interval([f["loss"][s] for f in found]) for s in found[0]["loss"]}}
        base = arms[baseline]
        row["percent"] = {
            s: interval([100 * (f["loss"][s] / b["loss"][s] - 1) for f, b in zip(found, base, strict=True)])
            for s in found[0]["loss"]
        }
        if found[0]["questions"]:
            scores = [
                [statistics.fmean(map(statistics.fmean, verdicts(f["questions"]))) for f in a] for a in (found, base)
            ]
            difference = paired_difference(pooled(found), pooled(base))
            row["score"] = interval(scores[0]) + [ci95(verdicts(pooled(found)))]
            row["points"] = interval([a - b for a, b in zip(*scores, strict=True)]) + [difference["ci95"]]
        result[name] = row
    return result


def show(title: str, rows: dict[str, dict], baseline: str) -> None:
    print(f"\n{title}: bits a byte of held-out text (in per cent of {baseline}'s, 95 % over seeds)")
    for name, row in rows.items():
        cells = [
            f"{s} {v:.3f} ({row['percent'][s][0]:+.1f} ± {row['percent'][s][1]:.1f} %)"
            for s, (v, _) in row["bits_a_byte"].items()
        ]
        print(f"  {name:13}" + "  ".join(cells))
        if "score" in row:
            (score, half, clustered), (points, wide, paired) = row["score"], row["points"]
            print(f"  {'':13}score {100 * score:.1f} ± {100 * half:.1f} over seeds, [{100 * clustered[0]:.1f}, {100 * clustered[1]:.1f}] over questions; "
                  f"difference {100 * points:+.1f} ± {100 * wide:.1f}, [{100 * paired[0]:+.1f}, {100 * paired[1]:+.1f}]")  # fmt: skip


def draw(found: dict[str, dict], path: Path) -> None:
    """A panel a question: held-out bits a byte against the baseline, with intervals."""
    style = {"svg.hashsalt": "openmimo", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}
    with matplotlib.rc_context(style):
        figure, panels = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained", width_ratios=(4, 5, 5))
        for axes, (title, rows) in zip(panels, found.items(), strict=True):
            others = [name for name in rows if name != BASELINE[title]]
            for place, (name, colour) in enumerate(zip(others, ("#1b62b3", "#b4500b", "#0a7748"), strict=False)):
                values = rows[name]["percent"]
                at = np.arange(len(values)) + (place - (len(others) - 1) / 2) * 0.2
                middle, half = np.array(list(values.values())).T
                axes.errorbar(at, middle, half, fmt="o", color=colour, markersize=5, capsize=2, label=name)
                axes.set_xticks(range(len(values)), [s.replace("-", "\n") for s in values])
            axes.axhline(0, color="#666666", linewidth=0.8)
            axes.set_title(f"{title}: against {BASELINE[title]}", loc="left", fontsize=10)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, fontsize=8)
        panels[0].set_ylabel("held-out bits a byte, change in %")
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default=str(ROOT / "recipes" / "tiny.toml"))
    parser.add_argument(
        "--run", type=Path, default=ROOT / "runs" / "tiny", help="whose corpus is used; made if it is not there"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "data_effect")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--page-tokens", type=float, default=250e3, help="of each arm of extraction")
    parser.add_argument("--tokens", type=float, default=400e3, help="of the other arms")
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipe = load_recipe(args.recipe)
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
    groups = {
        "extraction": {arm.name: measured[arm.name] for arm in arms if not arm.problems},
        "stages": {name: measured[name] for name in ("three stages", "one flat mix")},
        "repeats": {"1 epoch": measured["three stages"], **{f"{n} epochs": measured[f"{n} epochs"] for n in (4, 16)}},
    }
    found = {title: compare(rows, BASELINE[title]) for title, rows in groups.items()}
    for title, rows in found.items():
        show(title, rows, BASELINE[title])
    draw(found, ROOT / "docs" / "data_effect.svg")
    print(json.dumps({"seeds": args.seeds, "page_tokens": args.page_tokens, "tokens": args.tokens, **found}))


if __name__ == "__main__":
    main()
