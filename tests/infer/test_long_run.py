"""Thousands of requests with aborts, stops, pre-emptions and new weights: no wrong token, no block and no byte lost."""

import gc

import numpy as np
import psutil
import pytest
import torch
from miniature import CONFIG, VOCABULARY, model_of

from openmimo.infer.engine import Engine, Request

torch.set_num_threads(1)
STOP = [3, 7, 50]
STATES = [model_of(seed=seed).state_dict() for seed in (0, 9)]


def decode(ids: list[int]) -> str:
    return "".join(chr(97 + i % 26) for i in ids)


def requests_of(count: int) -> list[Request]:
    """Distinct requests: shared stems, limits of 1 to 60, every way of sampling and stopping."""
    rng = np.random.default_rng(1)
    stems = [tuple(rng.integers(0, VOCABULARY, 35).tolist()) for _ in range(5)]
    how = [{}, {"temperature": 0.0}, {"temperature": 0.7, "top_p": 0.9}, {"top_k": 9, "stop": ("abc", "qq", "zx")}]
    requests = []
    for n in range(count):
        prompt = stems[n % 5][: int(rng.integers(0, 36))] + tuple(rng.integers(0, VOCABULARY, 1 + n % 3).tolist())
        limit = min(int(60 * rng.random() ** 3) + 1, CONFIG.max_length - len(prompt))
        requests.append(Request(prompt, limit, ("long", n), seed=n % 2, stream=n % 6 == 0, **how[n % 4]))
    return requests


class Alone:
    """A request in an engine of one slot without a prefix cache; its weights change where the event says they did."""

    def __init__(self):
        self.engine = Engine(model_of(), STOP, 1, VOCABULARY, prefix_cache=False, decode=decode)
        self.known: dict[tuple, tuple] = {}

    def result(self, request: Request, versions: tuple[int, ...]) -> tuple:
        name = (request.key, request.stream, tuple(v % 2 for v in versions))
        if name not in self.known:
            self.engine.add(Request(**{**vars(request), "stream": True}))
            tokens, logprobs, reason = [], [], None
            for version in versions:
                if self.engine.version != version % 2:
                    self.engine.update_weights(STATES[version % 2], version % 2)
                (event,) = self.engine.step()
                tokens, logprobs, reason = tokens + event.token_ids, logprobs + event.logprobs, event.finish_reason
            assert not self.engine.busy, "the request alone goes on where the other ended"
            self.known[name] = (tokens, logprobs, reason)
        return self.known[name]


def run(count: int, distinct: int) -> dict:
    """Plays `count` requests against an engine with too little cache. Returns what happened."""
    rng, alone, requests = np.random.default_rng(0), Alone(), requests_of(distinct)
    engine = Engine(model_of(), STOP, 12, VOCABULARY, tokens=320, budget=40, decode=decode)
    live: dict[int, list] = {}  # id -> [request, tokens, logprobs, versions]
    seen = {"finished": 0, "aborted": 0, "updates": 0, "mixed": 0, "stop": 0, "length": 0, "memory": []}
    added = 0
    while added < count or engine.busy:
        while added < count and rng.random() < 0.5:
            request = requests[int(rng.integers(distinct))]
            live[engine.add(request)] = [request, [], [], []]
            added += 1
        for event in engine.step():
            entry = live[event.id]
            request, tokens, logprobs, versions = entry
            tokens += event.token_ids
            logprobs += event.logprobs
            versions += event.versions
            if event.finish_reason:
                expected = alone.result(request, tuple(versions))
                assert (tokens, logprobs, event.finish_reason) == expected, f"request {event.id}: {request}"
                seen["mixed"] += len({v % 2 for v in versions}) > 1
                seen[event.finish_reason] += 1
                seen["finished"] += 1
                del live[event.id]
        if live and rng.random() < 0.04:
            victim = list(live)[int(rng.integers(len(live)))]
            engine.abort(victim)
            del live[victim]
            seen["aborted"] += 1
        if rng.random() < 0.01:
            seen["updates"] += 1
            engine.update_weights(STATES[seen["updates"] % 2], seen["updates"])
        if engine.next_id >= (len(seen["memory"]) + 1) * (count // 20):
            alone.known.clear()  # so that memory is the engine's
            gc.collect()
            seen["memory"].append(psutil.Process().memory_info().rss)
    assert not live and not engine.scheduler.running and not engine.scheduler.waiting
    assert engine.pool.free == engine.pool.count and not any(engine.pool.holders) and not engine.pool.pending
    assert len(engine.scheduler.rows) == engine.scheduler.slots and not engine.scheduler.tables.any()
    assert len(engine.pool.index) == len(engine.pool.keys) == len(engine.pool.spare) <= engine.pool.count
    seen["preemptions"] = engine.scheduler.preemptions
    return seen


def test_a_sample_of_the_long_run():
    seen = run(150, 40)
    assert seen["finished"] + seen["aborted"] == 150
    assert min(seen[what] for what in ("aborted", "updates", "mixed", "stop", "length", "preemptions")) >= 2


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_ten_thousand_requests():
    seen = run(10_000, 2_000)
    assert seen["finished"] + seen["aborted"] == 10_000
    assert min(seen[what] for what in ("aborted", "updates", "mixed", "stop", "length", "preemptions")) >= 50
    quarter = len(seen["memory"]) // 4
    assert seen["memory"][-1] - max(seen["memory"][:quarter]) < 16e6, "memory grows"
    print(seen)


def test_the_comparison_sees_one_wrong_block():
    """Negative control: a block of the cache is given to two sequences."""
    from openmimo.infer.blocks import BlockPool

    take, stolen = BlockPool.take, []

    def greedy(pool):
        block = take(pool)
        if not stolen and pool.free < pool.count - 4:
            stolen.append(block)
            pool.blank.append(block)
        return block

    BlockPool.take = greedy
    try:
        with pytest.raises(AssertionError):
            run(60, 60)
    finally:
        BlockPool.take = take
    assert stolen
