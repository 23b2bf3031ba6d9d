"""Bad input at the command line: exit code 2, one line that says what, where and what to do, nothing half-written."""

import json
import random
import shutil
import sys

import pytest
from conftest import COMMAND, REPOSITORY, SMOKE
from miniature import checkpoint_folder, problems

from openmimo import cli
from openmimo.data.extract import extract_file
from openmimo.errors import UserError, disk_full
from openmimo.options import InOrder
from openmimo.rows import write_rows

CHAT = [{"role": "user", "content": "What is 1 + 1?"}, {"role": "assistant", "content": "2"}]
SUM = {"id": "a", "kind": "math", "messages": CHAT[:1], "answer": "2"}
CODE = {"id": "c", "kind": "code", "messages": CHAT[:1]}
SFT = ["--set", "sft.length=64", "--set", "sft.batch=1"]
RL = [x for key in ("max_tokens=4", "steps=1", "batch=1", "minibatch=1", "group=2") for x in ("--set", f"rl.{key}")]
EVAL = ["--set", "eval.max_tokens=4", "--set", "eval.samples=2"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with a checkpoint, conversations and problems."""
    folder = tmp_path_factory.mktemp("desk")
    checkpoint_folder(folder / "model")
    write_rows(folder / "problems.jsonl", problems(3))
    (folder / "chats.jsonl").write_text(json.dumps({"messages": CHAT}) + "\n")
    return folder


@pytest.fixture
def call(desk, monkeypatch, capsys):
    """Runs a command in the desk's folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(desk)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["openmimo", *map(str, args)])
        code = 0
        try:
            cli.main()
        except SystemExit as leave:
            code = leave.code
        return code, *capsys.readouterr()

    return run


def leftovers(folder) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name.startswith(("out", ".out")))


@pytest.fixture
def refused(call, desk):
    """Runs a command that must fail; checks the form of the error and that nothing is left behind."""

    def run(*args):
        code, _, err = call(*args)
        assert code == 2, err
        assert err.startswith("openmimo: ") and err.count("\n") == 1 and len(err) < 500, err
        assert leftovers(desk) == []
        return err

    return run


def test_good_input_is_not_refused(call, desk):
    """Negative control of everything below, and of the leftovers' list."""
    for verb, args in (("sft", ["--data", "chats.jsonl", *SFT]), ("eval", ["--problems", "problems.jsonl", *EVAL])):
        code, out, err = call(verb, "--from", "model", *args, "--out", f"out-{verb}")
        assert (code, err) == (0, "") and f"wrote out-{verb}" in out
    assert leftovers(desk) == ["out-eval", "out-sft"]
    for name in leftovers(desk):
        shutil.rmtree(desk / name)


# Recipes and arguments

RECIPE_ERRORS = [
    ("rl.stepz=3", ["unknown key 'rl.stepz'", "did you mean 'steps'", "smoke.toml"]),
    ("modle.layers=3", ["unknown key 'modle'", "did you mean 'model'"]),
    ("rl.steps=many", ["rl.steps", "integer"]),
    ("pretrain.stages.0.mix={code = 0.5}", ["pretrain.stages.0.mix", "sum to 0.5"]),
    ("rl", ["--set rl", "section.key=value"]),
    ("name.x=1", ["--set name.x=1", "is a value, not a section"]),
]


@pytest.mark.parametrize(("override", "parts"), RECIPE_ERRORS, ids=[o for o, _ in RECIPE_ERRORS])
@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_wrong_key_or_value_of_a_recipe(refused, verb, override, parts):
    err = refused(verb, SMOKE, *(["--out", "out"] if verb == "run" else []), "--set", override)
    assert all(part in err for part in parts), err


def test_a_wrong_key_of_a_stage_alone(refused):
    base = ["sft", "--from", "model", "--data", "chats.jsonl", "--out", "out"]
    assert "unknown key 'lenght'; did you mean 'length'" in refused(*base, "--set", "sft.lenght=3")
    assert "length: Input should be a valid integer" in refused(*base, "--set", "sft.length=many")
    assert "reads only the section 'sft'" in refused(*base, "--set", "rl.steps=3")


MISSING = [
    (["run", "absent.toml"], "absent.toml: no such recipe; `ls recipes/` shows"),
    (["run", "."], "no such recipe"),
    (["plan", "model/model.safetensors"], "model.safetensors: not TOML"),
    (["sft", "--from", "absent", "--data", "chats.jsonl", "--out", "out"], "absent: no such file or folder; check"),
    (["sft", "--from", "model", "--data", "absent", "--out", "out"], "absent: no such file; give a .jsonl file"),
    (["sft", "--from", "chats.jsonl", "--data", "chats.jsonl", "--out", "out"], "give a checkpoint folder"),
    (["rl", "--from", "model", "--problems", "absent", "--out", "out"], "absent: no such file; give a .jsonl or"),
    (["eval", "--from", "model", "--problems", ".", "--out", "out"], ".: no such file; give a .jsonl or .parquet"),
    (["export", "--from", "absent", "--out", "out"], "absent: no config.json there; give a checkpoint folder"),
    (["report", "absent"], "absent: no such run folder; `ls runs/`"),
    (["report", "."], "no log, answers or manifest in it; give the folder of a run"),
    (["chat", "absent", "--ask", "hi"], "absent: no tokenizer.json there; give a checkpoint folder"),
    (["sft", "--from", "model", "--data", "chats.jsonl", "--out", "model"], "model: exists already; give another"),
    (["sft", "--from", "model", "--data", "chats.jsonl", "--out", "chats.jsonl/x"], "Not a directory; check the path"),
    (["sft", "--data", "chats.jsonl"], "Missing option '--from'; see `openmimo --help`"),
    (["sft", "--from", "model", "--dat", "x"], "No such option: --dat"),
    (["trane"], "No such command 'trane'"),
    (["chat", "model", "--ask", "hi", "--max-tokens", "0"], "--max-tokens"),
    (["chat", "model", "--ask", "hi " * 200], "the question has 617 tokens, all that the model can hold"),
    (
        ["export", "--from", "model", "--out", "out", "--profile", "gpt2"],
        "profile 'gpt2' is not known; use one of mimo",
    ),
]


@pytest.mark.parametrize(("args", "message"), MISSING, ids=[" ".join(a)[:60] for a, _ in MISSING])
def test_what_is_missing_or_misplaced(refused, args, message):
    assert message in refused(*args)


def test_no_arguments_show_the_help(call):
    code, out, err = call()
    assert code == 2 and err == ""
    verbs = [line.split()[1] for line in out.splitlines() if line.startswith("│ ") and line[2].isalpha()]
    assert verbs == InOrder.ORDER  # each verb, and in its order


# Damaged checkpoints


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE = [
    ("model.safetensors", cut, "damaged safetensors file"),
    ("model.safetensors", lambda p: p.write_bytes(random.Random(0).randbytes(5000)), "damaged safetensors file"),
    ("model.safetensors", lambda p: p.unlink(), "no model.safetensors"),
    ("config.json", cut, "not JSON"),
    ("config.json", lambda p: p.write_text("[]"), "expected a JSON object"),
    ("config.json", lambda p: p.write_text(p.read_text().replace('"mimo"', '"gpt2"')), "model_type 'gpt2'"),
    ("tokenizer.json", cut, "not a tokenizer"),
    ("tokenizer.json", lambda p: p.unlink(), "no tokenizer.json there"),
    ("tokenizer_config.json", cut, "not JSON"),
    ("tokenizer_config.json", lambda p: p.write_text("[]"), "expected a JSON object"),
]
VERBS = {
    "sft": ["--data", "chats.jsonl", *SFT, "--out", "out"],
    "rl": ["--problems", "problems.jsonl", *RL, "--out", "out"],
    "eval": ["--problems", "problems.jsonl", *EVAL, "--out", "out"],
    "export": ["--out", "out"],
}


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGE, ids=[f"{n} {m}"[:40] for n, _, m in DAMAGE])
def test_a_damaged_checkpoint_is_named(refused, desk, tmp_path, name, damage, message):
    folder = tmp_path / "damaged"
    shutil.copytree(desk / "model", folder)
    damage(folder / name)
    calls = [[verb, "--from", folder, *args] for verb, args in VERBS.items()]
    for args in [*calls, ["chat", folder, "--ask", "hi"]]:
        if args[0] == "export" and name.startswith("tokenizer"):
            continue  # copies it unread
        err = refused(*args)
        assert message in err and str(folder) in err


# Rows

CHATS = [
    ('{"messages": [', "bad.jsonl:2: not JSON"),
    ('{"chat": []}', "bad.jsonl:2: `messages` must be a list of {role, content} that ends with the assistant's"),
    ("[1]", "bad.jsonl:2: `messages` must be"),
    ('{"messages": "hi"}', "bad.jsonl:2: `messages` must be"),
    ('{"messages": ["hi"]}', "bad.jsonl:2: `messages` must be"),
    (json.dumps({"messages": CHAT[:1]}), "bad.jsonl:2: `messages` must be"),
    ('{"messages": [{"role": "assistant"}]}', "bad.jsonl:2: `messages` must be"),
    (json.dumps({"messages": [{"role": "user", "content": [1]}, CHAT[1]]}), "bad.jsonl:2: `messages` must be"),
]
ROWS = [
    ("{", "bad.jsonl:2: not JSON"),
    ('"text"', "bad.jsonl:2: expected a JSON object, got str"),
    ('{"kind": "math"}', "bad.jsonl:2: field 'id' is missing; a Problem needs id, kind, messages"),
    (json.dumps(SUM | {"colour": 1}), "bad.jsonl:2: unknown field 'colour'"),
    (json.dumps(SUM | {"kind": "maths"}), "bad.jsonl:2: problem 'a': kind 'maths' is not known; use 'math' or 'code'"),
    (json.dumps(SUM | {"answer": None}), "bad.jsonl:2: problem 'a': a math problem needs `answer`"),
    (json.dumps(SUM | {"answer": [2]}), "bad.jsonl:2: problem 'a': a math problem needs `answer`"),
    (json.dumps(SUM | {"messages": "hi"}), "bad.jsonl:2: problem 'a': messages must be a non-empty list"),
    (json.dumps(SUM | {"messages": ["hi"]}), "bad.jsonl:2: problem 'a': messages must be a non-empty list"),
    (json.dumps(SUM | {"limits": 5}), "bad.jsonl:2: problem 'a': limits must be an object"),
    (json.dumps(CODE | {"tests": [{"id": "1"}]}), "bad.jsonl:2: "),
    (json.dumps(CODE), "problem 'c' is code without `tests`; add some, or leave it out"),
    (json.dumps(SUM | {"id": "first"}), "problem 'first' comes twice; give each problem an id of its own"),
]


@pytest.mark.parametrize(("row", "message"), CHATS, ids=[m[:9] + r[:30] for r, m in CHATS])
def test_a_bad_conversation_is_named_with_its_line(refused, desk, row, message):
    (desk / "bad.jsonl").write_text(f"{json.dumps({'messages': CHAT})}\n{row}\n")
    assert message in refused("sft", "--from", "model", "--data", "bad.jsonl", "--out", "out", *SFT)


@pytest.mark.parametrize(("row", "message"), ROWS, ids=[r[:50] for r, _ in ROWS])
@pytest.mark.parametrize("verb", ["rl", "eval"])
def test_a_bad_problem_is_named_with_its_line(refused, desk, verb, row, message):
    (desk / "bad.jsonl").write_text(f"{json.dumps(SUM | {'id': 'first'})}\n{row}\n")
    args = RL if verb == "rl" else EVAL
    assert message in refused(verb, "--from", "model", "--problems", "bad.jsonl", "--out", "out", *args)


def test_files_of_rows_that_hold_none(refused, desk):
    (desk / "empty.jsonl").write_text("\n")
    (desk / "bytes.jsonl").write_bytes(random.Random(0).randbytes(300))
    (desk / "bytes.parquet").write_bytes(random.Random(0).randbytes(300))
    for verb, option, args in (("sft", "--data", SFT), ("rl", "--problems", RL), ("eval", "--problems", EVAL)):
        for name, message in (("empty", "at least one"), ("bytes", "bytes.jsonl: not UTF-8 text")):
            assert message in refused(verb, "--from", "model", option, f"{name}.jsonl", "--out", "out", *args)
    err = refused("eval", "--from", "model", "--problems", "bytes.parquet", "--out", "out")
    assert "bytes.parquet: not a Parquet file" in err and "give a .parquet or .jsonl file" in err


def test_requests_that_do_not_fit_the_model(refused, desk):
    for verb in ("rl", "eval"):
        err = refused(
            verb, "--from", "model", "--problems", "problems.jsonl", "--out", "out", "--set", f"{verb}.max_tokens=512"
        )
        assert f"{verb}.max_tokens (512) exceeds the model's 96 positions; {verb}.max_tokens may be at most" in err


def test_rows_that_a_stage_cannot_use(refused, desk):
    (desk / "bad.jsonl").write_text(json.dumps({"messages": [CHAT[0], {"role": "assistant", "content": "x" * 99}]}))
    err = refused("sft", "--from", "model", "--data", "bad.jsonl", "--out", "out", *SFT)
    assert "no response is left to train on" in err and "raise sft.length" in err
    err = refused("sft", "--from", "model", "--data", "chats.jsonl", "--out", "out", "--set", "sft.length=97")
    assert "sft.length: 97 exceeds the 96 positions" in err
    (desk / "bad.jsonl").write_text(json.dumps(SUM | {"tags": {"difficulty": "hard"}}))
    err = refused("eval", "--from", "model", "--problems", "bad.jsonl", "--out", "out", *EVAL)
    assert "tags.difficulty 'hard' is not a whole number" in err


def test_rewards_that_are_none(refused):
    base = ["rl", "--from", "model", "--problems", "problems.jsonl", "--out", "out", *RL, "--reward"]
    for name in ("absent:f", "absent", "json:absent", "json:__doc__"):
        err = refused(*base, name)
        assert repr(name) in err and "give `module:function`" in err


# Pages, corpus


def test_pages_of_random_bytes(tmp_path):
    for seed in range(20):
        path = tmp_path / f"{seed}.html"
        path.write_bytes(random.Random(seed).randbytes(2000))
        with pytest.raises(UserError) as caught:
            extract_file(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value) and "convert" in str(caught.value)


def test_a_full_disk_is_recognised_in_every_librarys_words():
    errors = [
        OSError(28, "No space left on device"),
        OSError(122, "Disk quota exceeded"),
        OSError(27, "File too large"),
        OSError("1000000 requested and 32752 written"),
        Exception("No space left on device (os error 28)"),
    ]
    for error in errors:
        assert "out: the disk is full" in str(disk_full(error, "out"))
    for error in (OSError(13, "Permission denied"), KeyError("a"), Exception("os error 2")):
        assert disk_full(error, "out") is None


def test_the_command_is_the_one_that_pip_installs():
    """The suite calls the module; `openmimo` in the path is the same function."""
    import tomllib

    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"openmimo": "openmimo.cli:main"} and COMMAND[-1] == "openmimo.cli"
