"""The texts that bench/data_effect.py trains on and measures with; runs in the environment of bench/peers/extract.sh.

    .bench/extract/bin/python bench/data_effect_texts.py texts.json

Sphinx pages of Debian packages that no part of our extractor was trained on. A third of them is held out, as written by their
authors (.rst read by docutils), the rest is what each extractor makes of the HTML. All texts, held-out ones too, lose their
Markdown marks, soft line ends, blank lines and curly quotes by one function: authors' sources have other marks than Markdown,
and the question is which text survives, not how it is marked up.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from extract import SIDES
from extract_docs import TEST, pages
from extract_gold import GoldPage

PAGES = 60  # of each package, at most
CURLY = str.maketrans("“”‘’–…", "\"\"''-.")


def whole_page(page: GoldPage) -> str:
    """Everything that a browser would show: no extraction at all."""
    from resiliparse.extract.html2text import extract_plain_text

    return extract_plain_text(page.html, main_content=False, preserve_formatting=True)


def source(page: GoldPage) -> str:
    """The author's text with its paragraphs on one line each, as in HTML."""
    code = "\n".join(page.code)
    return "\n".join(p if p.strip("\n") in code else " ".join(p.split()) for p in page.text.split("\n\n"))


ARMS: dict[str, Callable[[GoldPage], str]] = {
    "openmimo": SIDES["openmimo"], "trafilatura": SIDES["trafilatura-md"], "whole page": whole_page, "source": source,
}  # fmt: skip


def plain(text: str) -> str:
    """Without Markdown: fences, headings, list marks, table lines, emphasis, links, escapes, formula delimiters."""
    text = re.sub(r"!?\[([^\[\]\n]*)\]\([^()\n]*\)", r"\1", text.translate(CURLY))
    text = re.sub(r"^ *(```.*|\|[ :|-]+\||#+(?= )|[-*+](?= )|\d+\.(?= ))", "", text, flags=re.M)
    text = re.sub(r"\*\*|[`$|]|\\[()]|\\(?=[_*#\[\]<>])", "", text)
    return re.sub(r"\s*\n(\s*\n)*", "\n", text).strip() + "\n"


def middle(text: str, size: int = 2500) -> str:
    """A piece of a held-out text, so that every page weighs about the same."""
    lines = text[max(0, (len(text) - size) // 2) :][: 2 * size].split("\n")
    return "\n".join(lines[len(text) > size :])[:size] + "\n"


def main() -> None:
    gold = pages(TEST, PAGES)
    held, train = gold[::3], [page for n, page in enumerate(gold) if n % 3]
    texts = {name: [plain(arm(page)) for page in train] for name, arm in ARMS.items()}
    parts = {
        "all": map(source, held),
        "prose": (source(without_code(page)) for page in held),
        "code": ("\n".join(page.code) for page in held if page.code),
        "formulas": ("\n".join(page.math) for page in held if page.math),
    }
    held_out = {name: [middle(plain(text)) for text in part] for name, part in parts.items()}
    Path(sys.argv[1]).write_text(json.dumps({"train": texts, "held_out": held_out}))
    for name, found in (texts | held_out).items():
        print(f"{name:12} {len(found):4} texts {sum(map(len, found)):10,} characters", file=sys.stderr)


def without_code(page: GoldPage) -> GoldPage:
    """The page's text without its code blocks."""
    text = page.text
    for block in page.code:
        text = text.replace(block, "")
    return GoldPage(page.set, page.name, page.url, "", text, 0)


if __name__ == "__main__":
    main()
