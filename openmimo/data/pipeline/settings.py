"""PIPELINE.toml, typed and strict: an unknown key is an error with a suggestion.

    openmimo data run PIPELINE.toml

`[input]` names the files, each `[[steps]]` a step in order, `[output]` where the documents go, `[run]` who executes. Relative
paths are relative to the working directory.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationError, model_validator

from openmimo.errors import UserError
from openmimo.recipe import apply_override, explain
from openmimo.sections import Section


class Input(Section):
    """files: JSONL, Parquet or WARC, plain, .gz or .zst; local or any fsspec path; * and ** allowed. source: of documents that
    name none. text, url: the columns that hold them. html: rows without a `format` are HTML pages. skip_bad: lines that cannot be
    read are dropped and counted; otherwise they are an error."""

    files: list[str] = Field(min_length=1)
    source: str = "input"
    text: str = "text"
    url: str = "url"
    html: bool = False
    skip_bad: bool = False


class Step(Section):
    title: ClassVar[str]


class Extract(Step):
    title = "extract"


class UrlDedup(Step):
    title = "url-dedup"


class ExactDedup(Step):
    title = "exact-dedup"


class NearDedup(Step):
    """threshold: Jaccard similarity of word 5-grams. index: `index/near-dedup` folders of earlier outputs; what resembles
    their documents is dropped."""

    title = "near-dedup"
    threshold: float = Field(0.8, gt=0, le=1)
    seed: int = 1
    index: list[str] = []


class Tag(Step):
    title = "tag"


class Decontaminate(Step):
    """against: JSONL or Parquet files of benchmark items; n: words of the n-grams."""

    title = "decontaminate"
    against: list[str] = Field(min_length=1)
    n: int = Field(16, ge=4)


class Filter(Step):
    """tag: the tag that decides; exactly one of keep, drop (values), at_least, at_most (numbers). A document without the tag is
    dropped by `keep` and `at_least`."""

    title = "filter"
    tag: str
    keep: list[str] | None = None
    drop: list[str] | None = None
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _one(self):
        if sum(v is not None for v in (self.keep, self.drop, self.at_least, self.at_most)) != 1:
            raise ValueError("give one of keep, drop, at_least and at_most")
        return self


class Pack(Step):
    """tokenizer: a folder with tokenizer.json; by: the tag whose values are the sources of the mix. The last step."""

    title = "pack"
    tokenizer: str
    by: str = "domain"


STEPS: dict[str, type[Step]] = {c.title: c for c in Step.__subclasses__()}


class Output(Section):
    """folder: local or any fsspec path. work: a local or shared folder for what lies between the steps."""

    folder: str
    format: Literal["jsonl", "jsonl.gz", "jsonl.zst", "parquet"] = "jsonl.zst"
    work: str | None = None


class Run(Section):
    """executor: datatrove's; workers: tasks at a time; options: what the executor takes beside that, such as Slurm's
    `time`, `partition`, `mem_per_cpu_gb`."""

    executor: Literal["local", "slurm", "ray"] = "local"
    workers: int = Field(1, gt=0)
    options: dict[str, Any] = {}


class Pipeline(Section):
    input: Input
    steps: list[Any] = []
    output: Output
    run: Run = Run()

    @model_validator(mode="after")
    def _pack_is_last(self):
        if any(isinstance(step, Pack) for step in self.steps[:-1]):
            raise ValueError("pack writes tokens, so it is the last step")
        return self


def load_pipeline(path: str | Path) -> Pipeline:
    """Reads a PIPELINE.toml; a UserError names file, key and remedy."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a pipeline in TOML, see docs/data.md")
    try:
        return parse_pipeline(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML ({error}); correct that line") from None


def parse_pipeline(data: dict[str, Any], where: str) -> Pipeline:
    steps = data.get("steps", [])
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise UserError(f"{where}: steps: write each step as a table [[steps]] with a name")
    steps = [_step(dict(step), f"{where}: step {i}") for i, step in enumerate(steps, 1)]
    try:
        return Pipeline(**{**data, "steps": steps})
    except ValidationError as error:
        raise UserError(f"{where}: " + "; ".join(explain(e, Pipeline) for e in error.errors())) from None


def pipeline_of_one(name: str, files: list[str], out: str, settings: list[str], format: str, workers: int) -> Pipeline:
    """A pipeline of one step, from `key=value` settings of the step or of [input]."""
    values: dict[str, Any] = {}
    for setting in settings:
        apply_override(values, setting)
    inputs = {key: values.pop(key) for key in list(values) if key in Input.model_fields and key not in _fields(name)}
    data = {"input": {"files": files, **inputs}, "steps": [{"name": name, **values}]}
    return parse_pipeline(
        data | {"output": {"folder": out, "format": format}, "run": {"workers": workers}}, "data step"
    )


def _fields(name: str) -> dict[str, Any]:
    return STEPS[name].model_fields if name in STEPS else {}


def _step(data: dict[str, Any], where: str) -> Step:
    name = data.pop("name", None)
    if name not in STEPS:
        near = difflib.get_close_matches(str(name), STEPS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known steps: {', '.join(STEPS)}"
        raise UserError(f"{where}: unknown name {name!r}; {hint}")
    try:
        return STEPS[name](**data)
    except ValidationError as error:
        raise UserError(f"{where} ({name}): " + "; ".join(explain(e, STEPS[name]) for e in error.errors())) from None
