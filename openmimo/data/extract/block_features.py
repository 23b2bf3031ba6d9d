"""What tells content from boilerplate: the features of blocks of text that block_model's trees read [R 2.1].

    python -c "from openmimo.data.extract.block_features import *; from openmimo.data.extract.html_tree import parse; print(features(find_blocks(parse('<p>a<p>b')), {}).shape)"

Of each block: its length, links, punctuation, tag; the same of its neighbours; sums over the elements around it; place and depth; how
often its siblings repeat; and what the class words around it meant on the pages of training.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from openmimo.data.extract.text_blocks import AROUND, Blocks, class_words, find_blocks, text_words  # noqa: F401

_KINDS = {
    "p": 0, "h1": 1, "h2": 2, "h3": 3, "h4": 3, "h5": 3, "h6": 3, "li": 4, "td": 5, "th": 5, "pre": 6, "div": 7, "dd": 8, "dt": 9,
    "blockquote": 10, "figcaption": 11, "caption": 11, "form": 12, "legend": 12, "fieldset": 12, "section": 13, "article": 13,
    "body": 14, "footer": 15, "header": 16, "aside": 17, "address": 18,
}  # fmt: skip
_OTHER_KIND = 19
_OF_LETTERS = {"punctuation": ".,;:!?。，、；：！？", "end": '.!?。！？:…”"', "mark": "|»›", "copyright": "©"}
WORD_COLUMNS = slice(-11, -4)  # of the features: those that depend on the weights of words
SENTENCE = 80  # characters: a block of that many, few of them in links, counts as running text


def _sums(ends: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(n, elements) -> (elements, n) float32: each value summed over an element and all below it."""
    sums = np.zeros((len(values), len(ends) + 1), dtype=values.dtype)
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return (sums[:, ends] - sums[:, :-1]).astype(np.float32).T


def features(blocks: Blocks, weights: dict[str, float]) -> np.ndarray:
    """(blocks, n) float32. weights: the log odds of class and text words, learned in training."""
    page, at = blocks.page, np.array(blocks.elements)
    count, size = len(at), len(page.elements)
    ends, parents = np.array(page.ends), np.array(page.parents)
    parents[0] = 0
    exact_chars, link_chars, links, around, depths = np.array(
        [blocks.chars, blocks.link_chars, blocks.links, blocks.around, blocks.depths]
    )
    chars = exact_chars.astype(np.float32)
    link_density = link_chars.astype(np.float32) / np.maximum(chars, 1)
    kinds = np.array([_KINDS.get(page.elements[i].tag, _OTHER_KIND) for i in blocks.elements])
    log_chars = np.log1p(chars)

    is_text = (chars >= SENTENCE) & (link_density < 0.33)
    own = np.zeros((4, size), dtype=np.int64)
    own[:, at] = exact_chars, link_chars, np.ones(count), np.where(is_text, exact_chars, 0)
    total = _sums(ends, own)
    page_total = np.maximum(total[0], 1)

    columns: list = [log_chars, link_density, np.log1p(links.astype(np.float32)), *_own_features(blocks.texts)]
    columns += [kinds, depths, *(around & np.array([*AROUND.values()])[:, None] > 0)]
    position = np.cumsum(chars)
    places = np.arange(count)
    columns += [places / count, position / position[-1], np.minimum(places, 50), np.minimum(count - places, 50)]
    near = np.zeros((3, count + 6), dtype=np.float32)
    near[2] = -1
    near[:, 3:-3] = log_chars, link_density, kinds
    for shift in (-3, -2, -1, 1, 2, 3):
        columns += [*near[:, 3 + shift : 3 + shift + count]]
    columns += [
        _window(np.where(is_text, chars, 0), 4),
        _window(chars * link_density, 4) / np.maximum(_window(chars, 4), 1),
    ]
    columns += _ancestors(total, page_total, parents, at)
    for share in (0.35, 0.6, 0.85):
        columns += [_inside(ends, total[:, 3], share)[at]]
    repeats = _repeats(blocks, total[:, 2] > 0)
    columns += [repeats[at], repeats[parents[at]], repeats[parents[parents[at]]]]
    columns += [*word_features(blocks, weights).T]
    columns += [np.log1p(page_total[0]), page_total[1] / page_total[0], np.log1p(count), page_total[3] / page_total[0]]
    x = np.empty((len(columns), count), dtype=np.float32)
    for row, column in zip(x, columns, strict=True):
        row[:] = column
    return x.T


def _ancestors(total: np.ndarray, page_total: np.ndarray, parents: np.ndarray, at: np.ndarray) -> list[np.ndarray]:
    """Six columns for the element of each block and for each of the four around it: how much text, links, blocks."""
    chars, links, blocks, running = total[:, :4].T
    least = np.maximum(chars, 1)
    of_all = np.stack(
        [
            np.log1p(chars),
            links / least,
            np.log1p(blocks),
            running / page_total[3],
            running / least,
            chars / np.maximum(blocks, 1),
        ]
    )
    columns = []
    for _ in range(5):
        columns += [*of_all[:, at]]
        at = parents[at]
    return columns


def _own_features(texts: list[str]) -> list[np.ndarray]:
    """Of each block's text: shares of punctuation, digits and capitals, sentence ends, words, marks of boilerplate."""
    heads = [text[:600] for text in texts]
    length = np.array([len(head) for head in heads])
    ends = np.cumsum(length)
    codes = np.frombuffer("".join(heads).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    kinds = _kinds()[np.minimum(codes, len(_kinds()) - 1)]

    def share(kind: int) -> np.ndarray:
        return np.add.reduceat((kinds & kind > 0).view(np.uint8), ends - length, dtype=np.int64)

    is_short = length < 200
    return [
        share(1) / length,
        kinds[ends - 1] & 2 > 0,
        np.where(is_short, share(16) / length, 0.0),
        np.where(is_short, share(32) / length, 0.02),
        length / (share(64) + 1),
        share(8) > 0,
        share(4) > 0,
        kinds[ends - length] & 128 > 0,
    ]


@lru_cache(maxsize=1)
def _kinds() -> np.ndarray:
    """(code points,) uint8: what each character is: bits for _OF_LETTERS, a digit, a capital, a blank, a letter or digit."""
    letters = [chr(c) for c in range(0x20000)]  # beyond stand ideographs; they count as the last of these
    kinds = np.zeros(len(letters), dtype=np.uint8)
    for bit, found in enumerate(_OF_LETTERS.values()):
        kinds[[ord(c) for c in found]] |= 1 << bit
    for bit, is_kind in ((16, str.isdigit), (32, str.isupper), (128, str.isalnum)):
        kinds[list(map(is_kind, letters))] |= bit
    kinds[ord(" ")] |= 64
    return np.append(kinds, np.uint8(128))


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


def _repeats(blocks: Blocks, live: np.ndarray) -> np.ndarray:
    """(elements,) log of how many children of its parent have its tag and class."""
    elements, parents, names = blocks.page.elements, blocks.page.parents, blocks.names
    counts: dict[tuple, list[int]] = {}
    for i in np.flatnonzero(live & (np.array(blocks.own) == np.arange(len(live)))).tolist():
        key = (parents[i], elements[i].tag, names[i].partition(" ")[0])
        if key in counts:
            counts[key].append(i)
        else:
            counts[key] = [i]
    repeats = np.ones(len(elements), dtype=np.float32)
    for found in counts.values():
        if len(found) > 1:
            repeats[found] = len(found)
    return np.log(repeats)


def word_features(blocks: Blocks, weights: dict[str, float]) -> np.ndarray:
    """(blocks, 7): log odds of class words, summed over the way to the root, least, greatest, nearest; of text words."""
    parents, names = blocks.page.parents, blocks.names
    paths: dict[int, tuple] = {-1: (0.0, 0.0, 0.0, 0.0, 0.0)}
    scores: dict[str, tuple[float, float, float] | None] = {"": None}
    rows = []
    for i, text in zip(blocks.elements, blocks.texts, strict=True):
        way, j = [], i
        while j not in paths:
            way.append(j)
            j = parents[j]
        path = paths[j]
        for j in reversed(way):
            name = names[j]
            if name not in scores:
                found = [weights[w] for w in class_words(name) if w in weights]
                scores[name] = (sum(found) / len(found) ** 0.5, min(found), max(found)) if found else None
            if score := scores[name]:
                total, least, most, near, _ = path
                path = (total + score[0], min(least, score[1]), max(most, score[2]), score[0], near)
            paths[j] = path
        found = [weights[w] for w in text_words(text) if w in weights] if len(text) < 120 else None
        rows.append((*path, sum(found), min(found)) if found else (*path, 0.0, 0.0))
    return np.array(rows, dtype=np.float32)


def context_features(blocks: Blocks, chance: np.ndarray) -> np.ndarray:
    """(blocks, m) for the second round: the first round's probabilities, of the blocks around and of all in each element."""
    page, at, count = blocks.page, np.array(blocks.elements), len(chance)
    clipped = np.clip(chance, 1e-4, 1 - 1e-4)
    odds = np.log(clipped / (1 - clipped))
    size = np.array([len(t) for t in blocks.texts], dtype=np.float64)
    weight = chance * size
    near = np.full(count + 6, -5, dtype=np.float32)
    near[3:-3] = odds
    columns: list = [odds, *(near[3 + shift : 3 + shift + count] for shift in (-3, -2, -1, 1, 2, 3))]
    columns += [_window(weight, radius) / _window(size, radius) for radius in (2, 5, 12)]
    own = np.zeros((2, len(page.elements)))
    own[:, at] = weight, size
    content, whole = _sums(np.array(page.ends), own).T
    parents = np.array(page.parents)
    parents[0] = 0
    around = at
    for _ in range(5):
        around = parents[around]
        columns += [
            (content[around] - weight) / np.maximum(whole[around] - size, 1),
            content[around] / max(content[0], 1),
        ]
    columns += [content[0] / max(whole[0], 1), content[0]]
    columns += [chance / max(chance.max(), 1e-6), np.cumsum(weight) / max(weight.sum(), 1e-6)]
    x = np.empty((len(columns), count), dtype=np.float32)
    for row, column in zip(x, columns, strict=True):
        row[:] = column
    return x.T
