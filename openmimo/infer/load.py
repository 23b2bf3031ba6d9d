"""An engine from a checkpoint folder: what `generate`, `serve` and `chat` share.

engine, tokenizer = load_engine("runs/smoke/rl", slots=8)
"""

from __future__ import annotations

from pathlib import Path

from openmimo.infer.draft import MTPDrafter, check_drafts
from openmimo.infer.engine import Engine
from openmimo.model.hub import load_checkpoint, read_json
from openmimo.model.tokenizer import Tokenizer


def load_engine(checkpoint: Path, slots: int, mtp: int = 0) -> tuple[Engine, Tokenizer | None]:
    """The engine of a Qwen2, Llama or MiMo folder, drafting `mtp` tokens a step, and the folder's tokenizer; None where
    the folder has no tokenizer files at all, so that only token ids can go in and out."""
    checkpoint = Path(checkpoint)
    bare = (checkpoint / "config.json").is_file() and not any(checkpoint.glob("tokenizer*"))
    tokenizer = None if bare else Tokenizer.load(checkpoint)
    model = load_checkpoint(checkpoint)
    check_drafts(model.config, mtp, str(checkpoint))
    vocabulary = model.config.vocab_size if tokenizer is None else tokenizer.vocab_size
    engine = Engine(
        model, end_ids(checkpoint, tokenizer), slots, min(vocabulary, model.config.vocab_size),
        decode=None if tokenizer is None else tokenizer.decode, drafter=MTPDrafter(mtp) if mtp else None, consume=True,
    )  # fmt: skip
    return engine, tokenizer


def end_ids(checkpoint: Path, tokenizer: Tokenizer | None) -> list[int]:
    """The ids that end a text: the tokenizer's, and those that config.json and generation_config.json name."""
    found = [] if tokenizer is None else [tokenizer.eos_id]
    for name in ("config.json", "generation_config.json"):
        if (checkpoint / name).is_file():
            value = read_json(checkpoint / name).get("eos_token_id")
            found += value if isinstance(value, list) else [value]
    return list(dict.fromkeys(i for i in found if isinstance(i, int)))
