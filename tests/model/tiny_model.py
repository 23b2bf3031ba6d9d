"""A tiny random model with every feature on: biases, grouped heads, head_dim x heads unlike hidden, norms unlike 1."""

import torch

from openmimo.model.config import ModelConfig
from openmimo.model.transformer import Transformer

TINY = ModelConfig(
    vocab_size=97,
    hidden_size=32,
    layers=2,
    heads=6,
    kv_heads=2,
    head_dim=8,
    ffn_size=40,
    max_length=128,
    rope_base=500.0,
    norm_eps=1e-5,
    mtp_layers=1,
)


def tiny_model(seed: int = 0, **changes) -> Transformer:
    """Transformer of TINY with `changes`; every parameter, biases and norms too, is random and matters."""
    model = Transformer(TINY.model_copy(update=changes))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            centre = 1.0 if name.endswith("norm.weight") else 0.0
            weight.copy_(centre + 0.3 * torch.randn(weight.shape, generator=generator))
    return model.eval()


def tiny_ids(rows: int, length: int, seed: int = 1) -> torch.Tensor:
    """Random ids (rows, length)."""
    return torch.randint(0, TINY.vocab_size, (rows, length), generator=torch.Generator().manual_seed(seed))


def packed(lengths, padding=0):
    """Segments and positions (1, T) of documents of `lengths` in one row; segment 0 is padding."""
    segments = [n for n, length in enumerate(lengths, 1) for _ in range(length)] + [0] * padding
    positions = [p for length in lengths for p in range(length)] + list(range(padding))
    return torch.tensor([segments]), torch.tensor([positions])


def main_logits(model: Transformer, ids: torch.Tensor) -> torch.Tensor:
    """Logits (B, T, V) of whole rows, positions from 0, plain causal."""
    with torch.no_grad():
        return model.logits(model(ids, torch.arange(ids.shape[1]).expand_as(ids)))


def names_in(folder) -> list[str]:
    """Sorted names of what a folder holds."""
    return sorted(path.name for path in folder.iterdir())


def same_state(one: Transformer, two: Transformer) -> bool:
    """Whether two models have the same tensors, bit for bit."""
    one, two = one.state_dict(), two.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)
