"""The verbs that have verbs of their own: `openmimo rl`, `mtp`, `judge`; those of `data` are in data_verbs.py. As lazy as the others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Optional

import typer

from openmimo.errors import UserError
from openmimo.options import Out, Overrides, Source, console

rl_app = typer.Typer(invoke_without_command=True)
mtp_app = typer.Typer(no_args_is_help=True, help="Multi-token prediction: more layers to draft with.")
Unsafe = Annotated[
    bool, typer.Option("--unsafe", help="Limits alone, where nothing better is offered: programs can read your files")
]
judge_app = typer.Typer(no_args_is_help=True, help="Judge programs and math answers; a verdict for every test.")


@rl_app.callback()
def rl(
    context: typer.Context,
    source: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--from", help="A checkpoint folder in the HF layout (Qwen2, Llama or MiMo)"),
    ] = None,
    problems: Annotated[Optional[Path], typer.Option(help="JSONL or Parquet of Problem rows")] = None,  # noqa: UP045
    out: Out = Path("rl-out"),
    reward: Annotated[Optional[str], typer.Option(help="Your own reward, module:function")] = None,  # noqa: UP045
    difficulty: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A table of `openmimo rl difficulty`; without it all tests of a problem are one level"),
    ] = None,
    overrides: Overrides = None,
    recipe: Annotated[Optional[Path], typer.Option(help="A recipe whose [rl] section is used")] = None,  # noqa: UP045
):
    """Train a checkpoint of yours by GRPO on verifiable problems; or `rl difficulty`, how hard each test is."""
    if context.invoked_subcommand:
        return
    if source is None or problems is None:
        raise UserError(
            f"rl: the option {'--from' if source is None else '--problems'} is missing; see `openmimo rl --help`"
        )
    from openmimo.alone import run_rl

    run_rl(source, problems, out, reward, difficulty, recipe, overrides or (), console())


@rl_app.command("difficulty")
def rl_difficulty(
    rollouts: Annotated[list[Path], typer.Argument(help="JSONL of Rollout rows, or of `openmimo judge run --json`")],
    problems: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The problems, in any format of `judge run`: tests that no row has are of unknown rate"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The table to write")] = Path("difficulty.json"),
):
    """From many solutions' verdicts to each test's pass rate and level of difficulty, saved with a hash."""
    from openmimo.rl.tabulate import tabulate

    tabulate(rollouts, problems, out, console())


@mtp_app.command()
def extend(
    source: Source,
    out: Out,
    layers: Annotated[int, typer.Option(min=2, help="MTP layers in all")] = 3,
    prompts: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="JSONL as for `generate`, or Problem rows [default: the run's training problems]"),
    ] = None,
    overrides: Overrides = None,
):
    """Copy the trained MTP layer, and tune the copies on the model's own text; all else is frozen, bit for bit."""
    from openmimo.alone import run_extend

    run_extend(source, out, layers, prompts, overrides or (), console())


@judge_app.command("run")
def judge_run(
    problems: Annotated[
        Path, typer.Argument(help="openmimo, MBPP+, HumanEval+, LiveCodeBench, APPS, TACO, CodeContests")
    ],
    solutions: Annotated[Path, typer.Argument(help="JSONL of {task_id, solution}: a whole program each")],
    as_json: Annotated[bool, typer.Option("--json", help="One line a program instead of a table")] = False,
    stop_on_failure: Annotated[bool, typer.Option(help="Judge no test after a program's first failure")] = False,
    time_limit: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0.01, help="CPU seconds a test [default: the problem's own; 1 where it says nothing]"),
    ] = None,
    memory_mb: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=16, help="Memory a test in MB [default: the problem's own; 256 where it says nothing]"),
    ] = None,
    workers: Annotated[Optional[int], typer.Option(min=1, help="[default: one a core]")] = None,  # noqa: UP045
    unsafe: Unsafe = False,
):
    """Judge programs: AC, WA, TLE, MLE, OLE, RE or IE for every test, with CPU time, wall time and memory."""
    from openmimo.judge.run import run as judge_programs

    cores = len(os.sched_getaffinity(0))
    if not judge_programs(
        problems, solutions, as_json, stop_on_failure, time_limit, memory_mb, workers or cores, unsafe, console()
    ):
        raise typer.Exit(1)  # some tests were not judged, by our fault


@judge_app.command("serve")
def judge_serve(
    host: Annotated[str, typer.Option(help="Bind where only your own workers are: there is no password")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = 8300,
    workers: Annotated[Optional[int], typer.Option(min=1, help="[default: one a core]")] = None,  # noqa: UP045
    queue: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Programs that may wait; more get status 429 [default: 64 a worker]"),
    ] = None,
    largest_mb: Annotated[int, typer.Option(min=1, help="The largest request, in MB")] = 256,
    unsafe: Unsafe = False,
):
    """Judge over HTTP for workers elsewhere: /judge, /answers, /health, /metrics."""
    try:
        from openmimo.judge.serve import serve
    except ImportError as error:
        raise UserError(f"judge serve: {error.name} is missing; `pip install 'openmimo[serve]'`") from None

    workers = workers or len(os.sched_getaffinity(0))
    serve(host, port, workers, queue or 64 * workers, largest_mb, unsafe, console())
