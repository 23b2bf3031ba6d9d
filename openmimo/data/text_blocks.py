"""The blocks of text on a page and what tells content from boilerplate: the features of main_content's classifier [R 2.1].

    python -c "from openmimo.data.text_blocks import *; from openmimo.data.html_tree import parse; print(find_blocks(parse('<p>a<p>b')).texts)"

A block is the text that stands directly in an element (a paragraph, a cell, a list item, a <div>), inline elements
included. Features: its length, links, punctuation, tag; the same of its neighbours; sums over the elements around it; place
and depth; how often its siblings repeat; and what the class words around it meant on the pages of training.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from openmimo.data.html_tree import Element, Page

INLINE = frozenset(
    """a abbr acronym b bdi bdo big br cite code data del dfn em font i img ins kbd label mark math nobr q rp rt ruby s samp script
    small span strike strong sub sup time tt u var wbr svg input""".split()
)
_KINDS = {
    "p": 0, "h1": 1, "h2": 2, "h3": 3, "h4": 3, "h5": 3, "h6": 3, "li": 4, "td": 5, "th": 5, "pre": 6, "div": 7, "dd": 8, "dt": 9,
    "blockquote": 10, "figcaption": 11, "caption": 11, "form": 12, "legend": 12, "fieldset": 12, "section": 13, "article": 13,
    "body": 14, "footer": 15, "header": 16, "aside": 17, "address": 18,
}  # fmt: skip
_OTHER_KIND = 19
_AROUND = {name: 1 << i for i, name in enumerate("article main aside footer header form ul ol table figure blockquote section dl details li pre td".split())}  # fmt: skip
_WORD = re.compile(r"[a-z]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TAGS = re.compile(r"<[^>]*>")
_FORMULA_IMAGE = re.compile(r"latex|tex\b|math|formula|equation|mimetex|eeimg", re.I)
_WRITTEN_FORMULA = re.compile(
    r"(\\\[|\$\$|\\begin\{(?:equation|align|gather|eqnarray|multline))"
)  # a display, in the text
_NAMES = re.compile(r'(?:class|id|role|itemprop)="([^"]*)"')
_PUNCTUATION = re.compile(r"[.,;:!?。，、；：！？]")
_TEXT_WORD = re.compile(r"[^\W\d_]+")
WORD_COLUMNS = slice(-11, -4)  # of the features: those that depend on the weights of words
SENTENCE = 80  # characters: a block of that many, few of them in links, counts as running text


@dataclass
class Blocks:
    """elements: for each block its element's place in Page.elements; texts: for each its pieces joined by a blank.

    `names[i]`: what is written as class, id, role and itemprop of element i; `own`: (elements,) index of the element whose
    block it belongs to.
    """

    page: Page
    elements: list[int]
    texts: list[str]
    chars: list[int]  # of each element's own block
    link_chars: list[int]
    links: list[int]
    own: list[int]
    around: list[int]
    depths: list[int]
    names: list[str]
    code: list[int]  # characters of code and formulas


def find_blocks(page: Page, url: str | None = None) -> Blocks:
    """All blocks that are not in an element marked `skip`, in document order. Links to `url` itself are none."""
    name = url.partition("#")[0].rpartition("/")[2] if url else ""
    own_links = ('href="#', *((f'href="{url.partition("#")[0]}#', f'href="{name}#') if name else ()))
    elements = page.elements
    count = len(elements)
    own, around, depths, in_link, names = [0] * count, [0] * count, [0] * count, [False] * count, [""] * count
    links, in_code, dead = [0] * count, [False] * count, bytearray(count)
    for i, element in enumerate(elements):
        parent, tag = element.parent_index, element.tag
        linked = coded = False
        if parent >= 0:
            if element.skip or dead[parent]:
                dead[i] = 1
                continue
            linked, coded = in_link[parent], in_code[parent]
            around[i], depths[i] = around[parent], depths[parent] + 1
        if tag in INLINE and parent >= 0:
            block = own[i] = own[parent]
            if tag == "a":
                if 'href="' in element.written and not any(link in element.written for link in own_links):
                    linked = True
                    links[block] += 1
            elif tag == "code" or tag == "tt":
                coded = True
        else:
            own[i], coded = i, False
            around[i] |= _AROUND.get(tag, 0)
            if element.written:
                names[i] = " ".join(_NAMES.findall(element.written))
        in_link[i], in_code[i] = linked, coded
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
    return Blocks(page, order, texts, chars, link_chars, links, own, around, depths, names, code)


def _text_of(element: Element) -> str:
    """Code as it stands; a mark for a formula; nothing for another image."""
    if element.tag == "pre":
        return _TAGS.sub("", element.source).strip()
    return "$formula$" if element.tag != "img" or _FORMULA_IMAGE.search(element.written) else ""


def class_words(names: str) -> list[str]:
    """The distinct words in class and id names, camel case split: "postBody-2 post" -> body, post."""
    return sorted(set(_WORD.findall(_CAMEL.sub("-", names).lower())))


def text_words(text: str) -> list[str]:
    """The distinct words of a short block (at most ten words), with a mark; none of a longer one."""
    words = _TEXT_WORD.findall(text.lower()[:120]) if len(text) < 120 else []
    return sorted({"t:" + w for w in words}) if len(words) <= 10 else []


def _sums(blocks: Blocks, values: list[list[int]]) -> np.ndarray:
    """(elements, len(values)): each value summed over an element and all below it."""
    elements = blocks.page.elements
    totals = [list(v) for v in values]
    parents = [e.parent_index for e in elements]
    for total in totals:
        for i in range(len(elements) - 1, 0, -1):
            if total[i] and parents[i] >= 0:
                total[parents[i]] += total[i]
    return np.array(totals, dtype=np.float32).T


def features(blocks: Blocks, weights: dict[str, float]) -> np.ndarray:
    """(blocks, n) float32. weights: the log odds of class and text words, learned in training."""
    page, order, texts = blocks.page, blocks.elements, blocks.texts
    count, size = len(order), len(page.elements)
    at = np.array(order)
    parents = np.array([max(e.parent_index, 0) for e in page.elements])
    chars = np.array([blocks.chars[i] for i in order], dtype=np.float32)
    link_density = np.array([blocks.link_chars[i] for i in order], dtype=np.float32) / np.maximum(chars, 1)
    links = np.array([blocks.links[i] for i in order], dtype=np.float32)
    own = np.array([_own_features(t) for t in texts], dtype=np.float32)
    kinds = np.array([_KINDS.get(page.elements[i].tag, _OTHER_KIND) for i in order])
    around = np.array([blocks.around[i] for i in order])
    depth = np.array([blocks.depths[i] for i in order], dtype=np.float32)

    is_text = (chars >= SENTENCE) & (link_density < 0.33)
    running, ones, code = [0] * size, [0] * size, [0] * size
    for i, c, good, kind in zip(order, chars.tolist(), is_text.tolist(), kinds.tolist(), strict=True):
        ones[i] = 1
        running[i] = c if good else 0
        code[i] = c if kind == 6 else 0
    total = _sums(blocks, [blocks.chars, blocks.link_chars, ones, running, blocks.links])
    page_total = np.maximum(total[0], 1)

    columns = [np.log1p(chars), link_density, np.log1p(links), *own.T, kinds, depth]
    columns += [(around & bit > 0).astype(np.float32) for bit in _AROUND.values()]
    position = np.cumsum(chars)
    columns += [
        np.arange(count) / count,
        position / position[-1],
        np.minimum(np.arange(count), 50),
        np.minimum(count - np.arange(count), 50),
    ]
    for shift in (-3, -2, -1, 1, 2, 3):
        columns += [_shifted(np.log1p(chars), shift), _shifted(link_density, shift), _shifted(kinds, shift, -1)]
    columns += [
        _window(np.where(is_text, chars, 0), 4),
        _window(chars * link_density, 4) / np.maximum(_window(chars, 4), 1),
    ]

    ancestor = at
    for _ in range(5):
        t = total[ancestor]
        columns += [
            np.log1p(t[:, 0]),
            t[:, 1] / np.maximum(t[:, 0], 1),
            np.log1p(t[:, 2]),
            t[:, 3] / page_total[3],
            t[:, 3] / np.maximum(t[:, 0], 1),
            t[:, 0] / np.maximum(t[:, 2], 1),
        ]
        ancestor = parents[ancestor]
    ends = _ends(parents.tolist())
    for share in (0.35, 0.6, 0.85):
        columns += [_inside(ends, total[:, 3], share)[at]]
    live = (total[:, 2] > 0).tolist()
    repeats = _repeats(blocks, live)
    columns += [repeats[at], repeats[parents[at]], repeats[parents[parents[at]]]]
    columns += [*word_features(blocks, weights, live).T]
    columns += [
        np.full(count, v, dtype=np.float32)
        for v in (
            np.log1p(page_total[0]),
            page_total[1] / page_total[0],
            np.log1p(count),
            page_total[3] / page_total[0],
        )
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _own_features(text: str) -> tuple:
    """Of a block's text: shares of punctuation, digits and capitals, sentence ends, words, marks of boilerplate."""
    head = text[:600]
    length = len(head)
    words = head.count(" ") + 1
    return (
        len(_PUNCTUATION.findall(head)) / length,
        head[-1] in '.!?。！？:…”"',
        sum(map(str.isdigit, head)) / length if length < 200 else 0.0,
        sum(map(str.isupper, head)) / length if length < 200 else 0.02,
        length / words,
        "©" in head,
        "|" in head or "»" in head or "›" in head,
        head[0].isalnum(),
    )


def _shifted(values: np.ndarray, by: int, fill: float = 0) -> np.ndarray:
    out = np.full(len(values), fill, dtype=np.float32)
    if by > 0:
        out[:-by] = values[by:]
    else:
        out[-by:] = values[:by]
    return out


def _window(values: np.ndarray, radius: int) -> np.ndarray:
    """Sum over the block and `radius` blocks on each side."""
    sums = np.concatenate([[0], np.cumsum(values, dtype=np.float64)])
    at = np.arange(len(values))
    return sums[np.minimum(at + radius + 1, len(values))] - sums[np.maximum(at - radius, 0)]


def _inside(ends: np.ndarray, running: np.ndarray, share: float) -> np.ndarray:
    """(elements,) 1 inside the smallest element that holds `share` of the page's running text."""
    inside = np.zeros(len(running), dtype=np.float32)
    candidates = np.flatnonzero(running >= max(share * running[0], 1))
    if len(candidates):
        index = int(candidates[len(candidates) - 1 - np.argmin(running[candidates][::-1])])
        inside[index : ends[index]] = 1
    return inside


def _ends(parents: np.ndarray) -> np.ndarray:
    """(elements,) the place after the last element below each."""
    ends = list(range(1, len(parents) + 1))
    for i in range(len(parents) - 1, 0, -1):
        parent = parents[i]
        if ends[i] > ends[parent]:
            ends[parent] = ends[i]
    return np.array(ends)


def _repeats(blocks: Blocks, live: list[bool]) -> np.ndarray:
    """(elements,) log of how many children of its parent have its tag and class."""
    elements, names, own = blocks.page.elements, blocks.names, blocks.own
    counts: dict[tuple, int] = {}
    keys = [()] * len(elements)
    for i, e in enumerate(elements):
        if live[i] and own[i] == i:
            key = keys[i] = (e.parent_index, e.tag, names[i].partition(" ")[0])
            counts[key] = counts.get(key, 0) + 1
    counts[()] = 1
    return np.log(np.array([counts[k] for k in keys], dtype=np.float32))


def word_features(blocks: Blocks, weights: dict[str, float], live: list[bool]) -> np.ndarray:
    """(blocks, 7): log odds of class words, summed over the way to the root, least, greatest, nearest; of text words."""
    elements, names = blocks.page.elements, blocks.names
    nothing = (0.0, 0.0, 0.0, 0.0, 0.0)
    paths = [nothing] * len(elements)
    scores: dict[str, tuple[float, float, float] | None] = {"": None}
    for i, e in enumerate(elements):
        if not live[i]:
            continue
        path = paths[e.parent_index] if e.parent_index >= 0 else nothing
        name = names[i]
        score = scores.get(name, 0)
        if score == 0:
            found = [weights[w] for w in class_words(name) if w in weights]
            score = scores[name] = (sum(found) / len(found) ** 0.5, min(found), max(found)) if found else None
        if score is not None:
            total, least, most, near, _ = path
            path = (total + score[0], min(least, score[1]), max(most, score[2]), score[0], near)
        paths[i] = path
    rows = []
    for i, text in zip(blocks.elements, blocks.texts, strict=True):
        score = [weights[w] for w in text_words(text) if w in weights] if len(text) < 120 else ()
        rows.append((*paths[i], sum(score), min(score, default=0.0)))
    return np.array(rows, dtype=np.float32)


def context_features(blocks: Blocks, chance: np.ndarray) -> np.ndarray:
    """(blocks, m) for the second round: the first round's probabilities, of the blocks around and of all in each element."""
    count, elements = len(chance), blocks.page.elements
    clipped = np.clip(chance, 1e-4, 1 - 1e-4)
    odds = np.log(clipped / (1 - clipped))
    size = np.array([len(t) for t in blocks.texts], dtype=np.float64)
    weight = chance * size
    columns = [odds, *(_shifted(odds, shift, -5) for shift in (-3, -2, -1, 1, 2, 3))]
    columns += [_window(weight, radius) / _window(size, radius) for radius in (2, 5, 12)]
    content, whole = np.zeros(len(elements)), np.zeros(len(elements))
    at = np.array(blocks.elements)
    content[at], whole[at] = weight, size
    content, whole = _sums(blocks, [content.tolist(), whole.tolist()]).T
    parents = np.array([max(e.parent_index, 0) for e in elements])
    around = at
    for _ in range(5):
        around = parents[around]
        columns += [
            (content[around] - weight) / np.maximum(whole[around] - size, 1),
            content[around] / max(content[0], 1),
        ]
    columns += [np.full(count, content[0] / max(whole[0], 1)), np.full(count, content[0])]
    columns += [chance / max(chance.max(), 1e-6), np.cumsum(weight) / max(weight.sum(), 1e-6)]
    return np.stack(columns, axis=1).astype(np.float32)
