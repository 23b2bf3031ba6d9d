"""Rejection sampling: whatever the guesses are drawn from, the text has the main model's distribution (chi-square)."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_mtp_decoding import fitted, own_requests, plainly

from openmimo.infer.draft import MTPDrafter
from openmimo.infer.engine import Engine, Request, generate
from openmimo.infer.sampling import filtered, sample, stream_of
from openmimo.infer.speculative import Settings, guess, verify

torch.set_num_threads(1)
SMALL, SAMPLES = 12, 100_000
WAYS = [{}, {"temperature": 0.6}, {"top_p": 0.8}, {"top_k": 4}, {"temperature": 1.4, "top_p": 0.7}]


def chi_square(counts, probs) -> float:
    """The p-value of counts under probabilities: the chance of so large a chi-square or a larger one."""
    counts, probs = np.asarray(counts, dtype=float), np.asarray(probs, dtype=float)
    if counts[probs == 0].any():
        return 0.0
    expected = (probs / probs.sum() * counts.sum())[probs > 0]
    statistic = ((counts[probs > 0] - expected) ** 2 / expected).sum()
    half = torch.tensor([(len(expected) - 1) / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(*half))


def test_chi_square_by_the_book():
    """Critical values of the 5 % level with 1 and 10 degrees of freedom."""
    for cells, critical in ((2, 3.841), (11, 18.307)):
        away = np.sqrt(critical * 1000 / 2)
        counts = np.full(cells, 1000.0) + np.array([away, -away] + [0.0] * (cells - 2))
        assert chi_square(counts, np.ones(cells)) == pytest.approx(0.05, abs=1e-4)


def settings_for(count: int, temperature=1.0, top_k=0, top_p=1.0) -> Settings:
    """`count` places, each the first of a stream of its own."""
    streams = np.array([stream_of(0, ("chi", n)) for n in range(count)], dtype=np.uint64)
    columns = (
        torch.full((count,), float(temperature)),
        torch.full((count,), top_k),
        torch.full((count,), float(top_p)),
    )
    return Settings(*columns, streams, np.zeros(count, dtype=np.int64), SMALL)


def distribution(logits, how: Settings) -> np.ndarray:
    probs = filtered(logits[:1], how.temperature[:1], how.top_k[:1], how.top_p[:1])[0]
    return (probs / probs.sum()).double().numpy()


@pytest.fixture(scope="module")
def logits():
    """Of the main model and of the draft, not alike, for every sample."""
    generator = torch.Generator().manual_seed(3)
    p = torch.randn(1, SMALL, generator=generator) * 1.5
    q = p + torch.randn(1, SMALL, generator=generator)
    return p.expand(SAMPLES, SMALL), q.expand(SAMPLES, SMALL)


@pytest.mark.parametrize("argmax", [False, True])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_distribution_of_1e5_samples_is_the_main_models(logits, way, argmax):
    p, q = logits
    how = settings_for(SAMPLES, **way)
    drafts, probs = guess(q, how, "rejection", argmax)
    tokens = verify(p, how, torch.zeros(SAMPLES, dtype=torch.long), drafts, probs)
    counts, expected = np.bincount(tokens, minlength=SMALL), distribution(p, how)
    assert chi_square(counts, expected) > 1e-3
    kept = float((tokens == drafts).float().mean())
    theory = np.minimum(expected, probs[0].double().numpy()).sum()
    assert kept == pytest.approx(theory, abs=0.01) and 0.1 < kept < 0.95
    # Negative controls: the guesses themselves; wrong probabilities of the guesses; noise that is not the decision's own.
    assert chi_square(np.bincount(drafts, minlength=SMALL), expected) < 1e-6
    if not argmax:
        wrong = verify(p, how, tokens, drafts, torch.full_like(probs, 1 / SMALL))
        assert chi_square(np.bincount(wrong, minlength=SMALL), expected) < 1e-6
        same = sample(q, how.noise(), how.temperature, how.top_k, how.top_p)
        wrong = verify(p, how, tokens, same, probs)
        assert chi_square(np.bincount(wrong, minlength=SMALL), expected) < 1e-6


def test_greedy_and_places_without_a_guess_are_the_samplers(logits):
    p, q = (each[:50] for each in logits)
    tokens = torch.arange(50) % SMALL
    for how, drafts in ((settings_for(50, 0.0), tokens), (settings_for(50), torch.full((50,), -1))):
        assert torch.equal(verify(p, how, tokens, drafts, torch.ones_like(q)), tokens)


def pairs(model, prompt, how: dict) -> np.ndarray:
    """Probability of every (second, third) token after the prompt and a first token, all told from forward passes."""
    found = np.zeros((SMALL, SMALL))
    settings = settings_for(1, **how)

    def after(ids):
        with torch.no_grad():
            row = torch.tensor([ids])
            return distribution(model.logits(model(row, torch.arange(len(ids))[None]))[0, -1:, :SMALL], settings)

    for first, p in enumerate(after(prompt)):
        for second, q in enumerate(after([*prompt, first])) if p else ():
            found[second] += p * q * after([*prompt, first, second]) if q else 0
    return found


def engine_pairs(model, prompt, how: dict, argmax: bool, count: int, break_it=lambda engine: None):
    """Counts of (second, third) tokens that the engine gives, verified by rejection; and the drafter."""
    counts, drafter = np.zeros((SMALL, SMALL)), MTPDrafter(2, "rejection", argmax)
    engine = Engine(model, [], 256, SMALL, drafter=drafter)
    break_it(engine)
    requests = [Request(tuple(prompt), 3, ("pair", n), **how) for n in range(count)]
    for event in generate(engine, requests):
        counts[event.token_ids[1], event.token_ids[2]] += 1
    return counts, drafter


def fits(counts, expected) -> float:
    """Chi-square of the cells that five or more are expected in, the others taken together."""
    expected, counts = expected.ravel(), counts.ravel()
    big = expected * counts.sum() >= 5
    cells = [np.append(each[big], each[~big].sum()) for each in (counts, expected)]
    return chi_square(*(each[: None if cells[1][-1] > 0 else -1] for each in cells))


def check_engine(count: int, how: dict, argmax: bool) -> None:
    model, prompt = fitted("parallel", 3), [5, 7, 1]
    expected = pairs(model, prompt, how)
    counts, drafter = engine_pairs(model, prompt, how, argmax, count)
    assert fits(counts, expected) > 1e-3
    assert 0 < drafter.accepted[1] < drafter.accepted[0] < drafter.drafted[0]

    def believe(engine):
        engine.drafter.verify = lambda logits, settings, tokens, sequences: torch.tensor(
            [t for s, at in zip(sequences, itertools.accumulate([0, *(1 + len(s.draft) for s in sequences)]), strict=False)
             for t in (*s.draft, int(tokens[at + len(s.draft)]))]
        )  # fmt: skip

    wrong, _ = engine_pairs(model, prompt, how, argmax, count, believe)
    assert fits(wrong, expected) < 1e-6  # negative control


def test_the_engines_texts_have_the_main_models_distribution():
    check_engine(3_000, {}, False)


@pytest.mark.proof
@pytest.mark.parametrize("argmax", [False, True])
@pytest.mark.parametrize("how", [{}, {"top_p": 0.8}, {"temperature": 0.7}], ids=str)
def test_1e5_texts_have_the_main_models_distribution(how, argmax):
    check_engine(SAMPLES, how, argmax)


def test_rejection_at_temperature_0_is_plain_decoding():
    model, requests = fitted("parallel", 3), own_requests()
    for argmax in (False, True):
        engine = Engine(model, [], 24, None, drafter=MTPDrafter(3, "rejection", argmax))
        assert [e.token_ids for e in generate(engine, requests)] == [
            e.token_ids for e in generate(Engine(model, [], 24, None), requests)
        ]
        assert engine.drafter.accepted[0] > 0


def test_rejection_repeats_itself_and_its_logprobs_are_the_main_models():
    """The same seed and keys, alone and in a crowd: one text. Log-probabilities are unfiltered, at temperature 1."""
    model, requests = fitted("parallel", 3), [replace(r, top_p=0.9) for r in own_requests(0.8)]
    many = generate(Engine(model, [], 24, drafter=MTPDrafter(3, "rejection")), requests)
    single = Engine(model, [], 1, drafter=MTPDrafter(3, "rejection"))
    assert many == [replace(generate(single, [r])[0], id=n + 1) for n, r in enumerate(requests)]
    assert [e.token_ids for e in many] != [e.token_ids for e in plainly(model, requests)]  # another text than coupled
    for request, event in zip(requests[:4], many, strict=False):
        ids = torch.tensor([[*request.prompt, *event.token_ids]])
        logprobs = model.logits(model(ids, torch.arange(ids.shape[1])[None])).log_softmax(-1)[0, :-1]
        expected = logprobs.gather(1, ids[0, 1:, None])[len(request.prompt) - 1 :, 0]
        assert event.logprobs == pytest.approx(expected.tolist(), abs=1e-4)
