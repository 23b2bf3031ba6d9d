"""Data parallelism: two ranks do what one does, to rounding, and go on bit-equal after a kill."""

import math
import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from test_loop import Killed, train

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


class FromStep(Checkpointer):
    """Saves after the given step."""

    def __init__(self, folder, step):
        super().__init__(folder, math.inf)
        self.left = step

    def due(self):
        self.left -= 1
        return self.left == 0


def one_rank(rank, folder):
    """What each of the two processes does: 20 steps, then the same killed after 13 and resumed from 11."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)
    assert Parallel.started() == Parallel(rank, WORLD)
    for name in ("adamw", "muon"):
        mine = folder / f"{name}{rank}"  # rank 0's log and checkpoints; rank 1's log is looked at too
        model, _ = train(mine, Optim(name=name))
        torch.save(model.state_dict(), mine / "whole.pt")
        broken, shared = folder / f"{name}-broken{rank}", folder / f"{name}-shared"
        shared.mkdir(exist_ok=True)
        undo = stop_before(14)
        try:
            train(broken, Optim(name=name), FromStep(shared, 11))
            raise AssertionError("it was to be killed")
        except Killed:
            undo()
        dist.barrier()
        model, _ = train(broken, Optim(name=name), Checkpointer(shared, math.inf))
        torch.save(model.state_dict(), broken / "whole.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(one_rank, (folder,), nprocs=WORLD)
    return folder


def weights_of(path):
    return torch.load(path / "whole.pt", weights_only=True)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_two_ranks_give_the_loss_of_one(folder, tmp_path, name):
    """Steps of 4 and of 3 rows: the last ones do not divide evenly. The first step to 1e-6, the twentieth to 1e-5."""
    model, rows = train(tmp_path, Optim(name=name))
    _, others = rows, rows_of(folder / f"{name}0")
    assert rows_of(folder / f"{name}1") == others  # every rank knows the sums
    assert others[0]["loss"] == pytest.approx(rows[0]["loss"], rel=1e-6)
    assert others[0]["grad_norm"] == pytest.approx(rows[0]["grad_norm"], rel=1e-5)
    for one, two in zip(rows, others, strict=True):
        for key in ("loss", "mtp_loss", "mtp_accept"):
            assert two[key] == pytest.approx(one[key], rel=1e-5, abs=2e-6), (one["step"], key)
    for key, weight in weights_of(folder / f"{name}0").items():
        torch.testing.assert_close(weight, model.state_dict()[key], atol=2e-4, rtol=1e-3, msg=key)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_all_ranks_hold_the_same_weights(folder, name):
    one, two = (weights_of(folder / f"{name}{rank}") for rank in range(WORLD))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("rank", range(WORLD))
def test_two_ranks_go_on_bit_equal(folder, name, rank):
    whole, resumed = weights_of(folder / f"{name}{rank}"), weights_of(folder / f"{name}-broken{rank}")
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def rows_of(path):
    from test_loop import read_log

    return read_log(path)


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
