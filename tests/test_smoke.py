"""`openmimo run recipes/smoke.toml` makes everything, once; the stages alone work on what it made and on others' folders."""

import json
import math
import re
import shutil

import pytest
import torch
from conftest import SMOKE, openmimo
from miniature import problems

from openmimo.data.pack import TokenStore
from openmimo.model.hub import load_checkpoint
from openmimo.model.tokenizer import Tokenizer
from openmimo.recipe import load_recipe
from openmimo.rows import Problem, Rollout, read_rows
from openmimo.runs import keys_of
from openmimo.stages import CHECKPOINTS, STAGES
from openmimo.train.ledger import ledger_at

torch.set_num_threads(1)
RECIPE = load_recipe(SMOKE)
MODEL = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
ARTEFACTS = {
    "problems": {"train.jsonl", "test.jsonl", "sft.jsonl", "synthetic.jsonl", "counts.json"},
    "corpus": {"documents.jsonl", "counts.json", "log.jsonl"},
    "tokens": {"counts.json", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"},
    "base": MODEL | {"log.jsonl", "ledger.json"},
    "sft": MODEL | {"log.jsonl"},
    "curate": {"problems.jsonl", "difficulty.json", "rollouts.jsonl", "counts.json", "log.jsonl"},
    "rl-zero": MODEL | {"log.jsonl"},
    "rl": MODEL | {"log.jsonl"},
    "release": {"results.json", "log.jsonl"}
    | {f"{profile}/{name}/{file}" for profile in ("mimo", "qwen2") for name in CHECKPOINTS for file in MODEL},
} | {f"eval-{name}": {"samples.jsonl", "log.jsonl"} for name in CHECKPOINTS}


def json_of(path):
    return json.loads(path.read_text())


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


# The run


def test_every_artefact_is_there_and_nothing_half_written(smoke):
    assert set(ARTEFACTS) == {stage.name for stage in STAGES}
    keys = keys_of(STAGES, RECIPE)
    for stage, files in ARTEFACTS.items():
        manifest = json_of(smoke.path / stage / "manifest.json")
        assert files <= manifest["outputs"].keys(), stage
        assert manifest["key"] == keys[stage] and manifest["seed"] == 0 and manifest["commit"]
        assert manifest["seconds"] > 0 and manifest["peak_memory_mb"] > 50 and manifest["versions"]["torch"]
    names = [p.relative_to(smoke.path).as_posix() for p in smoke.path.rglob("*")]
    assert not [n for n in names if n.endswith((".part", ".old", "checkpoint.pt")) or "/." in n]
    top = {p.name for p in smoke.path.iterdir()} - set(ARTEFACTS)
    assert top == {".lock", "recipe.json", "results.json", "report.html", "cost.json"}
    assert json_of(smoke.path / "recipe.json") == RECIPE.model_dump(mode="json")


def test_the_run_says_what_it_did_and_that_its_scores_mean_nothing(smoke):
    text = " ".join(smoke.text.split())
    assert "Scores mean nothing at this size" in text
    for stage in STAGES:
        assert f"begins {stage.title}" in text and re.search(rf"done +[\d.]+ s +{re.escape(stage.title)}", text)
    for part in ("held-out problems", "RL - SFT:", "RL-Zero - Base:", "checkpoints", "report", "A sample of the RL"):
        assert part in text
    assert "Traceback" not in text


def check_scores(scores, samples=8):
    assert 0 <= scores[f"avg{samples}"] <= 1
    low, high = scores["ci95"]
    assert 0 <= low <= scores[f"avg{samples}"] <= high <= 1
    curve = scores["pass_at_k"]
    assert list(curve) == [str(k) for k in range(1, samples + 1)]
    values = list(curve.values())
    assert values == sorted(values) and 0 <= values[0] and values[-1] <= 1
    assert values[0] == pytest.approx(scores[f"avg{samples}"])


def test_results_as_data(smoke):
    """The shape that the issue asks for, and the numbers again from the samples."""
    results = json_of(smoke.path / "results.json")
    test = list(read_rows(smoke.path / "problems" / "test.jsonl", Problem))
    assert results["models"] == ["base", "rl-zero", "sft", "rl"] and results["missing"] == []
    for name in CHECKPOINTS:
        check_scores(results[name])
        families, levels = results[name]["by_family"], results[name]["by_difficulty"]
        assert set(families) == {p.tags["family"] for p in test} and len(families) == 5
        assert set(levels) == {str(p.tags["difficulty"]) for p in test} and len(levels) >= 3
        for part in (*families.values(), *levels.values()):
            check_scores(part)
        rows = [json.loads(line) for line in (smoke.path / f"eval-{name}" / "samples.jsonl").open()]
        assert sorted(r["problem_id"] for r in rows) == sorted(p.id for p in test)
        flags = [s["passed"] for r in rows for s in r["samples"]]
        assert len(flags) == 8 * len(test) and results[name]["avg8"] == pytest.approx(sum(flags) / len(flags))
    assert set(results["stages"]) == set(ARTEFACTS)
    longest = max(s["seconds"] for s in results["stages"].values())
    assert longest < results["total_seconds"] < smoke.seconds  # wall time: some stages run side by side
    assert 200 < results["peak_memory_mb"] < 4096
    assert (results["seed"], results["recipe"]) == (0, "smoke") and isinstance(results["commit"], str)


def test_the_report_is_one_file_that_reaches_nowhere(smoke):
    html = (smoke.path / "report.html").read_text()
    assert html.count("<svg") >= 6
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", html) and "@import" not in html
    for name in ("RL-Zero", "SFT", "Base", "easy pool", "learning rate"):
        assert name.lower() in html.lower()


def test_the_three_stages_of_pre_training_are_in_the_log(smoke):
    rows = log_of(smoke.path / "base")
    stages = RECIPE.pretrain.stages
    assert [row["step"] for row in rows] == list(range(1, rows[-1]["total"] + 1))
    assert list(dict.fromkeys(row["stage"] for row in rows)) == [stage.name for stage in stages]
    for stage in stages:
        mine = [row for row in rows if row["stage"] == stage.name]
        assert {(row["length"], row["rope_base"]) for row in mine} == {(stage.length, stage.rope_base)}
    assert sum(row["batch"] * row["length"] for row in rows) == rows[-1]["tokens"] >= RECIPE.pretrain.tokens
    assert {row["mtp_weight"] for row in rows} == {0.3, 0.1} and {row["batch"] for row in rows} >= {1, 8, 4}
    assert rows[-1]["loss"] < rows[0]["loss"] - 1 and rows[0]["loss"] == pytest.approx(math.log(512), abs=0.3)
    ledger = json_of(smoke.path / "base" / "ledger.json")
    for stage in stages:
        drawn = ledger["stages"][stage.name]
        for source, share in stage.mix.items():
            assert abs(drawn[source] - share * sum(drawn.values())) <= 2 * stage.length
    replayed = ledger_at(
        TokenStore(smoke.path / "tokens" / "shards"), RECIPE.seed, RECIPE.pretrain, RECIPE.pretrain.tokens
    )
    assert replayed == ledger and "What it was trained on" in (smoke.path / "report.html").read_text()
    shown = openmimo("data", "ledger", smoke.path)
    assert shown.returncode == 0 and all(stage.name in shown.stdout for stage in stages), shown.stderr
    config = json_of(smoke.path / "base" / "config.json")
    assert config["rope_theta"] == stages[-1].rope_base and config["num_nextn_predict_layers"] == 1


def test_the_logs_of_rl(smoke):
    for name in ("rl", "rl-zero"):
        rows = log_of(smoke.path / name)
        assert [row["step"] for row in rows] == [1, 2, 3, 4]
        for row in rows:
            assert {"reward", "pass_rate", "response_length", "kept", "pool", "lr"} <= row.keys()
            assert 0 <= row["reward"] <= 1 and 0 <= row["kept"] <= 1 and row["response_length"] <= 48
            assert row.get("logprob_gap_max", 0) < 1e-3  # the engine's and the trainer's numbers are the same


def test_data_of_the_run(smoke):
    """Held-out problems stay held out; every row has its shape; SFT responses were verified."""
    read = {
        name: list(read_rows(smoke.path / "problems" / f"{name}.jsonl", Problem)) for name in ("train", "test")
    }  # fmt: skip
    assert len(read["train"]) == 120 and len(read["test"]) == 48
    assert not {p.tags["key"] for p in read["train"]} & {p.tags["key"] for p in read["test"]}
    curated = {p.id for p in read_rows(smoke.path / "curate" / "problems.jsonl", Problem)}
    assert curated and curated <= {p.id for p in read["train"]}
    rollouts = list(read_rows(smoke.path / "curate" / "rollouts.jsonl", Rollout))
    assert {r.model for r in rollouts} == {"sft", "base"} and {r.sample for r in rollouts} == {0, 1, 2, 3}
    documents = (smoke.path / "corpus" / "documents.jsonl").read_text()
    questions = [p.messages[-1]["content"] for p in read["test"]]
    assert sum(json.dumps(q)[1:-1] in documents for q in questions) == 0
    tokenizer = Tokenizer.load(smoke.path / "tokens" / "tokenizer")
    assert tokenizer.vocab_size <= 512
    assert [len(tokenizer.encode(n)) for n in ("7", "42", "1234")] == [1, 2, 4]  # digits singly


def test_the_released_models_are_the_trained_ones(smoke):
    """The qwen2 profile in transformers: the same logits as ours; the mimo profile: the same bytes."""
    transformers = pytest.importorskip("transformers")
    ids = torch.tensor([Tokenizer.load(smoke.path / "rl").encode_chat(problems(1)[0].messages)])
    seen = []
    for name in CHECKPOINTS:
        ours = load_checkpoint(smoke.path / name).eval()
        theirs = transformers.Qwen2ForCausalLM.from_pretrained(smoke.path / "release" / "qwen2" / name).eval()
        with torch.no_grad():
            expected = ours.logits(ours(ids, torch.arange(ids.shape[1])[None]))
            assert (theirs(ids).logits - expected).abs().max() < 1e-4
        seen.append(expected)
        mimo = smoke.path / "release" / "mimo" / name
        assert (mimo / "model.safetensors").read_bytes() == (smoke.path / name / "model.safetensors").read_bytes()
        assert json_of(mimo / "config.json")["architectures"] == ["MiMoForCausalLM"]
        assert (mimo / "README.md").exists()
    assert all((a - b).abs().max() > 1e-3 for i, a in enumerate(seen) for b in seen[:i])  # four different models


def test_the_released_tokenizer_is_transformers_too(smoke):
    transformers = pytest.importorskip("transformers")
    folder = smoke.path / "release" / "qwen2" / "rl"
    theirs, ours = transformers.AutoTokenizer.from_pretrained(folder), Tokenizer.load(folder)
    text = "def f(xs):\n    return 12 * xs[0]  # naïve"
    assert theirs(text)["input_ids"] == ours.encode(text) and ours.decode(ours.encode(text)) == text
    messages = problems(1)[0].messages
    rendered = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == ours.render_chat(messages) and theirs.eos_token_id == ours.eos_id


# The same command again, and a changed key


def test_the_same_command_recognises_that_all_is_done(smoke, tmp_path):
    run = tmp_path / "smoke"
    shutil.copytree(smoke.path, run)
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}
    found = openmimo("run", SMOKE, "--out", run, timeout=30)
    assert found.returncode == 0 and found.stdout.count("done before") == len(STAGES)
    assert "begins" not in found.stdout and "held-out problems" in found.stdout
    touched = {p.name for p in run.rglob("*") if p.is_file() and before.get(p) != p.stat().st_mtime_ns}
    assert touched <= {"recipe.json", ".lock"}


def test_the_same_command_takes_less_than_five_seconds(smoke, tmp_path):
    """Processor time, so that a busy machine does not count."""
    run = tmp_path / "smoke"
    shutil.copytree(smoke.path, run)
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert openmimo("run", SMOKE, "--out", run).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5


def test_a_changed_key_redoes_what_depends_on_it(smoke, tmp_path):
    run = tmp_path / "smoke"
    shutil.copytree(smoke.path, run)
    found = openmimo("run", SMOKE, "--out", run, "--set", "eval.temperature=0.5")
    assert found.returncode == 0, found.stderr
    begun = set(re.findall(r"begins +(.+)", found.stdout))
    redone = {s for s in STAGES if s.name.startswith("eval-") or s.name == "release"}
    assert begun == {s.title for s in redone}
    for stage in STAGES:
        same = (run / stage.name / "manifest.json").read_bytes() == (
            smoke.path / stage.name / "manifest.json"
        ).read_bytes()
        assert same == (stage not in redone), stage.name
    old, new = (json_of(folder / "results.json") for folder in (smoke.path, run))
    assert any(old[name]["avg8"] != new[name]["avg8"] for name in CHECKPOINTS)
    assert json_of(run / "release" / "results.json")["rl"] == new["rl"]
    assert (run / "report.html").read_text() != (smoke.path / "report.html").read_text()


def test_results_that_a_kill_left_old_are_made_anew(smoke, tmp_path):
    """Killed between the last stage and the report: the stages are done, what they say is not written yet."""
    run = tmp_path / "smoke"
    shutil.copytree(smoke.path, run)
    (run / "results.json").write_text(json.dumps(json_of(run / "results.json") | {"note": "old"}))
    (run / "report.html").write_text("old")
    manifest = run / "release" / "manifest.json"
    shutil.move(manifest, tmp_path / "manifest.json")
    shutil.copyfile(tmp_path / "manifest.json", manifest)  # the release is newer than the report
    found = openmimo("run", SMOKE, "--out", run)
    assert found.returncode == 0 and "begins" not in found.stdout
    assert json_of(run / "results.json") == json_of(smoke.path / "results.json")
    assert len((run / "report.html").read_text()) > 10_000
