"""`openmimo data synth`: from a file of documents, problems or queries to a file of conversations."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from openmimo.data.asking import Asking
from openmimo.data.synthesis.synth import (
    KINDS,
    Sampling,
    analysis_queries,
    creative_queries,
    general_queries,
    prompts,
    solve_queries,
    synthesise,
)
from openmimo.errors import UserError
from openmimo.progress import counting
from openmimo.rows import Problem, check_problems, read_jsonl, read_rows, write_jsonl
from openmimo.runs import write_atomic


def run_synth(
    kind: str, source: Path | None, out: Path, server: str, model: str, sampling: Sampling, samples: int, right: int, budget: int,
    least_depth: float, workers: int, per_minute: float | None, price_in: float, price_out: float, prompt_file: Path | None, console,
) -> Counter:  # fmt: skip
    """Writes OUT (rows of chat data), OUT.dropped and OUT.json (counts); keeps every answer in OUT.asked."""
    if kind not in KINDS:
        raise UserError(f"data synth {kind}: not one of {', '.join(KINDS)}")
    if (source is None) != (kind == "creative"):
        raise UserError(
            "data synth creative: it takes no file" if source else f"data synth {kind}: give a file to work on"
        )
    if right > budget:
        raise UserError(f"data synth: --right {right} answers cannot come out of a --budget of {budget}")
    texts, counts = prompts(prompt_file), Counter()
    queries = list(_queries(kind, source, texts, least_depth, samples, sampling.seed, counts))
    if not queries:
        raise UserError(f"data synth: nothing to ask ({dict(counts) or 'the file is empty'}); see --least-depth")
    with Asking(server, model, Path(f"{out}.asked"), workers, per_minute, price_in, price_out) as asking:
        with counting(f"{kind}: queries", len(queries), console) as done:
            per_query = 1 if kind == "creative" else samples
            kept, dropped, more = synthesise(queries, asking, sampling, texts, per_query, right, budget, done=done)
        counts += more
        counts["queries"] = len(queries)
        report = dict(counts) | asking.counts()
    write_jsonl(Path(f"{out}.dropped"), dropped)
    write_jsonl(out, kept)
    write_atomic(Path(f"{out}.json"), json.dumps(report, indent=1) + "\n")
    console.print("; ".join(f"{what}: {n:,}" for what, n in report.items()), highlight=False, markup=False)
    return counts


def _queries(kind, source, texts, least_depth, samples, seed, counts):
    from openmimo.data.document import read_documents

    if kind == "analysis":
        return analysis_queries(read_documents(source), texts, least_depth, counts)
    if kind == "solve":
        problems = list(read_rows(source, Problem))
        check_problems(problems, str(source))
        return solve_queries(problems, texts)
    return general_queries(read_jsonl(source)) if kind == "general" else creative_queries(texts, samples, seed)
