"""A step of the likelihood loop: one loss whatever the accumulation, by hand, and where its gradients go."""

import math

import pytest
import torch
from miniature import model_of, token_store

from openmimo.data.pack import PackedBatches
from openmimo.model.config import ModelConfig
from openmimo.recipe import Optim
from openmimo.train.loop import backward, counts_of, train_step
from openmimo.train.optim import Optimisers
from openmimo.train.schedule import Point

torch.set_num_threads(1)
VOCABULARY, ROWS, LENGTH = 64, 8, 48
CONFIG = ModelConfig(
    vocab_size=VOCABULARY,
    hidden_size=24,
    layers=2,
    heads=2,
    kv_heads=1,
    head_dim=12,
    ffn_size=32,
    max_length=64,
    rope_base=500.0,
    mtp_layers=1,
)
MIX = {"code": 0.5, "math": 0.5}
POINT = Point(tokens=0, stage="s", lr=1e-3, batch=ROWS, length=LENGTH, rope_base=50.0, mtp_weight=0.3, mix=MIX)


class Recorder:
    """Stands in for the optimisers: keeps the gradients and moves nothing."""

    def __init__(self, model):
        self.model = model

    def step(self, lr):
        self.gradients = gradients_of(self.model)
        self.model.zero_grad()
        return 0.0


def gradients_of(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.fixture
def batch(tmp_path):
    """8 rows of 48: several documents a row, padding of different widths at the rows' ends."""
    batch = PackedBatches(token_store(tmp_path, VOCABULARY), seed=0).next(ROWS, LENGTH, MIX, "s")
    used = (batch.segments > 0).sum(axis=1)
    assert len(set(used.tolist())) > 1 and batch.segments.max() > 1
    return batch


def pieces_of(batch):
    """The token ids of each document of a batch."""
    for ids, segments in zip(batch.ids, batch.segments, strict=True):
        for number in range(1, segments.max() + 1):
            yield torch.from_numpy(ids[segments == number])


def test_accumulation_changes_neither_loss_nor_gradients(batch):
    found = []
    for micro_batch in (ROWS, 4, 3, 1):
        model = model_of(CONFIG)
        recorder = Recorder(model)
        found.append((train_step(model, batch, POINT, recorder, micro_batch), recorder.gradients))
    row, gradients = found[0]
    assert row["mtp_loss"] > 0 and len(gradients) == len(list(model_of(CONFIG).parameters()))
    for other, others in found[1:]:
        assert other == pytest.approx(row, abs=1e-6, rel=1e-6)
        for name, gradient in gradients.items():
            torch.testing.assert_close(others[name], gradient, atol=1e-6, rtol=1e-5, msg=name)


def test_the_mean_of_means_would_be_another_loss(batch):
    """Negative control: each micro-batch divided by its own count, as other trainers do."""
    model = model_of(CONFIG)
    counts = counts_of(batch, 1)
    right = sum(backward(model, batch, slice(r, r + 1), counts, 0.3).main for r in range(ROWS))
    wrong = 0.0
    for row in range(ROWS):
        valid = int((batch.labels[row] != -100).sum())
        wrong += backward(model, batch, slice(row, row + 1), [valid, counts[1]], 0.3).main / ROWS
    assert abs(wrong - right) > 1e-3


@pytest.mark.parametrize("mode", ["parallel", "chained"])
def test_the_losses_are_sums_over_lone_documents_divided_once(batch, mode):
    """Main and MTP losses by depth from each document run alone: packing, masks, shifts, counts, the point's RoPE base,
    and acceptance that stops at the first wrong draft."""
    config = CONFIG.model_copy(update={"mtp_layers": 3, "mtp_mode": mode})
    model = model_of(config)
    model.rope_base = POINT.rope_base
    sums, counts, hits = [0.0] * 4, [0] * 4, [0] * 3
    for ids in pieces_of(batch):
        positions = torch.arange(len(ids))[None]
        causal = torch.full((len(ids), len(ids)), -math.inf).triu(1)[None, None]
        with torch.no_grad():
            hidden = model(ids[None], positions)
            heads = [model.logits(hidden), *model.mtp_logits(hidden, ids[None], positions, causal)]
        heads = [each[0].log_softmax(-1) for each in heads]
        for t in range(len(ids)):
            right = True
            for depth, head in enumerate(heads):
                if t + depth + 1 >= len(ids):
                    break
                label = ids[t + depth + 1]
                sums[depth] -= head[t, label].item()
                counts[depth] += 1
                if depth:
                    right = right and bool(head[t].argmax() == label)
                    hits[depth - 1] += right
    row = train_step(model_of(config), batch, POINT, Recorder(model), 3)
    assert counts_of(batch, 3) == counts and counts[0] > counts[1] > counts[2] > counts[3] > 100
    for depth, name in enumerate(("loss", "mtp_loss", "mtp_loss_2", "mtp_loss_3")):
        assert row[name] == pytest.approx(sums[depth] / counts[depth], rel=1e-5)
    for depth, name in enumerate(("mtp_accept", "mtp_accept_2", "mtp_accept_3")):
        assert row[name] == pytest.approx(hits[depth] / counts[depth + 1], abs=1e-6)


def test_the_mtp_loss_divided_by_the_main_count_would_be_another(batch):
    """Negative control: the main head has more labels, so its count would weigh the MTP loss too little."""
    counts = counts_of(batch, 1)
    losses = [backward(model_of(CONFIG), batch, slice(0, ROWS), [counts[0], n], 0.3).mtp[0] for n in counts]
    assert losses[1] - losses[0] > 1e-2


def test_the_depths_share_the_mtp_weight(batch):
    """Gradients of the whole are main's plus weight / depths times the sum of each depth's."""
    config = CONFIG.model_copy(update={"mtp_layers": 2})
    counts = counts_of(batch, 2)

    def gradients(counts, weight):
        model = model_of(config)
        backward(model, batch, slice(0, ROWS), counts, weight)
        return gradients_of(model)

    whole, main = gradients(counts, 0.3), gradients(counts[:1], 0.0)
    one, two = (gradients([math.inf, *(n if d == depth else math.inf for d, n in enumerate(counts[1:]))], 1.0)
                for depth in range(2))  # fmt: skip
    for name, gradient in whole.items():
        parts = main.get(name, torch.zeros(())) + 0.3 / 2 * (one[name] + two[name]) / 0.5
        torch.testing.assert_close(gradient, parts, atol=1e-6, rtol=1e-4, msg=name)


def test_without_the_document_mask_the_loss_differs(batch):
    """Negative control of the test above: the documents of a row see each other."""
    model = model_of(CONFIG)
    right = train_step(model, batch, POINT, Recorder(model), ROWS)
    batch.segments[:] = 1
    wrong = train_step(model, batch, POINT, Recorder(model), ROWS)
    assert abs(wrong["loss"] - right["loss"]) > 1e-3


@pytest.mark.parametrize("tap", ["pre_norm", "post_norm"])
def test_where_the_mtp_loss_alone_sends_its_gradient(batch, tap):
    """To its own block, the shared embedding and head, and through the hidden states to the main blocks; to the main
    final norm only where the hidden states are taken behind it."""
    model = model_of(CONFIG.model_copy(update={"mtp_hidden": tap}))
    backward(model, batch, slice(0, ROWS), [math.inf, counts_of(batch, 1)[1]], 0.3)
    moved = {name for name, gradient in gradients_of(model).items() if gradient.abs().max() > 0}
    expected = {name for name, _ in model.named_parameters()} - ({"model.norm.weight"} if tap == "pre_norm" else set())
    assert moved == expected


def test_without_mtp_weight_the_mtp_block_gets_none(batch):
    model = model_of(CONFIG)
    recorder = Recorder(model)
    row = train_step(model, batch, Point(**{**POINT.__dict__, "mtp_weight": 0.0}), recorder, ROWS)
    assert "mtp_loss" not in row
    assert {n for n in recorder.gradients if ".mtp_layers." in n} == set()
    assert {n for n, _ in model.named_parameters() if ".mtp_layers." not in n} == set(recorder.gradients)


def test_a_batch_without_a_label_moves_nothing(batch):
    model = model_of(CONFIG)
    before = [p.clone() for p in model.parameters()]
    batch.labels[:] = -100
    assert train_step(model, batch, POINT, Optimisers(model, Optim()), 4) == {"loss": None, "grad_norm": 0.0}
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_frozen_parameters_do_not_move(batch):
    for name in ("adamw", "muon"):
        model = model_of(CONFIG)
        for parameter_name, parameter in model.named_parameters():
            parameter.requires_grad_(".mtp_layers." in parameter_name)
        before = {n: p.clone() for n, p in model.named_parameters()}
        train_step(model, batch, POINT, Optimisers(model, Optim(name=name)), 4)
        moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
        assert moved == {n for n in before if ".mtp_layers." in n}


def test_muon_moves_the_matrices_of_the_blocks_alone(batch):
    """Embedding, head, norms and biases stay with AdamW at lr x adam_ratio."""
    model = model_of(CONFIG)
    optim = Optimisers(model, Optim(name="muon", adam_ratio=0.5))
    train_step(model, batch, POINT, optim, ROWS)
    (adam, _), (muon, _) = optim.parts
    names = {id(p): n for n, p in model.named_parameters()}
    by_muon = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    assert by_muon == {n for n, p in model.named_parameters() if p.ndim == 2 and "layers." in n}
    assert {group["lr"] for group in muon.param_groups} == {1e-3}
    assert {group["lr"] for group in adam.param_groups} == {5e-4}
    assert by_muon | {names[id(p)] for g in adam.param_groups for p in g["params"]} == set(names.values())
