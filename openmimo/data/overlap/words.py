"""Texts -> hashed words, a whole batch at a time in numpy: what decontamination compares.

    python -c "from openmimo.data.overlap.words import words_of; print(words_of(['Find 1,000.50 in $x^{2}$.']).texts())"

A word is a run of letters, a number, a mathematical operator (+ - * / = < > ^) or a Chinese, Japanese or Korean sign.
What two spellings of one text may differ in is gone: case, width (NFKC), punctuation, hyphens, the layout of LaTeX
(spacing, sizes, fonts, delimiters, \\dfrac for \\frac, \\frac12 for \\frac{1}{2}), the format of numbers (1,000 and
1{,}000 and 1000; 3.50 and 3.5; .5 and 0.5; twenty-five and 25; % and percent). The rules are ours.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from openmimo.data.overlap.hashes import NUMBER, OPERATOR, WORD, byte_hashes
from openmimo.data.overlap.spelling import one_spelling

_BLANK, _SIGN = 0, ord("\\")
_PAD = 8
BATCH = 500_000  # characters hashed at a time
_OPERATORS = b"+-*/=<>^%"
_MATHS = {"π": r"\pi ", "≤": r"\leq ", "≥": r"\geq ", "≠": r"\neq ", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "°": r"\circ ", "−": "-",
          "√": r"\sqrt ", "∞": r"\infty ", "∑": r"\sum ", "∫": r"\int ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "∈": r"\in ",
          "÷": "/", "∠": r"\angle ", "△": r"\triangle ", "→": r"\rightarrow ", "‘": "'", "’": "'"}  # fmt: skip
_MATH_SIGN = re.compile("[" + "".join(_MATHS) + "]")
_NO_WORD = re.compile(r"[^\w\x00-\x7f]+")
_SHORT_FRACTION = re.compile(rb"\\[dtc]?frac(?=\d\d)")


@dataclass
class Words:
    """Of a batch of texts: hash and kind of every word; text i has the words first[i]:first[i + 1].

    begin, end: where a word stands in `buffer`, the normalised bytes. ends: whether a sentence ends after the word.
    """

    hash: np.ndarray
    kind: np.ndarray
    first: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    ends: np.ndarray
    buffer: bytes

    def __len__(self) -> int:
        return len(self.first) - 1

    def take(self, mask: np.ndarray) -> Words:
        """The words under a mask; the texts stay."""
        first = np.concatenate([[0], np.cumsum(mask)])[self.first]
        where = np.flatnonzero(mask)
        return Words(*(a[where] for a in (self.hash, self.kind)), first, *(a[where] for a in (self.begin, self.end, self.ends)), self.buffer)  # fmt: skip

    def texts(self) -> list[list[str]]:
        """The words of each text as they stand in the buffer."""
        words = [self.buffer[a:b].decode(errors="replace") for a, b in zip(self.begin, self.end, strict=True)]
        return [words[a:b] for a, b in zip(self.first, self.first[1:], strict=False)]

    def text(self, at: np.ndarray) -> str:
        """Some words, with blanks between them."""
        return " ".join(self.buffer[self.begin[i] : self.end[i]].decode(errors="replace") for i in at)

    def rows(self, at: np.ndarray) -> np.ndarray:
        """The numbers of the texts that some words are of."""
        return np.searchsorted(self.first, at, "right") - 1

    def inside(self, at: np.ndarray, n: int) -> np.ndarray:
        """Whether the n words from each place on are all of one text."""
        return self.rows(at) == self.rows(at + n - 1)


def words_of(texts: list[str]) -> Words:
    """All words of some texts."""
    raw = _encoded(texts)
    if raw.count(b"\0") != len(texts) + 2 * _PAD:
        raw = _encoded([t.replace("\0", " ") for t in texts])
    raw = _spelled(raw)
    data, kind = np.frombuffer(raw, np.uint8), _kinds(raw)
    starts, stops = _borders(raw, kind)
    first = np.searchsorted(starts, np.flatnonzero(data == 0)[_PAD - 1 : _PAD + len(texts)])
    stop = np.flatnonzero(np.frombuffer(raw.translate(_ENDS), bool))
    stop = stop[_SPACE[data[stop + 1]]]  # not the full stop inside a name or a number
    ends = np.zeros(len(starts), bool)
    ends[np.maximum(np.searchsorted(starts, stop) - 1, 0)[: len(starts)]] = True
    words = Words(byte_hashes(data, starts, stops), kind[starts], first, starts, stops, ends, raw)
    keep = one_spelling(words.hash, words.kind, data[starts - 1] == _SIGN)
    if keep.all():
        return words
    ends[:-1] |= ends[1:] & ~keep[1:]  # a dropped word hands its sentence's end back
    return words.take(keep)


def batches(texts: Iterable[str], size: int = BATCH) -> Iterator[list[str]]:
    """Texts in groups of about `size` characters."""
    batch, chars = [], 0
    for text in texts:
        batch.append(text)
        chars += len(text)
        if chars >= size:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def _encoded(texts: list[str]) -> bytes:
    joined = "\0".join([*texts, ""])
    if not joined.isascii():
        joined = "\0".join([*(t if t.isascii() else _unified(t) for t in texts), ""])
    return b"\0" * _PAD + joined.encode("utf-8", "replace").lower() + b"\0" * _PAD


def _unified(text: str) -> str:
    """Full width and ligatures as plain letters, mathematical signs as LaTeX, other signs as blanks."""
    text = _MATH_SIGN.sub(lambda m: _MATHS[m[0]], text)
    return _NO_WORD.sub(lambda m: ". " if m[0][0] in "。！？" else " ", unicodedata.normalize("NFKC", text).lower())


def _spelled(raw: bytes) -> bytes:
    """Without the bytes that only format a number: thousands' commas, zeros at a decimal's ends."""
    data = np.frombuffer(raw, np.uint8)
    gone = [_thousands(data), _zeros(data)]
    if not sum(map(len, gone)):
        return raw
    keep = np.ones(len(data), bool)
    keep[np.concatenate(gone)] = False
    return data[keep].tobytes()


def _thousands(data: np.ndarray) -> np.ndarray:
    """Where the commas of 1,000, 1{,}000 and 1\\,000 stand, with what is around them."""
    p = np.flatnonzero(data == ord(","))
    three = _DIGIT[data[p + 2]] & _DIGIT[data[p + 3]]
    p = p[three]
    braced = (data[p - 1] == ord("{")) & (data[p + 1] == ord("}")) & _DIGIT[data[p - 2]] & _DIGIT[data[p + 4]]
    three = _DIGIT[data[p + 1]] & ~_DIGIT[data[p + 4]]
    thin = p[three & (data[p - 1] == _SIGN) & _DIGIT[data[p - 2]]]
    return np.concatenate([p[three & _DIGIT[data[p - 1]]], *(p[braced] + k for k in (-1, 0, 1)), thin, thin - 1])


def _zeros(data: np.ndarray) -> np.ndarray:
    """Where the zeros of 3.50, 3.0 and 0.5 stand that change nothing, and the point of 3.0."""
    q = np.flatnonzero(data == ord("."))
    q = q[_DIGIT[data[q + 1]] & _DIGIT[data[q - 1]]]
    end = q + 1
    for _ in range(12):
        end = end + _DIGIT[data[end]]
    q, end = q[~_DIGIT[data[end]]], end[~_DIGIT[data[end]]]
    zeros, gone = np.ones(len(q), bool), []
    for _ in range(12):
        zeros &= (data[end - 1] == ord("0")) & (end - 1 > q)
        end = end - zeros
        gone.append(end[zeros])
    whole = end - 1 == q
    return np.concatenate([*gone, q[whole], q[~whole & (data[q - 1] == ord("0")) & ~_DIGIT[data[q - 2]]] - 1])


def _kinds(raw: bytes) -> np.ndarray:
    """WORD, NUMBER, OPERATOR or 0 for every byte."""
    kind, data = np.frombuffer(bytearray(raw.translate(_KIND)), np.uint8), np.frombuffer(raw, np.uint8)
    some = np.flatnonzero(np.frombuffer(raw.translate(_HYPHENS), bool))
    sign = data[some]
    dot = some[sign == ord(".")]
    kind[dot[(kind[dot + 1] == NUMBER) & (kind[dot - 1] != WORD)]] = NUMBER
    some, sign = some[sign != ord(".")], sign[sign != ord(".")]
    letters = (
        (kind[some - 1] == WORD) & (kind[some + 1] == WORD) & ((kind[some - 2] == WORD) | (kind[some + 2] == WORD))
    )
    hyphen = np.flatnonzero(letters & ((sign == ord("-")) | (sign == ord("/"))))
    hyphen = hyphen[~_after_command(data, kind, some[hyphen])]
    double = (sign == data[some - 1]) | (sign == data[some + 1])
    bullet = ((data[some - 1] == ord("\n")) | (data[some - 1] == 0)) & (data[some + 1] == ord(" "))
    kind[some[double | bullet]] = _BLANK
    kind[some[hyphen]] = _BLANK
    return kind


def _after_command(data: np.ndarray, kind: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Whether what stands before is a LaTeX command (of 16 letters at most): the minus of \\pi-x is no hyphen."""
    before = at - 1
    for _ in range(16):
        before = before - (kind[before] == WORD)
    return data[before] == _SIGN


def _borders(raw: bytes, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where words begin and where they end."""
    written = kind != _BLANK
    begins = kind == OPERATOR
    begins[1:] |= (kind[1:] != kind[:-1]) & written[1:]
    if not raw.isascii():
        begins |= np.frombuffer(raw.translate(_WIDE), bool)
    if b"\\" in raw:
        for match in _SHORT_FRACTION.finditer(raw):
            begins[match.end() + 1] = True
    starts = np.flatnonzero(begins)
    written[:-1] &= begins[1:] | ~written[1:]
    return starts, np.flatnonzero(written) + 1


def _flags(members: bytes) -> np.ndarray:
    flags = np.zeros(256, bool)
    flags[list(members)] = True
    return flags


_DIGIT, _SPACE = _flags(b"0123456789"), _flags(b" \n\t\r\0\"')$")
_HYPHENS, _ENDS = _flags(b".-/*+>").tobytes(), _flags(b".!?").tobytes()
_WIDE = _flags(bytes(range(0xE3, 0xEE))).tobytes()  # the first byte of a Chinese, Japanese or Korean sign in UTF-8
_kind = np.where(_flags(bytes(range(97, 123)) + bytes(range(128, 256))), WORD, _BLANK).astype(np.uint8)
_kind[_DIGIT], _kind[list(_OPERATORS)] = NUMBER, OPERATOR
_KIND = _kind.tobytes()
