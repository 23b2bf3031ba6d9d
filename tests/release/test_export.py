"""Export to both profiles keeps every weight and logit; conform finds what does not."""

import builtins
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from openmimo.errors import UserError
from openmimo.model.config import ModelConfig
from openmimo.model.hub import load_checkpoint, save_checkpoint, stored_tensors
from openmimo.model.transformer import Transformer
from openmimo.release.conform import check_layout, check_logits
from openmimo.release.export import export

CONFIG = ModelConfig(
    vocab_size=97,
    hidden_size=32,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=8,
    ffn_size=40,
    max_length=64,
    rope_base=700.0,
)


@pytest.fixture
def folder(tmp_path):
    """A mimo folder of random weights with a tokenizer file and special ids."""
    model = Transformer(CONFIG)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text("{}")
    return save_checkpoint(tmp_path / "rl", model, [tokenizer], eos_id=2, extra={"pad_token_id": 0})


def test_the_qwen2_view_loses_only_mtp_and_no_logit(tmp_path, folder):
    pytest.importorskip("transformers")
    out = export(folder, tmp_path / "qwen2", "qwen2")
    before, after = load_file(folder / "model.safetensors"), load_file(out / "model.safetensors")
    assert {name for name in before if name not in after} == {n for n in before if ".mtp_layers." in n}
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
    config = json.loads((out / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("qwen2", ["Qwen2ForCausalLM"])
    assert "auto_map" not in config and "num_nextn_predict_layers" not in config
    assert (config["eos_token_id"], config["pad_token_id"]) == (2, 0)
    assert (out / "tokenizer.json").is_file() and not list(out.glob("*.py"))
    assert check_logits(out) < 1e-4
    assert len(check_layout(ModelConfig.from_folder(out), out, "qwen2").tensors) == 2 * 12 + 3


def test_the_logits_check_sees_a_wrong_weight_and_a_wrong_config(tmp_path, folder, monkeypatch):
    pytest.importorskip("transformers")
    out = export(folder, tmp_path / "qwen2", "qwen2")
    read = Transformer.forward

    def wrong_base(self, *args):
        self.rope_base = 10_000.0
        return read(self, *args)

    monkeypatch.setattr(Transformer, "forward", wrong_base)
    with pytest.raises(UserError, match="logits differ"):
        check_logits(out)
    with pytest.raises(UserError, match="qwen2"):
        check_logits(folder)


def test_export_to_mimo_keeps_everything(tmp_path, folder):
    out = export(folder, tmp_path / "copy", "mimo")
    assert (out / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert json.loads((out / "config.json").read_text()) == json.loads((folder / "config.json").read_text())
    check_layout(CONFIG, out)


def test_the_stored_type_is_kept_unless_another_is_asked_for(tmp_path, folder):
    half = export(folder, tmp_path / "half", "mimo", dtype="bfloat16")
    again = export(half, tmp_path / "again", "qwen2")
    assert {dtype for _, _, dtype in stored_tensors(again).values()} == {"BF16"}
    assert json.loads((again / "config.json").read_text())["torch_dtype"] == "bfloat16"
    size = sum(t.nbytes for t in load_file(half / "model.safetensors").values())
    assert size == check_layout(CONFIG, half).total_size
    assert (load_checkpoint(half).lm_head.weight - load_checkpoint(folder).lm_head.weight).abs().max() < 0.01


def test_bad_exports_are_user_errors_and_leave_nothing(tmp_path, folder):
    with pytest.raises(UserError, match="onto itself"):
        export(folder, tmp_path / "." / "rl", "qwen2")
    with pytest.raises(UserError, match="no config.json"):
        export(tmp_path / "absent", tmp_path / "out", "qwen2")
    with pytest.raises(UserError, match="profile"):
        export(folder, tmp_path / "out", "gpt2")
    assert not (tmp_path / "out").exists()


def test_the_layout_check_names_the_tensor(folder):
    path = folder / "model.safetensors"
    whole = load_file(path)
    for name, tensor in (("model.norm.weight", torch.ones(31)), ("extra", torch.ones(1)), ("lm_head.weight", None)):
        changed = {n: t for n, t in (whole | {name: tensor}).items() if t is not None}
        save_file(changed, path)
        with pytest.raises(UserError, match=f"tensor {name} is"):
            check_layout(CONFIG, folder)


def test_without_transformers_the_message_says_what_to_install(folder, monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "transformers":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UserError, match="pip install 'openmimo\\[dev\\]'"):
        check_logits(folder)


def test_transformers_cuts_text_as_we_do(tmp_path):
    """AutoTokenizer takes its own word pattern for model_type qwen2; another pattern of ours must show."""
    from transformers import AutoTokenizer

    from openmimo.model import tokenizer as room

    text = "Solve 4 - 1 - 75 = \n12, 13*u <think>\n4-1=-3\n</think>\n\\boxed{3}<|im_end|> naïve 你好 x's\tdef f(x):\n\n    return x"

    def agrees(folder) -> bool:
        room.train_bpe([text] * 20, 340, folder)
        (folder / "config.json").write_text('{"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}')
        theirs, ours = AutoTokenizer.from_pretrained(folder), room.Tokenizer.load(folder)
        assert theirs.eos_token_id == ours.eos_id
        return theirs(text).input_ids == ours.encode(text)

    assert agrees(tmp_path / "ours")
    pattern = room.QWEN2_WORDS
    room.QWEN2_WORDS = r"\p{L}+|\p{N}+| |[^\p{L}\p{N} ]+"
    try:
        assert not agrees(tmp_path / "another")
    finally:
        room.QWEN2_WORDS = pattern
