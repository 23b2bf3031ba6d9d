"""A checkpoint in another layout: `mimo` (with the MTP blocks) or `qwen2` (without; any engine reads it) [R 2.2].

    python -c "from openmimo.release.export import export; export('runs/tiny/rl', 'rl-qwen2', 'qwen2')"

No remote code is written: `qwen2` is a plain Qwen2ForCausalLM of the main model, its logits the same; `mimo` has the
names, shapes and config keys of the released model, which serving engines know as MiMoForCausalLM.
"""

from __future__ import annotations

from pathlib import Path

from openmimo.errors import UserError
from openmimo.model.hub import TOKENIZER_FILES, load_checkpoint, read_json, save_checkpoint, stored_tensors

SAFETENSORS_DTYPES = {"F64": "float32", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def export(checkpoint_folder: str | Path, out_folder: str | Path, profile: str, dtype: str | None = None) -> Path:
    """Writes `checkpoint_folder` (Qwen2, Llama or MiMo) as `out_folder` in `profile` and returns that path.

    dtype: float32, bfloat16 or float16; None keeps the one the weights are stored in. The tokenizer and its special
    ids go along. Raises UserError when the checkpoint is damaged, the profile cannot hold it, or both folders are one.
    """
    source, out = Path(checkpoint_folder), Path(out_folder)
    if source.resolve() == out.resolve():
        raise UserError(f"{out}: a checkpoint cannot be exported onto itself; give another folder")
    model = load_checkpoint(source, dtype=None)
    if dtype is None:
        dtype = SAFETENSORS_DTYPES[stored_tensors(source)["model.embed_tokens.weight"][2]]
    config = read_json(source / "config.json")
    ids = {key: config[key] for key in SPECIAL_IDS if config.get(key) is not None}
    tokenizer = source if any((source / name).is_file() for name in TOKENIZER_FILES) else None
    return save_checkpoint(out, model, tokenizer, profile=profile, dtype=dtype, extra=ids)
