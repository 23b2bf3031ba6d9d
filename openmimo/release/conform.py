"""Does a checkpoint conform? Its tensors' names, shapes and size to its config, its logits to transformers' [R 2.2].

    python -m openmimo.release.conform runs/smoke/release/qwen2/rl

The layout needs the config alone (the released MiMo-7B: 451 tensors, 15,666,819,072 bytes in bfloat16); the logits
check needs transformers, which is in the extra `dev`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from openmimo.errors import UserError
from openmimo.model.config import ModelConfig

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Layout:
    """tensors: name -> shape; parameters: their number; total_size: their bytes, as an index file states it."""

    tensors: dict[str, tuple[int, ...]]
    parameters: int
    total_size: int


def check_layout(
    config: ModelConfig, folder: str | Path | None = None, profile: str = "mimo", dtype: str = "bfloat16"
) -> Layout:
    """The layout that `config` prescribes for `profile`; with `folder`, the headers of its weights must agree.

    Raises UserError that names the first tensor that is missing, of another shape, or not prescribed.
    """
    shapes = config.tensors(profile)
    layout = Layout(shapes, config.parameters(profile), DTYPE_BYTES[dtype] * config.parameters(profile))
    if folder is None:
        return layout
    from openmimo.model.hub import stored_tensors

    found = {name: shape for name, (_, shape, _) in stored_tensors(folder).items()}
    for name in sorted(shapes.keys() | found.keys()):
        if shapes.get(name) != found.get(name):
            have, want = found.get(name, "absent"), shapes.get(name, "absent")
            raise UserError(f"{folder}: tensor {name} is {have}, the layout says {want}; export the checkpoint again")
    return layout


def check_logits(folder: str | Path, length: int = 64, seed: int = 0, tolerance: float = 1e-4) -> float:
    """Largest difference in float32 logits between openmimo and transformers on two rows of `length` random ids.

    folder: a Qwen2 or Llama folder (of profile `qwen2` or `llama`). Raises UserError without transformers, for a
    `mimo` folder (transformers has no such model: export it to `qwen2` first), and above `tolerance`.
    """
    import torch

    try:
        from transformers import AutoModelForCausalLM
    except ImportError:
        raise UserError("checking logits needs transformers; run `pip install 'openmimo[dev]'`") from None
    from openmimo.model.hub import load_checkpoint, read_json

    folder = Path(folder)
    if read_json(folder / "config.json").get("model_type") == "mimo":
        raise UserError(
            f"{folder}: transformers has no MiMo model; export the folder to profile 'qwen2' and check that"
        )
    ours = load_checkpoint(folder)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(seed)
    length = min(length, ours.config.max_length)
    ids = torch.randint(0, ours.config.vocab_size, (2, length), generator=generator)
    with torch.no_grad():
        mine = ours.logits(ours(ids, torch.arange(length).expand(2, length)))
        difference = float((mine - theirs(ids).logits).abs().max())
    if not difference <= tolerance:
        raise UserError(f"{folder}: logits differ from transformers' by {difference:.3g}, allowed is {tolerance:g}")
    return difference


if __name__ == "__main__":
    from openmimo.model.hub import read_json

    checkpoint = Path(sys.argv[1])
    kind = read_json(checkpoint / "config.json").get("model_type", "")
    sizes = check_layout(ModelConfig.from_folder(checkpoint), checkpoint, kind)
    print(f"{len(sizes.tensors)} tensors, {sizes.parameters:,} parameters: names and shapes agree")
    print(f"largest difference in logits {check_logits(checkpoint):.2g}")
