"""Packing: the mix, every token once an epoch, resuming, and labels that stay inside their document, by hand."""

import json
from collections import Counter

import numpy as np
import pytest
from miniature import documents

from openmimo.data.pack import PackedBatches, TokenStore
from openmimo.errors import UserError

MIX = {"code": 0.5, "math": 0.3, "web": 0.2}
LENGTH = 32


def store_of(folder, sources: dict[str, list]) -> TokenStore:
    for name, docs in sources.items():
        TokenStore.write(folder, name, docs)
    return TokenStore(folder)


def numbered(begin: int, lengths: list[int]) -> list:
    """Documents whose tokens are begin, begin + 1, ...: every token of every source is another one."""
    found = []
    for n in lengths:
        found.append((list(range(begin, begin + n)), 0))
        begin += n
    return found


@pytest.fixture
def store(tmp_path):
    return store_of(tmp_path, {name: documents(n, 40, 500, 2, LENGTH) for n, name in enumerate(MIX)})


def same(one, two) -> bool:
    return all(np.array_equal(getattr(one, k), getattr(two, k)) for k in ("ids", "labels", "segments", "positions"))


def segments_of(batch):
    """(ids, labels, positions) of each document piece of a batch."""
    for row in range(len(batch.ids)):
        for number in range(1, batch.segments[row].max() + 1):
            at = batch.segments[row] == number
            yield batch.ids[row][at], batch.labels[row][at], batch.positions[row][at]


def test_the_store_gives_back_what_was_written(tmp_path):
    docs = [([5, 6, 7], 0), ([8], 0), ([9, 10, 11, 12], 2)]
    assert TokenStore.write(tmp_path, "sft", docs) == 8
    store = TokenStore(tmp_path)
    assert store.tokens("sft") == 8
    for number, (ids, answer) in enumerate(docs):
        found, first = store.document("sft", number)
        assert (found.tolist(), first) == (ids, answer)


def test_the_mix_is_met_to_within_a_document(store):
    """After every batch, for every source, whatever the sources' document lengths."""
    batches = PackedBatches(store, seed=0)
    for _ in range(30):
        batches.next(4, LENGTH, MIX, "s")
        drawn = batches.ledger["s"]
        for name, share in MIX.items():
            assert abs(drawn[name] - share * sum(drawn.values())) <= LENGTH


def test_a_source_of_share_zero_is_not_drawn_and_stages_are_counted_apart(store):
    batches = PackedBatches(store, seed=0)
    batches.next(4, LENGTH, {"code": 1.0, "math": 0.0}, "one")
    batches.next(4, LENGTH, {"math": 1.0}, "two")
    assert batches.ledger["one"]["math"] == 0 and batches.ledger["one"]["code"] > 0
    assert batches.ledger["two"].keys() == {"math"}


@pytest.mark.parametrize("epochs", [1, 3])
def test_every_token_is_drawn_exactly_once_an_epoch(tmp_path, epochs):
    """Also of documents longer than a row; what waits to be placed counts as drawn."""
    lengths = [1, 3, 70, 5, 32, 33, 8, 2, 19, 64, 7, 7]
    store = store_of(tmp_path, {"code": numbered(1, lengths)})
    batches, placed = PackedBatches(store, seed=3), Counter()
    while batches.cursor["code"][0] < epochs:
        before = json.loads(json.dumps(batches.state()))
        batch = batches.next(2, LENGTH, {"code": 1.0}, "s")
        placed.update(batch.ids[batch.segments > 0].tolist())
    assert before["cursor"]["code"][0] == epochs - 1
    for name, document, begin, end in batches.carry:
        placed.update(store.document(name, document)[0][begin:end].tolist())
    epoch, place, offset = batches.cursor["code"]
    again = Counter()  # what the next epoch has drawn already
    for number in batches._order("code", epoch)[: place + 1]:
        ids = store.document("code", int(number))[0].tolist()
        again.update(ids[:offset] if number == batches._order("code", epoch)[place] else ids)
    assert placed - again == Counter(dict.fromkeys(range(1, sum(lengths) + 1), epochs))
    assert placed.total() == batches.ledger["s"]["code"]


def test_epochs_and_seeds_have_their_own_orders(store):
    orders = [PackedBatches(store, seed)._order("code", epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(map(tuple, orders))) == 4 and all(sorted(order) == list(range(40)) for order in orders)


def test_the_ledger_is_what_was_placed_and_what_waits(store):
    batches, placed, room = PackedBatches(store, seed=0), 0, 0
    for number, length in enumerate([LENGTH] * 6 + [2 * LENGTH] * 3 + [LENGTH // 4] * 6):
        batch = batches.next(5, length, MIX, "one" if number < 6 else "two")
        placed, room = placed + int((batch.segments > 0).sum()), room + batch.ids.size
        waiting = sum(end - begin for *_, begin, end in batches.carry)
        assert sum(sum(stage.values()) for stage in batches.ledger.values()) == placed + waiting
    assert 0.9 < placed / room <= 1


def test_a_restored_state_gives_the_same_rows(store):
    """Across epochs and a change of stage, length and mix; the state survives JSON."""
    table = [(4, LENGTH, MIX, "one")] * 25 + [(3, 2 * LENGTH, {"math": 0.9, "web": 0.1}, "two")] * 15
    whole = PackedBatches(store, seed=0)
    expected, states = [], []
    for step in table:
        states.append(json.loads(json.dumps(whole.state())))
        expected.append(whole.next(*step))
    assert whole.cursor["math"][0] > 1
    for at in (0, 7, 24, 25, 26, 38):
        resumed = PackedBatches(store, seed=0)
        resumed.restore(json.loads(json.dumps(states[at])))
        assert all(same(resumed.next(*step), batch) for step, batch in zip(table[at:], expected[at:], strict=True))
        assert resumed.ledger == whole.ledger
    fresh = PackedBatches(store, seed=0)  # negative control: without the state, other rows
    assert not same(fresh.next(*table[7]), expected[7])


def test_labels_are_the_next_token_of_the_same_document(store):
    batches = PackedBatches(store, seed=0)
    for _ in range(10):
        batch = batches.next(4, LENGTH, MIX, "s")
        for ids, labels, positions in segments_of(batch):
            assert labels.tolist() == [*ids[1:].tolist(), -100]
            assert positions.tolist() == list(range(len(ids)))
        padding = batch.segments == 0
        assert (batch.labels[padding] == -100).all() and (batch.ids[padding] == 0).all()
        for segments in batch.segments:  # pieces lie one after the other, the padding last
            used = segments[segments > 0]
            assert (np.diff(used) >= 0).all() and (segments[len(used) :] == 0).all()


def test_chat_labels_fall_on_the_answer_alone(tmp_path):
    """Prompt 11 12 13, answer 21 22, end 2: from the prompt's last token on, by hand."""
    batches = PackedBatches(store_of(tmp_path, {"sft": [([11, 12, 13, 21, 22, 2], 3)]}), seed=0)
    batch = batches.next(1, 8, {"sft": 1.0}, "sft")
    assert batch.ids[0].tolist() == [11, 12, 13, 21, 22, 2, 0, 0]
    assert batch.labels[0].tolist() == [-100, -100, 21, 22, 2, -100, -100, -100]


def test_chat_labels_of_a_split_conversation(tmp_path):
    """The same, cut after 4: the second piece begins inside the answer; its first token has no position before it."""
    batches = PackedBatches(store_of(tmp_path, {"sft": [([11, 12, 13, 21, 22, 23, 2], 3)]}), seed=0)
    batch = batches.next(2, 4, {"sft": 1.0}, "sft")
    rows = {tuple(ids): labels.tolist() for ids, labels in zip(batch.ids.tolist(), batch.labels, strict=True)}
    assert rows[11, 12, 13, 21] == [-100, -100, 21, -100]
    assert rows[22, 23, 2, 0] == [23, 2, -100, -100]


def test_a_long_document_is_split_in_order(tmp_path):
    batches = PackedBatches(store_of(tmp_path, {"code": numbered(1, [75])}), seed=0)
    batch = batches.next(3, LENGTH, {"code": 1.0}, "s")
    assert batch.ids[0].tolist() == list(range(1, 33)) and batch.ids[1].tolist() == list(range(33, 65))
    assert batch.ids[2].tolist()[:11] == list(range(65, 76))
    assert batch.positions[1].tolist() == list(range(32))


def test_rows_are_filled_well(store):
    """Best fit over what waits leaves little padding."""
    batches = PackedBatches(store, seed=0)
    shares = [(batches.next(8, 4 * LENGTH, MIX, "s").segments > 0).mean() for _ in range(6)]
    assert min(shares) > 0.95


def test_what_is_missing_is_named(tmp_path, store):
    batches = PackedBatches(store, seed=0)
    with pytest.raises(UserError, match="'poems', which is empty; change the mix"):
        batches.next(1, LENGTH, {"code": 0.5, "poems": 0.5}, "s")
    TokenStore.write(tmp_path, "poems", [])
    with pytest.raises(UserError, match="'poems', which is empty"):
        PackedBatches(TokenStore(tmp_path), 0).next(1, LENGTH, {"poems": 1.0}, "s")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no token files there; run the data stage again"):
        TokenStore(tmp_path / "empty")
