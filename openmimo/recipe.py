"""The typed recipe: one TOML file, every quantity of the run. Strict: an unknown key is an error with a suggestion.

    openmimo plan recipes/tiny.toml --set pretrain.optim.name=adamw

Imports no torch. Sections follow the report: data and mix [R 2.1], model [R 2.2], schedule [R 2.3], SFT [R 3.1],
RL data [R 3.2], RL [R 3.3], evaluation [R 3.5].
"""

from __future__ import annotations

import difflib
import json
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from openmimo.errors import UserError
from openmimo.model.config import ModelConfig


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


class Curate(Section):
    """RL data [R 3.2]: problems with a pass rate above `max_pass_rate` over `rollouts` of the SFT model are dropped."""

    rollouts: int = Field(16, gt=0)
    max_pass_rate: float = Field(0.9, ge=0, le=1)
    problems: int = Field(0, ge=0)


class Rl(Section):
    """GRPO [R 3.3]. batch: groups a step; group: responses a problem; minibatch: groups an update. Rollouts are always
    sampled at temperature = top-p = 1, so that the trainer's log-probabilities are those of the sampler."""

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
    dynamic_sampling: bool = True
    max_rounds: int = Field(8, gt=0)
    easy_alpha: float = Field(0.1, ge=0, lt=1)
    reward: Literal["strict", "soft", "all_or_nothing", "linear"] = "strict"
    micro_batch: int = Field(128, gt=0)

    @model_validator(mode="after")
    def _minibatches_divide(self):
        if self.batch % self.minibatch:
            raise ValueError(f"batch ({self.batch}) must be a multiple of minibatch ({self.minibatch})")
        return self


class Eval(Section):
    samples: int = Field(8, gt=0)
    temperature: float = Field(0.6, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_tokens: int = Field(32_768, gt=0)


class Engine(Section):
    """slots: responses decoded side by side."""

    slots: int = Field(256, gt=0)


class Recipe(Section):
    """The whole run. `note` is printed at the start and kept in the results."""

    name: str
    note: str = ""
    seed: int = 0
    workers: int = Field(2, gt=0)
    checkpoint: Checkpoint = Checkpoint()
    data: Data = Data()
    problems: Problems
    tokenizer: Tokenizer
    model: ModelConfig
    pretrain: Pretrain
    sft: Sft = Sft()
    curate: Curate = Curate()
    rl: Rl
    eval: Eval = Eval()
    engine: Engine = Engine()

    @model_validator(mode="after")
    def _fits(self):
        if self.model.vocab_size < self.tokenizer.vocab_size:
            raise ValueError(f"model.vocab_size ({self.model.vocab_size}) is below tokenizer.vocab_size")
        for stage in self.pretrain.stages:
            if stage.length > self.model.max_length:
                raise ValueError(f"stage {stage.name}: length {stage.length} exceeds model.max_length")
        base = self.pretrain.stages[-1].rope_base
        if "rope_base" in self.model.model_fields_set and self.model.rope_base != base:
            raise ValueError(f"model.rope_base ({self.model.rope_base:g}) is not the last stage's ({base:g}); leave it out")
        for section, key in ((self.sft, "length"), (self.rl, "max_tokens"), (self.eval, "max_tokens")):
            room = self.model.max_length - (key == "max_tokens")
            if key in section.model_fields_set and (length := getattr(section, key)) > room:
                name = f"{type(section).__name__.lower()}.{key}"
                raise ValueError(f"{name} ({length}) does not fit model.max_length ({self.model.max_length})")
        if self.model.mtp_layers > 1:
            raise ValueError("model.mtp_layers: pre-training trains one MTP layer [R 2.3]; use 0 or 1")
        for name in ("lr", "batch", "mtp_weight"):
            check_curve(getattr(self.pretrain, name), self.pretrain.tokens, f"pretrain.{name}")
        return self


def check_curve(segments: list[Segment], total: float, where: str) -> None:
    """The segments must cover the run: fixed lengths that sum to `total`, or a last one without `tokens`."""
    if any(s.tokens is None for s in segments[:-1]) or not segments:
        raise ValueError(f"{where}: only the last segment may leave `tokens` out")
    fixed = sum(s.tokens for s in segments if s.tokens is not None)
    open_end = segments[-1].tokens is None
    if (not open_end and abs(fixed - total) > 1e-6 * total) or (open_end and fixed >= total):
        raise ValueError(f"{where}: the segments cover {fixed:,.0f} of the run's {total:,.0f} tokens")
    if segments[0].to is None:
        raise ValueError(f"{where}: the first segment needs `to`")


def load_recipe(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Recipe:
    """Reads a recipe and applies `section.key=value` overrides. Raises UserError naming file, key and remedy."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such recipe; `ls recipes/` shows those that come with openmimo")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML ({error}); correct that line") from None
    for override in overrides:
        _apply(data, override)
    return parse_recipe(data, str(path))


def parse_recipe(data: dict[str, Any], where: str = "recipe") -> Recipe:
    """Plain data -> Recipe, with errors that name the key and suggest the nearest known one."""
    try:
        return Recipe(**data)
    except ValidationError as error:
        raise UserError(f"{where}: " + "; ".join(_explain(e) for e in error.errors())) from None


def parse_section(name: str, default: BaseModel, overrides: list[str] | tuple[str, ...]) -> Any:
    """One section from its defaults and `name.key=value` overrides, for a stage that is run alone."""
    data: dict[str, Any] = {name: default.model_dump(mode="json")}
    for override in overrides:
        _apply(data, override)
    if extra := sorted(set(data) - {name}):
        raise UserError(f"--set {extra[0]}...: this command reads only the section {name!r}")
    try:
        return type(default)(**data[name])
    except ValidationError as error:
        raise UserError("--set: " + "; ".join(_explain(e, type(default)) for e in error.errors())) from None


def _apply(data: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign:
        raise UserError(f"--set {override}: expected section.key=value, for example rl.steps=20")
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = key.strip().split(".")
    node: Any = data
    try:
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
            if not isinstance(node, dict | list):
                raise UserError(f"--set {override}: {part!r} is a value, not a section; see the recipe's keys")
        node[int(last) if isinstance(node, list) else last] = value
    except UserError:
        raise
    except (ValueError, IndexError):
        raise UserError(f"--set {override}: no such place in the list; give an index that the recipe has") from None


def _explain(error: dict[str, Any], root: Any = None) -> str:
    """One pydantic error as `key: what is wrong`; for an unknown key with the nearest known one."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{key or 'recipe'}: {error['msg'].removeprefix('Value error, ')}"
    section: Any = root or Recipe
    for part in error["loc"][:-1]:
        if isinstance(part, str):
            section = _section_of(section.model_fields[part].annotation)
    known = list(section.model_fields)
    near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
    return f"unknown key {key!r}; {hint}"


def _section_of(annotation: Any) -> Any:
    """The section class inside `list[Section]` or `Section`."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return annotation


def canonical(section: BaseModel | dict) -> str:
    """A section as text that is equal if and only if its values are; what a run's keys are hashed from."""
    data = section.model_dump(mode="json") if isinstance(section, BaseModel) else section
    return json.dumps(data, sort_keys=True)
