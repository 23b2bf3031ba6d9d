"""Labels of pages: from an LLM behind an OpenAI-compatible server, or from a file; a student trained on them [R 2.1].

    openmimo data tag pages.jsonl --labels labels.jsonl --teacher http://127.0.0.1:8000 --model rl   # asks for labels
    openmimo data tag pages.jsonl --labels labels.jsonl --student student.npz                        # learns from them

A row of labels is {"id": of the document, HEAD: value, ...}; a head may be missing. The heads are the rubric's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openmimo.data.asking import Asking
from openmimo.data.document import Document
from openmimo.data.tags.agreement import accuracy, calibration, confusion, confusion_lines, interval, kappa
from openmimo.data.tags.rubric import Rubric
from openmimo.errors import UserError
from openmimo.infer.oracle import Ask
from openmimo.rows import read_jsonl

TRIES = 2  # of a page whose reply cannot be read


def ask_labels(documents: Sequence[Document], asking: Asking, rubric: Rubric, max_tokens: int, seed: int = 0) -> tuple[list[dict[str, Any]], Counter]:  # fmt: skip
    """Rows of labels, and how many replies could be read. A reply that cannot is asked for once more, then left out."""

    def one(document: Document) -> dict[str, Any] | None:
        for turn in range(TRIES):
            messages = ({"role": "user", "content": rubric.prompt(document.text)},)
            answer = asking(Ask(messages, max_tokens, 0.0 if turn == 0 else 0.7, 1.0, seed + turn))
            if labels := rubric.read(answer.text):
                return {"id": document.id, **labels}
        return None

    found = list(asking.each(one, documents))
    rows = [row for row in found if row]
    return rows, Counter({"labelled": len(rows), "no labels in the reply": len(found) - len(rows)})


def read_labels(path: Path, rubric: Rubric) -> dict[str, dict[str, Any]]:
    """Document's id -> its labels. A value that is no answer of the rubric's is an error that names the line."""
    heads = {h.name: h for h in rubric.heads}
    found: dict[str, dict[str, Any]] = {}
    for where, row in read_jsonl(path):
        if not isinstance(row, dict) or not isinstance(row.get("id"), str):
            raise UserError(f"{where}: a row of labels needs the document's `id`, as text")
        labels = {}
        for name, value in row.items():
            if name == "id" or value is None:
                continue
            if name not in heads:
                raise UserError(f"{where}: {name!r} is no head of the rubric; it has {', '.join(heads)}")
            labels[name] = heads[name].read(value)
            if labels[name] is None:
                raise UserError(f"{where}: {name} = {value!r} is not one of {heads[name].values}")
        found[row["id"]] = labels
    return found


def hold_out_report(
    student, texts: Sequence[str], labels: Sequence[dict[str, Any]], seed: int = 0
) -> tuple[dict, list[str]]:
    """A student against labels it has not seen: for each head accuracy and kappa with intervals, calibration, confusion."""
    chances, report, lines = student.probabilities(texts), {}, []
    for head in student.heads:
        rows = [i for i, label in enumerate(labels) if label.get(head.name) is not None]
        if not rows:
            continue
        truth = [labels[i][head.name] for i in rows]
        mine = chances[head.name][rows]
        found = [head.values[i] for i in mine.argmax(1)]
        quadratic = head.kind == "scale"

        def measure(at: np.ndarray, truth=truth, found=found, head=head, quadratic=quadratic) -> float:
            return kappa([truth[i] for i in at], [found[i] for i in at], head.values, quadratic)

        low, high = interval(measure, len(rows), seed, 200)
        right = np.array([t == f for t, f in zip(truth, found, strict=True)])
        error, bins = calibration(mine.max(1), right)
        common = Counter(truth).most_common(1)[0][1] / len(rows)
        value = kappa(truth, found, head.values, quadratic)
        report[head.name] = {"rows": len(rows), "accuracy": accuracy(truth, found), "majority": common, "kappa": value,
                             "kappa_95": [low, high], "calibration_error": error, "bins": bins}  # fmt: skip
        lines.append(f"{head.name}: {len(rows)} pages, accuracy {accuracy(truth, found):.3f} (the most common answer {common:.3f}), "
                     f"{'quadratic ' if quadratic else ''}kappa {value:.3f} ({low:.3f} - {high:.3f}), calibration error {error:.3f}")  # fmt: skip
        lines += confusion_lines(confusion(truth, found, head.values), head.values)
    return report, lines
