"""The decoder against plain references: packing, positions, cached decoding; each with negative controls."""

import pytest
import torch
import torch.nn.functional as F
from reference import reference_block
from tiny_model import TINY, main_logits, packed, tiny_ids, tiny_model

from openmimo.model.transformer import Transformer, cross_entropy, segment_mask, token_logprobs


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
def test_the_decoder_equals_a_plain_reference():
    model, ids = tiny_model(), tiny_ids(1, 11)
    weights, positions = model.state_dict(), torch.arange(11)
    allowed = torch.ones(11, 11, dtype=torch.bool).tril()
    x = weights["model.embed_tokens.weight"][ids[0]]
    for layer in range(TINY.layers):
        x = reference_block(x, weights, f"model.layers.{layer}.", positions, allowed)
    x = x / (x.pow(2).mean(-1, keepdim=True) + TINY.norm_eps).sqrt() * weights["model.norm.weight"]
    assert (main_logits(model, ids)[0] - x @ weights["lm_head.weight"].T).abs().max() < 1e-4


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
