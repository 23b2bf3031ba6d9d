"""The engine: equal to a plain loop, whoever else is in the batch, and to the trainer's log-probabilities."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from miniature import CONFIG, VOCABULARY, model_of
from test_sampling import chi_square

from openmimo.errors import UserError
from openmimo.infer.engine import Engine, Request, generate
from openmimo.infer.sampling import exponentials, sample, stream_of
from openmimo.model.transformer import token_logprobs
from openmimo.rl.update import Sequence, response_logprobs

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model():
    return model_of()


def engine_of(model, stop=(), slots=64, vocab_size=VOCABULARY) -> Engine:
    return Engine(model, list(stop), slots, vocab_size)


def prompt_of(seed: int, length: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(0, VOCABULARY, length).tolist())


def requests_of(count: int, **more) -> list[Request]:
    """Prompts of 1 to 30 tokens, limits of 1 to 40, keys of their own."""
    rng = np.random.default_rng(0)
    lengths, limits = rng.integers(1, 31, count), rng.integers(1, 41, count)
    return [Request(prompt_of(n, int(lengths[n])), int(limits[n]), ("r", n), **more) for n in range(count)]


def decode_plainly(model, request: Request, stop=()) -> tuple[list[int], list[float]]:
    """The same request without cache, slots or batches: the whole text again for every token."""
    ids, logprobs = list(request.prompt), []
    stream = np.array([stream_of(request.seed, request.key)], dtype=np.uint64)
    for position in range(request.max_tokens):
        with torch.no_grad():
            hidden = model(torch.tensor([ids]), torch.arange(len(ids))[None])
            logits = model.logits(hidden[:, -1])
        noise = exponentials(stream, np.array([position]), VOCABULARY)
        how = (torch.tensor([x]) for x in (request.temperature, request.top_k, request.top_p))
        token = sample(logits[:, :VOCABULARY], noise, *how)
        ids.append(int(token))
        logprobs.append(float(token_logprobs(logits, token)))
        if ids[-1] in stop:
            break
    return ids[len(request.prompt) :], logprobs


@pytest.mark.parametrize("how", [{"temperature": 0.0}, {}, {"temperature": 0.7, "top_p": 0.9}])
def test_the_engine_equals_a_loop_without_a_cache(model, how):
    requests = requests_of(12, **how)
    for request, event in zip(requests, generate(engine_of(model, slots=5), requests), strict=True):
        tokens, logprobs = decode_plainly(model, request)
        assert event.token_ids == tokens
        assert event.logprobs == pytest.approx(logprobs, abs=1e-5)


def test_the_loop_sees_a_wrong_position(model):
    """Negative control: rotary positions off by one in the responses."""
    request = Request(prompt_of(0, 9), 20, temperature=0.0)
    engine = engine_of(model)
    right = engine._rope
    engine._rope = lambda positions: right(positions + (positions > 8))
    tokens, logprobs = decode_plainly(model, request)
    event = generate(engine, [request])[0]
    assert event.token_ids != tokens or event.logprobs != pytest.approx(logprobs, abs=1e-5)


@pytest.mark.parametrize("stop", [(), (3, 7, 50, 51, 52, 120, 121, 122)])
def test_a_request_alone_is_a_request_among_forty_others(model, stop):
    """In 7 slots and in 64, in another order, and alone: the same tokens, so that data does not depend on scheduling."""
    requests = requests_of(41)
    alone = [generate(engine_of(model, stop, slots=1), [request])[0] for request in requests]
    assert len({len(event.token_ids) for event in alone}) > 10
    for slots, order in ((64, range(41)), (7, range(41)), (7, reversed(range(41)))):
        order = list(order)
        events = generate(engine_of(model, stop, slots), [requests[n] for n in order])
        for n, event in zip(order, events, strict=True):
            assert (event.token_ids, event.finish_reason) == (alone[n].token_ids, alone[n].finish_reason)
            assert event.logprobs == alone[n].logprobs


def sequences_of(requests, events) -> list[Sequence]:
    return [Sequence(r.prompt, e.token_ids, e.logprobs, 0.0, 0) for r, e in zip(requests, events, strict=True)]


def test_the_trainers_logprobs_are_the_engines(model):
    requests = requests_of(20)
    sequences = sequences_of(requests, generate(engine_of(model), requests))
    with torch.no_grad():
        found = response_logprobs(model, sequences).tolist()
    expected = [p for s in sequences for p in s.engine_logprobs]
    assert found == pytest.approx(expected, abs=1e-5)
    shifted = [p for s in sequences for p in (*s.engine_logprobs[1:], 0.0)]  # negative control
    assert found != pytest.approx(shifted, abs=1e-2)


def test_ids_beyond_the_tokenizer_are_never_sampled(model):
    """The model's vocabulary is padded: its last ids have logits (which count in log-probabilities), and no text."""
    with torch.no_grad():
        loud = model_of()
        loud.lm_head.weight[VOCABULARY:] *= 20
    requests = requests_of(30)
    free = generate(engine_of(loud, vocab_size=None), requests)
    assert max(i for e in free for i in e.token_ids) >= VOCABULARY
    events = generate(engine_of(loud), requests)
    assert max(i for e in events for i in e.token_ids) < VOCABULARY
    assert CONFIG.vocab_size > VOCABULARY
    for request, event in zip(requests[:5], events, strict=False):
        tokens, logprobs = decode_plainly(loud, request)
        assert event.token_ids == tokens and event.logprobs == pytest.approx(logprobs, rel=1e-5)


def shapes_of(engine) -> list[int]:
    """Remembers how many tokens each step computes, padding included."""
    shapes, model = [], engine.model.forward
    engine.model.forward = lambda ids, *rest, **more: shapes.append(ids.shape[1]) or model(ids, *rest, **more)
    return shapes


def test_a_prompt_that_many_share_is_computed_once(model):
    """8 samples each of a prompt of 37 tokens and one of 5: 42 tokens and 14 last ones, then 16 a step."""
    prompt, other = prompt_of(0, 37), prompt_of(1, 5)
    requests = [Request(prompt, 3, ("a", n)) for n in range(8)] + [Request(other, 3, ("b", n)) for n in range(8)]
    engine = engine_of(model)
    shapes = shapes_of(engine)
    events = generate(engine, requests)
    assert shapes == [56, 16, 16]
    assert len({tuple(e.token_ids) for e in events[:8]}) > 1
    for n in (0, 3, 11):
        assert events[n].token_ids == decode_plainly(model, requests[n])[0]
    unshared = Engine(model, [], vocab_size=VOCABULARY, prefix_cache=False)
    shapes = shapes_of(unshared)
    assert [e.logprobs for e in generate(unshared, requests)] == [e.logprobs for e in events]
    assert shapes[0] == 8 * 42


def test_abort_frees_the_slot_and_disturbs_nobody(model):
    requests = [Request(prompt_of(n, 5 + n), 30, ("a", n)) for n in range(6)]
    expected = [e.token_ids for e in generate(engine_of(model), requests)]
    engine = engine_of(model, slots=3)
    ids = [engine.add(request) for request in requests]
    for _ in range(4):
        assert engine.step() == []
    engine.abort(ids[0])  # running
    engine.abort(ids[4])  # waiting
    engine.abort(999)  # nobody
    queue = engine.scheduler
    assert len(queue.running) == 2 and len(queue.waiting) == 2
    engine.step()
    assert {r.id for r in queue.running} == {ids[1], ids[2], ids[3]}
    done = {}
    while engine.busy:
        done |= {event.id: event.token_ids for event in engine.step()}
    assert done == {ids[n]: expected[n] for n in (1, 2, 3, 5)}


def test_limits_and_stop_tokens(model):
    request = Request(prompt_of(3, 6), 25, ("s",))
    (free,) = generate(engine_of(model), [request])
    assert (len(free.token_ids), free.finish_reason) == (25, "length")
    at = next(i for i in range(3, 25) if free.token_ids[i] not in free.token_ids[:i])
    (stopped,) = generate(engine_of(model, stop=[free.token_ids[at]]), [request])
    assert (stopped.token_ids, stopped.finish_reason) == (free.token_ids[: at + 1], "stop")
    assert stopped.logprobs == free.logprobs[: at + 1]
    (last,) = generate(engine_of(model, stop=[free.token_ids[-1]]), [request])
    assert last.finish_reason == "stop"  # a stop token at the limit is a stop
    (one,) = generate(engine_of(model), [Request(request.prompt, 1, request.key)])
    assert (one.token_ids, one.finish_reason) == (free.token_ids[:1], "length")


def test_a_tiny_top_p_is_greedy(model):
    requests = requests_of(15, top_p=1e-6)
    greedy = generate(engine_of(model), requests_of(15, temperature=0.0))
    assert [e.token_ids for e in generate(engine_of(model), requests)] == [e.token_ids for e in greedy]
    warm = generate(engine_of(model), requests_of(15))
    assert [e.token_ids for e in warm] != [e.token_ids for e in greedy]


def test_a_batch_may_mix_temperatures_and_top_p(model):
    how = [{"temperature": 0.0}, {"temperature": 1.3}, {"top_p": 0.5}, {"temperature": 0.6, "top_p": 0.95}]
    requests = [Request(prompt_of(n, 8), 20, ("m", n), **how[n % 4]) for n in range(12)]
    for request, event in zip(requests, generate(engine_of(model), requests), strict=True):
        assert event.token_ids == decode_plainly(model, request)[0]


def test_streamed_events_join_to_the_whole(model):
    requests = requests_of(9)
    whole = generate(engine_of(model, stop=[5, 6]), requests)
    engine = engine_of(model, stop=[5, 6], slots=4)
    streamed = [Request(**{**r.__dict__, "stream": True}) for r in requests]
    ids = [engine.add(r) for r in streamed]
    events = {i: [] for i in ids}
    while engine.busy:
        for event in engine.step():
            events[event.id].append(event)
    for i, expected in zip(ids, whole, strict=True):
        assert all(len(event.token_ids) == 1 for event in events[i])
        assert [t for event in events[i] for t in event.token_ids] == expected.token_ids
        assert [p for event in events[i] for p in event.logprobs] == expected.logprobs
        assert [event.finish_reason for event in events[i]][:-1] == [None] * (len(events[i]) - 1)
        assert events[i][-1].finish_reason == expected.finish_reason


def test_new_weights_between_steps(model):
    engine, other = engine_of(model_of()), model_of(seed=9)
    request = Request(prompt_of(0, 5), 10, ("w",))
    (before,) = generate(engine, [request])
    engine.update_weights(other.state_dict(), 3)
    (after,) = generate(engine, [request])
    assert (before.version, after.version) == (0, 3)
    assert after.token_ids == decode_plainly(other, request)[0] != before.token_ids


def test_new_weights_while_responses_run(model):
    """Each token is what its version samples after the text before it, in whatever company."""
    other = model_of(seed=9)
    requests = [Request(prompt_of(n % 3, 20), 30, ("u", n), temperature=0.0 if n % 2 else 1.0) for n in range(9)]

    def run(some, **way):
        engine = Engine(model, [], vocab_size=VOCABULARY, **way)
        for r in some:
            engine.add(r)
        for _ in range(8):
            engine.step()
        engine.update_weights(other.state_dict(), 5)
        found = {}
        while engine.busy:
            found |= {e.id: e for e in engine.step()}
        assert engine.pool.free == engine.pool.count
        return [found[i] for i in sorted(found)]

    events = run(requests)
    for request, event in zip(requests, events, strict=True):
        assert event.versions == [0] * 8 + [5] * 22
        assert event.token_ids[:8] == decode_plainly(model, request)[0][:8]
        text = (*request.prompt, *event.token_ids)
        with torch.no_grad():
            logits = other.logits(other(torch.tensor([text]), torch.arange(50)[None]))[0, 27:-1]
        expected = token_logprobs(logits, torch.tensor(event.token_ids[8:])).tolist()
        assert event.logprobs[8:] == pytest.approx(expected, abs=1e-5)
    for n in (0, 5):
        (alone,) = run([requests[n]], prefix_cache=False)
        assert (alone.token_ids, alone.logprobs) == (events[n].token_ids, events[n].logprobs)


def test_no_block_of_old_weights_is_found(model):
    engine, other = engine_of(model), model_of(seed=9)
    request = Request(prompt_of(0, 40), 5, ("w",))
    generate(engine, [request])
    engine.update_weights(other.state_dict(), 1)
    assert not engine.pool.index and not engine.pool.spare
    (found,) = generate(engine, [request])
    assert found.logprobs == generate(engine_of(other), [request])[0].logprobs


def test_weights_are_copied(model):
    """A trainer goes on changing its model; the engine samples from what it was given."""
    mine = model_of()
    engine, request = engine_of(mine), Request(prompt_of(0, 5), 10, ("w",))
    (before,) = generate(engine, [request])
    with torch.no_grad():
        for parameter in mine.parameters():
            parameter.mul_(0.5)
    assert generate(engine, [request])[0].logprobs == before.logprobs


def test_stop_strings_and_stop_ids_of_a_request(model):
    letters = "abcdefghijklmnopqrstuvwxyz"
    engine = Engine(
        model, [], vocab_size=VOCABULARY, decode=lambda ids: "".join(letters[i % 26] * (1 + i % 3) for i in ids)
    )
    request = Request(prompt_of(3, 6), 25, ("s",), stream=True)
    (free,) = [e for e in generate(engine, [Request(**{**vars(request), "stream": False})])]
    text = engine.decode(free.token_ids)
    stop = text[11:16]
    end = next(n for n in range(1, 26) if stop in engine.decode(free.token_ids[:n]))
    assert 3 < end < 25
    found = [Request(**{**vars(request), "stop": ("#", stop), "stream": False})]
    (event,) = generate(engine, found)
    assert (event.token_ids, event.finish_reason, event.stopped_by) == (free.token_ids[:end], "stop", stop)
    at = free.token_ids[7]
    first = free.token_ids.index(at)
    (event,) = generate(engine, [Request(**{**vars(request), "stop_ids": (at,)})])
    assert (event.token_ids, event.finish_reason, event.stopped_by) == ([at], "stop", at)  # streamed: the last event
    (event,) = generate(engine, [Request(**{**vars(request), "stop_ids": (at,), "stream": False})])
    assert event.token_ids == free.token_ids[: first + 1]
    with pytest.raises(UserError, match="stop strings need an engine with a tokenizer"):
        engine_of(model).add(found[0])


def test_top_logprobs_are_the_most_likely_tokens(model):
    request = Request(prompt_of(3, 6), 5, ("t",), top_logprobs=3)
    (event,) = generate(engine_of(model), [request])
    ids = list(request.prompt)
    for token, logprob, top in zip(event.token_ids, event.logprobs, event.top_logprobs, strict=True):
        with torch.no_grad():
            every = model.logits(model(torch.tensor([ids]), torch.arange(len(ids))[None])[0, -1]).log_softmax(-1)
        values, best = every.topk(3)
        assert [i for i, _ in top] == best.tolist() and [p for _, p in top] == pytest.approx(values.tolist(), abs=1e-5)
        assert logprob == pytest.approx(float(every[token]), abs=1e-5)
        ids.append(token)
    assert generate(engine_of(model), [Request(request.prompt, 5)])[0].top_logprobs == []


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request((), 5), "the prompt and max_tokens must not be empty"),
        (Request((1, 2), 0), "the prompt and max_tokens must not be empty"),
        (
            Request((1,) * 90, 7),
            r"prompt \(90 tokens\) \+ max_tokens \(7\) exceeds the model's 96 positions; .* at most 6",
        ),
        (Request((1, 288), 5), r"ids outside 0..287; is it this model's tokenizer"),
        (Request((1,), 5, temperature=-1.0), "give temperature >= 0, 0 < top_p <= 1 and top_k >= 0"),
        (Request((1,), 5, top_p=0.0), "give temperature >= 0, 0 < top_p <= 1 and top_k >= 0"),
    ],
)
def test_requests_that_cannot_be_served(model, request_, message):
    engine = engine_of(model)
    with pytest.raises(UserError, match=message):
        engine.add(request_)
    assert not engine.busy
    (full,) = generate(engine, [Request((1,) * 90, 6)])
    assert len(full.token_ids) == 6


def test_responses_along_one_key_have_the_models_distribution(model):
    """The whole engine: the first two tokens of 3,000 samples of one prompt against the model's probabilities."""
    prompt, count = prompt_of(4, 6), 3000
    events = generate(engine_of(model, slots=500), [Request(prompt, 2, ("d", n)) for n in range(count)])
    with torch.no_grad():
        logits = model.logits(model(torch.tensor([prompt]), torch.arange(6)[None])[:, -1])[0, :VOCABULARY]
    p = logits.double().softmax(-1).numpy()
    counts = np.bincount([e.token_ids[0] for e in events], minlength=VOCABULARY)
    likely = p * count > 20
    rest = np.array([counts[~likely].sum()]), np.array([p[~likely].sum() * count])
    found, expected = np.append(counts[likely], rest[0]), np.append(p[likely] * count, rest[1])
    freedom = len(found) - 1
    assert freedom >= 3 and chi_square(found, expected) < freedom + 4 * math.sqrt(2 * freedom) + 6
    pairs = Counter(tuple(e.token_ids) for e in events)
    assert len(pairs) > len(set(e.token_ids[0] for e in events))
