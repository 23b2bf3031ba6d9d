"""Streamed validation: every sample judged once, in the order of samples; a judge with nothing to do takes parts."""

import threading
from collections import Counter

import pytest
import torch
from miniature import VOCABULARY, model_of

from openmimo.eval.stream import stream
from openmimo.infer.engine import Engine, Request, generate

torch.set_num_threads(1)
ASKED = [[Request((3, 4 + n), 40, ("eval", n, i)) for i in range(4)] for n in range(5)]


def engine():
    return Engine(model_of(std=0.6), [7, 8, 9, 10], 6, VOCABULARY)


def test_each_sample_is_judged_once_and_comes_in_its_place():
    pieces = []

    def judge(number, events):
        pieces.append((number, len(events)))
        return [(number, e.token_ids) for e in events]

    found = dict(stream(engine(), 6, ASKED, judge))
    alone = generate(engine(), [request for of_problem in ASKED for request in of_problem])
    assert len({len(e.token_ids) for e in alone}) > 3  # lengths differ, so problems are complete in pieces
    for n in range(5):
        want = [(n, e.token_ids) for e in alone[4 * n : 4 * n + 4]]
        assert [one for _, one in found[n]] == want == [(n, e.token_ids) for e, _ in found[n]]
    assert sum(size for _, size in pieces) == 20
    assert max(Counter(number for number, _ in pieces).values()) > 1  # an idle judge did not wait for the whole problem


def test_a_busy_judge_gets_whole_problems():
    """The first piece is held until the engine has nothing left: all other problems wait whole."""
    left, pieces, running = threading.Event(), [], engine()

    def judge(number, events):
        pieces.append((number, len(events)))
        assert left.wait(60)
        return events

    step = running.step

    def steps():
        found = step()
        if not running.busy:
            left.set()
        return found

    running.step = steps
    assert len(dict(stream(running, 6, ASKED, judge))) == 5
    first, *others = pieces
    assert first[1] < 4 and sorted(size for number, size in others if number != first[0]) == [4] * 4


def test_what_the_judge_raises_is_raised_and_the_engine_is_free():
    running = engine()

    def judge(number, events):
        raise OSError("no judge")

    with pytest.raises(OSError, match="no judge"):
        list(stream(running, 6, ASKED, judge))
    assert not running.busy
