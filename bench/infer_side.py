"""One side of bench/infer.py in a process of its own: runs a job several times, the last line is JSON.

    .venv/bin/python bench/infer_side.py ours < job.json        # {"checkpoint", "prompts", "limits", "temperature", ...}

Job: prompts (token ids), one limit of new tokens each, temperature (0: greedy), samples (responses a prompt; limits go
on in order), rounds. Every response runs to its limit; only tokens up to it count as useful. A round is timed in
CPU-seconds of this process, all threads, so that other work on the machine counts less.
"""

import json
import os
import resource
import sys
import time


def ours(job):
    from openmimo.infer.engine import Engine, Request, generate
    from openmimo.model.hub import load_checkpoint

    engine = Engine(load_checkpoint(job["checkpoint"], mtp_layers=0), [], consume=True)

    def run(number):
        requests = [
            Request(tuple(p), limit, ("bench", number, n), job["temperature"])
            for n, (p, limit) in enumerate(responses(job))
        ]
        return [e.token_ids for e in generate(engine, requests)]

    return run


def transformers(job):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(job["checkpoint"], dtype=torch.float32).eval()
    prompts = [p for p, _ in responses(job)]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    longest = max(limit for _, limit in responses(job))
    how = {"do_sample": True, "temperature": job["temperature"], "top_k": 0} if job["temperature"] else {}

    def run(number):
        torch.manual_seed(number)
        settings = {"max_new_tokens": longest, "min_new_tokens": longest, "pad_token_id": 0, "do_sample": False} | how
        with torch.inference_mode():
            out = model.generate(ids, attention_mask=mask, **settings)[:, width:].tolist()
        return [tokens[:limit] for tokens, (_, limit) in zip(out, responses(job), strict=True)]

    return run


def vllm(job):
    os.environ |= {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    from vllm import LLM, SamplingParams

    llm = LLM(
        job["checkpoint"], dtype="float32", enforce_eager=True, max_model_len=512, max_num_seqs=256,
        max_num_batched_tokens=4096, skip_tokenizer_init=True,
    )  # fmt: skip

    def run(number):
        how = {"temperature": job["temperature"], "ignore_eos": True, "detokenize": False}
        settings = [SamplingParams(max_tokens=limit, seed=None, **how) for _, limit in responses(job)]
        prompts = [{"prompt_token_ids": p} for p, _ in responses(job)]
        llm.reset_prefix_cache()
        return [list(o.outputs[0].token_ids) for o in llm.generate(prompts, settings, use_tqdm=False)]

    return run


def responses(job):
    """(prompt, limit) of every response, samples of a prompt one after another."""
    prompts = [p for p in job["prompts"] for _ in range(job["samples"])]
    return list(zip(prompts, job["limits"], strict=True))


def main() -> None:
    job = json.load(sys.stdin)
    import torch

    torch.set_num_threads(1)
    run = {"ours": ours, "transformers": transformers, "vllm": vllm}[sys.argv[1]](job)
    useful, seconds, found = sum(job["limits"]), [], []
    for number in range(job["rounds"] + 1):  # the first one warms up
        cpu = time.process_time()
        found = run(number)
        seconds.append(time.process_time() - cpu)
        assert sum(map(len, found)) == useful
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("\n" + json.dumps({"tok_s": useful / min(seconds[1:]), "rss_mb": memory, "token_ids": found}))


if __name__ == "__main__":
    main()
