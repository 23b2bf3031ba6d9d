"""GRPO by hand: advantages, token weights, which side is clipped, and the policy gradient when on-policy."""

import math
from fractions import Fraction as F

import pytest
import torch
from miniature import model_of

from openmimo.infer.engine import Event
from openmimo.recipe import Optim, Rl
from openmimo.rl.grpo import group_advantages, has_signal, policy_loss, token_weights
from openmimo.rl.rollout.group import Group
from openmimo.rl.score import Scored
from openmimo.rl.update import micro_batches, response_logprobs, sequences_of, update
from openmimo.train.optim import Optimisers

torch.set_num_threads(1)
RL = Rl(steps=1, batch=4, minibatch=4, group=3, micro_batch=64)


@pytest.mark.parametrize(
    ("rewards", "advantages"),
    [
        ([1, 0], [1.0, -1.0]),
        ([1, 0, 0, 0], [3**0.5, -(3**-0.5), -(3**-0.5), -(3**-0.5)]),  # mean 1/4, population std sqrt(3)/4
        ([F(1, 2), F(1, 4), 0], [1.224745, 0.0, -1.224745]),  # mean 1/4, std 1/sqrt(24)
        ([1, 1, 1], [0.0, 0.0, 0.0]),
        ([0, 0], [0.0, 0.0]),
    ],
)
def test_advantages(rewards, advantages):
    found = group_advantages([F(r) for r in rewards])
    assert found == pytest.approx(advantages, rel=1e-5, abs=1e-12)


def test_the_population_deviation_and_the_epsilon():
    (high, _) = group_advantages([F(1), F(0)])
    assert high == 0.5 / (0.5 + 1e-6)
    assert high != pytest.approx(0.5 / (0.5 * 2**0.5), abs=0.1)  # negative control: the sample's deviation


def test_a_group_has_signal_by_exact_fractions():
    """A third and its float differ; sums of thirds that floats would tell apart do not."""
    assert not has_signal([F(1, 3) + F(1, 3) + F(1, 3), F(1)])
    assert not has_signal([F(1, 10) + F(2, 10), F(3, 10)]) and 0.1 + 0.2 != 0.3
    assert has_signal([F(1, 3), F(0.3333333333333333)]) and 1 / 3 == 0.3333333333333333
    assert has_signal([F(0), F(0), F(1)]) and not has_signal([F(0)] * 16) and not has_signal([F(1)])


def test_token_weights_of_both_norms():
    """Groups of 2 and 1 responses: 3 + 1 and 4 tokens. `group`: each group weighs a half, its tokens share it."""
    lengths, groups = [3, 1, 4], [7, 7, 9]
    assert token_weights(lengths, groups, "tokens") == [1 / 8] * 3
    assert token_weights(lengths, groups, "group") == [1 / 8, 1 / 8, 1 / 8]
    lengths = [3, 1, 12]
    assert token_weights(lengths, groups, "tokens") == [1 / 16] * 3
    assert token_weights(lengths, groups, "group") == [1 / 8, 1 / 8, 1 / 24]
    for norm in ("tokens", "group"):
        weights = token_weights(lengths, groups, norm)
        assert sum(n * w for n, w in zip(lengths, weights, strict=True)) == pytest.approx(1)


# ratio, advantage -> surrogate, clipped, gradient of the loss by the log-probability. eps 0.2 / 0.28.
CLIPS = [
    (1.0, 2.0, 2.0, False, -2.0),  # on-policy: minus the advantage
    (1.2, 2.0, 2.4, False, -2.4),  # inside, above 1 + eps_low: clip-higher
    (1.5, 2.0, 2.56, True, 0.0),  # good and already likelier: stops at 1.28
    (0.5, 2.0, 1.0, False, -1.0),  # good and less likely: the plain ratio, never clipped
    (1.5, -2.0, -3.0, False, 3.0),  # bad and likelier: the plain ratio
    (0.5, -2.0, -1.6, True, 0.0),  # bad and already less likely: stops at 0.8
    (0.85, -2.0, -1.7, False, 1.7),
    (1.5, 0.0, 0.0, False, 0.0),
]


@pytest.mark.parametrize(("ratio", "advantage", "surrogate", "clipped", "gradient"), CLIPS)
def test_clipping_by_hand(ratio, advantage, surrogate, clipped, gradient):
    logprob = torch.tensor([math.log(0.2 * ratio)], requires_grad=True)
    old, one = torch.tensor([math.log(0.2)]), torch.ones(1)
    loss, share = policy_loss(logprob, old, advantage * one, one, 0.2, 0.28)
    loss.backward()
    assert loss.item() == pytest.approx(-surrogate, rel=1e-5, abs=1e-7)
    assert share.item() == float(clipped)
    assert logprob.grad.item() == pytest.approx(gradient, rel=1e-5, abs=1e-6)


def test_weights_multiply_loss_and_share():
    ratios, advantages, surrogates, clipped, _ = (
        torch.tensor([float(x) for x in column]) for column in zip(*CLIPS, strict=True)
    )
    weights = torch.arange(1.0, len(CLIPS) + 1) / 100
    loss, share = policy_loss(ratios.log(), torch.zeros(len(CLIPS)), advantages, weights, 0.2, 0.28)
    assert loss.item() == pytest.approx(-(weights * surrogates).sum().item(), rel=1e-5)
    assert share.item() == pytest.approx((weights * clipped).sum().item(), rel=1e-5)


# The update


def groups_of(model, count=4, seed=0) -> list[Group]:
    """Groups of 3 responses of 1 to 9 tokens; the engine's log-probabilities are the model's."""
    generator = torch.Generator().manual_seed(seed)
    groups = []
    for task in range(count):
        prompt = tuple(torch.randint(0, 280, (3 + task,), generator=generator).tolist())
        events = []
        for sample in range(3):
            ids = torch.randint(0, 280, (1 + (2 * task + 3 * sample) % 9,), generator=generator).tolist()
            events.append(Event(sample, ids, [0.0] * len(ids), "stop"))
        rewards = [F(1), F(task, 8), F(0)]
        groups.append(Group(10 * task, None, False, prompt, events, [Scored(r, r == 1) for r in rewards]))
    for group, s in zip([g for g in groups for _ in range(3)], sequences_of(groups), strict=True):
        with torch.no_grad():
            logprobs = response_logprobs(model, [s])
        event = next(e for e in group.events if e.token_ids is s.response)
        event.logprobs[:] = logprobs.tolist()
    return groups


class Recorder:
    """Stands in for the optimisers: keeps each update's gradients and moves nothing."""

    def __init__(self, model):
        self.model, self.gradients = model, []

    def step(self, lr):
        self.gradients.append({n: p.grad.clone() for n, p in self.model.named_parameters() if p.grad is not None})
        self.model.zero_grad()
        return 0.0


def plain_policy_gradient(model, groups, norm):
    """- sum of weight x advantage x grad log pi over tokens, one response at a time, no ratio and no clip."""
    model.zero_grad()
    tokens = sum(len(e.token_ids) for g in groups for e in g.events)
    for group in groups:
        mine = sum(len(e.token_ids) for e in group.events)
        weight = 1 / tokens if norm == "tokens" else 1 / (mine * len(groups))
        for event, advantage in zip(group.events, group_advantages(group.rewards), strict=True):
            ids = torch.tensor([[*group.prompt, *event.token_ids]])
            hidden = model(ids, torch.arange(ids.shape[1])[None])
            logprobs = model.logits(hidden).log_softmax(-1)[0]
            start = len(group.prompt) - 1
            for n, token in enumerate(event.token_ids):
                (-weight * advantage * logprobs[start + n, token]).backward(retain_graph=True)
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("norm", ["tokens", "group"])
@pytest.mark.parametrize("micro_batch", [64, 5, 1])
def test_on_policy_the_gradient_is_the_policy_gradient(norm, micro_batch):
    model = model_of()
    groups, recorder = groups_of(model), Recorder(model)
    row = update(model, groups, recorder, 1e-3, RL.model_copy(update={"loss_norm": norm, "micro_batch": micro_batch}))
    expected = plain_policy_gradient(model, groups, norm)
    (found,) = recorder.gradients
    assert found.keys() == expected.keys()
    scale = max(g.abs().max() for g in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6 * float(scale), rtol=1e-4, msg=name)
    assert row["clip_fraction"] == 0 and row["logprob_gap_max"] < 1e-5 and abs(row["kl"]) < 1e-6
    other = plain_policy_gradient(model, groups, "group" if norm == "tokens" else "tokens")  # negative control
    assert max((found[n] - other[n]).abs().max() for n in other) > 1e-3 * scale


def test_the_loss_on_policy_is_minus_the_weighted_advantage():
    """Every ratio is 1. With `group` it is 0 only where the responses of a group are of one length."""
    model = model_of()
    groups = groups_of(model)
    row = update(model, groups, Recorder(model), 1e-3, RL)
    tokens = sum(len(e.token_ids) for g in groups for e in g.events)
    advantages = [
        a * len(e.token_ids) for g in groups for a, e in zip(group_advantages(g.rewards), g.events, strict=True)
    ]
    assert row["loss"] == pytest.approx(-sum(advantages) / tokens, abs=1e-6)


def test_minibatches_are_off_policy_against_one_old_policy():
    """Two updates on the same responses: the second one's ratios are against the weights before the first."""
    model = model_of()
    groups = groups_of(model, 2) * 2
    rl = RL.model_copy(update={"minibatch": 2, "optim": Optim(weight_decay=0.0)})
    before = {n: p.clone() for n, p in model.named_parameters()}
    row = update(model, groups, Optimisers(model, rl.optim), 0.05, rl)
    assert row["clip_fraction"] > 0.05 and row["logprob_gap_max"] < 1e-5  # the gap is measured before the first update
    assert any(not torch.equal(p, before[n]) for n, p in model.named_parameters())
    quiet = model_of()
    row = update(quiet, groups, Optimisers(quiet, rl.optim), 1e-7, rl)
    assert row["clip_fraction"] == 0


def test_micro_batches_hold_each_sequence_once_shortest_first():
    sequences = sequences_of(groups_of(model_of()))
    batches = micro_batches(sequences, 5)
    assert [len(b) for b in batches] == [5, 5, 2]
    lengths = [s.length for b in batches for s in b]
    assert lengths == sorted(lengths)
    assert sorted(map(id, sequences)) == sorted(id(s) for b in batches for s in b)
    assert [s.group for s in sequences] == [0] * 3 + [10] * 3 + [20] * 3 + [30] * 3


def test_the_gap_between_engine_and_trainer_is_seen():
    """KL is k3 of engine against trainer, entropy the mean of -log p: by hand from a gap of 0.1 on one token."""
    model = model_of()
    groups = groups_of(model, 1)
    groups[0].events[0].logprobs[0] -= 0.1
    row = update(model, groups, Recorder(model), 1e-3, RL)
    tokens = [p for e in groups[0].events for p in e.logprobs]
    assert row["logprob_gap_max"] == pytest.approx(0.1, abs=1e-4)
    assert row["logprob_gap_mean"] == pytest.approx(0.1 / len(tokens), abs=1e-4)
    assert row["kl"] == pytest.approx((math.exp(0.1) - 1.1) / len(tokens), abs=1e-5)
    assert row["entropy"] == pytest.approx(-sum(tokens) / len(tokens), rel=1e-5)


def test_truncated_importance_sampling_by_hand():
    """An engine that sampled with probabilities too low by a factor of 1.5 or 4: a cap of 2 weighs tokens 1.5 or 2."""
    model = model_of()
    gradients = {}
    for cap, factor in ((0.0, 4), (2.0, 1.5), (2.0, 4)):
        groups, recorder = groups_of(model), Recorder(model)
        for event in (e for g in groups for e in g.events):
            event.logprobs[:] = [p - math.log(factor) for p in event.logprobs]
        update(model, groups, recorder, 1e-3, RL.model_copy(update={"truncated_is": cap}))
        gradients[cap, factor] = recorder.gradients[0]["lm_head.weight"]
    plain = gradients[0.0, 4]
    torch.testing.assert_close(gradients[2.0, 1.5], 1.5 * plain, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(gradients[2.0, 4], 2 * plain, rtol=1e-3, atol=1e-7)
