"""The engine and a training step on a CUDA device against the CPU: the same code, which no test here can run.

    python bench/on_cuda.py           # a minute on one GPU; last line JSON

Greedy tokens and log-probabilities of 64 requests (fp32) against the CPU's; the same requests alone and in a batch, bit
for bit; drafting with an MTP layer against none; new weights between steps; bf16 against fp32; the loss of 20 training steps.
Then tokens a second of the RL workload (8 prompts x 16 samples) on a random model of SmolLM2-135M's shape.
"""

from __future__ import annotations

import json
import time

import numpy as np
import torch

from openmimo.infer.draft import MTPDrafter
from openmimo.infer.engine import Engine, Request, generate
from openmimo.model.config import ModelConfig
from openmimo.model.transformer import Transformer

SMALL = ModelConfig(vocab_size=1024, hidden_size=256, layers=4, heads=8, kv_heads=2, head_dim=32, ffn_size=704,
                    max_length=512, mtp_layers=1, init_std=0.05)  # fmt: skip
LARGE = ModelConfig(vocab_size=49_152, hidden_size=576, layers=30, heads=9, kv_heads=3, head_dim=64, ffn_size=1536,
                    max_length=1024, mtp_layers=0, tied=True, qkv_bias=False)  # fmt: skip


def model_of(config: ModelConfig, device: str, dtype: torch.dtype = torch.float32) -> Transformer:
    model = Transformer(config)
    model.reset_parameters(seed=0)
    return model.to(device, dtype).eval()


def requests(count: int, temperature: float, limit: int = 48) -> list[Request]:
    rng = np.random.default_rng(0)
    prompts = [tuple(rng.integers(3, 1024, int(n)).tolist()) for n in rng.integers(8, 49, count)]
    return [Request(p, limit, ("cuda", n), temperature) for n, p in enumerate(prompts)]


def same(one: list, other: list) -> int:
    return sum(a.token_ids == b.token_ids for a, b in zip(one, other, strict=True))


def bits(one: list, other: list) -> int:
    return sum((a.token_ids, a.logprobs) == (b.token_ids, b.logprobs) for a, b in zip(one, other, strict=True))


def losses(device: str, dtype: torch.dtype = torch.float32) -> list[float]:
    """20 steps of AdamW on one batch."""
    model = model_of(SMALL, device).train()
    ids = torch.from_numpy(np.random.default_rng(1).integers(0, 1024, (8, 129))).to(device)
    positions = torch.arange(128, device=device).expand(8, -1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    found = []
    for _ in range(20):
        with torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32):
            logits = model.lm_head(model.model.norm(model(ids[:, :-1], positions)))
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def main() -> None:
    assert torch.cuda.is_available(), "no CUDA device here"
    found: dict[str, object] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    cpu, gpu = (Engine(model_of(SMALL, device), [], 64, 1024) for device in ("cpu", "cuda"))
    asked = requests(64, 0.0)
    one, other = generate(cpu, asked), generate(gpu, asked)
    agree = [(a, b) for a, b in zip(one, other, strict=True) if a.token_ids == b.token_ids]
    found["greedy_as_cpu"] = f"{same(one, other)}/64"
    found["max_logprob_difference"] = max(
        abs(x - y) for a, b in agree for x, y in zip(a.logprobs, b.logprobs, strict=True)
    )
    for temperature in (0.0, 1.0):
        asked = requests(64, temperature)
        batch = generate(gpu, asked)
        alone = [generate(gpu, [request])[0] for request in asked]
        found[f"alone_bit_equal_T{temperature:g}"] = f"{bits(batch, alone)}/64"
        found[f"alone_tokens_equal_T{temperature:g}"] = f"{same(batch, alone)}/64"
        drafting = Engine(model_of(SMALL, "cuda"), [], 64, 1024, drafter=MTPDrafter(1))
        found[f"drafted_bit_equal_T{temperature:g}"] = f"{bits(batch, generate(drafting, asked))}/64"
    gpu.update_weights({n: t * 1.01 for n, t in model_of(SMALL, "cuda").state_dict().items()}, 1)
    found["other_weights_other_tokens"] = same(batch, generate(gpu, requests(64, 1.0))) < 64
    half = generate(Engine(model_of(SMALL, "cuda", torch.bfloat16), [], 64, 1024), requests(64, 0.0))
    pairs = [
        (x, y) for a, b in zip(other, half, strict=True) for x, y in zip(a.logprobs[:1], b.logprobs[:1], strict=True)
    ]
    found["bf16_first_logprob_difference"] = max(abs(x - y) for x, y in pairs)
    curves = {
        name: losses(*how)
        for name, how in {"cpu": ("cpu",), "cuda": ("cuda",), "bf16": ("cuda", torch.bfloat16)}.items()
    }
    found["loss_difference"] = max(abs(a - b) for a, b in zip(curves["cpu"], curves["cuda"], strict=True))
    found["loss_difference_bf16"] = max(abs(a - b) for a, b in zip(curves["cpu"], curves["bf16"], strict=True))
    found["loss_first_last"] = [curves["cuda"][0], curves["cuda"][-1]]
    print(json.dumps(found), flush=True)
    for dtype in (torch.float32, torch.bfloat16):
        model = model_of(LARGE, "cuda", dtype)
        engine = Engine(model, [], 256, tokens=128 * 256)
        prompts = [tuple(np.random.default_rng(n).integers(3, 1024, 40).tolist()) for n in range(8)]
        for number in range(3):
            jobs = [Request(p, 128, ("g", number, i, s), 1.0) for i, p in enumerate(prompts) for s in range(16)]
            torch.cuda.synchronize()
            began = time.perf_counter()
            events = generate(engine, jobs)
            seconds = time.perf_counter() - began
        found[f"135m_groups_tok_s_{str(dtype)[6:]}"] = round(sum(len(e.token_ids) for e in events) / seconds)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
