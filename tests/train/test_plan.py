"""`openmimo plan`: exact steps at every border, figures by hand, under two seconds without torch."""

import json
import os
import subprocess
import sys
from bisect import bisect_left
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

from openmimo.model.config import ModelConfig
from openmimo.model.transformer import Transformer, cross_entropy, segment_mask
from openmimo.recipe import Optim, load_recipe, parse_recipe
from openmimo.train.memory import activation_bytes, optimiser_bytes
from openmimo.train.plan import border_steps, plan, print_plan, to_json
from openmimo.train.schedule import Schedule

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
MIMO = next(path for path in RECIPES if path.name == "mimo-7b.toml")
COMMAND = """
import sys
from rich.console import Console
from openmimo.recipe import load_recipe
from openmimo.train.plan import print_plan
print_plan(load_recipe(sys.argv[1]), Console())
assert "torch" not in sys.modules, "torch was imported"
"""

STAGES = [
    {"name": "one", "tokens": 5000, "length": 10, "rope_base": 1e3, "mix": {"web": 1.0}},
    {"name": "two", "tokens": 3110, "length": 10, "rope_base": 1e3, "mix": {"web": 0.5, "code": 0.5}},
    {"name": "three", "tokens": 2005, "length": 30, "rope_base": 1e4, "mix": {"code": 1.0}},
]


def small(**pretrain):
    """A recipe of 10,115 tokens with curves that change inside stages and at their borders."""
    curves = {
        "lr": [{"shape": "linear", "tokens": 777, "to": 1e-3}, {"shape": "cosine", "tokens": 9338, "to": 1e-4}],
        "batch": [
            {"shape": "linear", "tokens": 2500, "to": 9},
            {"shape": "constant", "tokens": 5610},
            {"shape": "constant", "to": 4},
        ],
        "mtp_weight": [{"shape": "constant", "tokens": 4321, "to": 0.3}, {"shape": "constant", "to": 0.1}],
    }
    model = {"vocab_size": 500, "hidden_size": 64, "layers": 3, "heads": 6, "kv_heads": 2, "head_dim": 16}
    data = {
        "name": "small",
        "problems": {"families": {"math": 1}, "train": 10, "test": 5},
        "tokenizer": {"vocab_size": 500},
        "model": model | {"ffn_size": 176, "max_length": 128},
        "pretrain": curves | {"stages": STAGES} | pretrain,
        "rl": {"steps": 3},
    }
    return parse_recipe(data)


def walked(schedule, marks):
    begins = [point.tokens for point in schedule.steps()]
    return {mark: bisect_left(begins, mark) for mark in marks}


VARIANTS = {
    "curves": {},
    "cosine batch": {"batch": [{"shape": "cosine", "tokens": 10_115, "to": 40}]},
    "batch to one": {
        "batch": [{"shape": "constant", "tokens": 100, "to": 50}, {"shape": "linear", "tokens": 10_015, "to": 1}]
    },
    "constant": {"batch": [{"shape": "constant", "to": 7}]},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_steps_at_borders_are_those_of_the_walk(changes):
    recipe = small(**changes)
    schedule, borders = Schedule(recipe.pretrain), plan(recipe).borders
    marks = [border.tokens for border in borders]
    assert {0.0, 777.0, 4321.0, 5000.0, 8110.0, 10_115.0} <= set(marks)
    assert {border.tokens: border.step for border in borders} == walked(schedule, marks)
    assert border_steps(schedule, marks)[10_115.0] == schedule.count_steps() == plan(recipe).steps
    assert sum(stage.steps for stage in plan(recipe).stages) == plan(recipe).steps


def test_borders_carry_the_schedule():
    borders = {border.tokens: border for border in plan(small()).borders}
    assert borders[0.0].change == "one begins: mix web 100 %; lr linear to 0.001; batch linear to 9; MTP weight 0.3"
    assert borders[4321.0].change == "MTP weight 0.1" and borders[4321.0].mtp_weight == 0.1
    assert borders[8110.0].change == "three begins: mix code 100 %; batch 4"
    three = borders[8110.0]
    assert (three.stage, three.batch, three.length, three.rope_base, three.mix) == ("three", 4, 30, 1e4, {"code": 1.0})
    assert borders[10_115.0].change == "the end" and borders[10_115.0].lr == pytest.approx(1e-4)


def test_the_papers_plan():
    """Steps of the stages in which the batch is constant follow by division: tokens / (batch x length), rounded up."""
    p = plan(load_recipe(MIMO))
    assert (p.tensors, p.parameters["total"], p.total_size) == (451, 7_833_409_536, 15_666_819_072)
    assert p.parameters["main"] + p.parameters["mtp"] == p.parameters["total"]
    assert p.tokens == 23.784e12
    step = {border.tokens: border.step for border in p.borders}
    assert step[21.784e12] - step[17.784e12] == pytest.approx(4e12 / (2560 * 8192), abs=1)
    assert step[23.784e12] - step[21.784e12] == pytest.approx(2e12 / (640 * 32768), abs=1)
    assert step[10.3e12] - step[10.284e12] == pytest.approx(16e9 / (2560 * 8192), abs=1)
    begins = [0]  # the warm-up, walked: 2,560 sequences after 168B tokens, growing linearly
    while begins[-1] < 168e9:
        begins.append(begins[-1] + max(1, round(2560 * begins[-1] / 168e9)) * 8192)
    assert step[84e9] == bisect_left(begins, 84e9) and step[168e9] == bisect_left(begins, 168e9)
    assert p.flops == sum(s.tokens * load_recipe(MIMO).model.flops_per_token(s.length) for s in p.stages)
    assert 0.9 < p.flops / (6 * p.parameters["total"] * p.tokens) < 1.5  # 6 N D and the attention


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_plan_takes_under_two_seconds_and_no_torch(path):
    began = os.times()
    out = subprocess.run([sys.executable, "-c", COMMAND, str(path)], capture_output=True, text=True)
    ended = os.times()
    seconds = (
        ended.children_user + ended.children_system - began.children_user - began.children_system
    )  # CPU: load apart
    assert out.returncode == 0, out.stderr
    assert seconds < 2
    p = plan(load_recipe(path))
    assert f"{p.parameters['total']:,}" in out.stdout and f"{p.steps:,} steps" in out.stdout
    for border in p.borders:
        assert any(f" {border.step:,} " in line and border.change in line for line in out.stdout.splitlines())


def test_json_holds_the_whole_plan():
    data = json.loads(to_json(plan(small())))
    assert data["borders"][0]["step"] == 0 and data["borders"][-1]["change"] == "the end"
    assert data["steps"] == plan(small()).steps and set(data["later"]) == {"SFT", "RL data", "RL", "evaluation"}
    assert data["memory_bytes"]["total"] == sum(v for k, v in data["memory_bytes"].items() if k != "total")


def test_a_narrow_terminal_folds_no_line():
    out = StringIO()
    print_plan(small(), Console(file=out, width=40))
    assert any(line.startswith("one ") and line.endswith("MTP weight 0.3") for line in out.getvalue().splitlines())


def kept_bytes(config: ModelConfig, rows: int, length: int) -> int:
    """Bytes of the storages that autograd keeps for one training micro batch, parameters left out."""
    model = Transformer(config)
    model.reset_parameters(0)
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.zeros(rows, length, dtype=torch.long)
    positions = torch.arange(length).expand(rows, length)
    mask = segment_mask(torch.ones_like(ids))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = model(ids, positions, mask)
        loss = cross_entropy(model.logits(hidden), ids)
        for logits in model.mtp_logits(hidden, ids, positions, mask):
            loss = loss + cross_entropy(logits, ids)
    return sum(t.untyped_storage().nbytes() for pointer, t in kept.items() if pointer not in parameters)


@pytest.mark.parametrize("changes", [{}, {"kv_heads": 6}, {"mtp_layers": 0}, {"mtp_layers": 3}, {"vocab_size": 4000}])
def test_activation_memory_is_what_autograd_keeps(changes):
    config = small().model.model_copy(update=changes)
    for rows, length in ((2, 128), (5, 48)):
        measured = kept_bytes(config, rows, length)
        assert activation_bytes(config, rows, length) == pytest.approx(measured, rel=0.1)


def test_optimiser_memory_by_hand():
    config = small().model
    matrices = sum(p.numel() for n, p in Transformer(config).named_parameters() if p.ndim == 2 and "layers." in n)
    assert optimiser_bytes(config, Optim()) == 8 * config.parameters()
    assert optimiser_bytes(config, Optim(name="muon")) == 8 * config.parameters() - 4 * matrices
    parts = plan(small()).memory_bytes
    assert parts["weights"] == parts["gradients"] == 4 * config.parameters()
    # Stages one and two have up to 9 rows of 10 tokens, stage three 4 rows of 30, all below the micro batch of 64.
    assert parts["activations"] == max(activation_bytes(config, 9, 10), activation_bytes(config, 4, 30))
