"""Optimisers: AdamW as in the report [R 2.3], and Muon for tiny models (our choice, named in the recipe).

Muon (Keller Jordan; update scaled as in Moonlight, so that its root mean square is that of AdamW's, about 0.2) moves the
matrices of the blocks; embeddings, head, norms and biases stay with AdamW at lr x adam_ratio. In fp32: torch's own Muon
orthogonalises in bfloat16, which is very slow on CPUs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from openmimo.errors import UserError
from openmimo.recipe import Optim
from openmimo.train.parallel import Parallel


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by five Newton-Schulz steps; matrices of one shape are done in one batch, and ranks
    share the matrices among them."""

    def __init__(self, params, lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.0, parallel=None):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.parallel = parallel or Parallel()

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault(p.shape, []).append(p)
            for shape, params in by_shape.items():
                scale = 0.2 * max(shape) ** 0.5
                updates = torch.stack([self._momentum(p, group["momentum"]) for p in params])
                for p, update in zip(params, self._orthogonalised(updates), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(update, alpha=-group["lr"] * scale)

    def _orthogonalised(self, updates: Tensor) -> Tensor:
        """orthogonalise(updates), each rank doing its share."""
        if self.parallel.world == 1:
            return orthogonalise(updates)
        mine, done = self.parallel.mine(len(updates)), torch.zeros_like(updates)
        if len(updates[mine]):
            done[mine] = orthogonalise(updates[mine])
        self.parallel.sum([done])  # every matrix is one rank's; the others add zeros
        return done

    def _momentum(self, p: Tensor, momentum: float) -> Tensor:
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(state["momentum"], momentum)  # Nesterov


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """(N, rows, columns) -> nearest semi-orthogonal matrices, roughly: singular values end in about [0.7, 1.2]."""
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    if tall := x.shape[1] > x.shape[2]:
        x = x.transpose(1, 2)
    for _ in range(steps):
        square = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.transpose(1, 2) if tall else x


class Optimisers:
    """All optimisers of a model behind one `step(lr)`. Frozen parameters (requires_grad False) are left out."""

    def __init__(self, model: nn.Module, config: Optim, parallel: Parallel | None = None):
        named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        matrices = [p for n, p in named.items() if config.name == "muon" and _is_block_matrix(n, p)]
        taken = {id(p) for p in matrices}
        decayed = [p for p in named.values() if id(p) not in taken and p.ndim >= 2]
        plain = [p for p in named.values() if id(p) not in taken and p.ndim < 2]
        ratio = config.adam_ratio if config.name == "muon" else 1.0
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        adam = torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, betas=config.betas, foreach=True)
        self.parts = [(adam, ratio)]
        if matrices:
            muon = Muon(matrices, momentum=config.momentum, weight_decay=config.weight_decay, parallel=parallel)
            self.parts.append((muon, 1.0))
        self.parameters = list(named.values())
        self.clip = config.clip

    def step(self, lr: float) -> float:
        """Clips the gradients, moves the weights, clears the gradients; returns the gradient's norm before clipping.
        Raises UserError where it is not finite: the weights stay as they were."""
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.clip))
        if not math.isfinite(norm):
            raise UserError(f"training diverged (gradient norm {norm}); lower the learning rate and run again")
        for optimiser, ratio in self.parts:
            for group in optimiser.param_groups:
                group["lr"] = lr * ratio
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> list[dict]:
        return [optimiser.state_dict() for optimiser, _ in self.parts]

    def load_state_dict(self, states: list[dict]) -> None:
        for (optimiser, _), state in zip(self.parts, states, strict=True):
            optimiser.load_state_dict(state)


def _is_block_matrix(name: str, p: Tensor) -> bool:
    return p.ndim == 2 and "layers." in name
