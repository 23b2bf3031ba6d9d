"""More MTP layers by freeze-and-copy [R 2.3]: the trained layer is copied, the copies are tuned, nothing else moves.

    openmimo mtp extend --from runs/smoke/rl --layers 3 --out rl-mtp3

The text is the model's own: responses that the engine samples to the prompts given. A killed run keeps the responses
that were whole and goes on from the last checkpoint. Every frozen tensor is compared bit for bit with the source's, by
its hash, before the folder is written.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import torch

from openmimo.data.pack import PackedBatches, TokenStore
from openmimo.errors import UserError
from openmimo.infer.engine import Request
from openmimo.infer.load import load_engine
from openmimo.model.hub import load_checkpoint, save_into
from openmimo.model.transformer import Transformer
from openmimo.recipe import Extend
from openmimo.train.checkpoint import Checkpointer
from openmimo.train.log import Log
from openmimo.train.loop import fit
from openmimo.train.schedule import Schedule, constant_rate

TEXT = "text.jsonl"
SAY_EVERY_S = 10.0


def extend(
    source: Path, prompts: list[tuple[int, ...]], layers: int, settings: Extend, seed: int, slots: int, folder: Path,
    checkpointer: Checkpointer, log: Log,
) -> None:  # fmt: skip
    """Writes `source` with `layers` MTP layers into `folder`; prompts: token ids."""
    model = with_copies(load_checkpoint(source), layers, str(source))
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    before = digests(model, frozen)
    documents = own_text(source, prompts, settings, seed, slots, folder / TEXT, log)
    length = min(settings.length, model.config.max_length)
    store = TokenStore.of({"own": [(ids[:length], start) for ids, start in documents]})
    total = max(1, round(store.tokens("own") * settings.epochs))
    table = constant_rate("own", total, settings, length, model.rope_base, 1.0)
    fit(model, PackedBatches(store, seed), Schedule(table), settings.optim, settings.micro_batch, checkpointer, log)
    assert digests(model, frozen) == before == digests(load_checkpoint(source), frozen), "a frozen tensor has moved"
    log.say(f"{len(frozen)} frozen tensors are bit-equal to those of {source}")
    save_into(folder, model, source)


def with_copies(model: Transformer, layers: int, where: str) -> Transformer:
    """`model` with its last MTP layer copied until there are `layers`; only the copies can be trained."""
    stored = model.config.mtp_layers
    if not 0 < stored < layers:
        raise UserError(f"{where}: it has {stored} MTP layers; --layers must be more, and there must be one to copy")
    wider = Transformer(model.config.model_copy(update={"mtp_layers": layers}))
    state = model.state_dict()
    trained = f"model.mtp_layers.{stored - 1}."
    for name in [name for name in state if name.startswith(trained)]:
        for copy in range(stored, layers):
            state[f"model.mtp_layers.{copy}.{name.removeprefix(trained)}"] = state[name]
    wider.load_state_dict(state)
    for parameter in wider.parameters():
        parameter.requires_grad_(False)
    for copy in range(stored, layers):
        wider.model.mtp_layers[copy].requires_grad_(True)
    return wider


def digests(model: Transformer, names: set[str]) -> dict[str, str]:
    """Name -> SHA-256 of the tensor's bytes."""
    state = model.state_dict()
    return {n: hashlib.sha256(state[n].detach().contiguous().view(torch.uint8).numpy()).hexdigest() for n in names}


def own_text(
    source: Path, prompts: list[tuple[int, ...]], settings: Extend, seed: int, slots: int, path: Path, log: Log
) -> list[tuple[list[int], int]]:
    """[(prompt and response, index of the response)], in the order of the prompts. Each response is appended to `path`
    when it is whole; those there are not sampled again."""
    done = {row["n"]: row["ids"] for row in _whole_lines(path)}
    wanted = {n: prompt for n, prompt in enumerate(p for p in prompts for _ in range(settings.samples))}
    engine, _ = load_engine(source, slots)
    place = {}
    for n, prompt in wanted.items():
        room = engine.model.config.max_length - len(prompt)
        if room < 1:
            raise UserError(f"mtp extend: prompt {n // settings.samples + 1} has {len(prompt)} tokens, all that the model holds; leave it out")  # fmt: skip
        if n not in done:
            key, limit = ("extend", n), min(settings.max_tokens, room)
            place[engine.add(Request(prompt, limit, key, settings.temperature, seed=seed))] = n
    said = time.monotonic()
    with path.open("a", encoding="utf-8") as out:
        while engine.busy:
            for event in (e for e in engine.step() if e.finish_reason):
                done[place[event.id]] = event.token_ids
                out.write(json.dumps({"n": place[event.id], "ids": event.token_ids}) + "\n")
                out.flush()
            if time.monotonic() - said > SAY_EVERY_S:
                said = time.monotonic()
                log.say(f"{len(done):,} of {len(wanted):,} responses sampled")
    log.say(f"{len(wanted):,} responses, {sum(map(len, done.values())):,} tokens of its own")
    return [([*prompt, *done[n]], len(prompt)) for n, prompt in wanted.items()]


def _whole_lines(path: Path) -> list[dict]:
    """The rows of a file that a kill may have cut; the cut line is taken off it."""
    if not path.is_file():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        path.write_bytes(whole)
    return [json.loads(line) for line in whole.splitlines()]
