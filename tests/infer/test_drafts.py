"""Guessed tokens: scored several at a time, kept if they are the sampled ones, without a trace if not."""

import numpy as np
import pytest
import torch
from miniature import VOCABULARY, model_of
from test_invariance import SHAPES, requests_of, result

from openmimo.infer.engine import Engine, generate

torch.set_num_threads(1)


class Guesser:
    """Knows every result, and lies now and then: `right` is its share of true guesses, up to 4 at a time."""

    layers = 0

    def __init__(self, results: dict[int, list[int]], right: float):
        self.results, self.right, self.rng = results, right, np.random.default_rng(0)
        self.guessed = self.accepted = 0

    def attach(self, engine):
        pass

    def count(self, draft, tokens):
        pass

    def verify(self, logits, settings, tokens, sequences):
        return tokens

    def propose(self, batch, hidden, sequences):
        for s in sequences:
            rest = self.results[s.id][s.count :]
            s.draft = [t if self.rng.random() < self.right else (t + 1) % VOCABULARY for t in rest[:4]]
            self.guessed += len(s.draft)


@pytest.mark.parametrize("shape", ["miniature", "odd", "long"])
@pytest.mark.parametrize("right", [0.0, 0.6, 1.0])
def test_guesses_change_nothing_but_the_number_of_steps(shape, right):
    config = SHAPES[shape]
    model, requests = model_of(config), requests_of(24, config)
    plain = Engine(model, [3, 7], 24, VOCABULARY)
    expected = [result(e) for e in generate(plain, requests)]
    results = {n + 1: tokens for n, (tokens, _, _) in enumerate(expected)}
    for way in ({}, {"tokens": config.max_length * 2, "budget": 30}):
        engine = Engine(model, [3, 7], 24, VOCABULARY, drafter=Guesser(results, right), **way)
        steps, step = [0], engine.step
        engine.step = lambda steps=steps, step=step: steps.__setitem__(0, steps[0] + 1) or step()
        assert [result(e) for e in generate(engine, requests)] == expected
        assert engine.drafter.guessed > 100 and engine.pool.free == engine.pool.count
        again = [result(e) for e in generate(Engine(model, [3, 7], 24, VOCABULARY), requests)]
        assert again == expected
    longest = max(len(tokens) for tokens in results.values())
    engine = Engine(model, [3, 7], 24, VOCABULARY, drafter=Guesser(results, right))
    for request in requests:
        engine.add(request)
    steps = 0
    while engine.busy:
        engine.step()
        steps += 1
    assert steps >= longest if right == 0 else steps < longest * (0.75 if right < 1 else 0.35) + 3


def contents(engine) -> dict[tuple, torch.Tensor]:
    """Every block of the prefix cache: all tokens up to its end -> its keys and values."""
    pool, size = engine.pool, engine.pool.size
    texts = {0: ()}
    for block in sorted(pool.keys, key=pool.names.get):
        before, tokens = pool.keys[block]
        texts[pool.names[block]] = texts[before] + tokens
    places = {texts[pool.names[b]]: slice(b * size, (b + 1) * size) for b in pool.keys}
    return {t: torch.stack((engine.cache.k[:, :, at], engine.cache.v[:, :, at])) for t, at in places.items()}


def test_rejected_guesses_leave_no_trace_in_the_cache():
    """The prefix cache after two runs, one with guesses of which most are wrong: the same texts, the same bits."""
    config = SHAPES["miniature"]
    model, requests = model_of(config), requests_of(24, config)
    plain = Engine(model, [], 24, VOCABULARY)
    results = {n + 1: e.token_ids for n, e in enumerate(generate(plain, requests))}
    guessing = Engine(model, [], 24, VOCABULARY, drafter=Guesser(results, 0.4))
    generate(guessing, requests)
    one, other = contents(plain), contents(guessing)
    assert one.keys() == other.keys() and len(one) > 20
    assert all(torch.equal(one[t], other[t]) for t in one)
    block = next(iter(guessing.pool.keys))  # negative control: one place of one block
    guessing.cache.k[0, 0, block * 16] += 1e-6
    assert not all(torch.equal(one[t], contents(guessing)[t]) for t in one)
