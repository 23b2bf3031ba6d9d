"""The stages alone, on a user's own files: `openmimo sft`, `rl`, `eval` and `mtp extend`. Each writes a folder that appears when whole.

A stage works in `OUT.part` and is renamed at the end; the same command goes on from its last checkpoint.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from openmimo.errors import UserError, disk_full
from openmimo.model.config import ModelConfig
from openmimo.progress import Progress
from openmimo.recipe import Eval, Extend, Rl, Sft, load_recipe, parse_section
from openmimo.runs import Stage, sha256_of

SFT = Sft(lr=3e-5, batch=16, length=2048, epochs=1, warmup_steps=10, micro_batch=4)
RL = Rl(steps=100, batch=16, minibatch=16, group=8, max_tokens=512, micro_batch=16)
EVAL = Eval(max_tokens=512)
EXTEND = Extend()
EVERY_S, SLOTS, SEED = 30.0, 256, 0


def run_sft(source: Path, data: Path, out: Path, recipe: Path | None, overrides, console: Console) -> None:
    """Fine-tunes `source` on the conversations of `data`."""
    from openmimo.sft.stage import finetune, read_conversations

    settings = _settings("sft", SFT, recipe, overrides)
    rows = read_conversations(data)

    def work(folder, checkpointer, log):
        finetune(source, rows, settings, SEED, folder, checkpointer, log)

    _carry_out("sft", "supervised fine-tuning", out, [source, data, settings], work, console)


def run_rl(
    source: Path, problems: Path, out: Path, reward: str | None, difficulty: Path | None, recipe, overrides,
    console: Console,
) -> None:  # fmt: skip
    """Trains `source` by GRPO on `problems`. Without a table of test difficulty all tests of a problem are one level."""
    from openmimo.rl.difficulty import DifficultyTable
    from openmimo.rl.score import load_reward
    from openmimo.rl.stage import train
    from openmimo.rows import Problem, read_rows

    settings = _settings("rl", _that_fits(RL, source), recipe, overrides)
    own = None
    if reward:
        own = Path(inspect.getsourcefile(load_reward(reward).__wrapped__) or problems)
    rows = list(read_rows(problems, Problem))
    table = DifficultyTable.load(difficulty) if difficulty else None
    for problem in rows if table else ():
        table.of(problem)  # a table for other tests is an error now, not in the first step

    def work(folder, checkpointer, log):
        train(source, rows, settings, settings.steps, SEED, SLOTS, folder, checkpointer, log, table, reward)

    identity = [source, problems, settings, reward, own, *([difficulty] if difficulty else [])]
    _carry_out("rl", "reinforcement learning", out, identity, work, console)


def run_eval(source: Path, problems: Path, out: Path, recipe, overrides, console: Console) -> None:
    """Evaluates `source` on `problems`; prints the scores and writes results.json beside the samples."""
    from openmimo.eval.metrics import average, summarise
    from openmimo.eval.stage import evaluate
    from openmimo.rows import Problem, read_rows

    settings = _settings("eval", _that_fits(EVAL, source), recipe, overrides)
    rows = list(read_rows(problems, Problem))

    def work(folder, checkpointer, log):
        summary = summarise(evaluate(source, rows, settings, SEED, SLOTS, folder, log))
        (folder / "results.json").write_text(json.dumps(summary, indent=1) + "\n")

    _carry_out("eval", "evaluation", out, [source, problems, settings], work, console)
    summary = json.loads((out / "results.json").read_text())
    low, high = summary["ci95"]
    console.print(
        f"avg@{settings.samples} {average(summary):.3f}  [{low:.3f}, {high:.3f}]  {summary['questions']} problems"
    )
    console.print("pass@k " + "  ".join(f"{k}: {v:.3f}" for k, v in summary["pass_at_k"].items()), highlight=False)


def run_extend(source: Path, out: Path, layers: int, prompts: Path | None, overrides, console: Console) -> None:
    """Adds MTP layers to `source`, tuned on its own responses to `prompts`: rows as for `openmimo generate`, or Problem
    rows; None: the training problems of the run that `source` belongs to."""
    from openmimo.infer.generate import check_row, encode_row
    from openmimo.model.tokenizer import Tokenizer
    from openmimo.rows import read_jsonl
    from openmimo.sft.extend_mtp import extend

    settings = _settings("extend", _that_fits(EXTEND, source), None, overrides)
    if prompts is None:
        prompts = source.parent / "problems" / "train.jsonl"
        if not prompts.is_file():
            raise UserError(f"mtp extend: {source} is not in a run's folder; give --prompts FILE.jsonl")
    tokenizer, config, ids = Tokenizer.load(source), ModelConfig.from_folder(source), []
    for where, row in read_jsonl(prompts):
        problem = isinstance(row, dict) and "kind" in row and "messages" in row
        kind, value = check_row({"messages": row["messages"]} if problem else row, where)
        ids.append(encode_row(kind, value, tokenizer, config.vocab_size, where))
        if len(ids) == settings.prompts:
            break
    if not all(ids) or not ids:
        raise UserError(f"{prompts}: a prompt is empty, or there is none; give at least one token each")

    def work(folder, checkpointer, log):
        extend(source, ids, layers, settings, SEED, SLOTS, folder, checkpointer, log)

    _carry_out("extend", "more MTP layers", out, [source, prompts, layers, settings], work, console)


def _that_fits(default, source: Path):
    """The verb's defaults with `max_tokens` lowered to half of what a small model holds."""
    half = ModelConfig.from_folder(source).max_length // 2
    return default.model_copy(update={"max_tokens": min(default.max_tokens, half)})


def _settings(section: str, default, recipe: Path | None, overrides):
    """The section's settings: the verb's defaults or a recipe's, with `section.key=value` overrides."""
    if other := [o for o in overrides if not o.startswith(f"{section}.")]:
        raise UserError(f"--set {other[0]}: this command reads only the section {section!r} of a recipe")
    if recipe is not None:
        return getattr(load_recipe(recipe, overrides), section)
    return parse_section(section, default, overrides)


def _carry_out(name: str, title: str, out: Path, identity: list, work: Callable, console: Console) -> None:
    from openmimo.train.checkpoint import FILE, Checkpointer
    from openmimo.train.log import Log

    key = hashlib.sha256("\0".join(map(_named, identity)).encode()).hexdigest()
    if out.exists():
        if _text(out / "key") == key:
            console.print(f"{out} was made by this very command before; nothing to do")
            return
        raise UserError(f"{out}: exists already; give another folder with --out, or remove it")
    folder = out.with_name(out.name + ".part")
    if folder.exists() and _text(folder / "key") != key:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "key").write_text(key)
    stage = Stage(name, title, "")
    with Progress(console) as progress:
        progress.begin(stage)
        log = Log(folder, lambda row: progress.row(stage, row))
        try:
            work(folder, Checkpointer(folder, EVERY_S), log)
        except Exception as error:
            if not (folder / FILE).exists():  # nothing to go on from
                shutil.rmtree(folder)
            if full := disk_full(error, folder):
                raise full from None
            raise
        log.close()
        folder.rename(out)
        (out / FILE).unlink(missing_ok=True)
        progress.end(stage, log.seconds())
    console.print(f"wrote {out}", highlight=False)


def _named(part) -> str:
    """What tells one command from another: a checkpoint by its config and sizes, a file by its content."""
    if isinstance(part, Path) and part.is_dir():
        return str([(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(part.iterdir())])
    if isinstance(part, Path):
        if not part.exists():
            raise UserError(f"{part}: no such file or folder; check the path")
        return sha256_of(part)
    return str(part)


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
