"""The ledger: what the batches hold, counted token by token, is what the sampler's state says; at any point and after a kill."""

import json
from collections import Counter

import pytest
from miniature import documents

from openmimo.data.ledger import ledger_table
from openmimo.data.pack import PackedBatches, TokenStore
from openmimo.errors import UserError
from openmimo.recipe import Pretrain, Segment, Stage
from openmimo.train.ledger import ledger_at, print_ledger
from openmimo.train.schedule import Schedule

LENGTH = 32
PRETRAIN = Pretrain(  # stage 1 draws on everything, stage 2 on math and code, stage 3 has 10 % synthetic [R 2.1]
    lr=[Segment(shape="constant", to=1.0)],
    batch=[Segment(shape="linear", tokens=2_000, to=6), Segment(shape="constant")],
    mtp_weight=[Segment(shape="constant", to=0.3)],
    stages=[
        Stage(name="one", tokens=4_000, length=LENGTH, rope_base=1e4, mix={"math": 0.3, "code": 0.2, "web": 0.5}),
        Stage(name="two", tokens=3_000, length=LENGTH, rope_base=1e4, mix={"math": 0.4, "code": 0.3, "web": 0.3}),
        Stage(name="three", tokens=3_000, length=2 * LENGTH, rope_base=1e5, mix={"math": 0.35, "code": 0.3, "web": 0.25, "synthetic": 0.1}),
    ],
)  # fmt: skip
FIRST = {"math": 100, "code": 1_100, "web": 2_100, "synthetic": 4_100}  # each source has tokens of its own


@pytest.fixture
def store():
    sizes = {"math": 900, "code": 700, "web": 1_900, "synthetic": 150}
    found = {}
    for number, (name, size) in enumerate(sizes.items()):
        docs = documents(number, 60, 500, 2, LENGTH)
        at, kept = FIRST[name], []
        for ids, _ in docs:
            kept.append(([*range(at, min(at + len(ids), FIRST[name] + size))], 0))
            at += len(kept[-1][0])
            if at == FIRST[name] + size:
                break
        found[name] = kept
    return TokenStore.of(found)


def source_of(token: int) -> str:
    return max((first, name) for name, first in FIRST.items() if first <= token)[1]


def test_the_ledger_is_what_a_count_of_the_batches_gives(store):
    """By hand: every token of every batch looked at, after every step."""
    batches, seen, steps = PackedBatches(store, seed=3), Counter(), 0
    for point in Schedule(PRETRAIN).steps():
        batch = batches.next(point.batch, point.length, point.mix, point.stage)
        seen.update(source_of(token) for token in batch.ids[batch.segments > 0].tolist())
        steps += 1
        consumed = batches.consumed()
        assert {name: each["tokens"] for name, each in consumed.items()} == {name: seen[name] for name in FIRST}
        at = point.tokens + point.batch * point.length
        if steps % 7 == 0:
            found = ledger_at(store, 3, PRETRAIN, at)
            assert found == {"stages": batches.ledger, "sources": consumed}
            assert found != ledger_at(store, 3, PRETRAIN, at + 1)  # one step more
    assert steps > 40 and consumed["math"]["epochs"] == seen["math"] / store.tokens("math") > 3
    assert consumed["synthetic"]["epochs"] > 1


def test_the_shares_of_a_stage_are_the_recipes(store):
    ledger = ledger_at(store, 0, PRETRAIN, PRETRAIN.tokens)
    for stage in PRETRAIN.stages:
        drawn = ledger["stages"][stage.name]
        for name, share in stage.mix.items():
            assert abs(drawn[name] - share * sum(drawn.values())) <= stage.length
    assert set(ledger["stages"]) == {"one", "two", "three"}
    assert set(ledger_at(store, 0, PRETRAIN, 0)["stages"]) == set()


def test_a_restored_sampler_has_the_same_ledger(store):
    batches, points = PackedBatches(store, seed=1), list(Schedule(PRETRAIN).steps())
    for point in points[:25]:
        batches.next(point.batch, point.length, point.mix, point.stage)
    state = json.loads(json.dumps(batches.state()))
    again = PackedBatches(store, seed=1)
    again.restore(state)
    assert again.consumed() == batches.consumed() != PackedBatches(store, seed=1).consumed()


def test_the_table_shows_sources_stages_and_epochs(store):
    head, rows = ledger_table(ledger_at(store, 0, PRETRAIN, PRETRAIN.tokens))
    assert head == ["source", "tokens there", "one, drawn", "two, drawn", "three, drawn", "trained on", "epochs"]
    assert {row[0] for row in rows} == set(FIRST) and all(len(row) == len(head) for row in rows)
    synthetic = next(row for row in rows if row[0] == "synthetic")
    assert synthetic[2] == "0 (0.0%)" and float(synthetic[-1]) > 1


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(UserError, match="give a run's folder"):
        print_ledger(tmp_path, None, None)
