"""A run's folder: keys that change with what a stage reads and nothing else, whole artefacts, a lock, children."""

import json
import os
import sys
from pathlib import Path

import pytest

from openmimo.errors import UserError
from openmimo.recipe import load_recipe
from openmimo.runs import RunFolder, keys_of, run_facts, write_atomic
from openmimo.stages import STAGES

SMOKE = Path(__file__).parents[1] / "recipes" / "smoke.toml"
NAMES = [stage.name for stage in STAGES]
EVALS = {"eval-base", "eval-rl-zero", "eval-sft", "eval-rl"}
ALL = set(NAMES)
RL = {"rl", "rl-zero", "eval-rl", "eval-rl-zero", "release"}

REDONE = [
    ("rl.steps=5", RL),
    ("rl.zero_steps=3", RL),
    ("rl.lr=1e-5", RL),
    ("rl.optim.momentum=0.9", RL),
    ("rl.reward='soft'", RL),
    ("rl.max_tokens=47", RL | {"curate"}),
    ("curate.rollouts=5", RL | {"curate"}),
    ("engine.slots=99", RL | EVALS | {"curate"}),
    ("eval.temperature=0.5", EVALS | {"release"}),
    ("eval.samples=9", EVALS | {"release"}),
    ("sft.lr=1e-3", (RL | EVALS | {"sft", "curate"}) - {"eval-base"}),
    ("pretrain.lr.0.to=3e-3", ALL - {"problems", "corpus", "tokens"}),
    ("pretrain.stages.2.length=128", ALL - {"problems", "corpus", "tokens"}),
    ("model.layers=3", ALL - {"problems", "corpus", "tokens"}),
    ("tokenizer.vocab_size=500", ALL - {"problems", "corpus"}),
    ("data.stdlib_files=13", ALL - {"problems"}),
    ("data.ngram=15", ALL),
    ("problems.train=121", ALL),
    ("seed=1", ALL),
    ("name=other", {"release"}),
    ("note=other", {"release"}),
    ("checkpoint.every_s=99", set()),
    ("workers=1", set()),
]


@pytest.mark.parametrize(("override", "redone"), REDONE, ids=[override for override, _ in REDONE])
def test_a_changed_key_redoes_what_depends_on_it(override, redone):
    one, two = (keys_of(STAGES, load_recipe(SMOKE, changes)) for changes in ([], [override]))
    assert list(one) == NAMES
    assert {name for name in NAMES if one[name] != two[name]} == redone


def test_keys_are_the_same_in_every_process_and_tell_stages_apart():
    recipe = load_recipe(SMOKE)
    keys = keys_of(STAGES, recipe)
    assert keys == keys_of(STAGES, load_recipe(SMOKE)) and len(set(keys.values())) == len(STAGES)


def test_needs_come_first_and_every_section_has_a_reader():
    """A section that no stage reads could be changed without any effect."""
    seen = set()
    for stage in STAGES:
        assert set(stage.needs) <= seen
        seen.add(stage.name)
    read = {path.split(".")[0] for stage in STAGES for path in stage.reads}
    sections = set(type(load_recipe(SMOKE)).model_fields)
    assert sections - read == {"seed", "workers", "checkpoint"}  # in every key; only speed; only speed


# Artefacts


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run")


def make(run: RunFolder, stage="base", key="k1", text="weights") -> Path:
    folder = run.begin(stage, key)
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "model").write_text(text)
    (folder / "deep" / "log").write_text("1\n2\n")
    run.finish(stage, key, {"seed": 0, "seconds": 1.5})
    return run.path / stage


def test_a_finished_artefact_is_recognised_by_its_key(run):
    folder = make(run)
    assert run.is_done("base", "k1") and not run.is_done("base", "k2") and not run.is_done("sft", "k1")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["stage"], manifest["key"], manifest["seed"], manifest["seconds"]) == ("base", "k1", 0, 1.5)
    assert manifest["outputs"].keys() == {"model", "deep/log"}
    assert manifest["outputs"]["deep/log"]["bytes"] == 4
    assert manifest["outputs"]["model"]["sha256"].startswith("9")  # of "weights"
    assert not (run.work / "base").exists() and not (folder / "key").exists()


def damage_truncate(folder):
    (folder / "model").write_text("weigh")


def damage_remove(folder):
    (folder / "deep" / "log").unlink()


def damage_manifest(folder):
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text()[:50])


def damage_no_manifest(folder):
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize("damage", [damage_truncate, damage_remove, damage_manifest, damage_no_manifest])
def test_an_artefact_that_is_not_whole_is_not_done(run, damage):
    folder = make(run)
    damage(folder)
    assert not run.is_done("base", "k1")
    make(run)
    assert run.is_done("base", "k1") and (folder / "model").read_text() == "weights"


def test_unfinished_work_is_kept_for_the_same_key_alone(run):
    folder = run.begin("base", "k1")
    (folder / "checkpoint.pt").write_text("step 5")
    assert (run.begin("base", "k1") / "checkpoint.pt").read_text() == "step 5"
    assert not (run.begin("base", "k2") / "checkpoint.pt").exists()
    (folder / "key").unlink()  # killed between the end and the renaming: not known to be whole
    (folder / "model").write_text("weights")
    assert [p.name for p in run.begin("base", "k2").iterdir()] == ["key"]
    assert not run.is_done("base", "k2")


def test_a_new_artefact_takes_the_place_of_the_old_one_at_once(run, monkeypatch):
    """Whatever call a kill hits, the next look finds the whole old artefact or the whole new one."""
    make(run, key="old", text="before")
    seen, calls = [], {"rename": Path.rename, "unlink": Path.unlink, "replace": Path.replace}

    class Killed(BaseException):
        pass

    for victim in range(1, 20):
        count = 0

        def dying(name, *args, victim=victim):
            def call(self, *args, **kwargs):
                nonlocal count
                count += 1
                if count == victim:
                    raise Killed
                return calls[name](self, *args, **kwargs)

            return call

        for name in calls:
            monkeypatch.setattr(Path, name, dying(name))
        try:
            make(run, key=f"new{victim}", text="after!")
            finished = True
        except Killed:
            finished = False
        monkeypatch.undo()
        new = run.is_done("base", f"new{victim}")
        assert run.is_done("base", "old") == (not new)
        assert (run.path / "base" / "model").read_text() == ("after!" if new else "before")
        seen.append(new)
        if finished:
            break
        make(run, key="old", text="before")
    assert finished and seen == sorted(seen) and len(seen) > 5 and not seen[0]


def test_the_lock_is_one_process_s(run):
    handle = run.lock()
    with pytest.raises(UserError, match="another openmimo is working there; wait for it, or use --out"):
        RunFolder(run.path).lock()
    handle.close()
    RunFolder(run.path).lock().close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write there .*choose another folder with --out"):
        RunFolder(tmp_path / "file" / "run").lock()


def test_a_small_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_atomic(path, "one")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError):
        write_atomic(path, "two" * 1000)
    assert path.read_text() == "one"


def test_facts_name_the_origin():
    facts = run_facts(7)
    assert facts["seed"] == 7 and facts["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["versions"]["torch"] != "absent" and facts["commit"]
