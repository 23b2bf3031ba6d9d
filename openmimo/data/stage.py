"""The run's data stages [R 2.1, 3.1, 3.2]: problems, corpus, tokenizer and token shards. Each step counts what it drops.

`problems`: train and held-out problems, SFT responses (verified), synthetic responses of pre-training's stage 3.
`corpus`: the standard library's sources, its documentation as HTML and pages of exercises -> extraction, URL and
MinHash dedup, tags, decontamination. `tokens`: byte-level BPE, and one shard of token ids for each source of the mix.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openmimo.data.document import Document, document_id, read_documents, write_documents
from openmimo.data.extract import extract_documents
from openmimo.data.overlap.decontaminate import decontaminate
from openmimo.data.overlap.dedup import dedup
from openmimo.data.overlap.urls import dedup_urls
from openmimo.data.pack import TokenStore
from openmimo.data.problems.build import Exercise, choose_style, draw, page
from openmimo.data.sources import pydoc_pages, stdlib_sources
from openmimo.data.tags.tag import tag_documents
from openmimo.errors import UserError
from openmimo.judge.pool import judge_for, require_verdicts
from openmimo.model.tokenizer import Tokenizer, train_bpe
from openmimo.rows import Problem, read_jsonl, read_rows, write_jsonl, write_rows
from openmimo.runs import Context, write_atomic

# Procedural problems differ by a number or a word: only copies count, and what several of them share is no template.
WHOLE_COPIES = {"similarity": 1.0, "template": 0, "phrases": ()}


def problems(context: Context) -> None:
    """train.jsonl, test.jsonl, sft.jsonl, synthetic.jsonl, counts.json."""
    settings, seed, folder = context.recipe.problems, context.recipe.seed, context.folder
    dropped: Counter = Counter()
    test = draw(settings.families, settings.test, "test", seed, dropped, unique=True)
    held_out, n = [question_of(e.problem) for e in test], context.recipe.data.ngram

    def clean(name: str, rows: list, text_of: Callable[[Any], str]) -> list:
        kept, _, report = decontaminate(
            rows, held_out, n, lambda row: row if isinstance(row, str) else text_of(row), **WHOLE_COPIES
        )
        context.log.say(f"{name}: {report}")
        dropped[f"{name}: shares an n-gram with a held-out problem"] = len(rows) - len(kept)
        return kept

    train = draw(settings.families, settings.train, "train", seed, dropped, unique=True)
    train = clean("train", train, lambda e: question_of(e.problem))
    synthetic = draw(settings.families, settings.synthetic, "train", seed + 1, dropped, unique=False)
    synthetic = clean("synthetic", synthetic, lambda e: question_of(e.problem))
    verified = verify(train, settings.sft_plain_share, seed, dropped)
    rng = random.Random(f"synthetic {seed}")
    made = [conversation(e, choose_style(e, settings.plain_share, rng)) for e in synthetic]
    write_rows(folder / "test.jsonl", [e.problem for e in test])
    write_rows(folder / "train.jsonl", [e.problem for e in train])
    write_jsonl(folder / "sft.jsonl", verified)
    write_jsonl(folder / "synthetic.jsonl", made)
    counts = {"train": len(train), "test": len(test), "sft": len(verified), "synthetic": len(made), **dropped}
    write_atomic(folder / "counts.json", json.dumps(counts, indent=1) + "\n")


def question_of(problem: Problem) -> str:
    return problem.messages[-1]["content"]


def conversation(exercise: Exercise, style: str) -> dict[str, Any]:
    """One row of chat data."""
    messages = [*exercise.problem.messages, {"role": "assistant", "content": exercise.responses[style]}]
    return {"problem_id": exercise.problem.id, "style": style, "messages": messages}


def verify(exercises: list[Exercise], plain_share: float, seed: int, dropped: Counter) -> list[dict[str, Any]]:
    """A response to each problem, checked: math steps were derived and end in the answer (see problems.maths); a
    program must pass all of its problem's tests in the judge."""
    rng = random.Random(f"sft {seed}")
    chosen = [(e, choose_style(e, plain_share, rng)) for e in exercises]
    code = [(e, style) for e, style in chosen if e.problem.kind == "code"]
    programs = [e.responses[style].split("```python\n")[1].removesuffix("```") for e, style in code]
    with judge_for([e.problem for e, _ in code]) as judge:
        vectors = (
            judge.judge_many([(e.problem, text) for (e, _), text in zip(code, programs, strict=True)]) if code else []
        )
    require_verdicts([e.problem for e, _ in code], vectors)
    passed = {
        e.problem.id: all(v.verdict == "AC" for v in vector) for (e, _), vector in zip(code, vectors, strict=True)
    }
    kept = [(e, style) for e, style in chosen if passed.get(e.problem.id, True)]
    dropped["sft: program fails its tests"] = len(chosen) - len(kept)
    return [conversation(e, style) for e, style in kept]


def corpus(context: Context) -> None:
    """documents.jsonl and counts.json."""
    recipe, seed, log = context.recipe, context.recipe.seed, context.log
    settings, counts = recipe.data, {"pydoc": Counter()}
    raw: list[Document] = [*pydoc_pages(limit=settings.pydoc_pages, seed=seed, counts=counts["pydoc"])]
    log.row({"step": 1, "total": 6})
    raw += exercise_pages(recipe.problems.families, settings.exercise_pages, recipe.problems.plain_share, seed)
    log.row({"step": 2, "total": 6})
    pages, counts["extract"] = extract_documents(raw)
    log.row({"step": 3, "total": 6})
    documents = [*stdlib_sources(settings.stdlib_files, seed), *pages]
    documents, counts["url dedup"] = dedup_urls(documents)
    documents, counts["near dedup"] = dedup(documents, settings.dedup_threshold, seed)
    log.row({"step": 4, "total": 6})
    documents, counts["tags"] = tag_documents(documents)
    held_out = [question_of(p) for p in read_rows(context.inputs["problems"] / "test.jsonl", Problem)]
    documents, _, report = decontaminate(
        documents, held_out, settings.ngram, lambda d: d if isinstance(d, str) else asked(d), **WHOLE_COPIES
    )
    log.say(str(report))
    log.row({"step": 5, "total": 6})
    if not documents:
        raise UserError("corpus: no document is left; raise data.stdlib_files, data.pydoc_pages or data.exercise_pages")
    counts["decontamination"] = report.counts
    write_documents(context.folder / "documents.jsonl", documents)
    counts["documents by source of the mix"] = Counter(mix_source(d) for d in documents)
    write_atomic(context.folder / "counts.json", json.dumps(counts, indent=1) + "\n")
    log.row({"step": 6, "total": 6})


def exercise_pages(families: dict[str, float], count: int, plain_share: float, seed: int) -> list[Document]:
    """Web pages of exercises with answers, from the train side alone."""
    rng, pages = random.Random(f"pages {seed}"), []
    for number, exercise in enumerate(draw(families, count, "train", seed + 2, Counter(), unique=False)):
        url = f"https://exercises.example/{number}"
        html = page(exercise, choose_style(exercise, plain_share, rng))
        meta = {"format": "html"}
        pages.append(Document(document_id("exercises", url), url, exercise.problem.id, html, "exercises", meta))
    return pages


def asked(document: Document) -> str:
    """What decontamination compares: of an exercise its question, so that short ones match whole; else the text."""
    return document.text.partition("\n\n")[0] if document.source == "exercises" else document.text


def mix_source(document: Document) -> str:
    """The name under which the mix knows a document: its domain, and for exercises `math-` or `code-exercises`."""
    domain = document.meta["tags"]["domain"]
    if document.source == "exercises":
        return "code-exercises" if domain == "code" else "math-exercises"
    return domain


def tokens(context: Context) -> None:
    """tokenizer/ and shards/."""
    folder, recipe = context.folder, context.recipe
    documents = list(read_documents(context.inputs["corpus"] / "documents.jsonl"))
    rng = random.Random(recipe.seed)
    sample = [d.text for d in rng.sample(documents, min(len(documents), 4000))]
    train_bpe(sample, recipe.tokenizer.vocab_size, folder / "tokenizer")
    tokenizer = Tokenizer.load(folder / "tokenizer")
    by_source: dict[str, list[tuple[str, int]]] = {}  # source -> (text, characters before the first target)
    for d in documents:
        question = 0 if recipe.data.question_loss or d.source != "exercises" else d.text.index("\n\n")
        by_source.setdefault(mix_source(d), []).append((d.text, question))
    if conversations := [row for _, row in read_jsonl(context.inputs["problems"] / "synthetic.jsonl")]:
        by_source["synthetic"] = [rendered(row, tokenizer, recipe.data.question_loss) for row in conversations]
    sizes = {name: shard(folder / "shards", name, texts, tokenizer) for name, texts in sorted(by_source.items())}
    context.log.say(", ".join(f"{name} {size:,}" for name, size in sizes.items()) + " tokens")
    write_atomic(folder / "counts.json", json.dumps({"vocabulary": tokenizer.vocab_size, **sizes}, indent=1) + "\n")


def rendered(row: dict[str, Any], tokenizer: Tokenizer, question_loss: bool) -> tuple[str, int]:
    """A conversation as text, and the characters before the first target of the loss."""
    text = tokenizer.render_chat(row["messages"], add_generation_prompt=False)
    return text, 0 if question_loss else len(tokenizer.render_chat(row["messages"][:-1]))


def shard(folder: Path, name: str, texts: list[tuple[str, int]], tokenizer: Tokenizer) -> int:
    """Writes one source's token ids, a document end after each; returns the number of tokens."""
    documents = []
    for (_, before), (ids, offsets) in zip(texts, tokenizer.encode_offsets([t for t, _ in texts]), strict=True):
        first = next((i for i, (start, _) in enumerate(offsets) if start >= before), len(ids))
        documents.append(([*ids, tokenizer.document_id], first))
    return TokenStore.write(folder, name, documents)
