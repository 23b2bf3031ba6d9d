"""The steps that look at one document at a time, as functions: a batch of documents -> (documents, Counter of what happened).

python -c "from openmimo.data.pipeline.steps import function_of; from openmimo.data.pipeline.settings import Filter
print(function_of(Filter(tag='domain', drop=['ads'])))"
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache, partial

from openmimo.data.document import Document
from openmimo.data.extract import extract_documents
from openmimo.data.overlap.benchmarks import Index
from openmimo.data.overlap.decontaminate import decontaminate
from openmimo.data.pipeline import settings as s
from openmimo.data.tags.tag import tag_documents
from openmimo.errors import UserError

Function = Callable[[list[Document]], tuple[list[Document], Counter]]
_BATCH = {"decontaminate": 1024}  # it hashes half a megabyte of text at a time


def function_of(step: s.Step) -> Function:
    """The function of a step that is none of dedup and pack."""
    if isinstance(step, s.Extract):
        return extract_documents
    if isinstance(step, s.Tag):
        return tag_documents
    if isinstance(step, s.Decontaminate):
        return partial(_decontaminated, step)
    assert isinstance(step, s.Filter), step
    return partial(_filtered, step)


def batch_of(step: s.Step) -> int:
    return _BATCH.get(step.title, 64)


def _decontaminated(step: s.Decontaminate, documents: list[Document]) -> tuple[list[Document], Counter]:
    kept, _, report = decontaminate(documents, index_of(tuple(step.against), step.n))
    return kept, report.counts


@cache
def index_of(files: tuple[str, ...], n: int) -> Index:
    """The benchmark's items, ready to be looked for; made once a process."""
    return Index({"benchmark": benchmark(files)}, n)


def benchmark(files: tuple[str, ...]) -> list[str]:
    """The texts of the benchmark's items: of each row the first of problem, question, prompt, query and text."""
    from openmimo.data.overlap.decontaminate import row_text
    from openmimo.data.pipeline.files import list_files, read_rows_of

    return [row_text(row) for path in list_files(files) for row in read_rows_of(path)]


def _filtered(step: s.Filter, documents: list[Document]) -> tuple[list[Document], Counter]:
    kept, counts = [], Counter()
    for document in documents:
        tags = document.meta.get("tags")
        if not isinstance(tags, dict):
            raise UserError(f"filter: document {document.id!r} has no tags; put the step tag before it")
        value = tags.get(step.tag)
        if _passes(step, value):
            kept.append(document)
            counts["kept"] += 1
        else:
            shown = value if step.keep is not None or step.drop is not None else "out of range"
            counts[f"dropped, {step.tag} {shown}"] += 1
    return kept, counts


def _passes(step: s.Filter, value: object) -> bool:
    if step.keep is not None:
        return value in step.keep
    if step.drop is not None:
        return value not in step.drop
    if not isinstance(value, int | float):
        return step.at_least is None
    return value >= step.at_least if step.at_least is not None else value <= step.at_most
