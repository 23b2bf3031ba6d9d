"""Words that are the same in another spelling: LaTeX's layout and synonyms, number words, percent. See words.py."""

from __future__ import annotations

import functools

import numpy as np

from openmimo.data.overlap.hashes import NUMBER, OPERATOR, WORD, HashSet, hash_words

_LAYOUT = """left right middle big bigg bigl bigr biggl biggr quad qquad text textbf textit textrm textstyle mathrm mathbf mathit mathsf
    mathcal mathbb operatorname displaystyle scriptstyle limits nolimits mbox hbox hspace vspace phantom hphantom vphantom emph boxed
    underline overline noindent ldots dots cdots dotsc dotsb label tag nonumber hline label hfill centering newline par bf it rm""".split()
_SAME = {"dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom", "choose": "binom", "le": "leq",
         "leqslant": "leq", "ge": "geq", "geqslant": "geq", "ne": "neq", "to": "rightarrow", "cdot": "*", "times": "*", "ast": "*",
         "lt": "<", "gt": ">", "lbrace": "", "rbrace": "", "vert": "", "lvert": "", "rvert": "", "mid": "", "degree": "circ", "colon": ""}  # fmt: skip
_UNITS = "one two three four five six seven eight nine".split()
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def one_spelling(hashes: np.ndarray, kind: np.ndarray, command: np.ndarray) -> np.ndarray:
    """Writes commands of one meaning and number words as one, in place; returns which words are kept: layout is not.

    hashes, kind: of each word. command: whether a backslash stands before it."""
    layout, same, targets, numbers, tens, units = _tables()
    keep = np.ones(len(hashes), bool)
    commands = np.flatnonzero(command & (kind == WORD))
    names = hashes[commands]
    keep[commands[layout.find(names)[0]]] = False
    where, which = same.find(names)
    target = targets[which]
    hashes[commands[where]] = target
    keep[commands[where[target == 0]]] = False
    kind[commands[where[np.isin(target, _operator_hashes())]]] = OPERATOR
    frames = commands[np.isin(names, _frames())]  # \begin, its name, and a star
    for step, wanted in ((0, WORD), (1, WORD), (2, OPERATOR)):
        at = frames[frames + step < len(keep)] + step
        keep[at[kind[at] == wanted]] = False
    where, which = numbers[0].find(hashes)
    where, which = where[kind[where] == WORD], which[kind[where] == WORD]
    is_ten, is_unit = np.zeros(len(keep) + 1, np.int64), np.zeros(len(keep) + 1, np.int64)
    is_ten[where], is_unit[where] = tens[which], units[which]
    hashes[where], kind[where] = numbers[1][which], NUMBER
    both = np.flatnonzero((is_ten[:-1] > 0) & (is_unit[1:] > 0))
    hashes[both] = numbers[2][(is_ten[both] + is_unit[both + 1])]
    keep[both + 1] = False
    percent = np.flatnonzero(hashes == _percent()[0])
    hashes[percent], kind[percent] = _percent()[1], WORD
    return keep


@functools.cache
def _tables():
    plain = [*_UNITS, *_TEENS, *_TENS]
    value = {w: n for n, w in enumerate(plain[:19], 1)} | {w: 10 * n for n, w in enumerate(_TENS, 2)}
    words = HashSet(hash_words(plain))
    order = np.argsort(hash_words(plain))
    values = np.array([value[plain[i]] for i in order])
    digits = np.concatenate([np.zeros(1, np.uint64), hash_words([str(n) for n in range(1, 100)])])
    tens, units = np.where(values >= 20, values, 0), np.where(values < 10, values, 0)
    names = list(_SAME)
    same = HashSet(hash_words(names))
    targets = np.array([hash_words([_SAME[names[i]]])[0] if _SAME[names[i]] else 0 for i in np.argsort(hash_words(names))], np.uint64)  # fmt: skip
    return HashSet(hash_words(_LAYOUT)), same, targets, (words, digits[values], digits), tens, units


@functools.cache
def _operator_hashes() -> np.ndarray:
    return hash_words([*"+-*/=<>^"])


@functools.cache
def _frames() -> np.ndarray:
    return hash_words(["begin", "end"])


@functools.cache
def _percent() -> np.ndarray:
    return hash_words(["%", "percent"])
