"""Blocks, the prefix cache over them, and the scheduler's order; then the same things seen through the engine."""

import pytest
import torch
from miniature import VOCABULARY, model_of
from test_engine import prompt_of, shapes_of

from openmimo.errors import UserError
from openmimo.infer.blocks import BlockPool
from openmimo.infer.engine import Engine, Request, generate
from openmimo.infer.schedule import Scheduler
from openmimo.infer.sequence import Sequence

torch.set_num_threads(1)


def sequence_of(*tokens: int) -> Sequence:
    return Sequence(1, Request(tuple(tokens), 5), 0, list(tokens))


def entered(pool: BlockPool, *tokens: int) -> Sequence:
    """A sequence that holds its blocks, all computed and in the index."""
    s = sequence_of(*tokens)
    pool.match(s)
    assert pool.reserve(s, len(tokens))
    pool.enter(s, len(tokens), pool.index)
    return s


def test_blocks_are_shared_by_content_and_only_from_the_start():
    pool = BlockPool(10, 4)
    a = entered(pool, *range(10))
    assert len(a.blocks) == 3 and pool.free == 7
    b = sequence_of(0, 1, 2, 3, 4, 5, 6, 7, 99, 98)
    pool.match(b)
    assert b.blocks == a.blocks[:2] and b.computed == 8
    other = sequence_of(9, 9, 9, 9, 4, 5, 6, 7, 8)  # the same second block after another first one
    pool.match(other)
    assert other.blocks == []
    whole = sequence_of(*range(8))  # its last token is computed, for its logits
    pool.match(whole)
    assert whole.blocks == a.blocks[:1]
    assert [pool.holders[i] for i in a.blocks] == [3, 2, 1]


def test_what_nobody_holds_is_found_until_its_room_is_needed():
    pool = BlockPool(4, 2)
    a = entered(pool, 1, 2, 3, 4, 5, 6)
    mine = list(a.blocks)
    pool.release(a.blocks)
    assert pool.free == 4
    b = sequence_of(1, 2, 3, 4, 5, 6, 7)
    pool.match(b)
    assert b.blocks == mine and pool.free == 1
    pool.release(b.blocks)
    c = sequence_of(8, 8, 8)
    assert pool.reserve(c, 3)  # one blank block, and the last of the old ones
    again = sequence_of(1, 2, 3, 4, 5, 6, 7)
    pool.match(again)
    assert again.blocks == mine[:2] and mine[2] in c.blocks
    assert not pool.reserve(sequence_of(1), 2) and pool.free == 0


def test_a_dropped_block_is_never_found_and_its_children_neither():
    pool = BlockPool(6, 2)
    a = entered(pool, 1, 2, 3, 4)
    pool.drop(a.blocks[:1])
    b = entered(pool, 1, 2, 3, 4)
    assert not set(b.blocks) & set(a.blocks)
    c = sequence_of(1, 2, 3, 4, 5)
    pool.match(c)
    assert c.blocks == b.blocks
    pool.release(a.blocks), pool.release(b.blocks), pool.release(c.blocks)
    assert pool.free == 6
    with pytest.raises(AssertionError, match="released twice"):
        pool.release(b.blocks)


def test_long_prompts_go_in_chunks_beside_running_responses_and_the_youngest_is_preempted():
    pool = BlockPool(5, 4)
    scheduler = Scheduler(pool, slots=3, budget=8, max_length=24, prefix_cache=True)
    a, b = (Sequence(i, Request(tuple(p), 9), 0, list(p)) for i, p in enumerate((range(3), range(50, 62))))
    scheduler.waiting += [a, b]
    assert [(c.sequence, c.start, c.count, c.samples) for c in scheduler.plan()] == [(a, 0, 3, 1), (b, 0, 5, 0)]
    pool.settle()
    a.computed, b.computed = 3, 5
    a.tokens.append(7)
    chunks = scheduler.plan()
    assert [(c.sequence, c.start, c.count, c.samples) for c in chunks] == [(a, 3, 1, 1), (b, 5, 7, 1)]
    a.computed, b.computed, b.tokens = 4, 12, [*b.tokens, 1]
    a.tokens += [0] * 9  # as if it had grown: its next 8 need 3 blocks of the 5, and b holds 3
    chunks = scheduler.plan()
    assert [(c.sequence, c.count) for c in chunks] == [(a, 8)]
    assert scheduler.preemptions == 1 and list(scheduler.waiting) == [b] and b.blocks == [] and b.computed == 0
    again = sequence_of(*range(50, 62))
    pool.match(again)
    assert again.blocks == []  # the computed blocks of a pre-empted request leave the prefix cache


def test_a_later_request_finds_what_an_earlier_one_left():
    """Across requests in time: a second turn computes only what is new."""
    model = model_of()
    engine = Engine(model, [], vocab_size=VOCABULARY)
    first = Request(prompt_of(0, 20), 30, ("a",))
    (answer,) = generate(engine, [first])
    turn = Request((*first.prompt, *answer.token_ids, 5, 6, 7), 4, ("b",))
    shapes = shapes_of(engine)
    (found,) = generate(engine, [turn])
    assert shapes == [8, 8, 8, 8]  # 53 tokens, 48 of them in full blocks of the first turn
    fresh = Engine(model, [], vocab_size=VOCABULARY, prefix_cache=False)
    shapes = shapes_of(fresh)
    assert generate(fresh, [turn])[0] == found.__class__(1, *list(vars(found).values())[1:])
    assert shapes[0] == 56


def test_an_interrupted_step_leaves_nothing_half_computed():
    """The forward pass dies once the step's blocks were announced; others that share the prompt come out right."""
    model = model_of()
    requests = [Request(prompt_of(0, 40), 6, ("x", n)) for n in range(3)]
    expected = [e.logprobs for e in generate(Engine(model, [], vocab_size=VOCABULARY), requests)]
    engine = Engine(model, [], vocab_size=VOCABULARY)
    leader = engine.add(Request(prompt_of(0, 40), 6, ("gone",)))
    forward = engine.model.forward
    engine.model.forward = lambda *args, **more: 1 / 0
    with pytest.raises(ZeroDivisionError):
        engine.step()
    engine.model.forward = forward
    engine.abort(leader)
    assert [e.logprobs for e in generate(engine, requests)] == expected
    assert engine.pool.free == engine.pool.count


def test_a_request_that_the_cache_can_never_hold_is_refused():
    engine = Engine(model_of(), [], vocab_size=VOCABULARY, tokens=32)
    with pytest.raises(UserError, match="33 positions do not fit the engine's cache of 32"):
        engine.add(Request((1, 2, 3, 4), 30))
    (event,) = generate(engine, [Request((1, 2, 3, 4), 29)])
    assert len(event.token_ids) == 29
