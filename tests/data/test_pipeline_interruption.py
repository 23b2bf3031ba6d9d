"""kill -9 at random, in each step: the same command goes on, and its output equals an unbroken run's byte for byte."""

import os
import random
import shutil
import signal
import time

import pytest

pytest.importorskip("datatrove")

from conftest import openmimo, start
from test_pipeline import ITEM, pages, same_bytes, spread

from openmimo.data.document import Document
from openmimo.data.pipeline.files import write_file
from openmimo.model.tokenizer import train_bpe

STEPS = {
    "extract": "",
    "url-dedup": "",
    "exact-dedup": "",
    "near-dedup": "",
    "tag": "",
    "decontaminate": 'against = ["items.jsonl"]',
    "filter": 'tag = "domain"\ndrop = ["thin"]',
    "pack": 'tokenizer = "tokenizer"',
}


def prepare(folder, names, documents, files, workers=1):
    """A folder with input and p.toml, whose output goes to `out`."""
    folder.mkdir(parents=True)
    if list(names) != ["extract"]:
        names = ["extract", "tag", *(n for n in names if n not in ("extract", "tag"))]
    spread(folder / "in", documents, files)
    write_file(f"{folder}/items.jsonl", [Document("1", "", "", ITEM, "")])
    train_bpe([d.text for d in documents[:50]], 300, folder / "tokenizer")
    steps = "".join(f'[[steps]]\nname = "{name}"\n{STEPS[name]}\n' for name in names)
    more = f'[run]\nworkers = {workers}\noptions = {{start_method = "fork"}}\n'
    (folder / "p.toml").write_text(f'[input]\nfiles = ["in/*.gz"]\n{steps}[output]\nfolder = "out"\n{more}')


def run(folder):
    began = time.monotonic()
    found = openmimo("data", "run", "p.toml", cwd=folder)
    assert found.returncode == 0, found.stderr
    return time.monotonic() - began


def killed(folder, seconds, rng) -> bool:
    """Kills a run at a random moment of its work; whether it was not done."""
    child, began = start("data", "run", "p.toml", cwd=folder), time.monotonic()
    while not (folder / "out" / ".work").exists() and time.monotonic() - began < 30:
        time.sleep(0.01)
    time.sleep(rng.uniform(0, seconds))
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    return not (folder / "out" / "counts.json").exists()


def compare(folder, names, documents, files, kills, seed, workers=1):
    """Runs killed up to three times each, then left alone, against an unbroken one."""
    prepare(folder, names, documents, files, workers)
    seconds, rng, done = max(0.3, run(folder) - 1), random.Random(seed), 0  # the start takes a second
    (folder / "out").rename(folder / "expected")
    while done < kills:
        for _ in range(3):
            if done < kills and not killed(folder, seconds, rng):
                break
            done += 1
        run(folder)
        assert same_bytes(folder / "out", folder / "expected")
        shutil.rmtree(folder / "out")


def test_a_killed_pipeline_of_all_steps_goes_on(tmp_path):
    compare(tmp_path / "run", list(STEPS), pages(120), 3, 1, seed=0)


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", STEPS)
def test_every_step_killed_20_times(tmp_path, name):
    """The second half of the kills with two workers."""
    documents = pages(1500)
    compare(tmp_path / "one", [name], documents, 5, 10, seed=2)
    compare(tmp_path / "two", [name], documents, 5, 10, seed=3, workers=2)
