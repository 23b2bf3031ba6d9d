"""The rubric of the tags, a data file: its questions, its answers, and how a model's reply is read [R 2.1].

python -c "from openmimo.data.tags.rubric import Rubric; print(Rubric.load().prompt('A page.'))"
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from openmimo.errors import UserError

SCALE = tuple(range(6))
FLAG = (False, True)
_SHOWN = 6_000  # characters of a page that a model sees
_KINDS = ("class", "scale", "flag")


@dataclass(frozen=True)
class Head:
    """One question: its kind (class, scale, flag) and the answers, in order."""

    name: str
    kind: str
    values: tuple[Any, ...]
    question: str

    def read(self, value: Any) -> Any:
        """A reply's value as one of `values`; None where it is none of them."""
        if self.kind == "flag" and isinstance(value, str):
            value = {"yes": True, "no": False, "true": True, "false": False}.get(value.strip().lower())
        if self.kind == "scale":
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            value = round(value) if is_number and value == value and abs(value) < 1e6 else None
        if self.kind == "class" and isinstance(value, str):
            value = value.strip().lower()
        same = [v for v in self.values if type(v) is type(value) and v == value]
        return same[0] if same else None


@dataclass(frozen=True)
class Rubric:
    """The heads and the prompt that asks for them."""

    heads: tuple[Head, ...]
    template: str

    @staticmethod
    def load(path: str | Path | None = None) -> Rubric:
        """From a TOML file [default: the package's prompts/tags.toml]."""
        where = Path(path) if path else resources.files("openmimo.data").joinpath("prompts/tags.toml")
        try:
            data = tomllib.loads(where.read_text(encoding="utf-8"))
            heads = tuple(_head(name, head, where) for name, head in data["heads"].items())
            return Rubric(heads, data["prompt"])
        except FileNotFoundError:
            raise UserError(f"{where}: no such file; give a rubric as in openmimo/data/prompts/tags.toml") from None
        except (tomllib.TOMLDecodeError, KeyError) as error:
            raise UserError(f"{where}: not a rubric ({error}); see openmimo/data/prompts/tags.toml") from None

    def prompt(self, text: str) -> str:
        """What a model is asked about a page."""
        questions = "\n".join(f"- {h.name}: {' '.join(h.question.split())}" for h in self.heads)
        shape = json.dumps({h.name: "|".join(h.values) if h.kind == "class" else "0-5" if h.kind == "scale" else "true|false"
                            for h in self.heads})  # fmt: skip
        parts = {"questions": questions, "shape": shape, "text": shown(text)}
        return re.sub(r"\{(questions|shape|text)\}", lambda m: parts[m[1]], self.template).strip()

    def read(self, reply: str) -> dict[str, Any] | None:
        """The labels in a reply: the last JSON object that answers every head; None where there is none."""
        for match in reversed(re.findall(r"\{[^{}]*\}", reply)):
            try:
                data = json.loads(match)
            except ValueError:
                continue
            labels = {h.name: h.read(data.get(h.name)) for h in self.heads}
            if all(value is not None for value in labels.values()):
                return labels
        return None


def shown(text: str, size: int = _SHOWN) -> str:
    """The beginning and the end of a long text."""
    return text if len(text) <= size else f"{text[: 2 * size // 3]}\n[...]\n{text[-size // 3 :]}"


def _head(name: str, data: dict[str, Any], where: object) -> Head:
    kind = data.get("kind")
    if kind not in _KINDS or not isinstance(data.get("question"), str):
        raise UserError(f"{where}: head {name!r} needs a question and a kind, one of {', '.join(_KINDS)}")
    values = {"scale": SCALE, "flag": FLAG}.get(kind) or tuple(data.get("values", ()))
    if len(values) < 2:
        raise UserError(f"{where}: head {name!r} is a class and needs two values or more")
    return Head(name, kind, values, data["question"])
