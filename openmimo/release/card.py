"""The model card of a released checkpoint: README.md with a YAML head, scores, pre-training tokens, recipe and limits [R 2.4].

    from openmimo.release.card import write_card
    write_card("runs/tiny/release/mimo/rl", "tiny-rl", recipe, results=results, model="rl", tokens_seen=4.2e6)

Every figure comes from the arguments or the folder's config.json; what was not measured is said not to be.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from openmimo.errors import UserError
from openmimo.model.config import ModelConfig
from openmimo.recipe import Recipe, canonical

LIMITS = (
    "It was trained on verifiable problems and checked on held-out problems of the same kinds; nothing is known of "
    "other tasks.",
    "It has had no safety training: do not put its output before people unchecked.",
)


def recipe_hash(recipe: Recipe) -> str:
    """sha256 (hex) of the recipe's values; equal for two recipes if and only if all their keys are."""
    return hashlib.sha256(canonical(recipe).encode()).hexdigest()


def write_card(
    folder: str | Path,
    name: str,
    recipe: Recipe,
    *,
    tokens_seen: float,
    results: dict[str, Any] | None = None,
    model: str | None = None,
    commit: str | None = None,
    limits: tuple[str, ...] = (),
) -> Path:
    """Writes `folder`/README.md, whole or not at all, and returns its path.

    tokens_seen: tokens of pre-training; results: the content of results.json, of which `model` (base, sft, rl-zero,
    rl) is this checkpoint; limits: sentences put before the general ones. Raises UserError when results lack `model`.
    """
    folder = Path(folder)
    config = ModelConfig.from_folder(folder)
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    summary = None
    if results is not None:
        if model not in results:
            raise UserError(f"{folder}: results hold no scores of {model!r}; evaluate that checkpoint first")
        summary = results[model]
    parts = [_head(name, recipe, kind, config, summary), f"# {name}", _about(recipe, config, kind, tokens_seen, commit)]
    parts += [
        _scores(summary),
        _use(kind),
        "## Known limits",
        _bullets((*_measured(config, summary), *limits, *LIMITS)),
    ]
    path, part = folder / "README.md", folder / ".README.md.part"
    try:
        part.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserError(
            f"{path}: cannot write the model card ({error.strerror}); free space or check the path"
        ) from None
    return path


def _head(name: str, recipe: Recipe, kind: str, config: ModelConfig, summary: dict[str, Any] | None) -> str:
    """The YAML head, its values written as JSON, which is YAML."""
    tags = ["mimo", "reasoning", "openmimo", *(["mtp"] if config.mtp_layers else [])]
    head: dict[str, Any] = {
        "license": "apache-2.0",
        "library_name": "openmimo" if kind == "mimo" else "transformers",
        "pipeline_tag": "text-generation",
        "tags": tags,
    }
    if summary is not None:
        score = {"type": "accuracy", "name": f"avg@{summary['samples']}", "value": round(_average(summary), 4)}
        metrics = [
            score | {"args": {"ci95": [round(bound, 4) for bound in summary["ci95"]]}},
            *(
                {"type": "pass_at_k", "name": f"pass@{k}", "value": round(v, 4)}
                for k, v in summary["pass_at_k"].items()
            ),
        ]
        dataset = {"name": f"held-out problems of the recipe {recipe.name}", "type": "openmimo"}
        result = {"task": {"type": "text-generation"}, "dataset": dataset, "metrics": metrics}
        head["model-index"] = [{"name": name, "results": [result]}]
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
    return "\n".join(["---", *lines, "---"])


def _about(recipe: Recipe, config: ModelConfig, kind: str, tokens_seen: float, commit: str | None) -> str:
    parameters = f"{config.parameters(kind):,}"
    if kind == "mimo" and config.mtp_layers:
        parameters += (
            f", of them {config.parameters() - config.parameters('qwen2'):,} in {config.mtp_layers} MTP layer(s)"
        )
    facts = {
        "recipe": f"{recipe.name}, sha256 `{recipe_hash(recipe)}`, seed {recipe.seed}",
        "code": f"openmimo, commit `{commit}`" if commit else "openmimo, commit not recorded",
        "parameters": parameters,
        "context": f"{config.max_length:,} tokens, RoPE base {config.rope_base:,.0f}",
        "pre-training tokens": f"{tokens_seen:,.0f}",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    text = "Trained with [the MiMo-7B recipe](https://arxiv.org/abs/2505.07608) by openmimo."
    note = f"\n\n{recipe.note}" if recipe.note else ""
    return f"{text}{note}\n\n| | |\n|---|---|\n{table}"


def _scores(summary: dict[str, Any] | None) -> str:
    if summary is None:
        return "## Scores\n\nThis checkpoint has not been evaluated."
    n = summary["samples"]
    rows = [("all", summary), *summary.get("by_family", {}).items()]
    rows += [(f"difficulty {level}", scores) for level, scores in summary.get("by_difficulty", {}).items()]
    lines = [f"| problems | questions | avg@{n} | 95 % interval | pass@{n} |", "|---|---|---|---|---|"]
    for title, s in rows:
        low, high = s["ci95"]
        passed = 100 * s["pass_at_k"][str(n)]
        interval = f"{100 * low:.1f} - {100 * high:.1f}"
        lines.append(f"| {title} | {s['questions']} | {100 * _average(s):.1f} | {interval} | {passed:.1f} |")
    return "## Scores\n\nIn points, on held-out problems; the interval is clustered by question.\n\n" + "\n".join(lines)


def _average(summary: dict[str, Any]) -> float:
    return summary[f"avg{summary['samples']}"]


def _use(kind: str) -> str:
    if kind == "mimo":
        text = "openmimo chat THIS_FOLDER"
        note = "Profile `mimo`: MTP blocks included. For other engines export it to profile `qwen2`."
        return f"## Use\n\n```bash\n{text}\n```\n\n{note}"
    lines = (
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        'model = AutoModelForCausalLM.from_pretrained("THIS_FOLDER")',
        'tokenizer = AutoTokenizer.from_pretrained("THIS_FOLDER")',
    )
    return "## Use\n\n```python\n" + "\n".join(lines) + "\n```\n\nSample at temperature 0.6, top-p 0.95."


def _measured(config: ModelConfig, summary: dict[str, Any] | None) -> tuple[str, ...]:
    """Limits that follow from the figures."""
    first = f"It was made for at most {config.max_length:,} tokens of context."
    if summary is None:
        return (first,)
    return (first, f"It answers {100 * (1 - _average(summary)):.1f} % of the held-out problems wrongly.")


def _bullets(sentences: tuple[str, ...]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
