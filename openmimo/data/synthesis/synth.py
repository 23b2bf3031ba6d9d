"""Synthetic reasoning data from any OpenAI-compatible server: analyses, solutions, general and creative writing [R 2.1].

    openmimo data synth solve problems.jsonl --server http://127.0.0.1:8000 --model rl --out solved.jsonl

- `analysis`: documents whose reasoning is deep (by their tags) -> texts that reconstruct and extend the argument.
- `solve`: problems -> responses that the judge finds right; a problem is asked until `right` of them are there or `budget`
  responses are spent. Rounds ask as many as are still missing, so nothing is asked for nothing.
- `general`: queries -> responses; `creative`: forms and topics of the prompts file, drawn by the seed.

Dropped, and counted by reason: cut by length, unfinished reasoning, refusals, mixed language, wrong answers, and
near-duplicates. What was dropped is in OUT.dropped. Every answer is cached (asking.py): a run that was stopped goes on
where it was, and writes the file that an unbroken one writes.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from openmimo.data.asking import Asking
from openmimo.data.clean import foreign_share, incomplete_reason
from openmimo.data.document import Document
from openmimo.data.overlap.near import Seen
from openmimo.data.synthesis.verify import Verifier
from openmimo.data.tags.rubric import shown
from openmimo.errors import UserError
from openmimo.infer.oracle import Answer, Ask
from openmimo.rows import Problem

KINDS = ("analysis", "solve", "general", "creative")
WINDOW = 256  # queries under way together
_FOREIGN = 0.1

Row = dict[str, Any]


@dataclass(frozen=True)
class Sampling:
    """How responses are sampled; response n of a query has the seed `seed` + n. The defaults are the report's of
    evaluation [R 3.5]."""

    max_tokens: int = 4096
    temperature: float = 0.6
    top_p: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Query:
    """What is asked: chat messages, where they are from, the problem where there is one."""

    id: str
    messages: tuple[dict[str, str], ...]
    source: str
    problem: Problem | None = None


def prompts(path: str | Path | None = None) -> dict[str, Any]:
    """The prompts file [default: the package's prompts/synthesis.toml]."""
    where = Path(path) if path else resources.files("openmimo.data").joinpath("prompts/synthesis.toml")
    try:
        data = tomllib.loads(where.read_text(encoding="utf-8"))
        data["refusal"] = re.compile("|".join(data["refusals"]["patterns"]), re.I)
        for needed in ("analysis", "solve", "creative"):
            data[needed]
        return data
    except FileNotFoundError:
        raise UserError(f"{where}: no such file; give prompts as in openmimo/data/prompts/synthesis.toml") from None
    except (tomllib.TOMLDecodeError, KeyError, re.error) as error:
        raise UserError(f"{where}: not a file of prompts ({error}); see openmimo/data/prompts/synthesis.toml") from None


def analysis_queries(
    documents: Iterable[Document], texts: dict, least_depth: float, counts: Counter
) -> Iterator[Query]:
    """One query for each document and prompt; a document's depth is its tag `reasoning_depth`."""
    for document in documents:
        depth = document.meta.get("tags", {}).get("reasoning_depth")
        if depth is None:
            raise UserError(f"document {document.id!r}: it has no tag reasoning_depth; run `openmimo data tag` first")
        if depth < least_depth:
            counts["documents below the depth"] += 1
            continue
        for number, prompt in enumerate(texts["analysis"]["prompts"]):
            content = prompt.replace("{text}", shown(document.text, 12_000)).strip()
            yield Query(f"{document.id}/{number}", ({"role": "user", "content": content},), document.id)


def solve_queries(problems: Iterable[Problem], texts: dict) -> Iterator[Query]:
    """One query for each problem; the prompts file's instruction is its system message where it has none."""
    for problem in problems:
        messages = tuple(problem.messages)
        if messages[0]["role"] != "system" and (instruction := texts["solve"].get(problem.kind)):
            messages = ({"role": "system", "content": instruction}, *messages)
        yield Query(problem.id, messages, problem.source, problem)


def general_queries(rows: Iterable[tuple[str, Any]]) -> Iterator[Query]:
    """Rows of {id?, messages} or {id?, query | prompt | question}."""
    for number, (where, row) in enumerate(rows):
        said = row.get("messages") if isinstance(row, dict) else None
        text = (
            next((row[k] for k in ("query", "prompt", "question") if isinstance(row.get(k), str)), None)
            if isinstance(row, dict)
            else None
        )
        if not said and not text:
            raise UserError(f"{where}: no messages, query, prompt or question")
        yield Query(
            str(row.get("id", number)), tuple(said or [{"role": "user", "content": text}]), str(row.get("source", ""))
        )


def creative_queries(texts: dict, count: int, seed: int) -> Iterator[Query]:
    """`count` different pairs of form and topic, at most as many as there are."""
    creative = texts["creative"]
    pairs = [(form, topic) for form in creative["forms"] for topic in creative["topics"]]
    for number, (form, topic) in enumerate(random.Random(f"creative {seed}").sample(pairs, min(count, len(pairs)))):
        content = creative["prompt"].replace("{form}", form).replace("{topic}", topic)
        yield Query(f"creative-{seed}-{number}", ({"role": "user", "content": content},), "creative")


def response_of(answer: Answer) -> str:
    """The whole response, its reasoning between <think> tags."""
    return f"<think>{answer.reasoning}</think>{answer.text}" if answer.reasoning else answer.text


def reason_to_drop(answer: Answer, refusal: re.Pattern) -> str | None:
    """Why a response is of no use, whatever its answer."""
    text = response_of(answer)
    if reason := incomplete_reason(text, answer.finish_reason):
        return reason
    if refusal.search(answer.text.strip()[:400]):
        return "refusal"
    return "mixed language" if foreign_share(text) > _FOREIGN else None


def synthesise(
    queries: list[Query], asking: Asking, sampling: Sampling, texts: dict, samples: int = 1, right: int = 1, budget: int = 8,
    threshold: float = 0.8, done=lambda queries: None,
) -> tuple[list[Row], list[Row], Counter]:  # fmt: skip
    """(kept, dropped, counts). samples: responses to a query without a problem; right, budget: to one with. Rows are
    {id, query_id, source, messages, sample, ...}, in the order of the queries; a dropped one has its `reason`."""
    kept: list[Row] = []
    dropped: list[Row] = []
    counts: Counter = Counter()
    seen = Seen(threshold)
    with Verifier([q.problem for q in queries if q.problem]) as verifier:
        for start in range(0, len(queries), WINDOW):
            window = queries[start : start + WINDOW]
            for query, rows in zip(
                window,
                _window(window, asking, sampling, texts, samples, right, budget, threshold, verifier),
                strict=True,
            ):
                for row, reason in rows:
                    if reason is None and query.problem is None and not seen.add(row["messages"][-1]["content"]):
                        reason = "near-duplicate"
                    counts[f"dropped, {reason}" if reason else "kept"] += 1
                    (dropped if reason else kept).append(row | {"reason": reason} if reason else row)
                if query.problem:
                    solved = sum(reason is None for _, reason in rows)
                    counts[
                        "queries with enough right answers" if solved >= right else "queries whose budget is spent"
                    ] += 1
            done(len(window))
    return kept, dropped, counts


def _window(
    window, asking, sampling, texts, samples, right, budget, threshold, verifier
) -> list[list[tuple[Row, str | None]]]:
    """For each query its (row, reason to drop it). Each round asks what is still missing of every query."""
    found: list[list[tuple[Row, str | None]]] = [[] for _ in window]
    seen = [Seen(threshold) for _ in window]
    while asks := [(i, n) for i, query in enumerate(window) for n in _wanted(query, found[i], samples, right, budget)]:
        answers = list(asking.each(lambda ask: asking(_ask(window[ask[0]], ask[1], sampling)), asks))
        problems = [window[i].problem for i, _ in asks]
        verified = verifier.right(
            [(p, response_of(a), a.finish_reason) for p, a in zip(problems, answers, strict=True) if p]
        )
        verdicts = iter(verified)
        for (i, n), answer in zip(asks, answers, strict=True):
            query, reason = window[i], reason_to_drop(answer, texts["refusal"])
            good = next(verdicts) if query.problem else True
            row = _row(query, n, answer, asking.model)
            if reason is None and not good:
                reason = "wrong answer"
            if reason is None and query.problem and not seen[i].add(response_of(answer)):
                reason = "near-duplicate"
            found[i].append((row, reason))
    return found


def _wanted(query: Query, rows: list[tuple[Row, str | None]], samples: int, right: int, budget: int) -> range:
    """The numbers of the responses that the next round asks for."""
    if query.problem is None:
        return range(len(rows), samples)
    missing = right - sum(reason is None for _, reason in rows)
    return range(len(rows), min(budget, len(rows) + max(0, missing)))


def _ask(query: Query, number: int, sampling: Sampling) -> Ask:
    return Ask(query.messages, sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.seed + number)


def _row(query: Query, number: int, answer: Answer, model: str) -> Row:
    messages = [
        *(query.problem.messages if query.problem else query.messages),
        {"role": "assistant", "content": response_of(answer)},
    ]
    return {"id": f"{query.id}/{number}", "query_id": query.id, "source": query.source, "messages": messages, "sample": number,
            "finish_reason": answer.finish_reason, "tokens": answer.tokens, "model": model}  # fmt: skip
