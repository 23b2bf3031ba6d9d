r"""Math answers: is the response's answer the gold one? Exact match first, then Math-Verify in a process of its own.

    with MathJudge() as judge:
        judge.judge_many([("\\frac{1}{2}", "0.5"), ("3", "4"), (None, "4")])  ->  ["right", "wrong", "unparsable"]

Verdicts: right; wrong; unparsable (no answer, or Math-Verify finds no mathematics in it, or not in time); IE (our fault:
the process died three times). Math-Verify's own time limit is an alarm that a busy C loop or a thread never hears, so
the process is killed from outside when one answer has had its CPU time. Several answers are one wrong answer.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

from openmimo.errors import UserError

CPU_S, WALL_S, TRIES = 5.0, 60.0, 3
LONGEST = 2000  # characters; an answer that is longer is none
INTEGER = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d{1,4000})")
RELATIONS = re.compile(r"=|\\equiv|\\approx|\\sim|\\to\b|\\implies|\\iff|\\(?:Left|Right|left|right)\w*arrow")
SEPARATORS = re.compile(
    r"[,;|\n]|\\\\|\\(?:cup|vee|wedge|lor|land|mid|quad|qquad|newline|pm|mp)(?![A-Za-z])|\b(?:or|and)\b"
)


class MathJudge:
    """One Math-Verify process, started when it is first needed. One caller at a time."""

    def __init__(self):
        self.process: subprocess.Popen | None = None

    def judge_many(self, pairs: list[tuple[str | None, str]]) -> list[str]:
        """A verdict for each (response's answer, gold answer); both as text or LaTeX, without `\\boxed`."""
        known: dict[tuple[str | None, str], str] = {}
        for pair in pairs:
            if pair not in known:
                known[pair] = settled(*pair) or self._verify(*pair)
        return [known[pair] for pair in pairs]

    def _verify(self, answer: str, gold: str) -> str:
        """Math-Verify's verdict, whatever becomes of its process."""
        for _ in range(TRIES):
            if self.process is None:
                self._start()
            pid, stdout = self.process.pid, self.process.stdout
            cpu_start, wall_start = cpu_seconds(pid), time.monotonic()
            try:
                self.process.stdin.write(json.dumps([bare(answer), bare(gold)]).encode() + b"\n")
                while not select.select([stdout], [], [], 0.5)[0]:
                    if cpu_seconds(pid) - cpu_start > CPU_S or time.monotonic() - wall_start > WALL_S:
                        self.close()
                        return "unparsable"
                if line := stdout.readline():
                    return line.decode().strip()
            except BrokenPipeError:
                pass
            self.close()
        return "IE"

    def _start(self) -> None:
        script = str(Path(__file__).with_name("maths_worker.py"))
        paths = os.pathsep.join(filter(None, sys.path))
        self.process = subprocess.Popen(
            [sys.executable, "-P", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={"PYTHONHASHSEED": "0", "PYTHONPATH": paths},
            start_new_session=True,
        )
        if self.process.stdout.readline() != b"ready\n":
            self.close()
            raise UserError("math judge: Math-Verify could not be started; install it with `pip install math-verify`")

    def close(self) -> None:
        """Ends the process; the next answer that needs one starts another. Safe to call twice."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None

    def __enter__(self) -> MathJudge:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def settled(answer: str | None, gold: str) -> str | None:
    """The verdict where text alone decides; None where mathematics must."""
    if answer is None or not answer.strip() or len(answer) > LONGEST:
        return "unparsable"
    one, other = normal(answer), normal(gold)
    if one == other:
        return "right"
    if INTEGER.fullmatch(one) and INTEGER.fullmatch(other):
        return "right" if integer(one) == integer(other) else "wrong"
    return "wrong" if says_more(one, other) else None


def says_more(answer: str, gold: str) -> bool:
    """Whether the answer names several values where the gold names one: a guess, or a chain such as `2 = 3 = 5`.

    Sets, tuples and intervals in brackets are left to Math-Verify, which takes them as the single value they are."""
    if len(RELATIONS.findall(answer)) > max(1, len(RELATIONS.findall(gold))):
        return True
    if not SEPARATORS.search(gold) and SEPARATORS.search(outside_brackets(answer)):
        return True
    if RELATIONS.search(gold) or not RELATIONS.search(answer):
        return False
    name = RELATIONS.split(answer)[0]  # `x = 5` names the 5; `7 = 5` and `x^2 = 5` say something else
    name = re.sub(r"_(\{[^{}]*\}|\w)|(?<=\w)\([^()]*\)", "", name)
    return "=" not in answer or not re.search("[A-Za-z]", name) or bool(re.search(r"\d", name))


def normal(text: str) -> str:
    """One spelling for what is plainly the same text. Blanks go, but not between digits: `1 2` is not 12."""
    text = re.sub(r"\\(?:left|right)(?![A-Za-z])|\\[!,;:> ]|~", " ", bare(text).replace(r"\!", "").replace("{,}", ","))
    text = re.sub(r"\\[dt]frac(?![A-Za-z])", r"\\frac", text)
    if whole := re.fullmatch(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}", text.strip()):
        text = whole[1]
    text = re.sub(r"[ \t]+", " ", text).strip()
    return re.sub(r"(?<![A-Za-z0-9]) | (?![A-Za-z0-9])", "", text)


def bare(text: str) -> str:
    """The text without blanks, dollar signs and a full stop around it."""
    return text.strip().strip("$").strip().rstrip(".")


def integer(text: str) -> int:
    return int(text.replace(",", ""))


def outside_brackets(text: str) -> str:
    """The text at bracket depth 0. LaTeX's grouping braces count as brackets, so `\\frac{1}{2}` has no inside."""
    depth, kept = 0, []
    for token in re.findall(r"\\[A-Za-z]+|\\.|.", text, re.DOTALL):
        if token in ("(", "[", "{", r"\{"):
            depth += 1
        elif token in (")", "]", "}", r"\}"):
            depth = max(0, depth - 1)
        elif depth == 0:
            kept.append(token)
    return "".join(kept)


def cpu_seconds(pid: int) -> float:
    """CPU time of a running process, from the kernel."""
    return time.clock_gettime(~pid << 3 | 2)
