"""kill -9 at random, in each step: the same command goes on, and its output equals an unbroken run's byte for byte."""

import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time

import pytest

pytest.importorskip("datatrove")

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


def command(folder):
    """`openmimo data run p.toml` in a session of its own; what it prints goes to `printed`."""
    os.setsid()
    os.chdir(folder)
    printed = os.open("printed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(printed, 1), os.dup2(printed, 2)
    sys.argv = ["openmimo", "data", "run", "p.toml"]
    from openmimo.cli import main

    main()


def start(folder, target=command):
    """A process that has everything imported: that takes as long as the steps, and no kill falls there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["openmimo.cli", "openmimo.data.pipeline.phases", "datatrove.executor"])
    process = context.Process(target=target, args=(folder,))
    process.start()
    return process


def run(folder):
    began, child = time.monotonic(), start(folder)
    child.join()
    assert child.exitcode == 0, (folder / "printed").read_text()
    return time.monotonic() - began


def killed(folder, seconds, rng) -> bool:
    """Kills a run at a random moment of its work; whether it was not done."""
    child, began = start(folder), time.monotonic()
    while not (folder / "out" / ".work").exists() and time.monotonic() - began < 30:
        time.sleep(0.01)
    time.sleep(rng.uniform(0, seconds))
    with contextlib.suppress(ProcessLookupError):  # it was done, and its parent has seen that
        os.killpg(child.pid, signal.SIGKILL)
    child.join()
    return not (folder / "out" / "counts.json").exists()


def compare(folder, names, documents, files, kills, seed, workers=1):
    """Runs killed up to three times each, then left alone, against an unbroken one."""
    prepare(folder, names, documents, files, workers)
    start(folder, os.fspath).join()  # the server is there
    seconds, rng, done = max(0.3, run(folder)), random.Random(seed), 0
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
