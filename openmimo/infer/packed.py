"""The model with its weights laid out for inference, once for each version of them.

The very modules of openmimo/model run (one definition), but their matrix products read weights that were joined (q, k
and v; gate and up) and transposed beforehand. Widths are padded to a multiple of 16 with zeros where an elementwise
function follows, so that the vector unit computes every element the same way.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openmimo.model.config import ModelConfig
from openmimo.model.layers import Attention, SwiGLU
from openmimo.model.transformer import Transformer

LANES = 16
PREPACKED = (
    1 << 20
)  # elements from which oneDNN's own layout is the faster one (measured: 1.1 to 2 times, small batches)


class PackedLinear:
    """x @ weight + bias for tensors of shape (outputs, inputs) named `parts`, side by side; each part's outputs start
    at a multiple of `lanes`, inputs are padded to a multiple of `inner`."""

    def __init__(self, parts: list[str], shapes: list[tuple[int, int]], bias: bool, dtype, device, lanes=1, inner=1):
        self.parts, self.bias_of = parts, bias
        widths = [-(-n // lanes) * lanes for n, _ in shapes]
        rows = -(-shapes[0][1] // inner) * inner
        self.shape = (rows, sum(widths))
        self.dtype, self.device = dtype, device
        self.prepacked = (
            rows * sum(widths) >= PREPACKED
            and dtype == torch.float32
            and torch.device(device).type == "cpu"
            and torch.backends.mkldnn.is_available()
        )
        self.weight = self.bias = None
        starts = [sum(widths[:i]) for i in range(len(widths))]
        self.places = [slice(at, at + n) for at, (n, _) in zip(starts, shapes, strict=True)]
        self.inputs = shapes[0][1]

    def load(self, state: dict[str, Tensor]) -> None:
        """Reads the parts from a state dict; weights in oneDNN's layout are made anew, others written over."""
        weights = [state[part + ".weight"] for part in self.parts]
        if self.prepacked:  # from (outputs, inputs)
            plain = weights[0]
            if plain.shape != self.shape[::-1] or plain.dtype != self.dtype:
                plain = torch.zeros(self.shape[::-1], dtype=self.dtype, device=self.device)
                for weight, place in zip(weights, self.places, strict=True):
                    plain[place, : self.inputs].copy_(weight)
            self.weight = torch.ops.mkldnn._reorder_linear_weight(plain.contiguous(), 64)
        else:
            if self.weight is None:
                self.weight = torch.zeros(self.shape, dtype=self.dtype, device=self.device)
            for weight, place in zip(weights, self.places, strict=True):
                self.weight[: self.inputs, place].copy_(weight.t())
        if self.bias_of:
            self.bias = torch.zeros(self.shape[1], dtype=self.dtype, device=self.device)
            for part, place in zip(self.parts, self.places, strict=True):
                self.bias[place].copy_(state[part + ".bias"])

    def __call__(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        if self.prepacked:
            y = torch.ops.mkldnn._linear_pointwise(flat, self.weight, self.bias, "none", [], "")
        elif self.bias is None:
            y = torch.mm(flat, self.weight)
        else:
            y = torch.addmm(self.bias, flat, self.weight)
        return y.view(*x.shape[:-1], -1)


class PackedModel:
    """`model`: a Transformer without gradients whose products are packed. `load` takes any state dict of the config."""

    def __init__(self, config: ModelConfig, rope_base: float, dtype: torch.dtype, device: torch.device):
        with torch.device("meta"):
            self.model = Transformer(config).eval().requires_grad_(False)
        self.model.rope_base = rope_base
        self.linears: list[PackedLinear] = []
        for name, module in list(self.model.named_modules()):
            if isinstance(module, Attention):
                self._replace(module, "qkv", [f"{name}.{p}_proj" for p in "qkv"], dtype, device)
            elif isinstance(module, SwiGLU):
                self._replace(module, "gate_up", [f"{name}.gate_proj", f"{name}.up_proj"], dtype, device, lanes=LANES)
        for name, module in list(self.model.named_modules()):
            if isinstance(module, nn.Linear):
                parent, _, leaf = name.rpartition(".")
                inner = LANES if leaf == "down_proj" else 1
                self._replace(self.model.get_submodule(parent), leaf, [name], dtype, device, inner=inner)
        self.model.to_empty(device=device).to(dtype)

    def _replace(self, owner: nn.Module, attribute: str, parts: list[str], dtype, device, **padding) -> None:
        """Puts a packed product in the place of a Linear, or of a method that joins several."""
        modules = [self.model.get_submodule(part) for part in parts]
        shapes = [(m.out_features, m.in_features) for m in modules]
        packed = PackedLinear(parts, shapes, modules[0].bias is not None, dtype, device, **padding)
        for part in parts:
            parent, _, leaf = part.rpartition(".")
            delattr(self.model.get_submodule(parent), leaf)
        setattr(owner, attribute, packed)
        self.linears.append(packed)

    def load(self, state: dict[str, Tensor], consume: bool = False) -> None:
        """Copies weights in; what held them may change or go afterwards. consume: takes each out of `state`."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if consume and state[name].dtype == parameter.dtype and state[name].device == parameter.device:
                    parameter.data = state.pop(name)
                else:
                    parameter.copy_(state[name])
            for linear in self.linears:
                linear.load(state)
                for part in linear.parts if consume else ():
                    del state[part + ".weight"]
