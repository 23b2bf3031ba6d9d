"""Killed at random, run again: the output is an unbroken run's, byte for byte. In full by `make prove`."""

import json
import random
import signal
import time

import pytest
from conftest import openmimo, start
from test_synth import SUMS, folder, prompts_text, url  # noqa: F401 - fixtures

from openmimo.rows import write_rows

KILLS = 20


def arguments(verb: str, place, url: str) -> tuple[list, str]:  # noqa: F811
    """(the command's arguments without --out, the name of its output)."""
    if verb == "synth":
        write_rows(place / "p.jsonl", SUMS)
        (place / "bare.toml").write_text(prompts_text().replace('math = "Reason', 'unused = "Reason'))
        return ["data", "synth", "solve", place / "p.jsonl", "--server", url, "--model", "sums", "--max-tokens", 24, "--temperature", 1, "--top-p", 1,
                "--right", 2, "--per-minute", 3000, "--prompts", place / "bare.toml"], "s.jsonl"  # fmt: skip
    rng = random.Random(0)
    words = "the sum of two even numbers is what a train leaves town at nine def return class prove find".split()
    rows = [
        {"id": str(n), "url": "", "title": "", "text": " ".join(rng.choices(words, k=300)), "source": "s"}
        for n in range(3000)
    ]
    (place / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if verb == "tag":
        return ["data", "tag", place / "d.jsonl"], "t.jsonl"
    (place / "b.jsonl").write_text(json.dumps({"problem": rows[7]["text"][:200]}) + "\n")
    return ["data", "decontaminate", place / "d.jsonl", "--against", place / "b.jsonl"], "c.jsonl"


def killed(verb: str, kills: int, tmp_path, url: str) -> None:  # noqa: F811
    command, name = arguments(verb, tmp_path, url)
    began = time.monotonic()
    done = openmimo(*command, "--out", tmp_path / name)
    took, expected = time.monotonic() - began, (tmp_path / name).read_bytes()
    assert done.returncode == 0 and expected
    rng, out = random.Random(1), tmp_path / "again" / name
    out.parent.mkdir()
    for number in range(kills):
        if number % 5 == 0:  # from the beginning again, so that kills fall everywhere
            for path in out.parent.iterdir():
                path.unlink()
        process = start(*command, "--out", out)
        time.sleep(rng.uniform(0.3, 1.0) * took)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not out.exists() or out.read_bytes() == expected
    assert openmimo(*command, "--out", out).returncode == 0
    assert out.read_bytes() == expected


def test_synthesis_goes_on_after_a_kill(url, tmp_path):  # noqa: F811
    killed("synth", 1, tmp_path, url)


@pytest.mark.proof
@pytest.mark.timeout(900)
@pytest.mark.parametrize("verb", ["synth", "tag", "decontaminate"])
def test_every_verb_survives_kills(verb, url, tmp_path):  # noqa: F811
    killed(verb, KILLS, tmp_path, url)
