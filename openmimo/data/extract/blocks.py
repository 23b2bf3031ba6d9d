"""Blocks of Markdown (paragraphs, list items, code) and how they are joined, prefixed and merged [R 2.1].

python -c "from openmimo.data.extract.blocks import Block, render; print(render([Block('- a'), Block('- b', tight=True)]))"
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from openmimo.data.extract.code_blocks import fence

_BLANKS = re.compile(r"[ \t]{2,}")
_LINE_END = re.compile(r"[ \t]*\n[ \t]*")
_MANY_LINE_ENDS = re.compile(r"\n{3,}")


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
    out: list[str] = []
    for block in merge_code_lines(blocks):
        if block.text:
            out += ("\n" if block.tight else "\n\n", block.text)
    return "".join(out[1:])


def merge_code_lines(blocks: list[Block]) -> list[Block]:
    """Lines that are nothing but code: several in a row are one code block, one alone is inline code."""
    if not any([block.code_line for block in blocks]):
        return [block for block in blocks if block.text]
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
        if "\n" not in block.text:
            out.append(Block((prefix + block.text).rstrip(), tight=block.tight if out else tight))
            continue
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
    return one_paragraph(text)


def one_paragraph(text: str) -> str:
    """Without blanks in a row or at line ends, and with at most one line blank between two."""
    if "  " in text or "\t" in text:
        text = _BLANKS.sub(" ", text)
    if "\n" in text:
        text = _MANY_LINE_ENDS.sub("\n\n", _LINE_END.sub("\n", text))
    return text.strip()


def backticks(code: str) -> str:
    """Inline code; with backticks in it, between two."""
    if not code:
        return ""
    return f"`` {code} ``" if "`" in code else f"`{code}`"
