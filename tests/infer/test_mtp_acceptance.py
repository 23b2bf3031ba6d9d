"""Acceptance of MTP drafts by position: counted by the engine, foretold by a forward pass over the finished text."""

import numpy as np
import pytest
import torch
from miniature import VOCABULARY
from test_mtp_decoding import drafting, fitted, own_requests

from openmimo.infer.engine import generate
from openmimo.infer.sampling import exponentials, sample, stream_of
from openmimo.model.mtp import accepted_prefixes, shift_labels

torch.set_num_threads(1)


def walk(model, request, event, k) -> list[list[int]]:
    """[drafted, accepted] by position, from one forward pass over the finished text: at each place where the engine
    verifies, the guesses are those of the MTP layers under the same noise, and it goes on behind the first wrong one."""
    ids = torch.tensor([[*request.prompt, *event.token_ids]])
    positions, segments = torch.arange(ids.shape[1])[None], torch.ones_like(ids)
    logits = model.mtp_logits(model(ids, positions), ids, positions, None)[:k]
    first, streams = len(request.prompt), np.full(ids.shape[1], stream_of(request.seed, request.key), dtype=np.uint64)
    settings = [torch.tensor([v]).expand(ids.shape[1]) for v in (float(request.temperature), 0, float(request.top_p))]
    guesses = []
    for depth, each in enumerate(logits):
        places = np.maximum(0, np.arange(ids.shape[1]) + depth + 2 - first)
        noise = exponentials(streams, places, VOCABULARY) if request.temperature else None
        guesses.append(sample(each[0, :, :VOCABULARY], noise, *settings)[None])
    labels = [shift_labels(ids, segments, depth + 2) for depth in range(k)]
    hits = torch.stack([each[0] for each in accepted_prefixes(guesses, labels)], dim=1)
    drafted, accepted, at, last = [0] * k, [0] * k, first - 1, ids.shape[1] - 1
    while at + 1 < last:  # the token at + 1 is known; there is a place to verify
        right = int(hits[at].sum())
        drafted = [n + 1 for n in drafted]
        accepted = [n + (depth < right) for depth, n in enumerate(accepted)]
        at += right + 1
    return [drafted, accepted]


@pytest.mark.parametrize(("mode", "layers", "k"), [("parallel", 3, 3), ("chained", 2, 2)])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_acceptance_is_what_a_forward_pass_foretells(mode, layers, k, temperature):
    """To the last guess, by position: caches, positions, masks, shifts and noise at once. The last step of a text may
    verify guesses beyond its end, which the pass cannot know: those texts are long, and at most one step each."""
    model, requests = fitted(mode, layers), own_requests(temperature)
    engine, foretold = drafting(model, k), np.zeros((2, k), dtype=int)
    events = generate(engine, requests)
    for request, event in zip(requests, events, strict=True):
        foretold += np.array(walk(model, request, event, k))
    counts = np.array(list(engine.drafter.counts.values()))
    assert 30 < foretold[1, 0] < foretold[0, 0] - 30
    assert counts[0, 0] == foretold[0, 0]
    assert (0 <= counts[1] - foretold[1]).all() and (counts[1] - foretold[1]).max() <= 1 + len(requests) // 3


def test_acceptance_is_the_teacher_forced_estimate():
    """Over all places of the texts, visited or not: within the interval of either count."""
    model, requests = fitted("parallel", 3), own_requests(1.0, count=40)
    engine = drafting(model, 3, slots=40)
    events, hits, places = generate(engine, requests), np.zeros(3), 0
    for request, event in zip(requests, events, strict=True):
        ids = torch.tensor([[*request.prompt, *event.token_ids]])
        positions, first = torch.arange(ids.shape[1])[None], len(request.prompt)
        logits = [
            e[0, first - 1 : -4, :VOCABULARY] for e in model.mtp_logits(model(ids, positions), ids, positions, None)
        ]
        streams = np.full(len(logits[0]), stream_of(0, request.key), dtype=np.uint64)
        ones, right = torch.ones(len(logits[0])), True
        for depth, each in enumerate(logits):
            noise = exponentials(streams, np.arange(len(each)) + depth + 1, VOCABULARY)
            guesses = sample(each, noise, ones, ones.long() * 0, ones)
            right = right & (guesses == ids[0, first + depth + 1 :][: len(each)])
            hits[depth] += int(right.sum())
        places += len(logits[0])
    drafted, accepted = (np.array(n) for n in engine.drafter.counts.values())
    estimate, share = hits / places, accepted / drafted
    margin = 2.6 * np.sqrt(estimate * (1 - estimate) * (1 / drafted + 1 / places))
    assert (np.abs(estimate - share) <= margin).all(), (estimate, share, margin)
    assert estimate[0] - estimate[2] > margin.max()  # negative control: another position's is not within it
