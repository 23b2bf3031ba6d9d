"""Blocks of Markdown (paragraphs, list items, code) and how they are joined, prefixed and merged [R 2.1].

python -c "from openmimo.data.blocks import Block, render; print(render([Block('- a'), Block('- b', tight=True)]))"
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from openmimo.data.code_blocks import fence


class CodeSpan(str):
    """A piece of inline code, without its backticks."""


@dataclass
class Block:
    """A paragraph, heading, list item, formula ... `code`: verbatim, never prefixed. `tight`: no blank line before."""

    text: str
    code: bool = False
    tight: bool = False
    code_line: bool = False  # a line that is nothing but code


def render(blocks: list[Block]) -> str:
    """Blocks as one text."""
    out = ""
    for block in merge_code_lines(blocks):
        if block.text:
            out += ("" if not out else "\n" if block.tight else "\n\n") + block.text
    return out


def merge_code_lines(blocks: list[Block]) -> list[Block]:
    """Lines that are nothing but code: several in a row are one code block, one alone is inline code."""
    out: list[Block] = []
    lines: list[str] = []
    for block in [*blocks, Block("")]:
        if block.code_line:
            lines.append(block.text)
            continue
        code = "\n".join(lines).strip("\n").rstrip()
        if code:
            out.append(Block(fence(code), code=True) if "\n" in code else Block(backticks(code.strip())))
        lines = []
        if block.text:
            out.append(block)
    return out


def prefixed(blocks: list[Block], first: str, rest: str, tight: bool) -> list[Block]:
    """The blocks with a marker before the first line and an indentation before the others; code stays as it is."""
    blocks = merge_code_lines(blocks)
    if not any(block.code for block in blocks):
        blocks = [Block(render(blocks))] if blocks else []  # one block: the usual case
    out: list[Block] = []
    for block in blocks:
        if block.code and out:
            out.append(block)
            continue
        if block.code:
            out += [Block(first.rstrip(), tight=tight), Block(block.text, code=True, tight=True)]
            continue
        prefix = rest if out else first
        lines = block.text.split("\n")
        body = "\n".join(((rest if i else prefix) + line).rstrip() for i, line in enumerate(lines))
        out.append(Block(body, tight=block.tight if out else tight))
    return out


def inline_text(pieces: list[str]) -> str:
    """Pieces of a paragraph as text; neighbouring code spans are one."""
    merged: list[str] = []
    for piece in pieces:
        if isinstance(piece, CodeSpan) and merged and isinstance(merged[-1], CodeSpan):
            merged[-1] = CodeSpan(merged[-1] + piece)
        else:
            merged.append(piece)
    text = "".join(backticks(p.strip()) if isinstance(p, CodeSpan) else p for p in merged)
    text = re.sub(r"[ \t]*\n[ \t]*", "\n", re.sub(r"[ \t]{2,}", " ", text))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def backticks(code: str) -> str:
    """Inline code; with backticks in it, between two."""
    if not code:
        return ""
    return f"`` {code} ``" if "`" in code else f"`{code}`"
