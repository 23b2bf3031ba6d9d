"""Shows random documents of a tag, in the terminal and as a page: reading ten tells more than any average.

openmimo data look tagged.jsonl --tag domain=math --tag quality=4-5 --html look.html
"""

from __future__ import annotations

import html
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmimo.data.document import Document
from openmimo.errors import UserError

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1c1e21; background: #fafafa }
h1 { font-size: 1.3rem } article { background: #fff; border: 1px solid #dcdfe4; border-radius: 6px; padding: 1rem 1.2rem; margin: 1.2rem 0 }
h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere } .url { color: #5b6470; font-size: .85rem; overflow-wrap: anywhere }
.tags { margin: .5rem 0; font-size: .8rem } .tags span { background: #eef1f5; border-radius: 4px; padding: .1rem .4rem; margin-right: .3rem; display: inline-block }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.45 ui-monospace, monospace; max-height: 28rem; overflow-y: auto; margin: 0; border-top: 1px solid #eceff3; padding-top: .6rem }
@media (prefers-color-scheme: dark) { body { background: #15181c; color: #e3e6ea } article { background: #1d2126; border-color: #333a42 } .tags span { background: #2b323a } pre { border-color: #333a42 } .url { color: #9aa4b0 } }
"""


@dataclass(frozen=True)
class Condition:
    """NAME=VALUE, or NAME=LOW-HIGH for numbers (both ends are in)."""

    name: str
    value: str

    @staticmethod
    def parse(text: str) -> Condition:
        name, sign, value = text.partition("=")
        if not sign or not name or not value:
            raise UserError(f"--tag {text}: give NAME=VALUE or NAME=LOW-HIGH, such as domain=math or quality=3-5")
        return Condition(name, value)

    def holds(self, tags: dict[str, Any]) -> bool:
        found = tags.get(self.name)
        if isinstance(found, int | float) and not isinstance(found, bool):
            low, sign, high = self.value.partition("-")
            try:
                return float(low) <= found <= float(high) if sign else found == float(low)
            except ValueError:
                raise UserError(
                    f"--tag {self.name}={self.value}: {self.name} is a number; give one, or LOW-HIGH"
                ) from None
        return str(found).lower() == self.value.lower()


def choose(
    documents: Iterable[Document], conditions: list[Condition], count: int, seed: int = 0
) -> tuple[list[Document], int]:
    """(`count` documents at random of those that meet every condition, how many do), in one pass; a tag that no
    document has is an error."""
    rng, chosen, met, names = random.Random(seed), [], 0, set()
    for document in documents:
        tags = document.meta.get("tags", {})
        names |= set(tags)
        if all(c.holds(tags) for c in conditions):
            met += 1
            if len(chosen) < count:
                chosen.append(document)
            elif (place := rng.randrange(met)) < count:
                chosen[place] = document
    if missing := [c.name for c in conditions if c.name not in names]:
        raise UserError(f"--tag {missing[0]}: no document has this tag; there are {', '.join(sorted(names)) or 'none: run `openmimo data tag`'}")  # fmt: skip
    return chosen, met


def described(document: Document) -> str:
    """The tags of a document in a line."""
    return "  ".join(f"{name} {value}" for name, value in document.meta.get("tags", {}).items())


def page_of(documents: list[Document], title: str, chars: int = 4_000) -> str:
    """A page that needs nothing else."""
    parts = [f"<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{html.escape(title)}</title>"
             f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1>"]  # fmt: skip
    for d in documents:
        tags = "".join(
            f"<span>{html.escape(name)} {html.escape(str(value))}</span>"
            for name, value in d.meta.get("tags", {}).items()
        )
        text = d.text if len(d.text) <= chars else d.text[:chars] + f"\n[... {len(d.text) - chars:,} more characters]"
        parts.append(f"<article><h2>{html.escape(d.title or d.id)}</h2><div class='url'>{html.escape(d.url)} · {html.escape(d.source)}</div>"
                     f"<div class='tags'>{tags}</div><pre>{html.escape(text)}</pre></article>")  # fmt: skip
    return "\n".join(parts) + "</html>\n"


def look(path: Path, conditions: list[str], count: int, seed: int, chars: int, out: Path | None, console) -> None:
    """Prints them, and writes the page where one is asked for."""
    from rich.panel import Panel
    from rich.text import Text

    from openmimo.data.document import document_from_dict
    from openmimo.progress import reading
    from openmimo.runs import write_atomic

    with reading(path, console) as rows:
        documents = (document_from_dict(data, where) for where, data in rows)
        chosen, met = choose(documents, [Condition.parse(c) for c in conditions], count, seed)
    title = f"{len(chosen)} of {met:,} documents of {path.name}" + (
        f" with {', '.join(conditions)}" if conditions else ""
    )
    console.print(title, highlight=False, markup=False)
    for d in chosen:
        shown = d.text if len(d.text) <= chars else d.text[:chars] + " [...]"
        head = Text(d.title or d.url or d.id, overflow="ellipsis", no_wrap=True)
        console.print(Panel(Text(f"{described(d)}\n\n{shown}"), title=head, title_align="left"))
    if out:
        write_atomic(out, page_of(chosen, title))
        console.print(f"wrote {out}", highlight=False, markup=False)
