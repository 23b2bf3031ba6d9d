"""Where a run's engines work, by the recipe's `rl.engines` and `rl.engines_at`."""

from __future__ import annotations

import os
from pathlib import Path

from openmimo.model.transformer import Transformer
from openmimo.rl.rollout.live import Worker
from openmimo.rl.rollout.workers import Local, Process
from openmimo.sections import Rl

INVARIANT = "VLLM_BATCH_INVARIANT"


def engines_of(
    rl: Rl, model: Transformer, stop_ids: list[int], slots: int, vocab_size: int, source: Path
) -> list[Worker]:
    """processes: `rl.engines` processes of this machine, or the trainer's own engine where that is 0; ray: as many
    actors of a Ray cluster; else addresses of vLLM servers that hold the checkpoint `source` under its folder's name."""
    made_of = (model, stop_ids, slots, vocab_size)
    if rl.engines_at == "processes":
        return [Process(*made_of) for _ in range(rl.engines)] or [Local(*made_of)]
    if rl.engines_at == "ray":
        from openmimo.rl.rollout.on_ray import RayWorker

        return [RayWorker(*made_of) for _ in range(max(1, rl.engines))]
    from openmimo.rl.rollout.on_vllm import VLLMWorker

    return [VLLMWorker(url, source.name, model.config, stop_ids, slots) for url in rl.engines_at.split(",")]


def purity(engines_at: str) -> str:
    """What a run may claim of its batches, in a sentence."""
    if engines_at in ("processes", "ray"):
        return "batches are a function of (recipe, seed, weights, sampler's state, step)"
    if os.environ.get(INVARIANT) == "1":
        return f"batches are as pure as vLLM's batch-invariant mode ({INVARIANT}=1; the servers need it too)"
    return f"batches are NOT a function of the seed: vLLM's numbers change with its batching; see {INVARIANT}=1"
