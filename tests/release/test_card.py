"""The model card: a YAML head that the hub's own reader accepts, and figures that come from the data."""

import json
from pathlib import Path

import pytest

from openmimo.errors import UserError
from openmimo.model.config import ModelConfig
from openmimo.recipe import load_recipe
from openmimo.release.card import recipe_hash, write_card

PATH = Path(__file__).parents[2] / "recipes" / "mimo-7b.toml"
RECIPE = load_recipe(PATH)
SCORES = {"avg8": 0.5, "ci95": [0.4, 0.6], "pass_at_k": {"1": 0.5, "8": 0.9}, "questions": 30, "samples": 8}
SUMMARY = SCORES | {"by_family": {"sums": SCORES | {"avg8": 0.25}}, "by_difficulty": {"1": SCORES}}


@pytest.fixture
def folder(tmp_path):
    """Files of a mimo folder, as far as a card needs them."""
    config = ModelConfig(vocab_size=97, hidden_size=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn_size=40)
    (tmp_path / "config.json").write_text(json.dumps(config.to_hf("mimo")))
    return tmp_path


def test_a_card_with_scores(folder):
    text = write_card(
        folder,
        "tiny-rl",
        RECIPE,
        tokens_seen=4.2e6,
        results={"rl": SUMMARY},
        model="rl",
        commit="abc123",
        limits=("Tiny.",),
    ).read_text()
    assert text.startswith('---\nlicense: "apache-2.0"\n')
    assert "| all | 30 | 50.0 | 40.0 - 60.0 | 90.0 |" in text and "| sums | 30 | 25.0 | 40.0 - 60.0 | 90.0 |" in text
    assert "| pre-training tokens | 4,200,000 |" in text and recipe_hash(RECIPE) in text and "commit `abc123`" in text
    assert "- Tiny." in text and "answers 50.0 % of the held-out problems wrongly" in text
    assert RECIPE.note in text
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_the_hub_reads_the_head(folder):
    cards = pytest.importorskip("huggingface_hub").ModelCard
    card = cards.load(write_card(folder, "tiny-rl", RECIPE, tokens_seen=1, results={"rl": SUMMARY}, model="rl"))
    assert (card.data.license, card.data.pipeline_tag) == ("apache-2.0", "text-generation")
    assert card.data.library_name == "openmimo" and "mtp" in card.data.tags
    values = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert values == {"avg@8": 0.5, "pass@1": 0.5, "pass@8": 0.9}
    assert card.data.eval_results[0].metric_args == {"ci95": [0.4, 0.6]}


def test_a_card_without_scores_says_so(folder):
    text = write_card(folder, "tiny-base", RECIPE, tokens_seen=1).read_text()
    assert "has not been evaluated" in text and "model-index" not in text and "commit not recorded" in text
    with pytest.raises(UserError, match="no scores of 'sft'"):
        write_card(folder, "tiny-sft", RECIPE, tokens_seen=1, results={"rl": SUMMARY}, model="sft")


def test_a_qwen2_folder_is_for_transformers(folder):
    config = ModelConfig.from_folder(folder)
    (folder / "config.json").write_text(json.dumps(config.to_hf("qwen2")))
    text = write_card(folder, "tiny", RECIPE, tokens_seen=1).read_text()
    assert 'library_name: "transformers"' in text and "AutoModelForCausalLM" in text and '"mtp"' not in text
    assert f"| parameters | {config.parameters('qwen2'):,} |" in text


def test_the_hash_follows_every_key():
    assert recipe_hash(RECIPE) == recipe_hash(load_recipe(PATH))
    assert recipe_hash(RECIPE) != recipe_hash(load_recipe(PATH, ["rl.eps_high=0.3"]))
    assert recipe_hash(RECIPE) != recipe_hash(load_recipe(PATH, ["seed=1"]))
