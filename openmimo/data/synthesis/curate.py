"""RL data from any problems, as the report makes it [R 3.2]; every step counts what it drops.

    openmimo data curate problems.jsonl --server http://127.0.0.1:8000 --model sft --out rl.jsonl --against bench=test.jsonl

In this order: code without tests; proofs, multiple choice and what is no problem (math; by rules, or one word of a model
with `classifier`); near-duplicates; overlaps with benchmarks; code whose golden program fails a test; problems that strong
models never solve (code with a golden program stays: it is solvable); problems that the SFT model solves too often:
math more than 90 % of 16 times, code every time. The last two stop sampling a problem when its verdict cannot change.
Original answers are kept as they are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from openmimo.data.asking import Asking
from openmimo.data.overlap.decontaminate import DecontaminationReport, decontaminate, row_text
from openmimo.data.overlap.near import Seen
from openmimo.data.synthesis.band import Band
from openmimo.data.synthesis.synth import Sampling, response_of, solve_queries
from openmimo.data.synthesis.verify import Verifier
from openmimo.infer.oracle import Ask
from openmimo.judge.pool import judge_for, require_verdicts
from openmimo.rows import Problem

_WINDOW = 256
_PROOF = re.compile(
    r"^\s*(prove|show|demonstrate|explain|justify|sketch|draw|证明)\b|\b(prove|show) that\b|^\s*证明", re.I
)
_ASKS = re.compile(r"\?|\b(find|compute|calculate|determine|evaluate|what|how many|solve|simplify|express)\b", re.I)
_CHOICE = re.compile(
    r"(?:^|\s|\$)\(?\\?(?:textbf\{?|text\{?|mathrm\{?)?\(?A[).:].{1,300}?\(?B[).:].{1,300}?\(?C[).:]", re.S
)
_KINDS = ("answer", "proof", "choice", "invalid")

Step = tuple[list[Problem], Counter]


def kind_by_rules(text: str) -> str:
    """answer, proof or choice. Rules of ours, deliberately shy: "show that" drops a problem only if it asks nothing else."""
    if _CHOICE.search(text):
        return "choice"
    proof = _PROOF.search(text)
    rest = _PROOF.sub(" ", text)
    return "proof" if proof and not _ASKS.search(rest) else "answer"


def kind_by_model(asking: Asking, texts: dict, max_tokens: int) -> Callable[[str], str]:
    """The kind as a model says it; where it says none, the rules decide."""

    def kind(text: str) -> str:
        prompt = texts["classify"]["prompt"].replace("{text}", text).strip()
        answer = asking(Ask(({"role": "user", "content": prompt},), max_tokens, 0.0)).text.lower()
        said = re.findall(r"\b(answer|proof|choice|invalid)\b", answer)
        return said[-1] if said else kind_by_rules(text)

    return kind


def keep_checkable(problems: Sequence[Problem], kinds: Sequence[str]) -> Step:
    """Math problems that ask for one answer, and code with tests. kinds: of each problem's text."""
    counts: Counter = Counter()
    kept = []
    for problem, kind in zip(problems, kinds, strict=True):
        reason = (
            None
            if problem.kind == "code" or kind == "answer"
            else {"proof": "proofs", "choice": "multiple choice"}.get(kind, "no problem")
        )
        if problem.kind == "code" and not problem.tests:
            reason = "code without tests"
        if reason is None:
            kept.append(problem)
        else:
            counts[reason] += 1
    return kept, counts


def drop_near_duplicates(problems: Sequence[Problem], threshold: float = 0.8) -> Step:
    """The first of those whose questions are nearly the same; numbers count as words."""
    seen = Seen(threshold)
    kept = [p for p in problems if seen.add(row_text({"messages": p.messages}))]
    return kept, Counter({"near-duplicates": len(problems) - len(kept)})


def drop_contaminated(
    problems: Sequence[Problem], benchmarks: dict, n: int = 16
) -> tuple[list[Problem], Counter, DecontaminationReport]:
    """Problems that overlap with no benchmark (name -> rows)."""
    kept, removed, report = decontaminate(problems, benchmarks, n)
    return kept, Counter({"overlap with a benchmark": len(removed)}), report


def keep_golden(problems: Sequence[Problem]) -> Step:
    """A golden program must pass all tests of its problem; code without one, and math, stay."""
    code = [p for p in problems if p.kind == "code" and p.golden]
    with judge_for(code) as judge:
        vectors = judge.judge_many([(p, p.golden) for p in code], stop_on_failure=True) if code else []
    require_verdicts(code, vectors)
    failed = {p.id for p, vector in zip(code, vectors, strict=True) if any(v.verdict != "AC" for v in vector)}
    return [p for p in problems if p.id not in failed], Counter({"golden program fails": len(failed)})


def right_of(
    problems: Sequence[Problem],
    asking: Asking,
    sampling: Sampling,
    texts: dict,
    band_of: Callable[[Problem], Band],
    done=lambda n: None,
) -> dict[str, tuple[int, int]]:
    """Problem -> (right responses, responses), sampled in rounds until its band is settled."""
    found = {p.id: (0, 0) for p in problems}
    with Verifier(problems) as verifier:
        for start in range(0, len(problems), _WINDOW):
            queries = list(solve_queries(problems[start : start + _WINDOW], texts))
            while asks := [
                (q, found[q.id][1] + n) for q in queries for n in range(band_of(q.problem).next_round(*found[q.id]))
            ]:
                answers = list(asking.each(lambda a: asking(_ask(a[0].messages, a[1], sampling)), asks))
                given = [(q.problem, response_of(a), a.finish_reason) for (q, _), a in zip(asks, answers, strict=True)]
                for (q, _), good in zip(asks, verifier.right(given), strict=True):
                    right, count = found[q.id]
                    found[q.id] = right + good, count + 1
            done(len(queries))
    return found


def keep_solvable(
    problems: Sequence[Problem], asking: Asking, sampling: Sampling, texts: dict, rollouts: int = 16
) -> Step:
    """Drops what a strong model never solves in `rollouts`; asked until the first right response."""
    open_ones = [p for p in problems if not (p.kind == "code" and p.golden)]
    found = right_of(open_ones, asking, sampling, texts, lambda p: Band(rollouts, 1.0, 1))
    kept = [p for p in problems if p.id not in found or found[p.id][0] > 0]
    return kept, Counter({"strong model never solves it": len(problems) - len(kept)})


def keep_hard(
    problems: Sequence[Problem],
    asking: Asking,
    sampling: Sampling,
    texts: dict,
    rollouts: int = 16,
    most: float = 0.9,
    done=lambda n: None,
) -> Step:
    """Drops what the SFT model solves too often: math above `most` of the rollouts, code in all of them."""
    bands = {"math": Band(rollouts, most), "code": Band(rollouts, 1 - 1 / rollouts)}
    found = right_of(problems, asking, sampling, texts, lambda p: bands[p.kind], done)
    kept = [p for p in problems if bands[p.kind].settled(*found[p.id])]
    spared = len(problems) * rollouts - sum(count for _, count in found.values())
    return kept, Counter({"solved too often": len(problems) - len(kept), "rollouts not needed": spared})


def _ask(messages, number: int, sampling: Sampling) -> Ask:
    return Ask(messages, sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.seed + number)
