"""20 steps of the loop: golden losses, a log that says what the schedule says, and a kill that changes no bit."""

import json
import math
import os
from pathlib import Path

import pytest
import torch
from miniature import token_store
from test_loop import CONFIG, MIX, VOCABULARY

from openmimo.data.pack import PackedBatches, TokenStore
from openmimo.errors import UserError
from openmimo.model.transformer import Transformer
from openmimo.recipe import Optim, Pretrain
from openmimo.train.checkpoint import Checkpointer
from openmimo.train.log import Log
from openmimo.train.loop import fit, train_step
from openmimo.train.optim import Optimisers
from openmimo.train.schedule import Schedule

torch.set_num_threads(1)
GOLDEN = Path(__file__).with_name("golden_losses.json")


def pretrain(optim: Optim) -> Pretrain:
    """20 steps over two stages: warm-up, decay, batch change, MTP step, longer rows with another RoPE base."""
    tokens = 12 * 4 * 32 + 8 * 3 * 48
    return Pretrain.model_validate(
        {
            "optim": optim.model_dump(),
            "lr": [{"shape": "linear", "tokens": 600, "to": 3e-3}, {"shape": "cosine", "to": 1e-3}],
            "batch": [{"shape": "constant", "tokens": 1536, "to": 4}, {"shape": "constant", "to": 3}],
            "mtp_weight": [{"shape": "constant", "tokens": 1000, "to": 0.3}, {"shape": "constant", "to": 0.1}],
            "stages": [
                {"name": "one", "tokens": 1536, "length": 32, "rope_base": 500, "mix": {"code": 0.7, "math": 0.3}},
                {"name": "two", "tokens": tokens - 1536, "length": 48, "rope_base": 5000, "mix": MIX},
            ],
        }
    )


def train(folder, optim, checkpointer=None, listener=None, silent=False):
    """The 20 steps; returns the model and the log's rows (silent: as a rank above 0, without a log)."""
    table = pretrain(optim)
    model = Transformer(CONFIG)
    model.reset_parameters(seed=0)
    if not (folder / "shards").exists():
        token_store(folder / "shards", VOCABULARY)
    batches = PackedBatches(TokenStore(folder / "shards"), seed=0)
    log = Log(None if silent else folder, listener)
    fit(model, batches, Schedule(table), optim, 2, checkpointer or Checkpointer(folder, math.inf), log)
    log.close()
    return model, [] if silent else read_log(folder)


def read_log(folder, name="log.jsonl"):
    """The log's rows without what a clock wrote."""
    rows = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("time", "tokens_per_s")} for row in rows]


def losses(folder, optim):
    """Exact losses of the 20 steps, main and MTP (the log's are rounded)."""
    table, found = pretrain(optim), []
    model = Transformer(CONFIG)
    model.reset_parameters(seed=0)
    batches = PackedBatches(token_store(folder / "shards", VOCABULARY), seed=0)
    optimisers = Optimisers(model, optim)
    for point in Schedule(table).steps():
        row = train_step(model, batches.next(point.batch, point.length, point.mix, point.stage), point, optimisers, 2)
        found.append([row["loss"].hex(), row["mtp_loss"].hex()])
    return found


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_golden_losses(tmp_path, name):
    """Bit-equal when repeated here; equal to the committed list to 1e-5, since another processor sums in another order.
    GOLDEN_LOSSES=write makes the list anew: a refactor may not."""
    found = losses(tmp_path / "1", Optim(name=name))
    assert len(found) == 20
    assert losses(tmp_path / "2", Optim(name=name)) == found
    if os.environ.get("GOLDEN_LOSSES") == "write":
        kept = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
        GOLDEN.write_text(json.dumps(kept | {name: found}, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())[name]
    for step, (ours, theirs) in enumerate(zip(found, golden, strict=True), 1):
        assert [float.fromhex(x) for x in ours] == pytest.approx([float.fromhex(x) for x in theirs], rel=1e-5), step
    first, last = float.fromhex(found[0][0]), float.fromhex(found[-1][0])
    assert first == pytest.approx(math.log(VOCABULARY), abs=0.05) and last < first - 0.003


def test_the_log_says_what_the_schedule_says(tmp_path):
    _, rows = train(tmp_path, Optim())
    points = list(Schedule(pretrain(Optim())).steps())
    assert [row["step"] for row in rows] == list(range(1, 21)) and {row["total"] for row in rows} == {20}
    for row, point in zip(rows, points, strict=True):
        assert row["tokens"] == point.tokens + point.batch * point.length
        for key in ("stage", "batch", "length", "rope_base", "mtp_weight"):
            assert row[key] == getattr(point, key)
        assert row["lr"] == pytest.approx(point.lr, rel=1e-3)


# Kill and resume


class AtSteps(Checkpointer):
    """A checkpointer that saves after the given steps (all: after each one)."""

    def __init__(self, folder, steps, step=0):
        super().__init__(folder, math.inf)
        self.steps, self.step = steps, step

    def due(self):
        self.step += 1
        return self.steps == "all" or self.step in self.steps


class Killed(BaseException):
    """Stands in for kill -9."""


def kill_at(step):
    def listener(row):
        if row.get("step") == step:
            raise Killed

    return listener


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize(("saved", "killed"), [({11}, 14), ({12}, 13), ("all", 15), ({3, 19}, 20), (set(), 4)])
def test_a_killed_run_goes_on_bit_equal(tmp_path, name, saved, killed):
    """The stages' border is after step 12. The steps repeated are written to the log once."""
    whole, rows = train(tmp_path / "whole", Optim(name=name))
    folder = tmp_path / "broken"
    with pytest.raises(Killed):
        train(folder, Optim(name=name), AtSteps(folder, saved), kill_at(killed))
    resumed, again = train(folder, Optim(name=name))
    assert again == rows
    for (parameter, one), two in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two), parameter


@pytest.mark.parametrize("part", ["optim", "batches"])
def test_a_resume_without_all_of_the_state_would_differ(tmp_path, part):
    """Negative control: a checkpoint whose optimiser or data cursor is that of the beginning."""
    _, rows = train(tmp_path / "whole", Optim())
    folder = tmp_path / "broken"
    checkpointer = AtSteps(folder, {11})
    with pytest.raises(Killed):
        train(folder, Optim(), checkpointer, kill_at(14))
    state, fresh = checkpointer.load(), Transformer(CONFIG)
    state["optim"] = Optimisers(fresh, Optim()).state_dict() if part == "optim" else state["optim"]
    if part == "batches":
        state["batches"] = PackedBatches(TokenStore(folder / "shards"), 0).state()
    checkpointer.save(state)
    assert train(folder, Optim())[1][-1] != rows[-1]


@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: b"x" * 99])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    train(tmp_path, Optim(), AtSteps(tmp_path, {5}))
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match="damaged checkpoint.*delete this file") as caught:
        train(tmp_path, Optim())
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_checkpoint_that_holds_code_is_not_run(tmp_path):
    torch.save({"model": os.system}, tmp_path / "checkpoint.pt")
    with pytest.raises(UserError, match="damaged checkpoint"):
        Checkpointer(tmp_path, 1).load()


def test_a_failed_save_keeps_the_last_checkpoint(tmp_path):
    checkpointer = Checkpointer(tmp_path, 1)
    checkpointer.save({"step": 1})
    with pytest.raises(AttributeError):
        checkpointer.save({"step": lambda: 2})
    assert checkpointer.load() == {"step": 1}
