"""The sections of a recipe: typed, frozen, with the paper's settings as defaults where it gives them [R 2.1-3.5].

    from openmimo.sections import Rl; print(Rl(steps=10))

Imports no torch. `recipe` puts them together, reads files and explains errors.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Checkpoint(Section):
    """every_s: seconds between checkpoints of a stage that is under way."""

    every_s: float = Field(60.0, ge=0)


class Data(Section):
    """Sizes of the raw corpus, the near-duplicate threshold (Jaccard of word 5-grams), the n-gram of decontamination.
    question_loss false: in exercises and synthetic responses the loss counts from the solution on (our choice for tiny
    budgets: the random digits of a question teach nothing)."""

    stdlib_files: int = Field(200, ge=0)
    pydoc_pages: int = Field(150, ge=0)
    exercise_pages: int = Field(20_000, ge=0)
    question_loss: bool = True
    dedup_threshold: float = Field(0.8, gt=0, le=1)
    ngram: int = Field(16, ge=4)


class Problems(Section):
    """Verifiable problems: a weight for each family; counts of train and held-out problems, and of the synthetic
    responses of stage 3. plain_share: share of answers without written steps (or in code's less careful styles) in the
    corpus and the synthetic responses; sft_plain_share: the same in the SFT responses."""

    families: dict[str, float]
    train: int = Field(gt=0)
    test: int = Field(gt=0)
    synthetic: int = Field(4000, ge=0)
    plain_share: float = Field(0.5, ge=0, le=1)
    sft_plain_share: float = Field(0.5, ge=0, le=1)

    @field_validator("families")
    @classmethod
    def _weights(cls, families):
        if not families or min(families.values()) <= 0:
            raise ValueError("name at least one family, each with a weight above 0")
        return families


class Tokenizer(Section):
    vocab_size: int = Field(gt=256 + 3)


class Segment(Section):
    """A piece of a curve over tokens. `to`: the value at its end; `tokens` absent: the rest of the run."""

    shape: Literal["linear", "cosine", "constant"]
    tokens: float | None = Field(None, gt=0)
    to: float | None = Field(None, ge=0)


class Stage(Section):
    """One pre-training stage. mix: share of the tokens by source, summing to 1."""

    name: str
    tokens: float = Field(gt=0)
    length: int = Field(gt=1)
    rope_base: float = Field(gt=0)
    mix: dict[str, float]

    @field_validator("mix")
    @classmethod
    def _sums_to_one(cls, mix):
        if not mix or min(mix.values()) < 0 or abs(sum(mix.values()) - 1) > 1e-6:
            raise ValueError(f"the shares must be >= 0 and sum to 1; they sum to {sum(mix.values()):.4g}")
        return mix


class Optim(Section):
    """adamw: as in the report. muon: matrices of the blocks by Muon at `lr`, everything else by AdamW at
    lr x adam_ratio (our choice for tiny models, not the report's)."""

    name: Literal["adamw", "muon"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(0.1, ge=0)
    clip: float = Field(1.0, gt=0)
    adam_ratio: float = Field(0.2, gt=0)
    momentum: float = Field(0.95, ge=0, lt=1)


class Pretrain(Section):
    optim: Optim = Optim()
    lr: list[Segment]
    batch: list[Segment]
    mtp_weight: list[Segment]
    stages: list[Stage] = Field(min_length=1)
    micro_batch: int = Field(64, gt=0)

    @property
    def tokens(self) -> float:
        return sum(stage.tokens for stage in self.stages)


class Sft(Section):
    optim: Optim = Optim()
    lr: float = Field(3e-5, gt=0)
    warmup_steps: int = Field(0, ge=0)
    batch: int = Field(128, gt=0)
    length: int = Field(32_768, gt=1)
    epochs: float = Field(3, gt=0)
    responses_per_query: int = Field(8, gt=0)
    mtp_weight: float = Field(0.1, ge=0)
    micro_batch: int = Field(64, gt=0)


class Extend(Section):
    """`openmimo mtp extend` [R 2.3]: the copies are tuned on `samples` responses of the model itself to each prompt. The
    report gives no settings; these are ours."""

    optim: Optim = Optim(weight_decay=0.0)
    lr: float = Field(1e-4, gt=0)
    warmup_steps: int = Field(10, ge=0)
    batch: int = Field(16, gt=0)
    length: int = Field(2048, gt=1)
    epochs: float = Field(2, gt=0)
    micro_batch: int = Field(4, gt=0)
    prompts: int = Field(1000, gt=0)
    samples: int = Field(4, gt=0)
    temperature: float = Field(1.0, ge=0)
    max_tokens: int = Field(512, gt=0)


class Curate(Section):
    """RL data [R 3.2]: problems with a pass rate above `max_pass_rate` over `rollouts` of the SFT model are dropped."""

    rollouts: int = Field(16, gt=0)
    max_pass_rate: float = Field(0.9, ge=0, le=1)
    problems: int = Field(0, ge=0)


class Rl(Section):
    """GRPO [R 3.3]. batch: groups a step; group: responses a problem; minibatch: groups an update. Rollouts are always
    sampled at temperature = top-p = 1, so that the trainer's log-probabilities are those of the sampler.

    schedule: a row of the report's Table 2 [R 3.4], `early` is Seamless Rollout; all but `static` give the same batches.
    filter: which groups are valid, see rollout/group. max_tasks_per_step: 8 batches where not given. engines: worker
    processes that generate (0: the trainer's own does); engines_at: `processes`, `ray`, or vLLM servers' addresses, see
    rollout/engines. judges: groups judged at once; judges_at: `local`, `ray`, or judge servers' addresses. order,
    selective, forecast: see easy_pool. truncated_is: cap of the truncated importance weights, 0 for none."""

    optim: Optim = Optim(weight_decay=0.0)
    lr: float = Field(1e-6, gt=0)
    warmup_steps: int = Field(0, ge=0)
    steps: int = Field(gt=0)
    zero_steps: int | None = Field(None, gt=0)
    batch: int = Field(512, gt=0)
    group: int = Field(16, gt=1)
    minibatch: int = Field(32, gt=0)
    max_tokens: int = Field(32_768, gt=0)
    eps_low: float = Field(0.2, gt=0)
    eps_high: float = Field(0.28, gt=0)
    loss_norm: Literal["tokens", "group"] = "tokens"
    schedule: Literal["static", "naive", "continuous", "async", "early"] = "early"
    filter: Literal["unequal_rewards", "mixed_passes"] = "unequal_rewards"
    max_tasks_per_step: int | None = Field(None, gt=0)
    engines: int = Field(0, ge=0)
    engines_at: str = Field("processes", pattern=r"^(processes|ray|https?://[^,\s]+(,https?://[^,\s]+)*)$")
    judges: int = Field(1, gt=0)
    judges_at: str = Field("local", pattern=r"^(local|ray|https?://[^,\s]+(,https?://[^,\s]+)*)$")
    truncated_is: float = Field(0.0, ge=0)
    easy_alpha: float = Field(0.1, ge=0, lt=1)
    order: Literal["seeded", "longest_first"] = "seeded"
    selective: float = Field(1.0, gt=0, le=1)
    forecast: Literal["set", "problem"] = "set"
    reward: Literal["strict", "soft", "all_or_nothing", "linear"] = "strict"
    micro_batch: int = Field(128, gt=0)

    @model_validator(mode="after")
    def _minibatches_divide(self):
        if self.batch % self.minibatch:
            raise ValueError(f"batch ({self.batch}) must be a multiple of minibatch ({self.minibatch})")
        if self.max_tasks_per_step is not None and self.max_tasks_per_step < self.batch:
            raise ValueError(f"max_tasks_per_step ({self.max_tasks_per_step}) must be at least batch ({self.batch})")
        return self


class Eval(Section):
    samples: int = Field(8, gt=0)
    temperature: float = Field(0.6, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_tokens: int = Field(32_768, gt=0)


class Engine(Section):
    """slots: responses decoded side by side."""

    slots: int = Field(256, gt=0)
