"""A transformer block and an MTP block in plain torch, one row at a time, written from the report and the released names."""

import torch
from tiny_model import TINY


def rms_norm(values, weight):
    return values / (values.pow(2).mean(-1, keepdim=True) + TINY.norm_eps).sqrt() * weight


def reference_block(x, weights, prefix, positions, allowed):
    """One transformer block for one row x (T, D), head by head, with its own RoPE and its own softmax."""
    heads, kv_heads, size = TINY.heads, TINY.kv_heads, TINY.head_dim

    def norm(values, name):
        return rms_norm(values, weights[prefix + name])

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


def reference_mtp(weights, hidden, ids, positions, depths=1, swap_norms=False, final=True, **options):
    """MTP logits of one row, a (T, V) for each depth. hidden (T, D): the main model's, before the final norm.
    options: as in config.json; swap_norms and final: mistakes that others have made."""
    options = {"mtp_order": "hidden_embedding", "mtp_hidden": "pre_norm", "mtp_first": "masked"} | options
    if options["mtp_hidden"] == "post_norm":
        hidden = rms_norm(hidden, weights["model.norm.weight"])
    allowed = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
    found, given = [], hidden
    for depth in range(depths):
        prefix = f"model.mtp_layers.{depth}."
        embedded = weights["model.embed_tokens.weight"][torch.cat((ids[depth + 1 :], ids[: depth + 1]))]
        if options["mtp_first"] == "masked":
            embedded = embedded * (positions > 0)[:, None]
        names = [prefix + "hidden_layernorm.weight", prefix + "token_layernorm.weight"]
        if swap_norms:
            names.reverse()
        pair = [rms_norm(given, weights[names[0]]), rms_norm(embedded, weights[names[1]])]
        if options["mtp_order"] == "embedding_hidden":
            pair.reverse()
        x = torch.cat(pair, dim=1) @ weights[prefix + "input_proj.weight"].T
        x = reference_block(x, weights, prefix, positions, allowed)
        if final:
            x = rms_norm(x, weights[prefix + "final_layernorm.weight"])
        found.append(x @ weights["lm_head.weight"].T)
        given = x if options.get("mtp_mode") == "chained" else hidden
    return found
