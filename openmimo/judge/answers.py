r"""Where reasoning ends [recipe section 6]: a response's final answer, as text.

    final_answer("<think>3+4</think> It is \\boxed{7}.")  ->  "7"

The answer is what comes after the last `</think>`, or the whole response where no `<think>` was opened; a response that
opened one and did not close it has none. Every function takes time linear in the response: its author is a model.
"""

from __future__ import annotations

import re

TOKENS = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)


def after_reasoning(response: str) -> str | None:
    """The part of a response that answers; None while it still reasons."""
    tail = response.rpartition("</think>")[2]
    return None if "<think>" in tail else tail


def final_answer(response: str) -> str | None:
    r"""The content of the last complete `\boxed{...}` (braces balanced, `\{` is text); None without one."""
    tail = after_reasoning(response)
    if tail is None:
        return None
    open_braces: list[int] = []  # where each open brace's content starts, negative unless it is a box
    start, end = -1, -1
    for token in TOKENS.finditer(tail):
        if token[0].endswith("{") and token[0] != r"\{":
            open_braces.append(token.end() if token[0] != "{" else -1)
        elif token[0] == "}" and open_braces:
            opened = open_braces.pop()
            if opened > start:
                start, end = opened, token.start()
    return tail[start:end].strip() if start >= 0 else None


def final_program(response: str) -> str | None:
    """The last complete fenced code block, without its fences; None without one."""
    tail = after_reasoning(response)
    if tail is None:
        return None
    block: list[str] | None = None
    program = None
    for line in tail.splitlines(keepends=True):
        mark = line.strip()
        if block is None:
            if mark.startswith("```"):
                block = []
        elif mark == "```":
            program, block = "".join(block), None
        else:
            block.append(line)
    return program
