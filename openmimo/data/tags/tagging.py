"""`openmimo data tag`: labels asked for, a student trained, documents tagged; whichever of the three is asked for."""

from __future__ import annotations

import dataclasses
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

from openmimo.data.document import document_from_dict, in_batches
from openmimo.data.tags.rubric import Rubric
from openmimo.data.tags.tag import tag
from openmimo.errors import UserError
from openmimo.progress import reading
from openmimo.runs import write_atomic

_BATCH = 256


def run_tag(
    path: Path, out: Path | None, labels: Path | None, student: Path | None, teacher: str | None, model: str | None, rubric: Path | None,
    sample: int, max_tokens: int, workers: int, per_minute: float | None, seed: int, console,
) -> None:  # fmt: skip
    """What the options together ask for (see labels.py); without any but `out`, the rules' tags."""
    if teacher and not (model and labels):
        raise UserError("data tag: --teacher needs --model, its name at the server, and --labels, the file to write")
    if labels and not (teacher or student):
        raise UserError("data tag: --labels needs --student, the file to train into, or --teacher, the server to ask")
    if not (labels or out):
        raise UserError("data tag: give --out for the tagged documents, or --labels with --student to train one")
    say = lambda text: console.print(text, highlight=False, markup=False)  # noqa: E731
    questions = Rubric.load(rubric)
    if teacher:
        _ask(path, labels, teacher, model, questions, sample, max_tokens, workers, per_minute, seed, say, console)
    if labels and student:
        _learn(path, labels, student, questions, seed, say, console)
    if out:
        say("; ".join(f"{what} {n:,}" for what, n in tag_file(path, out, student, console).items()))


def tag_file(path: Path, out: Path, student: Path | None, console) -> Counter:
    """Documents -> documents whose meta has `tags`: the rules', and over them the student's. Counts them by domain."""
    from openmimo.data.tags.student import Student

    teacher = Student.load(student) if student else None
    part, counts = out.with_name(out.name + ".part"), Counter()
    with reading(path, console) as rows, part.open("w", encoding="utf-8") as file:
        for batch in in_batches((document_from_dict(data, where) for where, data in rows), _BATCH):
            more: list[dict[str, Any]] = teacher.tag([d.text for d in batch]) if teacher else [{} for _ in batch]
            for document, tags in zip(batch, more, strict=True):
                tags = tag(document) | tags
                counts[tags["domain"]] += 1
                file.write(json.dumps(dataclasses.asdict(document.with_meta(tags=tags)), ensure_ascii=False) + "\n")
    part.replace(out)
    return counts


def _ask(path, labels, teacher, model, rubric, sample, max_tokens, workers, per_minute, seed, say, console) -> None:
    from openmimo.data.asking import Asking
    from openmimo.data.tags.labels import ask_labels
    from openmimo.rows import write_jsonl

    with reading(path, console) as rows:
        documents = [document_from_dict(data, where) for where, data in rows]
    chosen = random.Random(seed).sample(documents, min(sample, len(documents)))
    with Asking(teacher, model, Path(f"{labels}.asked"), workers, per_minute) as asking:
        found, counts = ask_labels(chosen, asking, rubric, max_tokens, seed)
        say("; ".join(f"{n:,} {what}" for what, n in (dict(counts) | asking.counts()).items()))
    write_jsonl(labels, found)
    if not found:
        raise UserError(
            f"data tag: no reply of {model!r} could be read as labels; try a larger model or more --max-tokens"
        )


def _learn(path, labels, student, rubric, seed, say, console) -> None:
    """A fifth of the labelled documents is held out for the report; the student that is written has learned from all."""
    from openmimo.data.tags.labels import hold_out_report, read_labels
    from openmimo.data.tags.student import train

    by_id = read_labels(labels, rubric)
    with reading(path, console) as rows:
        known = [d for d in (document_from_dict(data, where) for where, data in rows) if d.id in by_id]
    if len(known) < 20:
        raise UserError(f"{labels}: {len(known)} of its {len(by_id)} ids are in {path}; 20 or more are needed")
    random.Random(seed).shuffle(known)
    texts, marks = [d.text for d in known], [by_id[d.id] for d in known]
    fifth = len(known) // 5
    began = time.monotonic()
    report, lines = hold_out_report(
        train(texts[fifth:], marks[fifth:], rubric, seed), texts[:fifth], marks[:fifth], seed
    )
    train(texts, marks, rubric, seed).save(student)
    for line in lines:
        say(line)
    say(f"trained on {len(known):,} pages in {time.monotonic() - began:.1f} s: wrote {student}")
    write_atomic(Path(f"{student}.json"), json.dumps(report, indent=1) + "\n")
