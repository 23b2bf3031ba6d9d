"""Damaged checkpoint folders name file and tensor; a failed or broken-off write leaves nothing half-written."""

import errno
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_model import names_in, same_state, tiny_model

from openmimo.errors import UserError
from openmimo.model import hub
from openmimo.model.hub import load_checkpoint, save_checkpoint


@pytest.fixture
def folder(tmp_path):
    return save_checkpoint(tmp_path / "base", tiny_model())


def rewrite(folder, change):
    """Applies `change` to the dict of the folder's tensors."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


NORM, MTP = "model.layers.1.input_layernorm.weight", "model.mtp_layers.0.input_proj.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(NORM), NORM),
        (lambda t: t.pop(MTP), MTP),
        (lambda t: t.pop("lm_head.weight"), "lm_head.weight is missing"),
        (lambda t: t.update(surprise=torch.ones(1)), "unexpected tensor surprise"),
        (lambda t: t.update({NORM: torch.ones(31)}), r"\[31\], config.json says \[32\]"),
        (lambda t: t.update({NORM: torch.ones(32, dtype=torch.int8)}), "I8"),
    ],
)
def test_wrong_tensors_are_named(folder, change, message):
    rewrite(folder, change)
    with pytest.raises(UserError, match=message):
        load_checkpoint(folder)


@pytest.mark.parametrize("keep", [0, 5, 200, -1, "noise"])
def test_a_damaged_weights_file_is_named(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(b"\xff" * 4000 if keep == "noise" else path.read_bytes()[:keep])
    with pytest.raises(UserError, match="model.safetensors.*copy the checkpoint again"):
        load_checkpoint(folder)


def test_a_damaged_index_is_named(tmp_path):
    folder = save_checkpoint(tmp_path / "base", tiny_model(), shard_bytes=20_000)
    index = folder / hub.INDEX
    whole = json.loads(index.read_text())
    for weight_map in (
        {},
        {"x": "../../secret.safetensors"},
        whole["weight_map"] | {"ghost": "model-00001-of-00003.safetensors"},
    ):
        index.write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(UserError, match="index.json"):
            load_checkpoint(folder)
    index.write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        load_checkpoint(folder)


def test_a_tied_folder_may_hold_its_head_only_if_it_agrees(tmp_path):
    folder = save_checkpoint(tmp_path / "base", tiny_model(tied=True))
    rewrite(folder, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()}))
    assert load_checkpoint(folder).config.tied
    rewrite(folder, lambda t: t["lm_head.weight"].add_(1))
    with pytest.raises(UserError, match="differs from the embedding"):
        load_checkpoint(folder)


def test_folders_that_are_no_checkpoints(tmp_path, folder):
    with pytest.raises(UserError, match="no config.json"):
        load_checkpoint(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="no model.safetensors"):
        load_checkpoint(folder)


def fail_with(error):
    def write(*args, **kwargs):
        raise error

    return write


FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    hub.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
]


@pytest.mark.parametrize("error", FULL)
@pytest.mark.parametrize("step", ["save_file", "_replace"])
def test_a_full_disk_leaves_the_old_checkpoint_and_nothing_else(tmp_path, folder, monkeypatch, error, step):
    before = load_checkpoint(folder)
    monkeypatch.setattr(hub, step, fail_with(error))
    with pytest.raises(UserError, match="disk is full"):
        save_checkpoint(folder, tiny_model(seed=5))
    with pytest.raises(UserError, match="disk is full"):
        save_checkpoint(tmp_path / "new", tiny_model(seed=5))
    assert names_in(tmp_path) == ["base"] and same_state(before, load_checkpoint(folder))


def test_an_interrupt_leaves_nothing_half_written(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "save_file", fail_with(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path / "base", tiny_model())
    assert names_in(tmp_path) == []


def test_saving_again_replaces_the_folder_and_sweeps_what_a_kill_left(tmp_path, folder):
    (folder / "stale.txt").write_text("old")
    for name in (".base.part", ".base.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text("half")
    save_checkpoint(folder, tiny_model(seed=5))
    assert names_in(tmp_path) == ["base"] and "stale.txt" not in names_in(folder)
    assert same_state(load_checkpoint(folder), tiny_model(seed=5))


def test_unknown_options_are_user_errors(tmp_path):
    for options in ({"profile": "gpt2"}, {"dtype": "int8"}):
        with pytest.raises(UserError, match="not known"):
            save_checkpoint(tmp_path / "base", tiny_model(), **options)
    target = tmp_path / "file"
    target.write_text("a file")
    with pytest.raises(UserError, match="cannot write"):
        save_checkpoint(target / "base", tiny_model())
