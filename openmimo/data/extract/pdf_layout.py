"""The reading order of a page's pieces of lines: cut at gutters, then from top to bottom (recursive XY-cut) [R 2.1].

python -c "from openmimo.data.extract.pdf_layout import *; print([p.text for p in reading_order([Piece('b', 300, 400, 700), Piece('a', 50, 150, 700)])])"
"""

from __future__ import annotations

from dataclasses import dataclass, replace

_GUTTER = 1.1  # sizes of type: the least width of a gutter between columns
_LEAST_LINES = 4  # on each side of a gutter


@dataclass(frozen=True)
class Piece:
    """A run of characters on one line. x0, x1, y: points, y the baseline from the bottom; width: of a character."""

    text: str
    x0: float
    x1: float
    y: float
    size: float = 10.0
    mono: bool = False
    width: float = 5.0
    page: int = 0


def reading_order(pieces: list[Piece]) -> list[Piece]:
    """The pieces in the order of reading; those of one line in a column are joined."""
    out: list[Piece] = []
    stack = [pieces]
    while stack:
        region = stack.pop()
        parts = _cut(region)
        if parts is None:
            out += _lines(region)
        else:
            stack.extend(reversed(parts))
    return out


def _cut(pieces: list[Piece]) -> list[list[Piece]] | None:
    """Left and right of a gutter; or above and below, where one of the two then has a gutter; None where none does."""
    if len(pieces) < 2 * _LEAST_LINES:
        return None
    if columns := _columns(pieces):
        return columns
    ordered = sorted(pieces, key=lambda p: -p.y)
    heights = sorted({round(p.y) for p in ordered}, reverse=True)
    best = None
    for i in range(1, len(heights)):  # the longest stretch of lines with a gutter
        upper = [p for p in ordered if round(p.y) >= heights[i - 1]]
        lower = ordered[len(upper) :]
        for part, size in ((lower, len(lower)), (upper, len(upper))):
            if (best is None or size > best[0]) and size >= 2 * _LEAST_LINES and _columns(part):
                best = (size, [upper, lower])
        if best and best[1][1] and best[0] == len(best[1][1]) and len(lower) < best[0]:
            break
    return best[1] if best else None


def _columns(pieces: list[Piece]) -> list[list[Piece]] | None:
    spans = sorted((p.x0, p.x1) for p in pieces)
    size = sorted(p.size for p in pieces)[len(pieces) // 2]
    reach = spans[0][1]
    for x0, x1 in spans[1:]:
        if x0 - reach > _GUTTER * size:
            left = [p for p in pieces if p.x1 <= reach + 0.1]
            right = [p for p in pieces if p.x0 >= x0 - 0.1]
            if _are_columns(left, right):
                return [left, right]
        reach = max(reach, x1)
    return None


def _are_columns(left: list[Piece], right: list[Piece]) -> bool:
    """Both hold several lines of running text, side by side: labels of a list or cells of a table do not."""
    for side in (left, right):
        if len({round(p.y) for p in side}) < _LEAST_LINES or sum(len(p.text) for p in side) < 18 * len(side):
            return False
    return min(max(p.y for p in left), max(p.y for p in right)) > max(min(p.y for p in left), min(p.y for p in right))


def _lines(pieces: list[Piece]) -> list[Piece]:
    """Pieces from top to bottom, those on one line joined from left to right."""
    out: list[Piece] = []
    for piece in sorted(pieces, key=lambda p: (-p.y, p.x0)):
        last = out[-1] if out else None
        if last is not None and abs(last.y - piece.y) < 0.35 * max(last.size, piece.size) and last.mono == piece.mono:
            if piece.x0 < last.x0:
                last, piece = piece, last
            gap = piece.x0 - last.x1
            blank = " " * max(1, round(gap / piece.width)) if piece.mono else " " if gap > 0.1 * piece.size else ""
            out[-1] = replace(
                last, text=last.text + blank + piece.text, x1=max(piece.x1, last.x1), size=max(last.size, piece.size)
            )
        else:
            out.append(piece)
    return out
