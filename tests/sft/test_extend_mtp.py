"""Freeze and copy: two copies of the trained MTP layer are tuned on the model's own text, and nothing else moves a bit."""

import json
import math

import pytest
import torch
from miniature import checkpoint_folder, model_of, problems
from rich.console import Console

from openmimo import alone
from openmimo.errors import UserError
from openmimo.model.hub import load_checkpoint
from openmimo.recipe import Extend, Optim
from openmimo.rows import write_rows
from openmimo.sft import extend_mtp
from openmimo.sft.extend_mtp import own_text, with_copies
from openmimo.train.checkpoint import Checkpointer
from openmimo.train.log import Log

torch.set_num_threads(1)
SETTINGS = Extend(
    optim=Optim(name="muon", weight_decay=0.0), lr=1e-2, warmup_steps=1, batch=2, length=64, epochs=1, micro_batch=2,
    samples=3, max_tokens=20,
)  # fmt: skip
PROMPTS = [(5, 6, 7), (8, 9), (5, 6, 7), (30,)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return checkpoint_folder(tmp_path_factory.mktemp("extend") / "model")


def log_of(folder, listener=None) -> Log:
    folder.mkdir(parents=True, exist_ok=True)
    return Log(folder, listener)


def run(source, folder, every_s=math.inf, listener=None):
    log = log_of(folder, listener)
    extend_mtp.extend(source, PROMPTS, 3, SETTINGS, 0, 4, folder, Checkpointer(folder, every_s), log)
    log.close()
    return load_checkpoint(folder)


def test_the_copies_alone_move(source, tmp_path):
    old, new = load_checkpoint(source).state_dict(), run(source, tmp_path / "out")
    assert new.config.mtp_layers == 3 and len(new.state_dict()) == len(old) + 32
    for name, tensor in new.state_dict().items():
        copy = name.startswith(("model.mtp_layers.1.", "model.mtp_layers.2."))
        first = old["model.mtp_layers.0." + name.split(".", 3)[3]] if copy else old[name]
        assert torch.equal(tensor, first) != copy or name.endswith("k_proj.bias"), name
    rows = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert {"mtp_loss", "mtp_loss_2", "mtp_loss_3", "mtp_accept", "mtp_accept_2", "mtp_accept_3"} <= rows[-1].keys()
    assert rows[-1]["mtp_loss_3"] < rows[0]["mtp_loss_3"] and rows[-1]["mtp_loss_2"] < rows[0]["mtp_loss_2"]


def test_a_frozen_tensor_that_moves_is_seen(source, tmp_path, monkeypatch):
    """Negative control of the check before the folder is written: one bias of the main model is left free."""

    def leaky(model, layers, where):
        wider = with_copies(model, layers, where)
        wider.model.mtp_layers[0].self_attn.v_proj.bias.data += 1e-6
        return wider

    monkeypatch.setattr(extend_mtp, "with_copies", leaky)
    with pytest.raises(AssertionError, match="a frozen tensor has moved"):
        run(source, tmp_path / "out")
    assert not (tmp_path / "out" / "model.safetensors").exists()


class Killed(BaseException):
    """Stands in for kill -9."""


def test_a_killed_run_keeps_its_text_and_goes_on_bit_equal(source, tmp_path):
    whole = run(source, tmp_path / "whole").state_dict()

    def kill(row):
        if row.get("step") == 3:
            raise Killed

    folder = tmp_path / "broken"
    with pytest.raises(Killed):
        run(source, folder, every_s=0, listener=kill)
    text = folder / "text.jsonl"
    lines = text.read_bytes().splitlines(keepends=True)
    assert len(lines) == len(PROMPTS) * SETTINGS.samples
    text.write_bytes(b"".join(lines[2:]) + lines[0][:5])  # two responses gone, one cut
    resumed = run(source, folder).state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert sorted(text.read_bytes().splitlines()) == sorted(line.strip() for line in lines)


def test_the_text_is_the_models_own(source, tmp_path):
    """Each response is what the engine gives for its prompt and number, and the prompt has no loss."""
    documents = own_text(source, PROMPTS, SETTINGS, 0, 4, tmp_path / "text.jsonl", log_of(tmp_path))
    again = own_text(source, PROMPTS, SETTINGS, 0, 9, tmp_path / "other.jsonl", log_of(tmp_path))
    assert documents == again and len(documents) == 12
    assert [tuple(ids[:start]) for ids, start in documents[::3]] == PROMPTS
    assert len({tuple(ids) for ids, _ in documents}) == 12
    assert all(0 < len(ids) - start <= SETTINGS.max_tokens for ids, start in documents)


@pytest.mark.parametrize(("stored", "layers"), [(0, 3), (2, 2), (3, 2)])
def test_nothing_to_copy_or_to_add_is_a_user_error(stored, layers):
    from miniature import CONFIG

    with pytest.raises(UserError, match=f"here: it has {stored} MTP layers"):
        with_copies(model_of(CONFIG.model_copy(update={"mtp_layers": stored})), layers, "here")


def test_the_command_takes_problems_and_prompts(source, tmp_path):
    write_rows(tmp_path / "problems.jsonl", problems(3))
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "2 + 2"}\n{"token_ids": [5, 6]}\n')
    small = [f"extend.{k}" for k in ("samples=1", "max_tokens=4", "length=64", "batch=2", "epochs=1")]
    quiet = Console(quiet=True)
    for name in ("problems", "prompts"):
        alone.run_extend(source, tmp_path / f"out-{name}", 2, tmp_path / f"{name}.jsonl", small, quiet)
        assert load_checkpoint(tmp_path / f"out-{name}").config.mtp_layers == 2
    with pytest.raises(UserError, match="is not in a run's folder; give --prompts"):
        alone.run_extend(source, tmp_path / "out", 2, None, small, quiet)
    (tmp_path / "bad.jsonl").write_text('{"prompt": "2 + 2"}\n{"promt": "2"}\n')
    with pytest.raises(UserError, match="bad.jsonl:2: a row is an object"):
        alone.run_extend(source, tmp_path / "out", 2, tmp_path / "bad.jsonl", small, quiet)
    assert not any(path.name.startswith("out.") or path.name == "out" for path in tmp_path.iterdir())
