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
from typing import Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from openmimo.errors import UserError
from openmimo.model.config import ModelConfig
from openmimo.sections import (
    Checkpoint,
    Curate,
    Data,
    Engine,
    Eval,
    Pretrain,
    Problems,
    Rl,
    Section,
    Segment,
    Sft,
    Tokenizer,
)
from openmimo.sections import Extend as Extend
from openmimo.sections import Optim as Optim
from openmimo.sections import Stage as Stage


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
            raise ValueError(
                f"model.rope_base ({self.model.rope_base:g}) is not the last stage's ({base:g}); leave it out"
            )
        for section, key in ((self.sft, "length"), (self.rl, "max_tokens"), (self.eval, "max_tokens")):
            room = self.model.max_length - (key == "max_tokens")
            if key in section.model_fields_set and (length := getattr(section, key)) > room:
                name = f"{type(section).__name__.lower()}.{key}"
                raise ValueError(f"{name} ({length}) does not fit model.max_length ({self.model.max_length})")
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
        apply_override(data, override)
    return parse_recipe(data, str(path))


def parse_recipe(data: dict[str, Any], where: str = "recipe") -> Recipe:
    """Plain data -> Recipe, with errors that name the key and suggest the nearest known one."""
    try:
        return Recipe(**data)
    except ValidationError as error:
        raise UserError(f"{where}: " + "; ".join(explain(e) for e in error.errors())) from None


def parse_section(name: str, default: BaseModel, overrides: list[str] | tuple[str, ...]) -> Any:
    """One section from its defaults and `name.key=value` overrides, for a stage that is run alone."""
    data: dict[str, Any] = {name: default.model_dump(mode="json")}
    for override in overrides:
        apply_override(data, override)
    if extra := sorted(set(data) - {name}):
        raise UserError(f"--set {extra[0]}...: this command reads only the section {name!r}")
    try:
        return type(default)(**data[name])
    except ValidationError as error:
        raise UserError("--set: " + "; ".join(explain(e, type(default)) for e in error.errors())) from None


def apply_override(data: dict[str, Any], override: str) -> None:
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


def explain(error: dict[str, Any], root: Any = None) -> str:
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
