"""What tells content from boilerplate: the features of blocks of text that block_model's trees read [R 2.1].

    python -c "from openmimo.data.block_features import *; from openmimo.data.html_tree import parse; print(features(find_blocks(parse('<p>a<p>b')), {}).shape)"

Of each block: its length, links, punctuation, tag; the same of its neighbours; sums over the elements around it; place and depth; how
often its siblings repeat; and what the class words around it meant on the pages of training.
"""

from __future__ import annotations

import re

import numpy as np

from openmimo.data.text_blocks import AROUND, Blocks, class_words, find_blocks, text_words  # noqa: F401

_KINDS = {
    "p": 0, "h1": 1, "h2": 2, "h3": 3, "h4": 3, "h5": 3, "h6": 3, "li": 4, "td": 5, "th": 5, "pre": 6, "div": 7, "dd": 8, "dt": 9,
    "blockquote": 10, "figcaption": 11, "caption": 11, "form": 12, "legend": 12, "fieldset": 12, "section": 13, "article": 13,
    "body": 14, "footer": 15, "header": 16, "aside": 17, "address": 18,
}  # fmt: skip
_OTHER_KIND = 19
_PUNCTUATION = re.compile(r"[.,;:!?。，、；：！？]")
WORD_COLUMNS = slice(-11, -4)  # of the features: those that depend on the weights of words
SENTENCE = 80  # characters: a block of that many, few of them in links, counts as running text


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
    columns += [(around & bit > 0).astype(np.float32) for bit in AROUND.values()]
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

    columns += _ancestors(total, page_total, parents, at)
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


def _ancestors(total: np.ndarray, page_total: np.ndarray, parents: np.ndarray, at: np.ndarray) -> list[np.ndarray]:
    """Six columns for the element of each block and for each of the four around it: how much text, links, blocks."""
    columns = []
    for _ in range(5):
        t = total[at]
        columns += [
            np.log1p(t[:, 0]),
            t[:, 1] / np.maximum(t[:, 0], 1),
            np.log1p(t[:, 2]),
            t[:, 3] / page_total[3],
            t[:, 3] / np.maximum(t[:, 0], 1),
            t[:, 0] / np.maximum(t[:, 2], 1),
        ]
        at = parents[at]
    return columns


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
