"""Checkpoint folders: bit-equal round trips, and folders that transformers wrote or reads."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from tiny_model import TINY, main_logits, names_in, same_state, tiny_ids, tiny_model

from openmimo.errors import UserError
from openmimo.model import hub
from openmimo.model.config import ModelConfig
from openmimo.model.hub import load_checkpoint, save_checkpoint, stored_tensors

transformers = pytest.importorskip("transformers")
SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rope_theta": 500.0,
}


@pytest.mark.parametrize("tied", [False, True])
def test_mimo_round_trip_is_bit_equal(tmp_path, tied):
    model = tiny_model(tied=tied, mtp_layers=2)
    folder = save_checkpoint(tmp_path / "base", model, profile="mimo", eos_id=2)
    read = load_checkpoint(folder)
    assert same_state(model, read) and read.config == model.config
    assert set(load_file(folder / "model.safetensors")) == set(model.config.tensors("mimo"))
    assert all(p.requires_grad and p.is_leaf for p in read.parameters())
    assert (read.lm_head.weight is read.model.embed_tokens.weight) == tied
    assert names_in(folder) == ["config.json", "generation_config.json", "model.safetensors"]
    assert json.loads((folder / "generation_config.json").read_text()) == {
        "bos_token_id": 2,
        "eos_token_id": 2,
        "do_sample": True,
        "temperature": 0.6,
        "top_p": 0.95,
    }
    assert names_in(tmp_path) == ["base"]


def test_qwen2_round_trip_is_bit_equal_but_for_mtp(tmp_path):
    model = tiny_model()
    read = load_checkpoint(save_checkpoint(tmp_path / "base", model, profile="qwen2"))
    main = {name: tensor for name, tensor in model.state_dict().items() if ".mtp_layers." not in name}
    assert read.state_dict().keys() == main.keys()
    assert all(torch.equal(tensor, main[name]) for name, tensor in read.state_dict().items())


def test_shards_have_an_index_and_read_back(tmp_path):
    model = tiny_model()
    folder = save_checkpoint(tmp_path / "base", model, shard_bytes=20_000)
    files = [name for name in names_in(folder) if name.endswith(".safetensors")]
    assert len(files) > 2 and files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    index = json.loads((folder / hub.INDEX).read_text())
    assert index["metadata"]["total_size"] == 4 * model.config.parameters()
    assert set(index["weight_map"]) == set(model.config.tensors())
    assert list(index["weight_map"]) == sorted(index["weight_map"])
    assert same_state(model, load_checkpoint(folder))
    (folder / files[1]).unlink()
    with pytest.raises(UserError, match=files[1]):
        load_checkpoint(folder)


def test_bfloat16_keeps_its_values_and_its_type(tmp_path):
    folder = save_checkpoint(tmp_path / "base", tiny_model(), dtype="bfloat16")
    assert {dtype for _, _, dtype in stored_tensors(folder).values()} == {"BF16"}
    kept, cast = load_checkpoint(folder, dtype=None), load_checkpoint(folder)
    assert kept.lm_head.weight.dtype == torch.bfloat16 and cast.lm_head.weight.dtype == torch.float32
    assert torch.equal(kept.lm_head.weight.float(), cast.lm_head.weight)
    again = save_checkpoint(tmp_path / "again", cast, dtype="bfloat16")
    assert same_state(kept, load_checkpoint(again, dtype=None))


def test_the_rope_base_of_the_last_stage_is_written(tmp_path):
    model = tiny_model()
    model.rope_base = 9000.0
    assert load_checkpoint(save_checkpoint(tmp_path / "base", model)).config.rope_base == 9000.0


def transformers_folder(folder, family, **changes):
    """A folder that transformers wrote, and its model; norms and biases random too."""
    config = getattr(transformers, family + "Config")(**(SIZES | changes))
    torch.manual_seed(0)
    model = getattr(transformers, family + "ForCausalLM")(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    model.save_pretrained(folder, max_shard_size="20KB" if changes.get("head_dim") else "5GB")
    return model


FAMILIES = [
    ("Qwen2", {}),
    ("Qwen2", {"tie_word_embeddings": True}),
    ("Qwen2", {"head_dim": 16}),
    ("Llama", {}),
    ("Llama", {"tie_word_embeddings": True, "num_key_value_heads": 4}),
    ("Llama", {"head_dim": 16}),
]


@pytest.mark.parametrize(("family", "changes"), FAMILIES)
def test_a_folder_of_transformers_gives_its_logits(tmp_path, family, changes):
    ids = tiny_ids(2, 24)
    with torch.no_grad():
        theirs = transformers_folder(tmp_path, family, **changes)(ids).logits
    ours = load_checkpoint(tmp_path)
    assert ours.config.qkv_bias == (family == "Qwen2")
    assert (main_logits(ours, ids) - theirs).abs().max() < 1e-4
    # Negative controls: another RoPE base, interleaved rotary halves, swapped key heads; each must be seen.
    ours.rope_base = 10_000.0
    assert (main_logits(ours, ids) - theirs).abs().max() > 1e-2
    ours.rope_base = 500.0
    with torch.no_grad():
        for attention in (block.self_attn for block in ours.model.layers):
            for part in (attention.q_proj, attention.k_proj):
                halves = part.weight.view(-1, 2, attention.head_dim // 2, 32)
                part.weight.copy_(halves.transpose(1, 2).reshape_as(part.weight))
    assert (main_logits(ours, ids) - theirs).abs().max() > 1e-2
    ours = load_checkpoint(tmp_path)
    with torch.no_grad():
        for attention in (block.self_attn for block in ours.model.layers):
            attention.k_proj.weight.copy_(attention.k_proj.weight.roll(attention.head_dim, dims=0))
    assert (main_logits(ours, ids) - theirs).abs().max() > 1e-2


def test_our_qwen2_folder_gives_transformers_our_logits(tmp_path):
    model, ids = tiny_model(), tiny_ids(2, 24)
    save_checkpoint(tmp_path / "base", model, profile="qwen2", eos_id=2)
    theirs, report = transformers.Qwen2ForCausalLM.from_pretrained(tmp_path / "base", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    with torch.no_grad():
        difference = (theirs.eval()(ids).logits - main_logits(model, ids)).abs().max()
        assert difference < 1e-4
        theirs.model.layers[0].self_attn.k_proj.bias.add_(torch.arange(16.0))  # negative control
        assert (theirs(ids).logits - main_logits(model, ids)).abs().max() > 1e-2


def test_a_model_without_biases_is_released_as_llama(tmp_path):
    model, ids = tiny_model(qkv_bias=False, heads=4), tiny_ids(1, 24)
    with pytest.raises(UserError, match="llama"):
        save_checkpoint(tmp_path / "base", model, profile="qwen2")
    save_checkpoint(tmp_path / "base", model, profile="llama")
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "base").eval()
    with torch.no_grad():
        assert (theirs(ids).logits - main_logits(model, ids)).abs().max() < 1e-4
    with pytest.raises(UserError, match="qwen2"):
        save_checkpoint(tmp_path / "base", tiny_model(), profile="llama")


def test_mtp_layers_are_kept_dropped_or_drawn(tmp_path):
    model = tiny_model(mtp_layers=2)
    two = save_checkpoint(tmp_path / "two", model)
    none = save_checkpoint(tmp_path / "none", model, profile="qwen2")
    assert load_checkpoint(two).config.mtp_layers == 2
    one = load_checkpoint(two, mtp_layers=1)
    assert one.config.mtp_layers == len(one.model.mtp_layers) == 1
    assert torch.equal(one.model.mtp_layers[0].input_proj.weight, model.model.mtp_layers[0].input_proj.weight)
    assert not load_checkpoint(two, mtp_layers=0).model.mtp_layers
    new = load_checkpoint(none, mtp_layers=1)
    drawn = new.model.mtp_layers[0]
    assert 0.015 < drawn.input_proj.weight.std() < 0.025 and (drawn.final_layernorm.weight == 1).all()
    assert 0.007 < drawn.mlp.down_proj.weight.std() < 0.013  # 0.02 / sqrt(2 x 2 layers)
    assert same_state(new, load_checkpoint(none, mtp_layers=1))
    for folder, count in ((two, 3), (two, -1)):
        with pytest.raises(UserError, match="MTP layers asked for"):
            load_checkpoint(folder, mtp_layers=count)


def test_tokenizer_files_go_along(tmp_path):
    source = tmp_path / "tokenizer"
    source.mkdir()
    for name in ("tokenizer.json", "merges.txt", "notes.txt"):
        (source / name).write_text(name)
    for given in (source, [source / "tokenizer.json", source / "merges.txt"]):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        out = save_checkpoint(tmp_path / "out", tiny_model(), given)
        assert names_in(out)[2:] == ["merges.txt", "model.safetensors", "tokenizer.json"]
    for absent in (tmp_path, [tmp_path / "absent.json"]):
        with pytest.raises(UserError, match="tokenizer"):
            save_checkpoint(tmp_path / "never", tiny_model(), absent)
    assert not (tmp_path / "never").exists()


def test_extra_keys_reach_config_json(tmp_path):
    folder = save_checkpoint(
        tmp_path / "base", tiny_model(), eos_id=2, extra={"bos_token_id": 1, "openmimo": {"step": 3}}
    )
    config = json.loads((folder / "config.json").read_text())
    assert config["openmimo"] == {"step": 3} and (config["bos_token_id"], config["eos_token_id"]) == (1, 2)
    assert ModelConfig.from_folder(folder) == TINY
