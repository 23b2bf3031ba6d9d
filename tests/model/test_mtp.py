"""MTP blocks against a plain reference: every option of the config and every convention, each with a control that fails."""

import pytest
import torch
from reference import reference_mtp
from tiny_model import TINY, packed, tiny_ids, tiny_model

from openmimo.model.config import ModelConfig
from openmimo.model.hub import load_checkpoint, save_checkpoint
from openmimo.model.mtp import accepted_prefixes, shift_labels
from openmimo.model.transformer import cross_entropy, segment_mask

OPTIONS = {  # option -> the other value than the default
    "mtp_order": "embedding_hidden",
    "mtp_hidden": "post_norm",
    "mtp_first": "kept",
    "mtp_mode": "chained",
}
DEFAULTS = {key: getattr(TINY, key) for key in OPTIONS}
BROKEN = [{"swap_norms": True}, {"final": False}, {"ids": "not shifted"}, {"positions": "stretched"}]


@torch.no_grad()
def logits_of(depths=3, **options):
    """Our logits of a row of 11, and what the reference needs."""
    model, ids = tiny_model(mtp_layers=depths, **options), tiny_ids(1, 11)
    positions = torch.arange(11)
    hidden = model(ids, positions[None])
    ours = model.mtp_logits(hidden, ids, positions[None], None)
    return [each[0] for each in ours], (model.state_dict(), hidden[0], ids[0], positions)


def gaps(ours, theirs) -> list[float]:
    """Largest difference at each depth."""
    return [float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True)]


def test_the_defaults_are_the_reports_and_the_authors():
    assert DEFAULTS == {
        "mtp_order": "hidden_embedding",
        "mtp_hidden": "pre_norm",
        "mtp_first": "masked",
        "mtp_mode": "parallel",
    }


@pytest.mark.parametrize("option", [None, *OPTIONS])
def test_the_mtp_blocks_equal_a_plain_reference(option):
    chosen = {option: OPTIONS[option]} if option else {}
    ours, given = logits_of(**chosen)
    assert ours[0].shape == (11, TINY.vocab_size)
    assert max(gaps(ours, reference_mtp(*given, depths=3, **chosen))) < 1e-4
    for other in OPTIONS:  # negative controls: each option at its other value
        values = DEFAULTS | chosen
        values[other] = OPTIONS[other] if values[other] == DEFAULTS[other] else DEFAULTS[other]
        found = gaps(ours, reference_mtp(*given, depths=3, **values))
        first = other == "mtp_mode"  # the first block reads the main model in both modes
        assert min(found[first:]) > 1e-2 and (found[0] < 1e-4) == first, other


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_convention_is_seen(broken):
    ours, (weights, hidden, ids, positions) = logits_of(depths=1)
    if broken.get("ids"):
        ids, broken = ids.roll(1), {}
    if broken.get("positions"):
        positions, broken = positions * 2, {}
    assert gaps(ours, reference_mtp(weights, hidden, ids, positions, **broken))[0] > 1e-2


def test_the_mask_touches_position_0_alone():
    """The embedding at position 0 is zeroed, so that slot 0 does not know the token it was given; the others do."""
    model, ids = tiny_model(), tiny_ids(1, 6)
    hidden, positions = model(ids, torch.arange(6)[None]), torch.arange(6)[None]

    def first(model, ids, slot):
        return model.mtp_logits(hidden, ids, positions, None)[0][0, slot]

    for slot in range(5):
        other = ids.clone()
        other[0, slot + 1] = (other[0, slot + 1] + 1) % TINY.vocab_size
        assert torch.equal(first(model, ids, slot), first(model, other, slot)) == (slot == 0)
    kept = tiny_model(mtp_first="kept")  # negative control
    assert not torch.equal(first(kept, ids, 0), first(kept, ids.roll(1), 0))


@pytest.mark.parametrize("mode", ["parallel", "chained"])
@torch.no_grad()
def test_packed_documents_have_the_mtp_logits_they_have_alone(mode):
    model, lengths = tiny_model(mtp_layers=2, mtp_mode=mode), (7, 12)
    documents = [tiny_ids(1, length, seed=length) for length in lengths]
    segments, positions = packed(lengths)

    def mtp(ids, positions, mask, mtp_mask):
        return model.mtp_logits(model(ids, positions, mask), ids, positions, mtp_mask)

    row, mask = torch.cat(documents, dim=1), segment_mask(segments)
    causal = segment_mask(torch.ones_like(segments))
    alone = [mtp(d, torch.arange(d.shape[1])[None], None, None) for d in documents]
    for depth in range(2):  # a document's last depth + 1 slots have no later token, hence no label
        keep = [t for t in range(19) if t not in (*range(6 - depth, 7), *range(18 - depth, 19))]
        expected = torch.cat([each[depth] for each in alone], dim=1)[:, keep]
        assert (mtp(row, positions, mask, mask)[depth][:, keep] - expected).abs().max() < 1e-4
        assert (mtp(row, positions, mask, causal)[depth][:, keep] - expected).abs().max() > 1e-2  # negative control


@pytest.mark.parametrize("options", [OPTIONS, {}])
def test_the_options_live_in_config_json(tmp_path, options):
    model = tiny_model(mtp_layers=2, **options)
    read = load_checkpoint(save_checkpoint(tmp_path / "model", model))
    assert read.config == model.config
    hf = model.config.to_hf("mimo")
    assert {key: hf[key] for key in OPTIONS} == DEFAULTS | options
    assert not set(OPTIONS) & set(model.config.to_hf("qwen2"))
    bare = {key: value for key, value in hf.items() if key not in OPTIONS}  # as the released folder
    assert ModelConfig.from_hf(bare) == model.config.model_copy(update=DEFAULTS)


def test_shift_labels_by_hand():
    labels = torch.tensor([[10, 11, 12, -100, 21, 22, -100, -100], [30, 31, 32, 33, 34, 35, 36, -100]])
    segments = torch.tensor([[1, 1, 1, 1, 2, 2, 2, 0], [1, 1, 1, 1, 1, 1, 1, 1]])
    no = -100
    assert shift_labels(labels, segments, 1).tolist() == [
        [11, 12, no, no, 22, no, no, no],
        [31, 32, 33, 34, 35, 36, no, no],
    ]
    assert shift_labels(labels, segments, 2).tolist() == [
        [12, no, no, no, no, no, no, no],
        [32, 33, 34, 35, 36, no, no, no],
    ]
    assert shift_labels(labels, segments, 8).tolist() == [[no] * 8] * 2
    # The last label of the first document is its own; without the segments the next document's would leak in.
    leaky = torch.tensor([[10, 11, 12, 13, 21, 22, 23, no]])
    assert shift_labels(leaky, segments[:1], 1)[0, 3] == no
    assert shift_labels(leaky, torch.ones_like(segments[:1]), 1)[0, 3] == 21  # negative control


def test_accepted_prefixes_by_hand():
    """A depth counts only where all before it were right too; a place without a label never does."""
    guesses = [torch.tensor([[1, 2, 9, 4, 0]]), torch.tensor([[2, 9, 4, 5, 0]]), torch.tensor([[3, 4, 5, 6, 0]])]
    labels = [
        torch.tensor([[1, 2, 3, 4, -100]]),
        torch.tensor([[2, 3, 4, -100, -100]]),
        torch.tensor([[3, 4, 5, 6, 7]]),
    ]
    found = [each[0].int().tolist() for each in accepted_prefixes(guesses, labels)]
    assert found == [[1, 1, 0, 1, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]]


def test_only_the_mtp_loss_reaches_the_mtp_blocks():
    model, ids = tiny_model(mtp_layers=2), tiny_ids(2, 9)
    positions = torch.arange(9).expand(2, 9)
    hidden = model(ids, positions)
    cross_entropy(model.logits(hidden), ids).backward(retain_graph=True)
    mtp = dict(model.model.mtp_layers.named_parameters())
    assert len(mtp) == 32 and all(p.grad is None for p in mtp.values())
    sum(cross_entropy(each, ids) for each in model.mtp_logits(hidden, ids, positions, None)).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for n, p in mtp.items() if not n.endswith("k_proj.bias"))
