"""vLLM as a Backend: inside this process, or as a server. Meant for GPUs; needs the extra `openmimo[vllm]`.

    backend = VLLM("runs/smoke/rl", stop_ids=[...]); backend.generate(requests)
    backend = VLLMServer("http://gpu:8000", "rl", exchange="/shared/weights", ...)   # VLLM_SERVER_DEV_MODE=1 vllm serve ...

Weights go by vLLM's own call `reload_weights`: a checkpoint folder is written where the workers can read it, they load
it in place, and the prefix cache is dropped. Requests draw from vLLM's generators, seeded with our (seed, key): the same
request gives the same text again as long as vLLM's own batching allows (VLLM_BATCH_INVARIANT=1), not our engine's text.
The offline class is run on a CPU by bench/conform.py; CUDA is untested here.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openmimo.errors import UserError
from openmimo.infer.request import Event, Request
from openmimo.infer.sampling import stream_of
from openmimo.model.config import ModelConfig
from openmimo.model.hub import save_checkpoint
from openmimo.model.transformer import Transformer


def settings_of(request: Request, stop_ids: list[int]) -> dict[str, Any]:
    """A request's sampling as vLLM's SamplingParams and its completions endpoint both name it."""
    if request.stop:
        raise UserError("vllm: stop strings are not supported by this backend; use stop_ids")
    return {
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k or -1,
        "seed": stream_of(request.seed, request.key) >> 1,  # theirs is signed
        "stop_token_ids": [*stop_ids, *request.stop_ids],
        "logprobs": 0,
        "ignore_eos": True,  # the stop ids say where a text ends
    }


def write_weights(config: ModelConfig, state: dict[str, Tensor], folder: Path) -> None:
    """A state dict as a checkpoint folder."""
    with torch.device("meta"):
        model = Transformer(config)
    model.load_state_dict(state, assign=True)
    save_checkpoint(folder, model)


class VLLM:
    """vLLM's LLM in this process. options: further arguments of vllm.LLM."""

    def __init__(self, checkpoint: str | Path, stop_ids: list[int], exchange: str | Path, **options: Any):
        """exchange: a folder for new weights, that vLLM's workers can read."""
        try:
            from transformers import AutoConfig, Qwen2Config
            from vllm import LLM, SamplingParams
        except ImportError as error:
            raise UserError(f"the vLLM backend needs {error.name}; run `pip install 'openmimo[vllm]'`") from None

        class MiMoConfig(Qwen2Config):
            model_type = "mimo"

        AutoConfig.register("mimo", MiMoConfig, exist_ok=True)  # a folder of ours carries no remote code
        self.params, self.stop_ids, self.exchange = SamplingParams, stop_ids, Path(exchange)
        self.config, self.version = ModelConfig.from_folder(checkpoint), 0
        self.llm = LLM(str(checkpoint), skip_tokenizer_init=True, **options)

    def generate(self, requests: list[Request]) -> list[Event]:
        settings = [self.params(detokenize=False, **settings_of(r, self.stop_ids)) for r in requests]
        prompts = [{"prompt_token_ids": list(r.prompt)} for r in requests]
        events = []
        for n, output in enumerate(self.llm.generate(prompts, settings, use_tqdm=False), 1):
            (choice,) = output.outputs
            ids = list(choice.token_ids)
            logprobs = [row[i].logprob for i, row in zip(ids, choice.logprobs, strict=True)]
            events.append(Event(n, ids, logprobs, choice.finish_reason, [self.version] * len(ids)))
        return events

    def update_weights(self, state: dict[str, Tensor], version: int) -> None:
        write_weights(self.config, state, self.exchange)
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": str(self.exchange)})
        self.llm.reset_prefix_cache()
        self.version = version

    def close(self) -> None:
        del self.llm


class VLLMServer:
    """A `vllm serve` over HTTP, started with VLLM_SERVER_DEV_MODE=1 so that it takes weights."""

    def __init__(
        self, url: str, model: str, config: ModelConfig, stop_ids: list[int], exchange: str | Path, workers=256
    ):
        from openmimo.infer.openai_backend import Server

        self.server, self.model, self.config = Server(url), model, config
        self.stop_ids, self.exchange, self.version, self.workers = stop_ids, Path(exchange), 0, workers

    def generate(self, requests: list[Request]) -> list[Event]:
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(self.one, range(1, len(requests) + 1), requests))

    def one(self, number: int, request: Request) -> Event:
        body = {"model": self.model, "prompt": list(request.prompt), "return_token_ids": True}
        (choice,) = self.server.post("/v1/completions", body | settings_of(request, self.stop_ids))["choices"]
        ids = choice["token_ids"]
        return Event(
            number, ids, choice["logprobs"]["token_logprobs"], choice["finish_reason"], [self.version] * len(ids)
        )

    def update_weights(self, state: dict[str, Tensor], version: int) -> None:
        write_weights(self.config, state, self.exchange)
        self.server.post(
            "/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(self.exchange)}}
        )
        self.server.post("/reset_prefix_cache", {})
        self.version = version

    def close(self) -> None:
        self.server.close()
