"""The shape of a model, its parameter count, and its config.json in the HF layout [R 2.2]. Imports no torch.

python -c "from openmimo.model.config import ModelConfig; print(ModelConfig.from_folder('runs/smoke/base'))"
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from openmimo.errors import UserError

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MTP_OPTIONS = ("mtp_mode", "mtp_hidden", "mtp_order", "mtp_first")  # how MTP blocks are fed; see model/mtp.py
ARCHITECTURES = {"mimo": "MiMoForCausalLM", "qwen2": "Qwen2ForCausalLM", "llama": "LlamaForCausalLM"}


class ModelConfig(BaseModel):
    """A decoder-only transformer: pre-RMSNorm, grouped-query attention, SwiGLU, RoPE, `mtp_layers` MTP blocks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocab_size: int = Field(151_680, gt=0)
    hidden_size: int = Field(4096, gt=0)
    layers: int = Field(36, gt=0)
    heads: int = Field(32, gt=0)
    kv_heads: int = Field(8, gt=0)
    head_dim: int = Field(128, gt=0)
    ffn_size: int = Field(11_008, gt=0)
    max_length: int = Field(32_768, gt=0)
    rope_base: float = Field(640_000.0, gt=0)
    norm_eps: float = 1e-5
    qkv_bias: bool = True
    tied: bool = False
    mtp_layers: int = Field(1, ge=0)
    mtp_mode: Literal["parallel", "chained"] = "parallel"
    mtp_hidden: Literal["pre_norm", "post_norm"] = "pre_norm"
    mtp_order: Literal["hidden_embedding", "embedding_hidden"] = "hidden_embedding"
    mtp_first: Literal["masked", "kept"] = "masked"
    init_std: float = 0.02

    @model_validator(mode="after")
    def _heads_divide(self):
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        if self.head_dim % 2:
            raise ValueError(f"head_dim ({self.head_dim}) must be even for RoPE")
        return self

    def tensors(self, profile: str = "mimo") -> dict[str, tuple[int, ...]]:
        """Name -> shape of every tensor of a checkpoint, in the layout of `profile` (mimo, or qwen2 without MTP)."""
        d, shapes = self.hidden_size, {"model.embed_tokens.weight": (self.vocab_size, self.hidden_size)}
        for i in range(self.layers):
            shapes |= self._block(f"model.layers.{i}.")
        shapes["model.norm.weight"] = (d,)
        if not self.tied:
            shapes["lm_head.weight"] = (self.vocab_size, d)
        for i in range(self.mtp_layers if profile == "mimo" else 0):
            prefix = f"model.mtp_layers.{i}."
            shapes |= {prefix + name: (d,) for name in ("token_layernorm.weight", "hidden_layernorm.weight")}
            shapes[prefix + "input_proj.weight"] = (d, 2 * d)
            shapes |= self._block(prefix)
            shapes[prefix + "final_layernorm.weight"] = (d,)
        return shapes

    def _block(self, prefix: str) -> dict[str, tuple[int, ...]]:
        d, q, kv, f = self.hidden_size, self.heads * self.head_dim, self.kv_heads * self.head_dim, self.ffn_size
        block = {"input_layernorm.weight": (d,)}
        for name, rows in (("q", q), ("k", kv), ("v", kv)):
            block[f"self_attn.{name}_proj.weight"] = (rows, d)
            if self.qkv_bias:
                block[f"self_attn.{name}_proj.bias"] = (rows,)
        block |= {"self_attn.o_proj.weight": (d, q), "post_attention_layernorm.weight": (d,)}
        block |= {"mlp.gate_proj.weight": (f, d), "mlp.up_proj.weight": (f, d), "mlp.down_proj.weight": (d, f)}
        return {prefix + name: shape for name, shape in block.items()}

    def parameters(self, profile: str = "mimo") -> int:
        """Number of parameters, from the shapes alone."""
        total = 0
        for shape in self.tensors(profile).values():
            size = 1
            for n in shape:
                size *= n
            total += size
        return total

    def flops_per_token(self, length: int, training: bool = True) -> float:
        """Floating-point operations a token: 2 a multiply-add, 3x the forward pass in training, causal attention
        over `length` / 2 positions on average; the embedding look-up is free, every MTP block calls the head again."""
        d, attn = self.hidden_size, self.heads * self.head_dim
        block = self.parameters_of_block() + attn * length  # scores and values: 2 x attn x length / 2
        matmuls = self.layers * block + self.vocab_size * d
        matmuls += self.mtp_layers * (block + 2 * d * d + self.vocab_size * d)
        return (6.0 if training else 2.0) * matmuls

    def parameters_of_block(self) -> int:
        """Parameters of one transformer block's matrices."""
        d, q, kv, f = self.hidden_size, self.heads * self.head_dim, self.kv_heads * self.head_dim, self.ffn_size
        return d * (2 * q + 2 * kv) + 3 * d * f

    def to_hf(self, profile: str = "mimo", eos_id: int | None = None, dtype: str = "float32") -> dict[str, Any]:
        """The content of config.json for `profile` `mimo` or `qwen2` (keys as in the released model's file)."""
        config = {
            "architectures": [ARCHITECTURES[profile]],
            "model_type": profile,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.ffn_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": self.max_length,
            "rope_theta": self.rope_base,
            "rms_norm_eps": self.norm_eps,
            "attention_bias": self.qkv_bias,
            "attention_dropout": 0.0,
            "initializer_range": self.init_std,
            "tie_word_embeddings": self.tied,
            "sliding_window": self.max_length,
            "use_sliding_window": False,
            "max_window_layers": self.layers,
            "use_cache": True,
            "torch_dtype": dtype,
        }
        if profile == "mimo":
            config |= {"num_nextn_predict_layers": self.mtp_layers} | {key: getattr(self, key) for key in MTP_OPTIONS}
        if eos_id is not None:
            config |= {"eos_token_id": eos_id, "bos_token_id": eos_id}
        return config

    @classmethod
    def from_hf(cls, config: dict[str, Any], where: str = "config.json") -> ModelConfig:
        """Reads a Qwen2, Llama or MiMo config.json. Raises UserError for another model_type or a missing key."""
        kind = config.get("model_type")
        if kind not in ARCHITECTURES:
            raise UserError(f"{where}: model_type {kind!r} is not supported; use a Qwen2, Llama or MiMo folder")
        if kind == "llama" and (config.get("mlp_bias") or config.get("attention_bias")):
            raise UserError(f"{where}: biases in a Llama model are not supported; use a folder without them")
        if config.get("use_sliding_window") or config.get("hidden_act", "silu") != "silu":
            raise UserError(f"{where}: sliding windows and activations other than silu are not supported")
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        if rope.get("rope_type", rope.get("type", "default")) != "default":
            raise UserError(f"{where}: RoPE scaling {rope} is not supported; use a folder with plain RoPE")
        try:
            heads, hidden = config["num_attention_heads"], config["hidden_size"]
            return cls(
                vocab_size=config["vocab_size"],
                hidden_size=hidden,
                layers=config["num_hidden_layers"],
                heads=heads,
                kv_heads=config.get("num_key_value_heads") or heads,
                head_dim=config.get("head_dim") or hidden // heads,
                ffn_size=config["intermediate_size"],
                max_length=config.get("max_position_embeddings", 32_768),
                rope_base=config.get("rope_theta") or rope.get("rope_theta", 10_000.0),
                norm_eps=config.get("rms_norm_eps", 1e-6),
                qkv_bias=config.get("attention_bias", kind != "llama"),
                tied=config.get("tie_word_embeddings", False),
                mtp_layers=config.get("num_nextn_predict_layers", 0),
                **{key: config[key] for key in MTP_OPTIONS if key in config},
                init_std=config.get("initializer_range", 0.02),
            )
        except KeyError as error:
            raise UserError(f"{where}: key {error} is missing; is this a model's config.json?") from None
        except (TypeError, ZeroDivisionError) as error:
            raise UserError(f"{where}: a size is not a positive number ({error}); copy the checkpoint again") from None
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "shape"
            raise UserError(f"{where}: {key}: {first['msg']}; correct it or copy the checkpoint again") from None

    @classmethod
    def from_folder(cls, folder: str | Path) -> ModelConfig:
        """The config of a checkpoint folder in the HF layout."""
        path = Path(folder) / "config.json"
        if not path.is_file():
            raise UserError(f"{folder}: no config.json there; give a checkpoint folder in the HF layout")
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not JSON ({error}); copy the checkpoint again") from None
        if not isinstance(config, dict):
            raise UserError(f"{path}: expected a JSON object; copy the checkpoint again")
        return cls.from_hf(config, str(path))
