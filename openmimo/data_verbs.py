"""The verbs of `openmimo data`: over files (run, step), on rows and documents, and of the mix. As lazy as the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from openmimo.options import console

Teacher = Annotated[Optional[str], typer.Option(help="An OpenAI-compatible server: http://127.0.0.1:8000")]  # noqa: UP045
Model = Annotated[Optional[str], typer.Option(help="The model's name at the server")]  # noqa: UP045
Workers = Annotated[int, typer.Option(min=1, help="Requests under way at a time")]
PerMinute = Annotated[Optional[float], typer.Option(help="Requests begun in a minute, at most")]  # noqa: UP045
MaxTokens = Annotated[int, typer.Option(min=1)]
Temperature = Annotated[float, typer.Option(min=0.0)]
TopP = Annotated[float, typer.Option(min=0.0, max=1.0)]
Prompts = Annotated[Optional[Path], typer.Option(help="A prompts file of yours [default: the package's]")]  # noqa: UP045


data_app = typer.Typer(no_args_is_help=True, help="Data: from crawled pages to clean, deduplicated, tagged documents.")


@data_app.command("tag")
def tag(
    documents: Annotated[Path, typer.Argument(help="JSONL of documents")],
    out: Annotated[Optional[Path], typer.Option(help="The tagged documents")] = None,  # noqa: UP045
    labels: Annotated[Optional[Path], typer.Option(help="Labels, JSONL: learned from, or written")] = None,  # noqa: UP045
    student: Annotated[Optional[Path], typer.Option(help="A student: trained on --labels, or used")] = None,  # noqa: UP045
    teacher: Teacher = None,
    model: Model = None,
    rubric: Annotated[Optional[Path], typer.Option(help="A rubric of yours [default: the package's]")] = None,  # noqa: UP045
    sample: Annotated[int, typer.Option(min=1, help="Documents that the teacher is shown")] = 1000,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of a teacher's reply")] = 512,
    workers: Workers = 16,
    per_minute: PerMinute = None,
    seed: int = 0,
):
    """Tag documents by rules or by a student; ask a model for labels; train a student on labels and report on it."""
    from openmimo.data.tags.tagging import run_tag

    run_tag(
        documents, out, labels, student, teacher, model, rubric, sample, max_tokens, workers, per_minute, seed, console()
    )  # fmt: skip


@data_app.command("look")
def look(
    documents: Annotated[Path, typer.Argument(help="JSONL of tagged documents")],
    tag: Annotated[Optional[list[str]], typer.Option(help="NAME=VALUE or NAME=LOW-HIGH; may come again")] = None,  # noqa: UP045
    count: Annotated[int, typer.Option(min=1)] = 5,
    chars: Annotated[int, typer.Option(min=1, help="Of each document, in the terminal")] = 1200,
    html: Annotated[Optional[Path], typer.Option(help="Write a page too")] = None,  # noqa: UP045
    seed: int = 0,
):
    """Show random documents of a tag, in the terminal and as a page."""
    from openmimo.data.tags.look import look as show

    show(documents, tag or [], count, seed, chars, html, console())


@data_app.command("decontaminate")
def decontaminate(
    rows: Annotated[Path, typer.Argument(help="JSONL with problem, question, prompt, query, text or messages")],
    against: Annotated[list[str], typer.Option(help="A benchmark: NAME=FILE, JSONL or a JSON list; may come again")],
    out: Annotated[Path, typer.Option(help="The clean rows; the others go to OUT.removed, the report to OUT.json")],
    n: Annotated[int, typer.Option(min=4, help="Words in a row that may not be shared; the report's is 16")] = 16,
    similarity: Annotated[float, typer.Option(help="Share of an item's 3-grams that makes a row a copy")] = 0.75,
    field: Annotated[Optional[str], typer.Option(help="The rows' field that is compared")] = None,  # noqa: UP045
):
    """Drop rows that overlap with benchmarks, short items and reworded copies too; say what no rule can see."""
    from openmimo.data.overlap.decontaminate import decontaminate_file

    report = decontaminate_file(rows, against, out, n, similarity, field, console())
    console().print(str(report), highlight=False, markup=False)


@data_app.command("synth")
def synth(
    kind: Annotated[str, typer.Argument(help="analysis, solve, general or creative")],
    server: Annotated[str, typer.Option(help="An OpenAI-compatible server: http://127.0.0.1:8000")],
    model: Annotated[str, typer.Option(help="The model's name at the server")],
    out: Annotated[Path, typer.Option(help="The conversations; OUT.asked, OUT.dropped and OUT.json stand beside it")],
    source: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(help="Tagged documents (analysis), Problem rows (solve), queries (general); none for creative"),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Responses a query; creative: queries")] = 1,
    right: Annotated[int, typer.Option(min=1, help="solve: right responses a problem, then it is asked no more")] = 1,
    budget: Annotated[int, typer.Option(min=1, help="solve: responses a problem at most")] = 8,
    least_depth: Annotated[float, typer.Option(help="analysis: least reasoning_depth of a document")] = 2.0,
    max_tokens: MaxTokens = 4096,
    temperature: Temperature = 0.6,
    top_p: TopP = 0.95,
    seed: int = 0,
    workers: Workers = 16,
    per_minute: PerMinute = None,
    price_in: Annotated[float, typer.Option(min=0.0, help="Of a million prompt tokens")] = 0.0,
    price_out: Annotated[float, typer.Option(min=0.0, help="Of a million response tokens")] = 0.0,
    prompts: Prompts = None,
):
    """Make synthetic data with any OpenAI-compatible server; solutions are verified. Goes on where it was stopped."""
    from openmimo.data.synthesis.synth import Sampling
    from openmimo.data.synthesis.synth_file import run_synth

    sampling = Sampling(max_tokens, temperature, top_p, seed)
    run_synth(
        kind, source, out, server, model, sampling, samples, right, budget, least_depth, workers, per_minute, price_in,
        price_out, prompts, console(),
    )  # fmt: skip


@data_app.command("curate")
def curate(
    problems: Annotated[Path, typer.Argument(help="JSONL or Parquet of Problem rows")],
    out: Annotated[Path, typer.Option(help="The problems for RL; counts go to OUT.json, answers to OUT.asked")],
    against: Annotated[Optional[list[str]], typer.Option(help="A benchmark: NAME=FILE; may come again")] = None,  # noqa: UP045
    n: Annotated[int, typer.Option(min=4, help="Words in a row shared with a benchmark")] = 16,
    server: Teacher = None,
    model: Annotated[Optional[str], typer.Option(help="The SFT model: what it solves too often goes")] = None,  # noqa: UP045
    strong: Annotated[Optional[str], typer.Option(help="A strong model: what it never solves goes")] = None,  # noqa: UP045
    classifier: Annotated[
        str | None, typer.Option(help="A model that tells proofs and choices [default: rules]")
    ] = None,  # noqa: UP045
    rollouts: Annotated[int, typer.Option(min=1)] = 16,
    most: Annotated[float, typer.Option(min=0.0, max=1.0, help="Largest pass rate of a math problem")] = 0.9,
    max_tokens: MaxTokens = 4096,
    temperature: Temperature = 1.0,
    top_p: TopP = 1.0,
    seed: int = 0,
    workers: Workers = 16,
    per_minute: PerMinute = None,
    prompts: Prompts = None,
):
    """Choose RL problems: checkable, new, uncontaminated, neither too easy nor hopeless; sampled no more than needed."""
    from openmimo.data.synthesis.curate_file import run_curate
    from openmimo.data.synthesis.synth import Sampling

    sampling = Sampling(max_tokens, temperature, top_p, seed)
    run_curate(
        problems, out, against or [], n, server, model, strong, classifier, rollouts, most, sampling, workers, per_minute,
        prompts, console(),
    )  # fmt: skip


@data_app.command("export")
def export(
    problems: Annotated[Path, typer.Argument(help="JSONL or Parquet of Problem rows")],
    to: Annotated[str, typer.Option(help="verl, trl, verifiers, slime or open-instruct")],
    out: Annotated[Path, typer.Option(help="A .parquet or .jsonl file")],
):
    """Write problems as the rows of another RL trainer."""
    from openmimo.data.export import export as export_rows
    from openmimo.rows import Problem, read_rows

    counts = export_rows(read_rows(problems, Problem), to, out)
    console().print("; ".join(f"{what}: {n:,}" for what, n in counts.items()) + f"; wrote {out}", highlight=False)


@data_app.command("run")
def data_run(
    pipeline: Annotated[Path, typer.Argument(help="A pipeline in TOML, see docs/data.md", show_default=False)],
    workers: Annotated[Optional[int], typer.Option(min=1, help="Tasks at a time [default: run.workers]")] = None,  # noqa: UP045
):
    """Carry out a pipeline over files: extract, deduplicate, tag, filter, pack. Goes on where it stopped."""
    from openmimo.data.pipeline.run import run_pipeline
    from openmimo.data.pipeline.settings import load_pipeline

    loaded = load_pipeline(pipeline)
    if workers:
        loaded = loaded.model_copy(update={"run": loaded.run.model_copy(update={"workers": workers})})
    run_pipeline(loaded, console())


@data_app.command("step")
def data_step(
    name: Annotated[
        str, typer.Argument(help="extract, url-dedup, exact-dedup, near-dedup, tag, decontaminate, filter, pack")
    ],
    files: Annotated[list[str], typer.Argument(help="JSONL, Parquet, WARC; .gz, .zst; any fsspec path; * and **")],
    out: Annotated[str, typer.Option("--out", help="The folder to write")],
    settings: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", help="A key of the step or of [input]: --set threshold=0.9 (repeatable)"),
    ] = None,
    format: Annotated[str, typer.Option(help="jsonl, jsonl.gz, jsonl.zst or parquet")] = "jsonl.zst",
    workers: Annotated[int, typer.Option(min=1)] = 1,
):
    """Carry out one step over files: a pipeline of one."""
    from openmimo.data.pipeline.run import run_pipeline
    from openmimo.data.pipeline.settings import pipeline_of_one

    run_pipeline(pipeline_of_one(name, files, out, settings or [], format, workers), console())


@data_app.command("mix")
def data_mix(
    shards: Annotated[Path, typer.Argument(help="A folder of token shards: of `pack`, or runs/NAME/tokens/shards")],
    tokens: Annotated[float, typer.Option(min=1, help="Tokens of the stage")],
    weight: Annotated[Optional[list[str]], typer.Option(help="SOURCE=FACTOR on its natural share (repeatable)")] = None,  # noqa: UP045
    raise_: Annotated[Optional[list[str]], typer.Option("--raise", help="ONE,TWO=SHARE of them together")] = None,  # noqa: UP045
    add: Annotated[Optional[list[str]], typer.Option(help="SOURCE=SHARE of all tokens")] = None,  # noqa: UP045
):
    """Plan a stage's mix from the sources' sizes: shares, tokens, epochs, and the line for a recipe."""
    from openmimo.data.mix import print_mix

    print_mix(shards, tokens, weight or [], raise_ or [], add or [], console())


@data_app.command("ledger")
def data_ledger(
    folder: Annotated[Path, typer.Argument(help="A run's folder, for example runs/tiny", show_default=False)],
    tokens: Annotated[Optional[float], typer.Option(min=0, help="Tokens seen [default: all]")] = None,  # noqa: UP045
):
    """Show what a run's pre-training has consumed of each source, at any point: tokens, shares, epochs."""
    from openmimo.train.ledger import print_ledger

    print_ledger(folder, tokens, console())
