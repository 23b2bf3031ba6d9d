"""How much memory pre-training needs, from the recipe alone [R 2.2, 2.3]. Imports no torch; `FORMULA` says how.

    python -c "from openmimo.recipe import load_recipe; from openmimo.train.memory import estimate; \\
               print(estimate(load_recipe('recipes/mimo-7b.toml')))"
"""

from __future__ import annotations

from openmimo.model.config import ModelConfig
from openmimo.recipe import Optim, Recipe
from openmimo.train.schedule import Schedule

FORMULA = (
    "float32, one device, nothing recomputed. Weights and gradients: 4 B a parameter; AdamW 8 B, Muon 4 B for the "
    "blocks' matrices. Activations, what autograd keeps for one micro batch: 4 B x [tokens x ((L+M)(6D + 2Q + K + 4F + "
    "H + S + R) + (1+M)(3D + V) + 8MD) + (L+M)D(Q + 2K + 2F)] with L layers, M MTP layers, D hidden, Q and K = heads "
    "and key-value heads x head_dim, R = 2Q where heads share keys, else Q + 2K, F FFN, H heads, S length, "
    "V vocabulary; the last term is the joined q/k/v and gate/up matrices."
)


def estimate(recipe: Recipe) -> dict[str, int]:
    """Bytes by FORMULA: weights, gradients, optimiser, activations (of the stage that needs most), total."""
    model, pretrain = recipe.model, recipe.pretrain
    weights = 4 * model.parameters()
    schedule, start, activations = Schedule(pretrain), 0.0, 0
    for stage, end in zip(pretrain.stages, schedule.borders, strict=True):
        batch = max(schedule.at(start).batch, schedule.at(end - stage.length).batch)
        activations = max(activations, activation_bytes(model, min(batch, pretrain.micro_batch), stage.length))
        start = end
    parts = {"weights": weights, "gradients": weights, "optimiser": optimiser_bytes(model, pretrain.optim)}
    parts["activations"] = activations
    return parts | {"total": sum(parts.values())}


def activation_bytes(model: ModelConfig, rows: int, length: int) -> int:
    """Bytes that autograd keeps for a micro batch of `rows` sequences of `length` tokens, by FORMULA."""
    d, f, mtp, blocks = model.hidden_size, model.ffn_size, model.mtp_layers, model.layers + model.mtp_layers
    q, kv = model.heads * model.head_dim, model.kv_heads * model.head_dim
    repeated = 2 * q if model.heads > model.kv_heads else q + 2 * kv
    block = 6 * d + 2 * q + kv + 4 * f + model.heads + length + repeated
    token = blocks * block + (1 + mtp) * (3 * d + model.vocab_size) + 8 * mtp * d
    return 4 * (rows * length * token + blocks * d * (q + 2 * kv + 2 * f))


def optimiser_bytes(model: ModelConfig, optim: Optim) -> int:
    """Bytes of the optimiser's state in float32: two moments a parameter, one for what Muon moves."""
    two = 8 * model.parameters()
    if optim.name == "adamw":
        return two
    shapes = [shape for name, shape in model.tensors().items() if "layers." in name and len(shape) == 2]
    return two - 4 * sum(rows * columns for rows, columns in shapes)
