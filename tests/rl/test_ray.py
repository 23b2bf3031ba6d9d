"""Engines and judges on a Ray cluster of two nodes on this machine: the same data, also when an actor is killed."""

import pytest
import torch
from miniature import checkpoint_folder, problems
from test_live import outcome, trainer_of

from openmimo.rl.score import score_responses
from openmimo.rl.stage import Answers, judge_at

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.proof
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of two CPUs, so that two engines and two judges do not fit on one."""
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    found.add_node(num_cpus=2)
    ray.init(address=found.address, log_to_driver=False)
    yield found
    ray.shutdown()
    found.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint_folder(tmp_path_factory.mktemp("ray") / "model")


def test_engines_on_two_nodes_give_the_same_data(cluster, folder):
    naive = outcome(trainer_of(folder, schedule="naive"))
    trainer = trainer_of(folder, engines=3, engines_at="ray", slots=6)
    assert len({worker.node for worker in trainer.driver.workers}) == 2
    assert outcome(trainer) == naive


def test_an_actor_that_is_killed_changes_nothing(cluster, folder):
    naive = outcome(trainer_of(folder, schedule="naive"))
    trainer = trainer_of(folder, engines=2, engines_at="ray", slots=6)
    hit, worker = [], trainer.driver.workers[0]
    start = worker.start

    def start_and_die(n, requests):
        start(n, requests)
        if not hit and n > 1:
            hit.append(n)
            ray.kill(worker.actor)

    worker.start = start_and_die
    assert outcome(trainer) == naive and hit


def test_judges_on_the_cluster(cluster):
    rows = problems(2)
    with judge_at("ray", []) as judge:
        texts = [f"\\boxed{{{rows[0].answer}}}", "\\boxed{99}"]
        found = score_responses([rows[0]] * 2, texts, ["stop"] * 2, judge, Answers(judge))
    assert [one.passed for one in found] == [True, False]
