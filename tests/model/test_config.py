"""The released model's layout, from recipes/mimo-7b.toml alone [R 2.2]."""

import json
from pathlib import Path

import pytest

from openmimo.errors import UserError
from openmimo.model.config import ModelConfig
from openmimo.recipe import load_recipe
from openmimo.release.conform import check_layout

MIMO = load_recipe(Path(__file__).parents[2] / "recipes" / "mimo-7b.toml").model

# Literal names and shapes of the released checkpoint's index, one of every kind.
RELEASED = {
    "model.embed_tokens.weight": (151680, 4096),
    "model.layers.0.input_layernorm.weight": (4096,),
    "model.layers.0.self_attn.q_proj.weight": (4096, 4096),
    "model.layers.0.self_attn.q_proj.bias": (4096,),
    "model.layers.17.self_attn.k_proj.weight": (1024, 4096),
    "model.layers.17.self_attn.k_proj.bias": (1024,),
    "model.layers.35.self_attn.v_proj.weight": (1024, 4096),
    "model.layers.35.self_attn.v_proj.bias": (1024,),
    "model.layers.35.self_attn.o_proj.weight": (4096, 4096),
    "model.layers.35.post_attention_layernorm.weight": (4096,),
    "model.layers.35.mlp.gate_proj.weight": (11008, 4096),
    "model.layers.35.mlp.up_proj.weight": (11008, 4096),
    "model.layers.35.mlp.down_proj.weight": (4096, 11008),
    "model.norm.weight": (4096,),
    "lm_head.weight": (151680, 4096),
}
RELEASED_MTP = {
    "model.mtp_layers.0.token_layernorm.weight": (4096,),
    "model.mtp_layers.0.hidden_layernorm.weight": (4096,),
    "model.mtp_layers.0.input_proj.weight": (4096, 8192),
    "model.mtp_layers.0.input_layernorm.weight": (4096,),
    "model.mtp_layers.0.self_attn.q_proj.weight": (4096, 4096),
    "model.mtp_layers.0.self_attn.q_proj.bias": (4096,),
    "model.mtp_layers.0.self_attn.k_proj.weight": (1024, 4096),
    "model.mtp_layers.0.self_attn.k_proj.bias": (1024,),
    "model.mtp_layers.0.self_attn.v_proj.weight": (1024, 4096),
    "model.mtp_layers.0.self_attn.v_proj.bias": (1024,),
    "model.mtp_layers.0.self_attn.o_proj.weight": (4096, 4096),
    "model.mtp_layers.0.post_attention_layernorm.weight": (4096,),
    "model.mtp_layers.0.mlp.gate_proj.weight": (11008, 4096),
    "model.mtp_layers.0.mlp.up_proj.weight": (11008, 4096),
    "model.mtp_layers.0.mlp.down_proj.weight": (4096, 11008),
    "model.mtp_layers.0.final_layernorm.weight": (4096,),
}


def test_the_recipe_gives_the_released_layout():
    layout = check_layout(MIMO)
    assert len(layout.tensors) == 451
    assert layout.parameters == 7_833_409_536
    assert layout.total_size == 15_666_819_072
    assert RELEASED.items() <= layout.tensors.items()
    mtp = {name: shape for name, shape in layout.tensors.items() if ".mtp_layers." in name}
    assert mtp == RELEASED_MTP


def test_the_qwen2_view_leaves_out_the_mtp_blocks():
    layout = check_layout(MIMO, profile="qwen2")
    assert len(layout.tensors) == 435 == 36 * 12 + 3
    assert layout.parameters == 7_622_619_136 == 7_833_409_536 - 210_790_400
    assert not any("mtp" in name for name in layout.tensors)


def test_config_json_has_the_released_values():
    config = MIMO.to_hf("mimo", eos_id=151_645, dtype="bfloat16")
    released = {
        "architectures": ["MiMoForCausalLM"],
        "model_type": "mimo",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "attention_bias": True,
        "rms_norm_eps": 1e-5,
        "rope_theta": 640_000,
        "max_position_embeddings": 32_768,
        "tie_word_embeddings": False,
        "vocab_size": 151_680,
        "num_nextn_predict_layers": 1,
        "torch_dtype": "bfloat16",
        "eos_token_id": 151_645,
    }
    assert released.items() <= config.items()


@pytest.mark.parametrize("profile", ["mimo", "qwen2"])
def test_config_json_round_trip(profile):
    config = ModelConfig(
        vocab_size=300, hidden_size=48, layers=2, heads=6, kv_heads=3, head_dim=8, ffn_size=64, tied=True
    )
    read = ModelConfig.from_hf(json.loads(json.dumps(config.to_hf(profile))))
    assert read == (config if profile == "mimo" else config.model_copy(update={"mtp_layers": 0}))


def test_flops_by_hand():
    config = ModelConfig(
        vocab_size=10, hidden_size=4, layers=2, heads=2, kv_heads=1, head_dim=2, ffn_size=8, mtp_layers=1
    )
    # A block's multiply-adds: q 16, k 8, v 8, o 16, three FFN matrices of 32, attention 2 x 4 x 6 / 2 = 24.
    block = 16 + 8 + 8 + 16 + 3 * 32 + 24
    head, joined = 10 * 4, 8 * 4
    assert config.flops_per_token(length=6) == 6 * (2 * block + head + (block + joined + head))
    assert config.flops_per_token(length=6, training=False) == 2 * (2 * block + head + (block + joined + head))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "gpt2"),
        ({"num_attention_heads": 5}, "multiple of kv_heads"),
        ({"hidden_size": "wide"}, "hidden_size"),
        ({"num_attention_heads": "many"}, "heads"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "yarn"),
        ({"use_sliding_window": True}, "sliding"),
        ({"hidden_act": "gelu"}, "silu"),
        ({"hidden_size": None}, "hidden_size"),
    ],
)
def test_a_config_that_cannot_be_read_is_a_user_error(change, message):
    config = ModelConfig(hidden_size=64, heads=4, kv_heads=2, head_dim=16).to_hf("qwen2")
    with pytest.raises(UserError, match=message):
        ModelConfig.from_hf(config | change, "here/config.json")


def test_a_missing_key_is_named():
    config = ModelConfig().to_hf("qwen2")
    del config["intermediate_size"]
    with pytest.raises(UserError, match="intermediate_size"):
        ModelConfig.from_hf(config)


@pytest.mark.parametrize("content", ["{", "[1]", b"\xff\xfe\x00"])
def test_a_damaged_config_json_is_a_user_error(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match="config.json"):
        ModelConfig.from_folder(tmp_path)
    with pytest.raises(UserError, match="no config.json"):
        ModelConfig.from_folder(tmp_path / "absent")
