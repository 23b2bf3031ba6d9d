"""Whether responses are right: math answers by equivalence, programs by their tests, both by openmimo.judge.

with Verifier(problems) as verifier: verifier.right([(problem, response, "stop"), ...])   # -> [True, ...]
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from openmimo.errors import UserError
from openmimo.judge.answers import final_answer, final_program
from openmimo.judge.maths import MathJudge
from openmimo.judge.pool import judge_for, require_verdicts
from openmimo.rows import Problem


class Verifier:
    """The judges that some problems need, for as long as it is open."""

    def __init__(self, problems: Sequence[Problem]):
        self.problems, self.stack = problems, ExitStack()

    def __enter__(self) -> Verifier:
        self.judge = self.stack.enter_context(judge_for(self.problems))
        self.maths = self.stack.enter_context(MathJudge())
        return self

    def __exit__(self, *error) -> None:
        self.stack.close()

    def right(self, responses: Sequence[tuple[Problem, str, str]]) -> list[bool]:
        """Of (problem, response, finish reason): whether the final answer is right. Cut by length, or no answer: wrong."""
        asked = [(p, _answer(p, text) if reason == "stop" else None) for p, text, reason in responses]
        code = [(p, answer) for p, answer in asked if p.kind == "code" and answer is not None]
        vectors = self.judge.judge_many(code, stop_on_failure=True) if code else []
        require_verdicts([p for p, _ in code], vectors)
        passed = iter([all(v.verdict == "AC" for v in vector) for vector in vectors])
        maths = [(answer, p.answer) for p, answer in asked if p.kind == "math" and answer is not None]
        verdicts = self.maths.judge_many(maths)
        if "IE" in verdicts:
            answer, truth = maths[verdicts.index("IE")]
            raise UserError(
                f"judging {answer[:80]!r} against {truth[:80]!r} failed by our fault (IE); run the same command again"
            )
        equal = iter([verdict == "right" for verdict in verdicts])
        return [answer is not None and next(passed if p.kind == "code" else equal) for p, answer in asked]


def _answer(problem: Problem, response: str) -> str | None:
    return (final_answer if problem.kind == "math" else final_program)(response)
