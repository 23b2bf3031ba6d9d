"""What MTP drafts are worth: acceptance by position and tokens/s at batch 1 for k = 1..3 against none, on a demo's RL model.

    openmimo run recipes/tiny.toml                                   # the demo, ten minutes, if runs/tiny is not there
    OMP_NUM_THREADS=1 python bench/mtp.py [--run runs/tiny]          # about five minutes

The run's RL checkpoint gets two more MTP layers (`openmimo mtp extend`, kept in RUN/rl-mtp3 beside a copy of the run's
problems), then answers held-out problems one at a time, with each k in turn, several rounds. Deeper models are the same
checkpoint with identity blocks added (their output projections are 0): the same text and the same acceptance at the
cost of a deeper model, which is what decides whether drafts pay. Rows for batch 16 say where they do not. Every side
must give the text of k = 0. Tokens are counted a CPU-second of one thread. Prints a table; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import torch

from openmimo.infer.draft import MTPDrafter
from openmimo.infer.engine import Engine, Request, generate
from openmimo.model.hub import load_checkpoint
from openmimo.model.tokenizer import Tokenizer
from openmimo.model.transformer import Transformer
from openmimo.rows import Problem, read_rows

KS = (0, 1, 2, 3)
EXTEND = "optim.name=muon optim.adam_ratio=1.0 lr=2e-3 length=256 batch=16 micro_batch=16 max_tokens=96".split()
SAMPLING = {"as evaluated (T 0.6, top-p 0.95)": (0.6, 0.95), "greedy": (0.0, 1.0), "as in RL (T 1)": (1.0, 1.0)}


def extended(run: Path) -> Path:
    """The RL checkpoint with three MTP layers; made once."""
    folder = run / "rl-mtp3"
    if not folder.exists():
        command = [sys.executable, "-m", "openmimo.cli", "mtp", "extend", "--from", run / "rl", "--out", folder]
        subprocess.run([*map(str, command), *(x for key in EXTEND for x in ("--set", f"extend.{key}"))], check=True)
    return folder


def deeper(model: Transformer, layers: int) -> Transformer:
    """`model` with identity blocks up to `layers`: a block whose outputs are 0 adds nothing."""
    config = model.config.model_copy(update={"layers": layers})
    state, more = model.state_dict(), Transformer(config)
    last = f"model.layers.{model.config.layers - 1}."
    for name in [n for n in state if n.startswith(last)]:
        for layer in range(model.config.layers, layers):
            zero = name.endswith(("o_proj.weight", "down_proj.weight"))
            state[f"model.layers.{layer}.{name.removeprefix(last)}"] = state[name] * (0.0 if zero else 1.0)
    more.load_state_dict(state)
    more.rope_base = model.rope_base
    return more.eval().requires_grad_(False)


class Side:
    """One k on one model: tokens a CPU-second, best of its rounds."""

    def __init__(self, model: Transformer, tokenizer: Tokenizer, k: int, slots: int):
        self.drafter = MTPDrafter(k) if k else None
        self.engine = Engine(model, [tokenizer.eos_id], slots, tokenizer.vocab_size, drafter=self.drafter)
        self.rates: list[float] = []

    def round(self, requests: list[Request]) -> list[list[int]]:
        began = time.process_time()
        events = generate(self.engine, requests)
        self.rates.append(sum(len(e.token_ids) for e in events) / (time.process_time() - began))
        return [e.token_ids for e in events]


def race(model, tokenizer, requests: list[Request], slots: int, rounds: int) -> tuple[list[float], list[float]]:
    """(tokens a CPU-second for each k, acceptance by position at the largest)."""
    sides = [Side(model, tokenizer, k, slots) for k in KS]
    for _ in range(rounds):
        texts = [side.round(requests) for side in sides]
        assert all(text == texts[0] for text in texts), "a draft has changed the text"
    counts = sides[-1].drafter.counts
    acceptance = [a / d for a, d in zip(counts["accepted"], counts["drafted"], strict=True)]
    return [max(side.rates) for side in sides], acceptance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/tiny"))
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--depths", type=int, nargs="+", default=[3, 12, 36])
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = extended(args.run)
    model, tokenizer = load_checkpoint(folder).eval().requires_grad_(False), Tokenizer.load(folder)
    problems = [
        p for _, p in zip(range(args.prompts), read_rows(args.run / "problems" / "test.jsonl", Problem), strict=False)
    ]
    prompts = [tuple(tokenizer.encode_chat(p.messages)) for p in problems]
    print(f"{platform.machine()}, torch {torch.__version__}, fp32, one thread; {folder}: {model.config.layers} layers, "
          f"d {model.config.hidden_size}, {model.config.mtp_layers} MTP layers; {len(prompts)} prompts, "
          f"best of {args.rounds} rounds")  # fmt: skip
    print(f"{'':<48}{'acceptance by position':<26}" + "".join(f"{f'k = {k}' if k else 'none, tok/s':>14}" for k in KS))
    plan = [(1, depth, "as evaluated (T 0.6, top-p 0.95)") for depth in args.depths]
    plan += [(1, args.depths[0], name) for name in list(SAMPLING)[1:]]
    plan += [(16, args.depths[0], "as in RL (T 1)"), (16, args.depths[-1], "as in RL (T 1)")]
    rows = []
    for slots, depth, name in plan:
        temperature, top_p = SAMPLING[name]
        requests = [Request(p, 96, ("bench", n), temperature, top_p) for n, p in enumerate(prompts)]
        rates, acceptance = race(deeper(model, depth), tokenizer, requests, slots, args.rounds)
        speedup = {str(k): round(rate / rates[0], 3) for k, rate in zip(KS[1:], rates[1:], strict=True)}
        rows.append({"batch": slots, "layers": depth, "sampling": name, "tok_s": round(rates[0], 1)})
        rows[-1] |= {"acceptance": [round(a, 3) for a in acceptance], "speedup": speedup}
        shown = "  ".join(f"{a:.1%}" for a in acceptance)
        print(f"batch {slots:<3} {depth:>2} layers  {name:<30}{shown:<26}{rates[0]:>14,.0f}"
              + "".join(f"{value:>13.2f}x" for value in speedup.values()), flush=True)  # fmt: skip
    stops = [
        f"batch {r['batch']}, {r['layers']} layers, k = {k}" for r in rows for k, v in r["speedup"].items() if v <= 1
    ]
    print("stops paying at: " + ("; ".join(stops) or "none of these"))
    print(json.dumps({"acceptance": rows[0]["acceptance"], "speedup": rows[0]["speedup"], "rows": rows}))


if __name__ == "__main__":
    main()
