"""The decoder against plain references: packing, positions, MTP blocks, cached decoding; each with negative controls."""

import pytest
import torch
import torch.nn.functional as F
from tiny_model import TINY, main_logits, tiny_ids, tiny_model

from openmimo.model.mtp import shift_labels
from openmimo.model.transformer import Transformer, cross_entropy, segment_mask, token_logprobs


def packed(lengths, padding=0):
    """Segments and positions (1, T) of documents of `lengths` in one row; segment 0 is padding."""
    segments = [n for n, length in enumerate(lengths, 1) for _ in range(length)] + [0] * padding
    positions = [p for length in lengths for p in range(length)] + list(range(padding))
    return torch.tensor([segments]), torch.tensor([positions])


def test_segment_mask_by_hand():
    mask = segment_mask(torch.tensor([[1, 1, 2, 2]]))
    assert mask.shape == (1, 1, 4, 4)
    assert (mask[0, 0] == 0).int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]


@torch.no_grad()
def test_packed_documents_have_the_logits_they_have_alone():
    model, lengths = tiny_model(), (7, 1, 12)
    documents = [tiny_ids(1, length, seed=length) for length in lengths]
    row = torch.cat([*documents, torch.zeros(1, 3, dtype=torch.long)], dim=1)
    segments, positions = packed(lengths, padding=3)
    alone = torch.cat([main_logits(model, document) for document in documents], dim=1)

    def together(mask, positions):
        return model.logits(model(row, positions, mask))[:, : sum(lengths)]

    mask = segment_mask(segments)
    assert (together(mask, positions) - alone).abs().max() < 1e-5
    assert (together(None, positions) - alone).abs().max() > 1e-2  # negative control: no mask
    # A constant shift of a document's positions is harmless: RoPE is relative. A stretch is not.
    assert (together(mask, positions + 5) - alone).abs().max() < 1e-4
    assert (together(mask, positions * 2) - alone).abs().max() > 1e-2


@torch.no_grad()
def test_packed_documents_have_the_mtp_logits_they_have_alone():
    model, lengths = tiny_model(), (7, 12)
    documents = [tiny_ids(1, length, seed=length) for length in lengths]
    segments, positions = packed(lengths)

    def mtp(ids, positions, mask, mtp_mask):
        return model.mtp_logits(0, model(ids, positions, mask), ids.roll(-1, dims=1), positions, mtp_mask)

    row, mask = torch.cat(documents, dim=1), segment_mask(segments)
    causal = segment_mask(torch.ones_like(segments))
    keep = [t for t in range(19) if t not in (6, 18)]  # a document's last slot has no next token, hence no label
    alone = torch.cat([mtp(d, torch.arange(d.shape[1])[None], None, None) for d in documents], dim=1)[:, keep]
    assert (mtp(row, positions, mask, mask)[:, keep] - alone).abs().max() < 1e-5
    assert (mtp(row, positions, mask, causal)[:, keep] - alone).abs().max() > 1e-2  # negative control


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


def reference_block(x, weights, prefix, positions, allowed):
    """One transformer block for one row x (T, D), head by head, with its own RoPE and its own softmax."""
    heads, kv_heads, size = TINY.heads, TINY.kv_heads, TINY.head_dim

    def norm(values, name):
        return values / (values.pow(2).mean(-1, keepdim=True) + TINY.norm_eps).sqrt() * weights[prefix + name]

    def linear(values, name):
        out = values @ weights[prefix + name + ".weight"].T
        return out + weights.get(prefix + name + ".bias", 0.0)

    def rope(values):
        frequency = TINY.rope_base ** (-torch.arange(size // 2) * 2.0 / size)
        turn = torch.polar(torch.ones(()), positions[:, None] * frequency)
        turned = torch.complex(values[:, : size // 2], values[:, size // 2 :]) * turn
        return torch.cat((turned.real, turned.imag), dim=1)

    normed = norm(x, "input_layernorm.weight")
    q, k, v = (linear(normed, f"self_attn.{part}_proj") for part in "qkv")
    outputs = []
    for head in range(heads):
        shared = head // (heads // kv_heads)
        mine, theirs = slice(head * size, (head + 1) * size), slice(shared * size, (shared + 1) * size)
        scores = rope(q[:, mine]) @ rope(k[:, theirs]).T / size**0.5
        outputs.append(scores.masked_fill(~allowed, float("-inf")).softmax(-1) @ v[:, theirs])
    x = x + linear(torch.cat(outputs, dim=1), "self_attn.o_proj")
    normed = norm(x, "post_attention_layernorm.weight")
    gate = linear(normed, "mlp.gate_proj")
    return x + linear(gate * gate.sigmoid() * linear(normed, "mlp.up_proj"), "mlp.down_proj")


def reference_mtp(weights, hidden, ids, positions, order="hidden first", swap_norms=False, final=True, tap="pre_norm"):
    """MTP logits (T, V) of one row, written from the report and the released tensors' names [R 2.2]."""
    prefix = "model.mtp_layers.0."

    def norm(values, name):
        return values / (values.pow(2).mean(-1, keepdim=True) + TINY.norm_eps).sqrt() * weights[name]

    if tap == "post_norm":
        hidden = norm(hidden, "model.norm.weight")
    embedded = weights["model.embed_tokens.weight"][torch.cat((ids[1:], ids[:1]))]
    names = [prefix + "hidden_layernorm.weight", prefix + "token_layernorm.weight"]
    if swap_norms:
        names.reverse()
    hidden, token = norm(hidden, names[0]), norm(embedded, names[1])
    pair = (hidden, token) if order == "hidden first" else (token, hidden)
    x = torch.cat(pair, dim=1) @ weights[prefix + "input_proj.weight"].T
    allowed = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
    x = reference_block(x, weights, prefix, positions, allowed)
    if final:
        x = norm(x, prefix + "final_layernorm.weight")
    return x @ weights["lm_head.weight"].T


@torch.no_grad()
def test_the_decoder_equals_a_plain_reference():
    model, ids = tiny_model(), tiny_ids(1, 11)
    weights, positions = model.state_dict(), torch.arange(11)
    allowed = torch.ones(11, 11, dtype=torch.bool).tril()
    x = weights["model.embed_tokens.weight"][ids[0]]
    for layer in range(TINY.layers):
        x = reference_block(x, weights, f"model.layers.{layer}.", positions, allowed)
    x = x / (x.pow(2).mean(-1, keepdim=True) + TINY.norm_eps).sqrt() * weights["model.norm.weight"]
    assert (main_logits(model, ids)[0] - x @ weights["lm_head.weight"].T).abs().max() < 1e-4


BROKEN = [
    {"order": "token first"},
    {"swap_norms": True},
    {"final": False},
    {"tap": "post_norm"},
    {"ids": "not shifted"},
    {"positions": "stretched"},
]


@torch.no_grad()
def test_the_mtp_block_equals_a_plain_reference():
    model, ids = tiny_model(), tiny_ids(1, 11)
    positions, weights = torch.arange(11), model.state_dict()
    hidden = model(ids, positions[None])
    ours = model.mtp_logits(0, hidden, ids.roll(-1, dims=1), positions[None], None)
    assert ours.shape == (1, 11, TINY.vocab_size)
    assert (reference_mtp(weights, hidden[0], ids[0], positions) - ours[0]).abs().max() < 1e-4
    for broken in BROKEN:  # negative controls: each must be seen
        row, at = ids[0], positions
        if broken.get("ids"):
            row, broken = ids[0].roll(1), {}
        if broken.get("positions"):
            at, broken = positions * 2, {}
        assert (reference_mtp(weights, hidden[0], row, at, **broken) - ours[0]).abs().max() > 1e-2, broken


@torch.no_grad()
def test_mtp_post_norm_is_the_other_tap():
    model, ids = tiny_model(mtp_hidden="post_norm"), tiny_ids(1, 11)
    positions, weights = torch.arange(11), model.state_dict()
    hidden = model(ids, positions[None])
    ours = model.mtp_logits(0, hidden, ids.roll(-1, dims=1), positions[None], None)[0]
    assert (reference_mtp(weights, hidden[0], ids[0], positions, tap="post_norm") - ours).abs().max() < 1e-4
    assert (reference_mtp(weights, hidden[0], ids[0], positions) - ours).abs().max() > 1e-2


def test_only_the_mtp_loss_reaches_the_mtp_blocks():
    model, ids = tiny_model(), tiny_ids(2, 9)
    positions = torch.arange(9).expand(2, 9)
    hidden = model(ids, positions)
    cross_entropy(model.logits(hidden), ids).backward(retain_graph=True)
    mtp = dict(model.model.mtp_layers.named_parameters())
    assert len(mtp) == 16 and all(p.grad is None for p in mtp.values())
    cross_entropy(model.mtp_logits(0, hidden, ids.roll(-1, dims=1), positions, None), ids).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for n, p in mtp.items() if n != "self_attn.k_proj.bias")


class GrowingCache:
    """Keys and values of all positions so far, by layer; the last T queries attend to what `seen` (T, S) allows."""

    def __init__(self):
        self.layers, self.seen = {}, None

    def attend(self, layer, q, k, v):
        if layer in self.layers:
            k, v = torch.cat((self.layers[layer][0], k), dim=1), torch.cat((self.layers[layer][1], v), dim=1)
        self.layers[layer] = (k, v)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.seen).transpose(1, 2)


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
@torch.no_grad()
def test_decoding_token_by_token_equals_the_whole_pass(kv_heads):
    model, ids = tiny_model(kv_heads=kv_heads), tiny_ids(3, 12)
    whole = main_logits(model, ids)

    def decoded(shift=0, forgetful=False):
        cache = GrowingCache()
        cache.seen = torch.ones(5, 5, dtype=torch.bool).tril()
        steps = [model.logits(model(ids[:, :5], torch.arange(5).expand(3, 5), None, cache))]
        for t in range(5, 12):
            cache.seen = torch.ones(1, t + 1, dtype=torch.bool)
            cache.seen[:, 2] = not forgetful
            steps.append(model.logits(model(ids[:, t : t + 1], torch.full((3, 1), t + shift), None, cache)))
        return torch.cat(steps, dim=1)

    assert (decoded() - whole).abs().max() < 1e-4
    assert (decoded(shift=1) - whole)[:, 5:].abs().max() > 1e-2  # negative controls: position, mask
    assert (decoded(forgetful=True) - whole)[:, 5:].abs().max() > 1e-2


def test_logprobs_and_cross_entropy_by_hand():
    logits = torch.tensor([[[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]]])
    ids = torch.tensor([[2, 1]])
    e = torch.e
    by_hand = torch.tensor([[2.0, 0.0]]) - torch.tensor([[1 + e + e**2, e**3 + 2]]).log()
    assert torch.allclose(token_logprobs(logits, ids), by_hand)
    assert torch.allclose(cross_entropy(logits, ids), -by_hand.sum())
    assert torch.allclose(cross_entropy(logits, torch.tensor([[2, -100]])), -by_hand[0, 0])
    assert torch.allclose(token_logprobs(logits, ids), F.log_softmax(logits, -1).gather(-1, ids[..., None])[..., 0])


def test_initial_weights_follow_the_seed():
    one, same, other = (Transformer(TINY) for _ in range(3))
    for model, seed in ((one, 1), (same, 1), (other, 2)):
        model.reset_parameters(seed)
    assert torch.equal(one.lm_head.weight, same.lm_head.weight)
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)
    block = one.model.layers[0]
    assert (block.input_layernorm.weight == 1).all() and (block.self_attn.q_proj.bias == 0).all()
    assert 0.018 < block.mlp.gate_proj.weight.std() < 0.022
    assert 0.009 < block.mlp.down_proj.weight.std() < 0.011  # 0.02 / sqrt(2 x 2 layers)


def test_module_names_are_the_checkpoint_names():
    state = tiny_model(mtp_layers=2).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == TINY.model_copy(
        update={"mtp_layers": 2}
    ).tensors()
