"""Train and held-out problems, their worked responses, and the exercise pages of the corpus.

    python -m openmimo.data.problems.build 5

Train and held-out problems are disjoint by construction: the hash of a problem's content decides its side. A response
has one of several styles of really different reliability, as real text has: `recall` states the answer at once,
`steps` derives it; code comes in styles that fail on edge cases or on large inputs (see `code`).
"""

from __future__ import annotations

import hashlib
import html
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from openmimo.data.problems import code, maths
from openmimo.errors import UserError
from openmimo.rows import Problem

HELD_OUT_SHARE = 8  # one content in eight is held out
FAMILIES = (*maths.FAMILIES, "code")


@dataclass(frozen=True)
class Exercise:
    """A problem with its responses by style."""

    problem: Problem
    responses: dict[str, str]


def side_of(key: str) -> str:
    """`test` for one content in eight, else `train`."""
    return "test" if hashlib.sha256(key.encode()).digest()[0] % HELD_OUT_SHARE == 0 else "train"


def boxed_response(thoughts: str, answer: str) -> str:
    """Reasoning between <think> tags, then the final answer."""
    return f"<think>\n{thoughts}\n</think>\n\\boxed{{{answer}}}"


def code_response(thoughts: str, program: str) -> str:
    """Reasoning between <think> tags, then the program in a fenced block."""
    return f"<think>\n{thoughts}\n</think>\n```python\n{program}```"


def math_exercise(worked: maths.Worked) -> Exercise:
    steps = "\n".join(worked.steps)
    problem = Problem(
        id="m" + hashlib.sha256(worked.key.encode()).hexdigest()[:12],
        kind="math",
        messages=[{"role": "user", "content": worked.question}],
        answer=worked.answer,
        golden=boxed_response(steps, worked.answer),
        source="reasoning-gym",
        tags={"family": worked.family, "difficulty": worked.difficulty, "key": worked.key},
        split=side_of(worked.key),
    )
    recall = boxed_response(f"I recall {worked.answer}.", worked.answer)
    return Exercise(problem, {"steps": problem.golden, "recall": recall})


def code_exercise(item: code.CodeProblem) -> Exercise:
    problem = Problem(
        id="c" + hashlib.sha256(item.key.encode()).hexdigest()[:12],
        kind="code",
        messages=[{"role": "user", "content": item.statement}],
        entry_point="solve",
        tests=code.make_tests(item),
        golden=item.programs["list"],
        source="openmimo-code",
        tags={"family": "code", "difficulty": item.difficulty, "key": item.key},
        split=side_of(item.key),
    )
    return Exercise(problem, {style: code_response(f"By {style}.", text) for style, text in item.programs.items()})


def stream(family: str, seed: int, dropped: Counter) -> Iterator[tuple[str, Callable[[], Exercise]]]:
    """Endless (content key, how to build it) of a family; what could not be derived or verified is counted."""
    if family not in FAMILIES:
        raise UserError(f"problems.families: {family!r} is not known; choose from {', '.join(FAMILIES)}")
    rng = random.Random(f"{family} {seed}")
    while True:
        if family == "code":
            item = code.generate(rng)
            yield item.key, partial(code_exercise, item)
            continue
        for worked in maths.generate(family, rng.randrange(2**31), 500):
            if worked is None:
                dropped[f"{family}: no verified steps"] += 1
            else:
                yield worked.key, partial(math_exercise, worked)


def draw(
    weights: dict[str, float], count: int, split: str, seed: int, dropped: Counter, unique: bool
) -> list[Exercise]:
    """`count` exercises of one side, families in proportion to `weights`. With `unique` no content comes twice; a
    family that runs out of contents gives what it has (counted in `dropped` as `exhausted`)."""
    total, drawn = sum(weights.values()), []
    for family, weight in weights.items():
        want, seen, tries = round(count * weight / total), set(), 0
        mine: list[Exercise] = []
        for key, build in stream(family, seed, dropped):
            if len(mine) == want:
                break
            tries += 1
            if unique and tries > 60 * want + 2000:
                dropped[f"{family}: exhausted after {len(mine)} of {want}"] += 1
                break
            if side_of(key) != split or (unique and key in seen):
                continue
            seen.add(key)
            mine.append(build())
        drawn += mine
    random.Random(f"order {seed}").shuffle(drawn)
    return drawn


def choose_style(exercise: Exercise, plain_share: float, rng: random.Random) -> str:
    """The reliable style (the first), or with probability `plain_share` one of the others."""
    reliable, *others = exercise.responses
    return rng.choice(others) if others and rng.random() < plain_share else reliable


def page(exercise: Exercise, style: str) -> str:
    """The exercise as a web page of a problem collection, navigation included: what the extractor has to read."""
    problem, response = exercise.problem, exercise.responses[style]
    thoughts, _, answer = response.removeprefix("<think>\n").partition("\n</think>\n")
    body = "<p>" + "<br>".join(html.escape(line) for line in thoughts.split("\n")) + "</p>"
    if problem.kind == "code":
        program = html.escape(answer.removeprefix("```python\n").removesuffix("```"))
        body += f"<pre><code class='language-python'>{program}</code></pre>"
    else:
        body += f"<p><script type='math/tex'>{answer}</script></p>"
    question = html.escape(problem.messages[-1]["content"])
    return (
        f"<html><head><title>Exercise {problem.id}</title></head><body><nav><a href='/'>Home</a> <a href='/all'>All"
        f"</a></nav><main><p>{question}</p>{body}</main><footer>Collection of exercises</footer></body></html>"
    )


if __name__ == "__main__":
    lost: Counter = Counter()
    for one in draw(dict.fromkeys(FAMILIES, 1.0), int(sys.argv[1]), "train", 0, lost, True):
        print(one.problem.messages[-1]["content"], *one.responses.values(), sep="\n", end="\n\n")
    print(dict(lost))
