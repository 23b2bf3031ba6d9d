"""The optimisers: AdamW as in the paper, Muon by hand."""

import math

import numpy as np
import pytest
import torch

from openmimo.recipe import Optim
from openmimo.train.optim import Muon, Optimisers, orthogonalise

torch.set_num_threads(1)


def reference_adamw(values, gradients, lrs, decay, betas=(0.9, 0.95), eps=1e-8):
    """AdamW after Loshchilov and Hutter, in float64."""
    m, v = np.zeros_like(values), np.zeros_like(values)
    for t, (g, lr) in enumerate(zip(gradients, lrs, strict=True), 1):
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        values = values - lr * decay * values
        values = values - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return values


class TwoParameters(torch.nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.matrix = torch.nn.Parameter(torch.randn(3, 4, generator=generator))
        self.vector = torch.nn.Parameter(torch.randn(4, generator=generator))


@pytest.mark.parametrize("decay", [0.1, 0.0])
def test_adamw_is_the_papers_with_clipping_and_decay_of_matrices_only(decay):
    model, rng, lrs = TwoParameters(), np.random.default_rng(0), [1e-3, 5e-3, 1e-2, 2e-3]
    start = {n: p.detach().double().numpy() for n, p in model.named_parameters()}
    optim = Optimisers(model, Optim(weight_decay=decay, clip=1.0))
    clipped = {"matrix": [], "vector": []}
    for number, lr in enumerate(lrs):
        gradients = {n: rng.normal(size=tuple(p.shape)) * (0.05 if number == 1 else 1) for n, p in start.items()}
        norm = math.sqrt(sum((g**2).sum() for g in gradients.values()))
        for name, p in model.named_parameters():
            p.grad = torch.from_numpy(gradients[name]).float()
            clipped[name].append(gradients[name] * min(1.0, 1.0 / norm))
        assert optim.step(lr) == pytest.approx(norm, rel=1e-5)
        assert all(p.grad is None for p in model.parameters())
    for name, weight in model.named_parameters():
        expected = reference_adamw(start[name], clipped[name], lrs, decay if name == "matrix" else 0.0)
        np.testing.assert_allclose(weight.detach().numpy(), expected, atol=1e-6)
    if decay:  # negative control: the vector does not decay
        wrong = reference_adamw(start["vector"], clipped["vector"], lrs, decay)
        assert np.abs(model.vector.detach().numpy() - wrong).max() > 1e-5


@pytest.mark.parametrize("shape", [(24, 24), (8, 40), (40, 8)])
def test_orthogonalise_keeps_directions_and_levels_singular_values(shape):
    matrices = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = orthogonalise(matrices)
    u, s, vh = torch.linalg.svd(matrices, full_matrices=False)
    assert (s[:, 0] / s[:, -1]).max() > 1.5
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.3 and values.max() < 1.3 and 0.8 < values.mean() < 1.1
    inside = u.transpose(1, 2) @ found @ vh.transpose(1, 2)  # diagonal: the same singular vectors
    assert (inside - torch.diag_embed(inside.diagonal(dim1=1, dim2=2))).abs().max() < 1e-6
    torch.testing.assert_close(orthogonalise(matrices[2:3])[0], found[2])


def test_a_muon_step_by_hand():
    """Nesterov momentum, orthogonalised; root mean square 0.2 x lr whatever the gradient's size and the shape."""
    for shape, size in (((16, 16), 1.0), ((8, 32), 1e-4), ((32, 8), 1e3)):
        generator = torch.Generator().manual_seed(1)
        gradients = [size * torch.randn(shape, generator=generator) for _ in range(2)]
        p = torch.nn.Parameter(torch.ones(shape))
        muon, momentum, expected = Muon([p], momentum=0.9, weight_decay=0.5), torch.zeros(shape), torch.ones(shape)
        for lr, gradient in zip((0.1, 0.02), gradients, strict=True):
            p.grad = gradient.clone()
            muon.param_groups[0]["lr"] = lr
            muon.step()
            momentum = 0.9 * momentum + 0.1 * gradient
            update = orthogonalise((0.1 * gradient + 0.9 * momentum)[None])[0] * 0.2 * max(shape) ** 0.5
            assert update.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.2)
            expected = expected * (1 - lr * 0.5) - lr * update
            torch.testing.assert_close(p.detach(), expected, atol=1e-5, rtol=1e-5)
