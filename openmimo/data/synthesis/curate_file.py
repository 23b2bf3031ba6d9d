"""`openmimo data curate`: a file of problems through all steps of curate.py."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from openmimo.data.asking import Asking
from openmimo.data.overlap.decontaminate import named_benchmarks
from openmimo.data.synthesis import curate
from openmimo.data.synthesis.synth import Sampling, prompts
from openmimo.errors import UserError
from openmimo.progress import counting
from openmimo.rows import Problem, read_rows, write_rows
from openmimo.runs import write_atomic


def run_curate(
    source: Path, out: Path, against: list[str], n: int, server: str | None, model: str | None, strong: str | None, classifier: str | None,
    rollouts: int, most: float, sampling: Sampling, workers: int, per_minute: float | None, prompt_file: Path | None, console,
) -> Counter:  # fmt: skip
    """Writes OUT (problems) and OUT.json (counts); answers of the models are kept in OUT.asked. strong, classifier: names
    of models at the same server; without a server, the steps that need none are done."""
    if server is None and (model or strong or classifier):
        raise UserError("data curate: a model is named and no --server; give its address")
    problems, texts = list(read_rows(source, Problem)), prompts(prompt_file)
    counts = Counter({"problems": len(problems)})
    say = lambda text: console.print(text, highlight=False, markup=False)  # noqa: E731

    def asking(name: str) -> Asking:
        return Asking(server, name, Path(f"{out}.asked"), workers, per_minute)

    questions = [curate.row_text({"messages": p.messages}) for p in problems]
    if classifier:
        with asking(classifier) as ask:
            kinds = list(ask.each(curate.kind_by_model(ask, texts, sampling.max_tokens), questions))
    else:
        kinds = [curate.kind_by_rules(text) for text in questions]
    problems, dropped = curate.keep_checkable(problems, kinds)
    counts += dropped
    problems, dropped = curate.drop_near_duplicates(problems)
    counts += dropped
    if against:
        problems, dropped, report = curate.drop_contaminated(problems, named_benchmarks(against), n)
        counts += dropped
        say(str(report))
    problems, dropped = curate.keep_golden(problems)
    counts += dropped
    if strong:
        with asking(strong) as ask:
            problems, dropped = curate.keep_solvable(problems, ask, sampling, texts, rollouts)
        counts += dropped
    if model:
        with asking(model) as ask, counting("rollouts: problems", len(problems), console) as done:
            problems, dropped = curate.keep_hard(problems, ask, sampling, texts, rollouts, most, done)
            counts += dropped
            counts += Counter({k: v for k, v in ask.counts().items() if isinstance(v, int)})
    counts["kept"] = len(problems)
    if not problems:
        raise UserError(
            f"{source}: no problem is left ({dict(counts)}); see openmimo/data/synthesis/curate.py for the steps"
        )
    write_rows(out, problems)
    write_atomic(Path(f"{out}.json"), json.dumps(counts, indent=1) + "\n")
    say("; ".join(f"{what}: {count:,}" for what, count in counts.items()))
    return counts
