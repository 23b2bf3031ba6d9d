"""One request, one result, to the last bit: alone, in a crowd, pre-empted, in chunks, with prefix hits, on two threads."""

import numpy as np
import pytest
import torch
from miniature import CONFIG, VOCABULARY, model_of

from openmimo.infer.engine import Engine, Request, generate
from openmimo.rl.update import Sequence, response_logprobs

torch.set_num_threads(1)

SHAPES = {
    "miniature": CONFIG,
    "odd": CONFIG.model_copy(
        update={"hidden_size": 36, "heads": 3, "kv_heads": 1, "head_dim": 10, "ffn_size": 51, "vocab_size": 291}
    ),
    "many heads": CONFIG.model_copy(update={"heads": 6, "kv_heads": 6, "qkv_bias": False, "tied": True, "layers": 1}),
    "long": CONFIG.model_copy(update={"max_length": 640}),
}


def requests_of(count: int, config, seed: int = 0) -> list[Request]:
    """Prompts of 1 to half the model's length, some sharing beginnings, some equal; every way of sampling."""
    rng = np.random.default_rng(seed)
    half = config.max_length // 2
    stems = [tuple(rng.integers(0, VOCABULARY, half).tolist()) for _ in range(4)]
    how = [{}, {"temperature": 0.0}, {"temperature": 0.7, "top_p": 0.9}, {"top_k": 20}]
    requests = []
    for n in range(count):
        cut = int(rng.integers(0, half))
        prompt = stems[n % 4][:cut] + tuple(rng.integers(0, VOCABULARY, int(rng.integers(1, 6))).tolist())
        if n % 5 == 4:
            prompt = requests[-1].prompt
        limit = int(rng.integers(1, config.max_length - len(prompt) if n % 7 == 0 else 24))
        requests.append(Request(prompt, limit, ("i", n), **how[n % 4]))
    return requests


def result(event) -> tuple:
    return event.token_ids, event.logprobs, event.finish_reason


WAYS = {
    "a batch of 64": {"slots": 64},
    "small chunks": {"slots": 64, "budget": 9},
    "no prefix cache": {"slots": 64, "prefix_cache": False},
    "pre-empted": {"slots": 64, "tokens": 160, "budget": 64},
    "pre-empted in chunks": {"slots": 9, "tokens": 112, "budget": 17},
}


SOME = [n if n == "odd" else pytest.param(n, marks=pytest.mark.proof) for n in SHAPES]


@pytest.mark.parametrize("shape", SOME)
def test_a_requests_bits_do_not_depend_on_what_else_runs(shape):
    config = SHAPES[shape]
    model, stop = model_of(config), [3, 7, 50, 51]
    requests = requests_of(64, config)
    alone, single = [], Engine(model, stop, 1, VOCABULARY, prefix_cache=False)
    for request in requests:
        alone.append(result(generate(single, [request])[0]))
    for name, way in WAYS.items():
        way = way | {key: way[key] * config.max_length // 96 for key in ("tokens", "budget") if key in way}
        engine = Engine(model, stop, vocab_size=VOCABULARY, **way)
        found = [result(e) for e in generate(engine, requests)]
        assert found == alone, name
        assert (engine.scheduler.preemptions > 0) == ("pre-empted" in name), name
        assert engine.pool.free == engine.pool.count
        again = [result(e) for e in generate(engine, requests[::-1])][::-1]  # now with whatever the cache still holds
        assert again == alone, name


@pytest.mark.parametrize("shape", SOME)
def test_two_threads_give_the_bits_of_one(shape):
    config = SHAPES[shape]
    model, requests = model_of(config), requests_of(40, config)
    one = [result(e) for e in generate(Engine(model, [], 40, VOCABULARY), requests)]
    torch.set_num_threads(2)
    try:
        two = [result(e) for e in generate(Engine(model, [], 40, VOCABULARY), requests)]
        single = [result(generate(Engine(model, [], 1, VOCABULARY), [r])[0]) for r in requests[:8]]
    finally:
        torch.set_num_threads(1)
    assert two == one and single == one[:8]


def test_the_comparison_sees_another_order_of_summation(monkeypatch):
    """Negative control: the plain fused attention over the padded batch, whose order depends on the batch's shape."""
    from openmimo.infer.cache import PagedCache

    def fused(self, layer, q, g):
        n, T, K, E = g.n, g.T, self.kv_heads, self.head_dim
        q = (q[g.first : g.first + n] if g.index is None else q[g.index]).reshape(n, T, self.heads, E).transpose(1, 2)
        k, v = (
            side[layer].view(K, -1, self.size * E).index_select(1, g.blocks).view(K, n, -1, E).transpose(0, 1)
            for side in (self.k, self.v)
        )
        k, v = (x.repeat_interleave(self.heads // K, dim=1) for x in (k, v))
        mask = g.mask[:n, : T * (self.heads // K) : self.heads // K][:, None]
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return out.transpose(1, 2).reshape(n * T, K, self.heads // K, E)

    monkeypatch.setattr(PagedCache, "attend_group", fused)
    model, requests = model_of(SHAPES["long"]), requests_of(40, SHAPES["long"])
    crowd = generate(Engine(model, [], 40, VOCABULARY), requests)
    alone = [generate(Engine(model, [], 1, VOCABULARY), [r])[0] for r in requests]
    assert [result(e) for e in crowd] != [result(e) for e in alone]
    for one, other in zip(crowd[1::4], alone[1::4], strict=True):  # the greedy ones: right, but for the last bits
        if one.token_ids == other.token_ids:
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_trainers_logprobs_agree_at_every_batch_size_and_length(shape):
    config = SHAPES[shape]
    model, requests = model_of(config, std=0.15), requests_of(24, config)
    events = generate(Engine(model, [], 24, VOCABULARY), requests)
    sequences = [Sequence(r.prompt, e.token_ids, e.logprobs, 0.0, 0) for r, e in zip(requests, events, strict=True)]
    for size in (1, 5, 24):
        for at in range(0, 24, size):
            some = sequences[at : at + size]
            with torch.no_grad():
                found = response_logprobs(model, some).tolist()
            assert found == pytest.approx([p for s in some for p in s.engine_logprobs], abs=1e-5)
