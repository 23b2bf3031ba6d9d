"""Where reasoning ends: the last complete box, the last fenced block, after the last `</think>`."""

import time

import pytest

from openmimo.judge.answers import final_answer, final_program

BOXES = {
    r"\boxed{7}": "7",
    r"\boxed {7}": "7",
    r"first \boxed{1}, no, \boxed{2}.": "2",
    r"\boxed{\frac{1}{2}} and \boxed{un": r"\frac{1}{2}",
    r"\boxed{\{1, 2\}}": r"\{1, 2\}",
    r"\boxed{a\}b}": r"a\}b",
    r"\boxed{\left\{ x \right.}": r"\left\{ x \right.",
    r"{ \boxed{5}": "5",
    r"} \boxed{ 5 }": "5",
    r"\boxed{\boxed{5}}": "5",
    r"\boxed{}": "",
    r"\\boxed{5}": None,
    r"boxed{5}": None,
    r"\boxed{5": None,
    r"\fbox{5}": None,
    "": None,
    r"<think>\boxed{1}</think>\boxed{2}": "2",
    r"\boxed{1}</think>\boxed{2}": "2",
    r"<think>\boxed{1}</think> two": None,
    r"<think>\boxed{1}": None,
    r"<think>a</think>\boxed{1}<think>\boxed{2}": None,
    r"<think>a</think>\boxed{1}<think>b</think>\boxed{2}": "2",
}


@pytest.mark.parametrize("response", BOXES)
def test_final_answer(response):
    assert final_answer(response) == BOXES[response]


PROGRAMS = {
    "```python\nx = 1\n```": "x = 1\n",
    "```\nx\n```\ntext\n```py\ny\n\nz\n```\nend": "y\n\nz\n",
    "```python\r\nx\r\n```\r\n": "x\r\n",
    "1.\n   ```python\n   x\n   ```\n": "   x\n",
    "```python\nx\n```\n```python\ny": "x\n",
    '```python\ns = """\n```python\n"""\n```': 's = """\n```python\n"""\n',
    "```\n```": "",
    "```python": None,
    "x = 1": None,
    "<think>\n```\nx\n```\n</think>\n": None,
    "<think>\n```\nx\n```\n</think>\n```\ny\n```": "y\n",
    "<think>\n```\nx\n```\n": None,
}


@pytest.mark.parametrize("response", PROGRAMS)
def test_final_program(response):
    assert final_program(response) == PROGRAMS[response]


@pytest.mark.parametrize(
    "piece", [r"\boxed{", "{", "}", "\\", "</think>", "<think>", "```\n", r"\boxed{1}", "\\boxed  "]
)
def test_hostile_responses_take_linear_time(piece):
    response = piece * (300_000 // len(piece))
    start = time.process_time()
    final_answer(response)
    final_program(response)
    assert time.process_time() - start < 2
