"""Problems with their reasoning, the checkpoints side by side. Which ones are shown depends on their ids alone."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from openmimo.report.logs import Run
from openmimo.report.markup import Html, element, join, paragraph, section
from openmimo.report.scores import badge, colour_of

SHOWN = 12  # problems
HEAD, TAIL = 1600, 800  # characters of a long response that are shown
OPEN = 2  # problems unfolded at first


def answers_section(run: Run) -> Html:
    """A dozen problems over families and difficulties, each checkpoint's first answer to each."""
    if not run.evaluations:
        return (
            Html("")
            if run.alone
            else section(
                "answers", "Problems and reasoning", paragraph("No checkpoint is evaluated yet.", class_="absent")
            )
        )
    by_model = {model: {row["problem_id"]: row for row in rows} for model, rows in run.evaluations.items()}
    first = next(iter(by_model.values()))
    shared = [row for problem, row in first.items() if all(problem in rows for rows in by_model.values())]
    chosen = choose(shared, SHOWN)
    blocks = [
        _problem(row, {model: rows[row["problem_id"]] for model, rows in by_model.items()}, opened=index < OPEN)
        for index, row in enumerate(chosen)
    ]
    words = paragraph(
        f"{len(chosen)} of {len(shared):,} held-out problems, spread over families and difficulties and picked by a "
        "hash of their ids, so not because they went well. Shown is each checkpoint's first answer, not its best; below "
        "its name, how many of its answers to this problem are right. Reasoning is grey, the answer after it is not."
    )
    return section("answers", "Problems and reasoning", words, *blocks)


def choose(rows: Iterable[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """`count` rows spread over (family, difficulty), the same for the same ids: one of each cell in turn, and cells
    evenly spaced where there are more than are still wanted. In the order of family and difficulty."""
    cells: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: hashlib.sha256(str(row["problem_id"]).encode("utf-8", "replace")).digest()):
        cells[str(row["family"]), row["difficulty"]].append(row)
    chosen: list[tuple[tuple[str, int], dict[str, Any]]] = []
    turn = 0
    while len(chosen) < count:
        filled = [cell for cell in sorted(cells) if len(cells[cell]) > turn]
        if not filled:
            break
        wanted = min(count - len(chosen), len(filled))
        spaced = [filled[(2 * i + 1) * len(filled) // (2 * wanted)] for i in range(wanted)]
        chosen += [(cell, cells[cell][turn]) for cell in spaced]
        turn += 1
    return [row for _, row in sorted(chosen, key=lambda pair: pair[0])]


def _problem(row: dict[str, Any], answers: dict[str, dict[str, Any]], opened: bool) -> Html:
    marks = [element("li", badge(model), _mark(_first(answer))) for model, answer in answers.items()]
    summary = element(
        "summary",
        element("span", f"{row['family']}, difficulty {row['difficulty']}", class_="name"),
        element("ul", *marks, class_="marks"),
    )
    expected = row.get("answer")
    asked = element(
        "div",
        element("pre", _shorten(row.get("question", ""))),
        paragraph(element("b", "Right answer: "), element("code", _shorten(expected)))
        if expected not in (None, "")
        else "",
        class_="question",
    )
    columns = element("div", *(_answer(model, answer) for model, answer in answers.items()), class_="answers")
    return element("details", summary, asked, columns, class_="problem", open="" if opened else None)


def _answer(model: str, row: dict[str, Any]) -> Html:
    sample, samples = _first(row), row["samples"]
    right = sum(bool(s["passed"]) for s in samples)
    notes = [f"{right} of {len(samples)} right"]
    if sample.get("tokens") is not None:
        notes.append(f"{sample['tokens']:,} tokens" if isinstance(sample["tokens"], int) else str(sample["tokens"]))
    if sample.get("finish_reason") == "length":
        notes.append("cut off by the limit")
    return element(
        "article",
        element("h4", badge(model), _mark(sample)),
        element("p", " · ".join(notes), class_="notes"),
        element("pre", _reasoning(str(sample.get("text", "")))),
        class_=f"answer {colour_of(model)}",
    )


def _reasoning(text: str) -> Html:
    """The response, what comes before the last </think> (or after an unclosed <think>) set apart."""
    if not text.strip():
        return element("i", "(empty response)")
    thought, closing, rest = text.rpartition("</think>")
    if not closing:
        thought, rest = (text, "") if "<think>" in text else ("", text)
    parts = [element("span", _shorten(thought + closing), class_="think")] if thought or closing else []
    return join([*parts, _shorten(rest)])


def _shorten(text: Any) -> str:
    """Long text as its beginning and its end, saying how much is left out."""
    text = str(text)
    if len(text) <= HEAD + TAIL:
        return text
    return f"{text[:HEAD]}\n[… {len(text) - HEAD - TAIL:,} characters left out …]\n{text[-TAIL:]}"


def _first(row: dict[str, Any]) -> dict[str, Any]:
    return row["samples"][0]


def _mark(sample: dict[str, Any]) -> Html:
    word, sign = ("right", "✓") if sample["passed"] else ("wrong", "✗")
    return element("span", f"{sign} {word}", class_=word)
