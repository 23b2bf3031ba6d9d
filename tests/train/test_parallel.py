"""Data parallelism: two ranks do what one does, to rounding, and go on bit-equal after a kill."""

import math

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from miniature import token_store
from test_loop import VOCABULARY
from test_resume import Killed, read_log, train

from openmimo.data.pack import PackedBatches
from openmimo.recipe import Optim
from openmimo.train.checkpoint import Checkpointer
from openmimo.train.parallel import Parallel

WORLD = 2


def stop_before(step):
    """Makes every rank end before its `step`-th batch, as a killed machine does; returns what undoes it."""
    drawn, draw = 0, PackedBatches.next

    def dying(self, *args):
        nonlocal drawn
        drawn += 1
        if drawn == step:
            raise Killed
        return draw(self, *args)

    PackedBatches.next = dying
    return lambda: setattr(PackedBatches, "next", draw)


class AfterStep(Checkpointer):
    """Saves after the given step."""

    def __init__(self, folder, step):
        super().__init__(folder, math.inf)
        self.left = step

    def due(self):
        self.left -= 1
        return self.left == 0


def one_rank(rank, folder):
    """What each of the two processes does: 20 steps, then the same killed before step 14 and resumed from step 11."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)
    assert Parallel.started() == Parallel(rank, WORLD)
    if rank == 0:
        token_store(folder / "whole" / "shards", VOCABULARY)
        token_store(folder / "broken" / "shards", VOCABULARY)
    dist.barrier()
    for name in ("adamw", "muon"):
        one(rank, folder / "whole", name, None)
        undo = stop_before(14)
        try:
            one(rank, folder / "broken", name, AfterStep(folder / "broken", 11))
            raise AssertionError("it was to be killed")
        except Killed:
            undo()
        dist.barrier()
        one(rank, folder / "broken", name, Checkpointer(folder / "broken", math.inf))
        dist.barrier()
        if rank == 0:
            (folder / "broken" / "checkpoint.pt").unlink()
            for run in ("whole", "broken"):
                (folder / run / "log.jsonl").rename(folder / run / f"{name}.jsonl")
        dist.barrier()
    dist.destroy_process_group()


def one(rank, folder, name, checkpointer):
    """This rank's part of a run in `folder`; its weights at the end go to NAME-RANK.pt."""
    model, _ = train(folder, Optim(name=name), checkpointer, silent=rank > 0)
    torch.save(model.state_dict(), folder / f"{name}-{rank}.pt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(one_rank, (folder,), nprocs=WORLD)
    return folder


def weights_of(folder, name, rank):
    return torch.load(folder / f"{name}-{rank}.pt", weights_only=True)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_two_ranks_give_the_loss_of_one(folder, tmp_path, name):
    """Steps of 4 and of 3 rows: the last ones do not divide evenly. The first step to 1e-6, the twentieth to 1e-5."""
    model, rows = train(tmp_path, Optim(name=name))
    others = read_log(folder / "whole", f"{name}.jsonl")
    assert others[0]["loss"] == pytest.approx(rows[0]["loss"], rel=1e-6)
    assert others[0]["grad_norm"] == pytest.approx(rows[0]["grad_norm"], rel=1e-5)
    for alone, shared in zip(rows, others, strict=True):
        for key in ("loss", "mtp_loss", "mtp_accept"):
            assert shared[key] == pytest.approx(alone[key], rel=1e-5, abs=2e-6), (alone["step"], key)
    for key, weight in weights_of(folder / "whole", name, 0).items():
        torch.testing.assert_close(weight, model.state_dict()[key], atol=2e-4, rtol=1e-3, msg=key)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_all_ranks_hold_the_same_weights(folder, name):
    first, second = (weights_of(folder / "whole", name, rank) for rank in range(WORLD))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_two_ranks_go_on_bit_equal(folder, name):
    for rank in range(WORLD):
        whole, resumed = (weights_of(folder / run, name, rank) for run in ("whole", "broken"))
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert read_log(folder / "broken", f"{name}.jsonl") == read_log(folder / "whole", f"{name}.jsonl")


def test_rows_are_dealt_to_ranks_and_none_is_lost():
    for world in (1, 2, 3, 5):
        for rows in (1, 4, 7):
            dealt = [n for rank in range(world) for n in range(rows)[Parallel(rank, world).mine(rows)]]
            assert sorted(dealt) == list(range(rows))


def test_alone_nothing_is_sent():
    assert Parallel.started() == Parallel(0, 1)
    one, two = torch.ones(3), torch.arange(4.0).view(2, 2)
    Parallel().sum([one, two])
    assert one.tolist() == [1, 1, 1] and two.tolist() == [[0, 1], [2, 3]]
