"""The stages alone, on the smoke run's checkpoints and on a Qwen2 folder that transformers wrote, on a user's files."""

import json
import shutil

import pytest
import torch
from conftest import SMOKE, openmimo
from miniature import problems
from test_smoke import check_scores, json_of, log_of

from openmimo.model.config import ModelConfig
from openmimo.model.hub import load_checkpoint
from openmimo.model.tokenizer import Tokenizer
from openmimo.rows import write_rows


def test_chat_answers(smoke):
    found = openmimo("chat", smoke.path / "rl", "--ask", "Calculate 2 + 3 - 1.", "--max-tokens", "24")
    assert found.returncode == 0 and found.stderr == "" and found.stdout.strip()


def test_report_of_a_run(smoke, tmp_path):
    run = tmp_path / "smoke"
    shutil.copytree(smoke.path, run, ignore=shutil.ignore_patterns("release", "*.safetensors", "report.html"))
    found = openmimo("report", run)
    assert found.returncode == 0 and "report.html" in found.stdout
    assert len((run / "report.html").read_text()) > 10_000


@pytest.fixture(scope="module")
def qwen2(smoke, tmp_path_factory):
    """A Qwen2 folder as transformers writes it: its weights, its tokenizer files, another chat template."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("qwen2") / "model"
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=520, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True,
    )  # fmt: skip
    transformers.Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(smoke.path / "tokens" / "tokenizer")
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    assert Tokenizer.load(folder).render_chat([{"role": "user", "content": "hi"}]) == "[user]hi<|im_end|>[assistant]"
    return folder


@pytest.fixture(params=["ours", "qwen2"])
def source(request, smoke):
    return smoke.path / "sft" if request.param == "ours" else request.getfixturevalue("qwen2")


@pytest.fixture
def files(tmp_path):
    """problems.jsonl, problems.parquet, chats.jsonl and a reward in a folder where the command is called."""
    write_rows(tmp_path / "problems.jsonl", problems(4))
    write_rows(tmp_path / "problems.parquet", problems(4))
    chats = [{"messages": [*p.messages, {"role": "assistant", "content": f"It is {p.answer}."}]} for p in problems(30)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(c) + "\n" for c in chats))
    (tmp_path / "own_reward.py").write_text("def length(problem, response):\n    return min(1.0, len(response) / 40)\n")
    return tmp_path


def changed(one, two) -> set[str]:
    one, two = load_checkpoint(one).state_dict(), load_checkpoint(two).state_dict()
    assert one.keys() == two.keys()
    return {name for name in one if not torch.equal(one[name], two[name])}


def test_sft_alone(source, files):
    settings = ["sft.lr=1e-3", "sft.batch=2", "sft.length=128", "sft.epochs=2", "sft.warmup_steps=1"]
    command = ["sft", "--from", source, "--data", "chats.jsonl", "--out", "deep/mine"]
    command += [x for s in settings for x in ("--set", s)]
    found = openmimo(*command, cwd=files)
    assert found.returncode == 0, found.stderr
    out = files / "deep" / "mine"
    assert {p.name for p in out.iterdir()} >= {"model.safetensors", "config.json", "tokenizer.json", "log.jsonl"}
    rows = log_of(out)
    assert rows[-1]["step"] == rows[-1]["total"] > 4 and rows[-1]["loss"] < rows[0]["loss"]
    assert "model.embed_tokens.weight" in changed(source, out)
    assert ModelConfig.from_folder(out).tied == ModelConfig.from_folder(source).tied
    if source.name == "model":
        return  # the rest is the same for every folder
    again = openmimo(*command, cwd=files)
    assert again.returncode == 0 and "nothing to do" in again.stdout
    other = openmimo(*command, "--set", "sft.lr=2e-3", cwd=files)
    assert other.returncode == 2 and "exists already" in other.stderr
    assert openmimo("report", out).returncode == 0


def test_rl_alone_with_a_reward_of_ones_own(source, files):
    settings = ["steps=2", "batch=2", "minibatch=1", "group=4", "max_tokens=40", "lr=1e-3", "max_tasks_per_step=16"]
    command = ["rl", "--from", source, "--problems", "problems.jsonl", "--out", "mine"]
    command += ["--reward", "own_reward:length", *(x for s in settings for x in ("--set", f"rl.{s}"))]
    found = openmimo(*command, cwd=files)
    assert found.returncode == 0, found.stderr
    rows = log_of(files / "mine")
    assert [row["step"] for row in rows] == [1, 2]
    if any(row["kept"] for row in rows):  # a response that ended was worth its length
        assert 0 < max(row["reward"] for row in rows) <= 1
        moved = changed(source, files / "mine")
        assert moved and not any(".mtp_layers." in name for name in moved)
    assert any(row["kept"] for row in rows) or source.name == "model"  # random weights seldom end a response


def test_rl_alone_by_the_rules(qwen2, files):
    settings = ["steps=1", "batch=1", "minibatch=1", "group=2", "max_tokens=8", "schedule=static"]
    command = ["rl", "--from", qwen2, "--problems", "problems.parquet", "--out", "mine"]
    found = openmimo(*command, *(x for s in settings for x in ("--set", f"rl.{s}")), cwd=files)
    assert found.returncode == 0, found.stderr
    assert (files / "mine" / "model.safetensors").exists() and len(log_of(files / "mine")) == 1


def test_eval_alone(source, files):
    """With a recipe's section, and with the verb's defaults."""
    command = ["eval", "--from", source, "--problems", "problems.jsonl", "--out", "scores"]
    command += ["--set", "eval.samples=4", *(["--recipe", SMOKE] if source.name == "sft" else [])]
    found = openmimo(*command, "--set", "eval.max_tokens=12", cwd=files)
    assert found.returncode == 0, found.stderr
    results = json_of(files / "scores" / "results.json")
    check_scores(results, samples=4)
    assert results["questions"] == 4 and results["samples"] == 4
    assert f"avg@4 {results['avg4']:.3f}" in found.stdout and "pass@k" in found.stdout
    rows = [json.loads(line) for line in (files / "scores" / "samples.jsonl").open()]
    assert [row["problem_id"] for row in rows] == ["p0", "p1", "p2", "p3"]
    assert {len(row["samples"]) for row in rows} == {4}


def test_export_of_what_a_stage_made(smoke, files):
    found = openmimo("export", "--from", smoke.path / "rl", "--out", files / "half", "--dtype", "bfloat16")
    assert found.returncode == 0 and f"wrote {files / 'half'}" in found.stdout.replace("\n", "")
    config = json_of(files / "half" / "config.json")
    assert (config["model_type"], config["torch_dtype"]) == ("qwen2", "bfloat16")
    assert not changed(smoke.path / "release" / "qwen2" / "rl", smoke.path / "release" / "qwen2" / "rl")
