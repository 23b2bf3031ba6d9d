"""Recipes: strict keys with suggestions, types, overrides, and curves that must cover the run."""

import tomllib
from pathlib import Path

import pytest

from openmimo.errors import UserError
from openmimo.recipe import Recipe, canonical, load_recipe, parse_recipe

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))
MIMO = next(path for path in RECIPES if path.name == "mimo-7b.toml")


def mimo() -> dict:
    return tomllib.loads(MIMO.read_text())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_that_come_along_are_valid(path):
    assert load_recipe(path).name == path.stem


def test_the_papers_numbers():
    recipe = load_recipe(MIMO)
    assert (recipe.sft.lr, recipe.sft.batch, recipe.sft.length, recipe.sft.responses_per_query) == (
        3e-5,
        128,
        32_768,
        8,
    )
    assert (recipe.curate.rollouts, recipe.curate.max_pass_rate) == (16, 0.9)
    rl = recipe.rl
    assert (rl.batch, rl.minibatch, rl.lr, rl.max_tokens) == (512, 32, 1e-6, 32_768 - 2_048)
    assert (rl.eps_low, rl.eps_high, rl.easy_alpha, rl.loss_norm, rl.reward) == (0.2, 0.28, 0.1, "tokens", "strict")
    assert (recipe.eval.temperature, recipe.eval.top_p, recipe.eval.samples) == (0.6, 0.95, 32)


UNKNOWN = [
    ("rl.stepz=3", "unknown key 'rl.stepz'; did you mean 'steps'"),
    ("modle.layers=3", "unknown key 'modle'; did you mean 'model'"),
    ("pretrain.optim.beta=[0.9, 0.9]", "unknown key 'pretrain.optim.beta'; did you mean 'betas'"),
    ("pretrain.stages.1.lenght=3", "unknown key 'pretrain.stages.1.lenght'; did you mean 'length'"),
    ("pretrain.lr.0.form='linear'", "unknown key 'pretrain.lr.0.form'; known keys: shape, tokens, to"),
    ("rl.zzz=1", "unknown key 'rl.zzz'; known keys: "),
]


@pytest.mark.parametrize(("override", "message"), UNKNOWN)
def test_an_unknown_key_is_named_with_a_suggestion(override, message):
    with pytest.raises(UserError) as caught:
        load_recipe(MIMO, [override])
    assert message in str(caught.value) and str(MIMO) in str(caught.value)
    assert "\n" not in str(caught.value)


WRONG = [
    ("rl.steps='many'", "rl.steps"),
    ("rl.steps=0", "rl.steps"),
    ("model.layers=1.5", "model.layers"),
    ("model.heads=31", "multiple of kv_heads"),
    ("rl.reward='kind'", "rl.reward"),
    ("rl.minibatch=100", "multiple of minibatch"),
    ("pretrain.stages=[]", "pretrain.stages"),
    ("pretrain.lr.0.shape='step'", "pretrain.lr.0.shape"),
    ("pretrain.stages.0.mix={web = 0.5}", "sum to 0.5"),
    ("pretrain.stages.0.length=100000", "exceeds model.max_length"),
    ("model.vocab_size=1000", "below tokenizer.vocab_size"),
    ("problems.families=3", "problems.families"),
    ("name=7", "name"),
]


@pytest.mark.parametrize(("override", "message"), WRONG)
def test_a_wrong_value_is_named(override, message):
    with pytest.raises(UserError) as caught:
        load_recipe(MIMO, [override])
    assert message in str(caught.value) and "\n" not in str(caught.value)


CURVES = [
    ([{"shape": "constant", "tokens": 1e12, "to": 1e-4}], "cover 1,000,000,000,000 of the run's 23,784,000,000,000"),
    ([{"shape": "constant", "tokens": 30e12, "to": 1e-4}], "cover 30,000,000,000,000 of the run's"),
    ([{"shape": "linear", "tokens": 30e12, "to": 1e-4}, {"shape": "constant"}], "cover 30,000,000,000,000"),
    ([{"shape": "constant", "to": 1e-4}, {"shape": "constant", "tokens": 1e12}], "only the last segment"),
    ([], "only the last segment"),
    ([{"shape": "constant"}], "the first segment needs `to`"),
]


@pytest.mark.parametrize(("segments", "message"), CURVES)
@pytest.mark.parametrize("curve", ["lr", "batch", "mtp_weight"])
def test_a_curve_that_does_not_cover_the_run_is_refused(curve, segments, message):
    data = mimo()
    data["pretrain"][curve] = segments
    with pytest.raises(UserError) as caught:
        parse_recipe(data)
    assert message in str(caught.value) and f"pretrain.{curve}" in str(caught.value)


def test_overrides_reach_their_keys():
    recipe = load_recipe(
        MIMO,
        [
            "rl.steps=20",
            "seed=7",
            "pretrain.optim.name=muon",
            "name=a name",
            "pretrain.stages.2.mix={math = 1.0}",
            "rl.lr=2e-4",
        ],
    )
    assert (recipe.rl.steps, recipe.seed, recipe.pretrain.optim.name, recipe.name) == (20, 7, "muon", "a name")
    assert recipe.pretrain.stages[2].mix == {"math": 1.0} and recipe.rl.lr == 2e-4


@pytest.mark.parametrize("override", ["rl.steps", "name.first=1", "pretrain.stages.9.length=3", "pretrain.stages.x=3"])
def test_a_malformed_override_is_quoted(override):
    with pytest.raises(UserError, match=override.replace(".", r"\.")):
        load_recipe(MIMO, [override])


def test_files_that_are_no_recipes(tmp_path):
    with pytest.raises(UserError, match="no such recipe"):
        load_recipe(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    for content in (b"[rl\nsteps = 3", b"\xff\xfe\x00"):
        broken.write_bytes(content)
        with pytest.raises(UserError, match="broken.toml: not TOML"):
            load_recipe(broken)
    broken.write_text("")
    with pytest.raises(UserError, match="problems: Field required"):
        load_recipe(broken)


def test_a_recipe_cannot_be_changed_and_its_text_follows_its_values():
    recipe = load_recipe(MIMO)
    with pytest.raises(ValueError):
        recipe.seed = 3
    assert canonical(recipe) == canonical(load_recipe(MIMO))
    assert canonical(recipe.rl) != canonical(load_recipe(MIMO, ["rl.lr=2e-6"]).rl)
    assert Recipe(**recipe.model_dump()) == recipe
