"""The recipe as a table of stages: what each needs, what it reads of the recipe, and the function that does it."""

from __future__ import annotations

from openmimo.runs import Stage

CHECKPOINTS = ("base", "rl-zero", "sft", "rl")  # in the order of the report's Table 5
GENERATION = ("engine",)
CORPUS = ("data.stdlib_files", "data.pydoc_pages", "data.exercise_pages", "data.dedup_threshold", "data.ngram")

STAGES = [
    Stage("problems", "problems", "openmimo.data.stage:problems", ("problems", "data.ngram")),
    Stage(
        "corpus", "corpus: extract, dedup, tag", "openmimo.data.stage:corpus", CORPUS, ("problems",)
    ),
    Stage("tokens", "tokenizer and token shards", "openmimo.data.stage:tokens", ("tokenizer", "data.question_loss"), ("corpus", "problems")),
    Stage("base", "pre-training", "openmimo.pretrain.stage:run", ("model", "pretrain"), ("tokens",), wide=True),
    Stage("sft", "supervised fine-tuning", "openmimo.sft.stage:run", ("sft",), ("base", "problems"), wide=True),
    Stage(
        "curate", "RL data and test difficulty", "openmimo.rl.curate:run",
        ("curate", "rl.max_tokens", *GENERATION), ("base", "sft", "problems"),
    ),
    Stage("rl-zero", "RL from Base", "openmimo.rl.stage:zero", ("rl", *GENERATION), ("base", "curate")),
    Stage("rl", "RL from SFT", "openmimo.rl.stage:run", ("rl", *GENERATION), ("sft", "curate")),
    *(
        Stage(
            f"eval-{name}", f"evaluation of {name}", "openmimo.eval.stage:run",
            ("eval", *GENERATION), (name, "problems"),
        )
        for name in CHECKPOINTS
    ),
    Stage(
        "release", "release: two profiles, cards", "openmimo.release.stage:run", ("name", "note"),
        (*CHECKPOINTS, *(f"eval-{name}" for name in CHECKPOINTS)),
    ),
]  # fmt: skip
