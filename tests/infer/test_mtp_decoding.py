"""Decoding with MTP drafts: the text of plain decoding bit for bit, and no trace of what was rejected."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from miniature import CONFIG, VOCABULARY, model_of
from test_invariance import SHAPES, requests_of, result

from openmimo.errors import UserError
from openmimo.infer.draft import MTPDrafter, check_drafts
from openmimo.infer.engine import Engine, Request, generate
from openmimo.model.mtp import shift_labels
from openmimo.model.transformer import cross_entropy

torch.set_num_threads(1)
WAYS = [("parallel", 3, 3), ("chained", 1, 3)]  # mode, layers, guesses
MORE_WAYS = [*WAYS, ("parallel", 1, 1), ("parallel", 3, 2), ("chained", 2, 2), ("chained", 2, 4)]


@cache
def fitted(mode: str, layers: int, length: int = 96, steps: int = 25):
    """A random model whose MTP layers were fitted to its own greedy and sampled texts, so that some guesses are right."""
    model = model_of(CONFIG.model_copy(update={"mtp_layers": layers, "mtp_mode": mode, "max_length": length}))
    texts = [(*r.prompt, *e.token_ids) for r, e in zip(own_requests(), plainly(model, own_requests()), strict=True)]
    mtp = [p for p in model.model.mtp_layers.parameters()]
    optim = torch.optim.AdamW(mtp, lr=1e-2)
    ids = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.long)
    segments = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)], segments[row, : len(text)] = torch.tensor(text), 1
    labels = torch.where(segments > 0, ids, -100)
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    with torch.no_grad():
        hidden = model(ids, positions)
    for _ in range(steps):
        logits = model.mtp_logits(hidden, ids, positions, None)
        shifted = [shift_labels(labels, segments, depth + 2) for depth in range(layers)]
        sum(cross_entropy(a, b) for a, b in zip(logits, shifted, strict=True)).backward()
        optim.step()
        model.zero_grad()
    return model.requires_grad_(False)


def own_requests(temperature: float = 0.0, count: int = 12, tokens: int = 40) -> list[Request]:
    rng = np.random.default_rng(5)
    lengths = rng.integers(1, 30, count)
    prompts = [tuple(rng.integers(0, VOCABULARY, int(n)).tolist()) for n in lengths]
    return [Request(p, tokens, ("own", n), temperature) for n, p in enumerate(prompts)]


def plainly(model, requests, stop=()):
    return generate(Engine(model, list(stop), 24, VOCABULARY), requests)


def drafting(model, k, stop=(), slots=24, method="coupled", argmax=False, **more) -> Engine:
    return Engine(model, list(stop), slots, VOCABULARY, drafter=MTPDrafter(k, method, argmax), **more)


@pytest.mark.parametrize(("mode", "layers", "k"), WAYS)
def test_the_text_is_that_of_plain_decoding(mode, layers, k, count=16):
    """Greedy, at T = 1, with top-k and top-p, with stops; some guesses right, some wrong."""
    model = fitted(mode, layers)
    requests = requests_of(count, model.config) + own_requests() + own_requests(1.0)
    plain = [result(e) for e in plainly(model, requests, [3, 7])]
    engine = drafting(model, k, [3, 7])
    assert [result(e) for e in generate(engine, requests)] == plain
    drafted, accepted = engine.drafter.counts.values()
    assert 0 < accepted[-1] <= accepted[0] < drafted[0] == drafted[-1]
    for pool in (engine.pool, engine.drafter.pool):
        assert pool.free == pool.count


def test_a_verifier_that_believes_every_guess_is_seen():
    """Negative control of the test above."""
    model, engine = fitted(*WAYS[0][:2]), drafting(fitted(*WAYS[0][:2]), 3)
    requests = own_requests()

    def believe(logits, settings, tokens, sequences):
        at = 0
        for s in sequences:
            tokens[at : at + len(s.draft)] = torch.tensor(s.draft, dtype=torch.long)
            at += 1 + len(s.draft)
        return tokens

    engine.drafter.verify = believe
    assert [result(e) for e in generate(engine, requests)] != [result(e) for e in plainly(model, requests)]


@pytest.mark.parametrize(("mode", "layers", "k"), WAYS)
@pytest.mark.parametrize("way", [{}, {"tokens": 250, "budget": 30}, {"prefix_cache": False, "slots": 5}])
def test_on_off_and_any_k_at_any_step(mode, layers, k, way):
    """The number of guesses changes at every step; pre-emption, chunks and few slots on top."""
    model, rng = fitted(mode, layers), np.random.default_rng(0)
    requests = requests_of(24, model.config) + own_requests(1.0)
    plain = [result(e) for e in plainly(model, requests, [3, 7])]
    engine = drafting(model, k, [3, 7], **way)
    ids, done = [engine.add(r) for r in requests], {}
    while engine.busy:
        engine.drafter.k = int(rng.integers(0, k + 1))
        done |= {e.id: result(e) for e in engine.step() if e.finish_reason}
    assert [done[i] for i in ids] == plain and engine.drafter.accepted[0] > 0
    assert (engine.scheduler.preemptions > 0) == ("tokens" in way)


def test_new_weights_in_the_middle():
    """Drafts of the old weights are forgotten; the text is that of plain decoding with the same change."""
    model, other = fitted("parallel", 3), model_of(fitted("parallel", 3).config, seed=1)
    requests, found = own_requests(1.0), []
    for engine in (Engine(model, [], 24, VOCABULARY), drafting(model, 3)):
        done, steps = {}, 0
        for request in requests:
            engine.add(request)
        while engine.busy:
            if min((s.count for s in engine.scheduler.running), default=0) >= 12 and not engine.version:
                for s in [*engine.scheduler.running]:  # the same place in every text, however fast it came
                    cut = len(s.request.prompt) + 12
                    del s.tokens[cut:], s.logprobs[12:], s.versions[12:], s.top_logprobs[12:]
                engine.update_weights(other.state_dict(), 1)
            done |= {e.id: (result(e), e.versions) for e in engine.step() if e.finish_reason}
            steps += 1
        found.append([done[i] for i in sorted(done)])
    assert found[0] == found[1]


class Liar(MTPDrafter):
    """Puts guesses in the place of its own of which the share `right` is true. texts: every result, by id."""

    def __init__(self, k, texts, right):
        super().__init__(k)
        self.texts, self.right, self.rng = texts, right, np.random.default_rng(0)

    def propose(self, batch, hidden, sequences):
        super().propose(batch, hidden, sequences)
        for s in sequences:
            rest = [*self.texts[s.id][s.count :], *[0] * self.k][: len(s.draft)]
            s.draft = [t if self.rng.random() < self.right else (t + 1) % VOCABULARY for t in rest]

    def _keep(self, ids):
        pass


@pytest.mark.parametrize("right", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("shape", ["odd", pytest.param("long", marks=pytest.mark.proof)])
def test_guesses_change_nothing_but_the_number_of_steps(shape, right):
    model = model_of(SHAPES[shape].model_copy(update={"mtp_layers": 3}))
    requests = requests_of(24, model.config)
    plain = [result(e) for e in plainly(model, requests, [3, 7])]
    texts = {n + 1: tokens for n, (tokens, _, _) in enumerate(plain)}
    for way in ({"tokens": model.config.max_length * 2, "budget": 30}, {}):
        engine = Engine(model, [3, 7], 24, VOCABULARY, drafter=Liar(3, texts, right), **way)
        ids, done, steps = [engine.add(r) for r in requests], {}, 0
        while engine.busy:
            done |= {e.id: result(e) for e in engine.step() if e.finish_reason}
            steps += 1
        assert [done[i] for i in ids] == plain and engine.pool.free == engine.pool.count
        assert engine.drafter.drafted[0] > 10
    longest = max(map(len, texts.values()))
    assert steps >= longest if right == 0 else steps < longest * (0.8 if right < 1 else 0.4) + 3


def contents(engine) -> dict[tuple, torch.Tensor]:
    """Every block of the prefix cache: all tokens up to its end -> its keys and values."""
    pool, size = engine.pool, engine.pool.size
    texts = {0: ()}
    for block in sorted(pool.keys, key=pool.names.get):
        before, tokens = pool.keys[block]
        texts[pool.names[block]] = texts[before] + tokens
    return {texts[pool.names[b]]: engine.cache.kv[:, :, b * size : (b + 1) * size] for b in pool.keys}


@pytest.mark.parametrize(("mode", "layers", "k"), WAYS)
def test_rejected_guesses_leave_no_trace_in_either_cache(mode, layers, k):
    """After a run of false guesses and one of true ones, the same bits: the prefix cache's blocks, which are those of a
    run without guesses, and the MTP blocks' keys and values of true slots."""
    model, requests = fitted(mode, layers), own_requests(1.0, count=4)
    plain = Engine(model, [], 24, VOCABULARY)
    texts = {n + 1: e.token_ids for n, e in enumerate(generate(plain, requests))}
    liars, expected = [Liar(k, texts, 0.0), Liar(k, texts, 1.0)], contents(plain)
    for liar in liars:
        engine = Engine(model, [], 24, VOCABULARY, drafter=liar)
        generate(engine, requests)
        found = contents(engine)
        assert found.keys() == expected.keys() and len(found) > 5
        assert all(torch.equal(found[t], expected[t]) for t in found)
        found[next(iter(found))][0, 0, 0] += 1e-6  # negative control: one place of one block
        assert not all(torch.equal(found[t], expected[t]) for t in found)
    assert liars[0].accepted[0] == 0 and liars[1].accepted[-1] > 10
    for i in texts:
        held = [liar.responses[i] for liar in liars]
        for depth in range(layers):
            true = min(own.known for own in held) - 1 - depth
            places = [[own.blocks[t // 16] * 16 + t % 16 for t in range(true)] for own in held]
            one, two = (liar.cache.kv[depth, :, at] for liar, at in zip(liars, places, strict=True))
            assert true > 20 and torch.equal(one, two)
    unlike = liars[0].cache.kv[0, :, places[0]] - liars[1].cache.kv[0, :, places[1][::-1]]  # negative control
    assert unlike.abs().max() > 0


def test_a_long_prompt_is_caught_up_piece_by_piece(monkeypatch):
    model = fitted("parallel", 3)
    requests, counts = own_requests(1.0), []
    for piece in (1024, 7):
        monkeypatch.setattr("openmimo.infer.draft.PIECE", piece)
        engine = drafting(model, 3)
        generate(engine, requests)
        counts.append(engine.drafter.counts)
    assert counts[0] == counts[1]


def test_no_guesses_where_there_is_no_room():
    """At the last positions of the model, and where the cache is full; the text ends as it should."""
    model = fitted("parallel", 3)
    length = model.config.max_length
    requests = [Request(tuple(range(10, 10 + n)), length - n, ("end", n)) for n in (1, length - 1, length - 3, 40)]
    plain = [result(e) for e in plainly(model, requests)]
    for more in ({}, {"tokens": length}):
        assert [result(e) for e in generate(drafting(model, 3, **more), requests)] == plain


def test_too_many_guesses_are_a_user_error():
    with pytest.raises(UserError, match="has no MTP layer"):
        check_drafts(CONFIG.model_copy(update={"mtp_layers": 0}), 1, "here")
    with pytest.raises(UserError, match="1 MTP layer.*use --mtp 1.*mtp extend --layers 2"):
        check_drafts(CONFIG, 2, "here")
    check_drafts(CONFIG.model_copy(update={"mtp_mode": "chained"}), 5, "here")


@pytest.mark.proof
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(("mode", "layers", "k"), MORE_WAYS)
def test_64_prompts_are_those_of_plain_decoding(mode, layers, k, temperature):
    model = fitted(mode, layers)
    requests = own_requests(temperature, count=64, tokens=60)
    plain = [result(e) for e in plainly(model, requests)]
    for slots in (64, 1):
        engine = drafting(model, k, slots=slots)
        assert [result(e) for e in generate(engine, requests)] == plain
        assert engine.drafter.accepted[0] > 100
    assert math.prod(engine.drafter.accepted) > 0
