"""The blocks of text on a page: what main_content's classifier decides about [R 2.1].

    python -c "from openmimo.data.extract.text_blocks import *; from openmimo.data.extract.html_tree import parse; print(find_blocks(parse('<p>a<p>b')).texts)"

A block is the text that stands directly in an element (a paragraph, a cell, a list item, a <div>), inline elements
included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from openmimo.data.extract.html_tree import Element, Page

INLINE = frozenset(
    """a abbr acronym b bdi bdo big br cite code data del dfn em font i img ins kbd label mark math nobr q rp rt ruby s samp script
    small span strike strong sub sup time tt u var wbr svg input""".split()
)
AROUND = {name: 1 << i for i, name in enumerate("article main aside footer header form ul ol table figure blockquote section dl details li pre td".split())}  # fmt: skip
_WORD = re.compile(r"[a-z]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TAGS = re.compile(r"<[^>]*>")
_FORMULA_IMAGE = re.compile(r"latex|tex\b|math|formula|equation|mimetex|eeimg")
_FORMULA_NAMES = ("tex", "math", "formula", "equation", "eeimg")  # one is in all of these
_WRITTEN_FORMULA = re.compile(
    r"(\\\[|\$\$|\\begin\{(?:equation|align|gather|eqnarray|multline))"
)  # a display, in the text
_NAMES = re.compile(r'(?:class|id|role|itemprop)="([^"]*)"')
_TEXT_WORD = re.compile(r"[^\W\d_]+")


@dataclass
class Blocks:
    """Of each block: elements: its element's place in Page.elements; texts: its pieces joined by a blank; chars, link_chars, code:
    how many characters it has, those in links, those of code and formulas; links: how many; around: bits of AROUND; depths.

    Of each element of the page: `own`: the place of the element whose block it belongs to; `names`: what is written as its class,
    id, role and itemprop.
    """

    page: Page
    elements: list[int]
    texts: list[str]
    chars: list[int]
    link_chars: list[int]
    code: list[int]
    links: list[int]
    around: list[int]
    depths: list[int]
    own: list[int]
    names: list[str]


def find_blocks(page: Page, url: str | None = None) -> Blocks:
    """All blocks that are not in an element marked `skip`, in document order. Links to `url` itself are none."""
    name = url.partition("#")[0].rpartition("/")[2] if url else ""
    own_links = ('href="#', *((f'href="{url.partition("#")[0]}#', f'href="{name}#') if name else ()))
    elements = page.elements
    count = len(elements)
    own, around, depths, in_link, names = list(range(count)), [0] * count, [0] * count, [False] * count, [""] * count
    links, in_code, dead = [0] * count, [False] * count, bytearray(count)
    for i, (element, parent) in enumerate(zip(elements, page.parents, strict=True)):
        tag, written = element.tag, element.written
        if parent < 0:
            around[i] = AROUND.get(tag, 0)
        elif element.skip or dead[parent]:
            dead[i] = 1
            continue
        elif tag in INLINE:
            block = own[i] = own[parent]
            around[i], depths[i], linked = around[parent], depths[parent] + 1, in_link[parent]
            if tag == "a":
                if 'href="' in written and not any([link in written for link in own_links]):
                    linked = True
                    links[block] += 1
            in_link[i], in_code[i] = linked, in_code[parent] or tag == "code" or tag == "tt"
            continue
        else:
            depths[i], in_link[i] = depths[parent] + 1, in_link[parent]
            around[i] = around[parent] | AROUND.get(tag, 0)
        if written:
            names[i] = _names(written)
    parts: dict[int, list[str]] = {}
    chars, link_chars, code = [0] * count, [0] * count, [0] * count
    for i, text in page.texts:
        if dead[i]:
            continue
        block = own[i]
        if text:
            text = text.strip()
            size = len(text)
            if in_code[i]:
                code[block] += size
        else:
            text = _text_of(elements[i])
            size = len(text)
            if not size:
                continue
            code[block] += size
        if block in parts:
            parts[block].append(text)
        else:
            parts[block] = [text]
        chars[block] += size
        if in_link[i]:
            link_chars[block] += size
    order = sorted(parts)
    texts = [" ".join(parts[i]) for i in order]
    for i, text in zip(order, texts, strict=True):
        if text[0] in "\\$" and _WRITTEN_FORMULA.match(text):
            code[i] = chars[i]
    of_blocks = ([values[i] for i in order] for values in (chars, link_chars, code, links, around, depths))
    return Blocks(page, order, texts, *of_blocks, own, names)


@lru_cache(maxsize=16384)
def _names(written: str) -> str:
    return " ".join(_NAMES.findall(written))


def _text_of(element: Element) -> str:
    """Code as it stands; a mark for a formula; nothing for another image."""
    if element.tag == "pre":
        return _TAGS.sub("", element.source).strip()
    if element.tag == "img":
        written = element.written.lower()
        if not any([name in written for name in _FORMULA_NAMES]) or not _FORMULA_IMAGE.search(written):
            return ""
    return "$formula$"


@lru_cache(maxsize=16384)
def class_words(names: str) -> tuple[str, ...]:
    """The distinct words in class and id names, camel case split: "postBody-2 post" -> body, post."""
    lower = names.lower()
    return tuple(sorted(set(_WORD.findall(lower if lower == names else _CAMEL.sub("-", names).lower()))))


def text_words(text: str) -> list[str]:
    """The distinct words of a short block (at most ten words), with a mark; none of a longer one."""
    if len(text) >= 120:
        return []
    text = text.lower()[:120]
    words = text.split() if text.replace(" ", "").isalpha() else _TEXT_WORD.findall(text)
    return sorted({"t:" + w for w in words}) if len(words) <= 10 else []
