"""The smallest things that the rooms' tests share: token shards, a tokenizer, a checkpoint folder, problems."""

from pathlib import Path

import numpy as np

from openmimo.data.pack import TokenStore
from openmimo.model.config import ModelConfig
from openmimo.model.hub import save_checkpoint
from openmimo.model.tokenizer import train_bpe
from openmimo.model.transformer import Transformer
from openmimo.rows import Problem

VOCABULARY = 280
CONFIG = ModelConfig(
    vocab_size=VOCABULARY + 8,  # padded: the last ids are no token's
    hidden_size=32,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=8,
    ffn_size=48,
    max_length=96,
    rope_base=500.0,
    mtp_layers=1,
)
TEXT = "2 + 2 = 4, and the answer is \\boxed{4}. Ask for the sum of the even numbers in xs.\n" * 30


def model_of(config: ModelConfig = CONFIG, seed: int = 0, std: float = 0.25):
    """A model whose every parameter is random and matters, so that what it samples varies."""
    import torch

    model = Transformer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            centre = 1.0 if name.endswith("norm.weight") else 0.0
            weight.copy_(centre + std * torch.randn(weight.shape, generator=generator))
    return model.eval()


def checkpoint_folder(folder: Path, seed: int = 0, **changes) -> Path:
    """A `mimo` checkpoint with a tokenizer trained on TEXT."""
    train_bpe([TEXT], VOCABULARY, folder.parent / "tokenizer")
    return save_checkpoint(folder, model_of(CONFIG.model_copy(update=changes), seed), folder.parent / "tokenizer")


def documents(seed: int, count: int, vocabulary: int, shortest: int = 3, longest: int = 40) -> list:
    """Random documents as `TokenStore.write` takes them."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, longest + 1, count)
    return [(rng.integers(1, vocabulary, int(n)).tolist(), 0) for n in lengths]


def token_store(folder: Path, vocabulary: int = 64, count: int = 60, names=("code", "math")) -> TokenStore:
    """Shards of random documents, one for each name."""
    for number, name in enumerate(names):
        TokenStore.write(folder, name, documents(number, count, vocabulary))
    return TokenStore(folder)


def problems(count: int = 6) -> list[Problem]:
    """`count` sums."""
    return [
        Problem(f"p{n}", "math", [{"role": "user", "content": f"What is {n} + 2?"}], answer=str(n + 2))
        for n in range(count)
    ]
