"""The schedule: every row of the report's section 2.3 on recipes/mimo-7b.toml, and the walk over it, by hand."""

import itertools
import math
from pathlib import Path

import pytest

from openmimo.recipe import Pretrain, load_recipe
from openmimo.train.schedule import Schedule, curve_at

MIMO = load_recipe(Path(__file__).parents[2] / "recipes" / "mimo-7b.toml").pretrain
AT = Schedule(MIMO).at
B, T = 1e9, 1e12


def test_optimiser_row():
    assert (MIMO.optim.name, MIMO.optim.betas) == ("adamw", (0.9, 0.95))
    assert (MIMO.optim.weight_decay, MIMO.optim.clip) == (0.1, 1.0)


@pytest.mark.parametrize(
    ("tokens", "lr"),
    [
        (0, 0.0),
        (42 * B, 1.07e-4 / 2),
        (84 * B, 1.07e-4),
        (5 * T, 1.07e-4),
        (10.284 * T, 1.07e-4),
        (10.284 * T + 7.5 * T / 2, (1.07e-4 + 3e-5) / 2),
        (10.284 * T + 7.5 * T / 4, 3e-5 + 7.7e-5 * 0.5 * (1 + math.cos(math.pi / 4))),
        (17.784 * T, 3e-5),
        (21.784 * T, 3e-5),
        (23.284 * T, 3e-5),
        (23.534 * T, 2e-5),
        (23.784 * T, 1e-5),
    ],
)
def test_learning_rate_row(tokens, lr):
    assert AT(tokens).lr == pytest.approx(lr, rel=1e-9, abs=1e-18)


@pytest.mark.parametrize(
    ("tokens", "batch"),
    [
        (0, 1),
        (84 * B, 1280),
        (168 * B, 2560),
        (10 * T, 2560),
        (21.784 * T - 1, 2560),
        (21.784 * T, 640),
        (23.7 * T, 640),
    ],
)
def test_batch_row(tokens, batch):
    assert AT(tokens).batch == batch


@pytest.mark.parametrize(
    ("tokens", "stage", "length", "rope_base"),
    [
        (0, "stage1", 8192, 10_000),
        (17.784 * T - 1, "stage1", 8192, 10_000),
        (17.784 * T, "stage2", 8192, 10_000),
        (21.784 * T - 1, "stage2", 8192, 10_000),
        (21.784 * T, "stage3", 32_768, 640_000),
        (23.784 * T, "stage3", 32_768, 640_000),
    ],
)
def test_length_and_rope_row(tokens, stage, length, rope_base):
    point = AT(tokens)
    assert (point.stage, point.length, point.rope_base) == (stage, length, rope_base)


@pytest.mark.parametrize(("tokens", "weight"), [(0, 0.3), (10.3 * T - 1, 0.3), (10.3 * T, 0.1), (23.784 * T, 0.1)])
def test_mtp_weight_row(tokens, weight):
    assert AT(tokens).mtp_weight == weight


def test_total_and_mix_rows():
    assert Schedule(MIMO).total == 23.784 * T
    two, three = AT(20 * T).mix, AT(23 * T).mix
    assert two["math"] + two["code"] == pytest.approx(0.7)
    assert three["synthetic"] == pytest.approx(0.1)
    assert all(sum(mix.values()) == pytest.approx(1) for mix in (AT(0).mix, two, three))


def small(stages, batch, lr=None, mtp=None) -> Pretrain:
    """stages: (tokens, length) each; the curves default to constants."""
    return Pretrain(
        lr=lr or [{"shape": "constant", "to": 1e-3}],
        batch=batch,
        mtp_weight=mtp or [{"shape": "constant", "to": 0.3}],
        stages=[
            {"name": f"s{i}", "tokens": tokens, "length": length, "rope_base": 1e4, "mix": {"a": 1}}
            for i, (tokens, length) in enumerate(stages)
        ],
    )


CONSTANT = [{"shape": "constant", "to": 4}]
WARM = [
    {"shape": "linear", "tokens": 3000, "to": 7},
    {"shape": "constant", "tokens": 5000},
    {"shape": "constant", "to": 3},
]
SMALL = {
    "one batch for ever": small([(10_000, 10)], CONSTANT),
    "batches that do not divide the stages": small([(1010, 10), (2050, 10), (990, 30)], CONSTANT),
    "warm-up": small([(6000, 10), (4000, 20)], WARM),
    "warm-up over a border": small([(2000, 10), (8000, 50)], WARM),
    "cosine down": small([(9000, 10)], [{"shape": "cosine", "tokens": 9000, "to": 20}]),
    "a stage shorter than a batch": small([(20, 10), (40, 20), (1000, 10)], CONSTANT),
    "lengths that do not divide the stages": small([(1005, 10), (2013, 30)], CONSTANT),
}


@pytest.fixture(params=SMALL, ids=lambda name: name.replace(" ", "-"))
def schedule(request):
    return Schedule(SMALL[request.param])


def test_steps_are_counted_as_they_are_walked(schedule):
    assert schedule.count_steps() == len(list(schedule.steps()))


def test_no_step_straddles_a_border(schedule):
    """Whole sequences only: where a stage is not a multiple of its length, its last sequence alone overhangs."""
    steps = list(schedule.steps())
    for one, following in itertools.pairwise(steps):
        assert following.tokens == one.tokens + one.batch * one.length
    assert steps[-1].tokens < schedule.total <= steps[-1].tokens + steps[-1].batch * steps[-1].length
    for point in steps:
        border = next(border for border in schedule.borders if point.tokens < border)
        assert point.tokens + (point.batch - 1) * point.length < border
        assert point.batch >= 1 and point.stage == schedule.at(point.tokens).stage


def test_a_border_falls_between_two_steps_when_lengths_divide():
    schedule = Schedule(SMALL["batches that do not divide the stages"])
    begins = {point.tokens for point in schedule.steps()}
    assert {0.0, 1010.0, 3060.0} <= begins
    last = [p for p in schedule.steps() if p.tokens < 1010][-1]
    assert (last.tokens, last.batch) == (1000, 1)  # cut from 4: only one sequence was left of the stage


def test_walking_from_the_middle_goes_on_alike(schedule):
    steps = list(schedule.steps())
    middle = len(steps) // 2
    assert list(schedule.steps(steps[middle].tokens)) == steps[middle:]


def test_a_step_has_the_learning_rate_of_its_end():
    lr = [{"shape": "linear", "tokens": 100, "to": 1.0}, {"shape": "constant", "to": 1.0}]
    steps = list(Schedule(small([(200, 10)], CONSTANT, lr=lr)).steps())
    assert [point.lr for point in steps] == pytest.approx([0.4, 0.8, 1.0, 1.0, 1.0])


def test_curves_by_hand():
    segments = small(
        [(100, 10)],
        CONSTANT,
        lr=[
            {"shape": "linear", "tokens": 10, "to": 2.0},
            {"shape": "constant", "tokens": 10},
            {"shape": "cosine", "tokens": 10, "to": 1.0},
            {"shape": "constant", "to": 0.5},
        ],
    ).lr
    values = {0: 0.0, 5: 1.0, 10: 2.0, 19: 2.0, 20: 2.0, 25: 1.5, 29.999999: 1.0, 30: 0.5, 99: 0.5, 1e9: 0.5}
    for tokens, value in values.items():
        assert curve_at(segments, tokens) == pytest.approx(value, abs=1e-6)
