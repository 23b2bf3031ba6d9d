"""The command `openmimo`: a verb for each job, in the order of the recipe. No logic of its own; imports are lazy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from openmimo import data_verbs, groups
from openmimo.errors import UserError, disk_full
from openmimo.options import InOrder, Out, Overrides, RecipePath, Source, console

app = typer.Typer(
    cls=InOrder,
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich",
    help="The MiMo-7B recipe, whole and runnable: from HTML to a reasoning model.",
)  # fmt: skip


@app.command()
def plan(recipe: RecipePath, overrides: Overrides = None, as_json: Annotated[bool, typer.Option("--json")] = False):
    """Print the exact schedule, parameters, FLOPs and memory of a recipe, before a step is run."""
    from openmimo.recipe import load_recipe
    from openmimo.train.plan import plan as make_plan
    from openmimo.train.plan import print_plan, to_json

    loaded = load_recipe(recipe, overrides or ())
    if as_json:
        print(to_json(make_plan(loaded)))
        return
    print_plan(loaded, console())


@app.command()
def run(
    recipe: RecipePath,
    overrides: Overrides = None,
    out: Annotated[Optional[Path], typer.Option(help="The run's folder [default: runs/NAME]")] = None,  # noqa: UP045
):
    """Run the whole recipe: data, pre-training, SFT, RL twice, evaluation, release, report. Goes on where it stopped."""
    from openmimo.recipe import load_recipe
    from openmimo.whole import run_recipe

    run_recipe(load_recipe(recipe, overrides or ()), out, console())


@app.command()
def sft(
    source: Source,
    data: Annotated[Path, typer.Option(help="JSONL of {messages: [..., assistant]}")],
    out: Out = Path("sft-out"),
    overrides: Overrides = None,
    recipe: Annotated[Optional[Path], typer.Option(help="A recipe whose [sft] section is used")] = None,  # noqa: UP045
):
    """Fine-tune a checkpoint of yours on conversations (loss on the answers only, packed)."""
    from openmimo.alone import run_sft

    run_sft(source, data, out, recipe, overrides or (), console())


app.add_typer(data_verbs.data_app, name="data")
app.add_typer(groups.rl_app, name="rl")
app.add_typer(groups.mtp_app, name="mtp")


@app.command("eval")
def evaluate(
    source: Source,
    problems: Annotated[Path, typer.Option(help="JSONL or Parquet of Problem rows")],
    out: Out = Path("eval-out"),
    overrides: Overrides = None,
    recipe: Annotated[Optional[Path], typer.Option(help="A recipe whose [eval] section is used")] = None,  # noqa: UP045
):
    """Sample answers to problems and print avg@n and pass@k with intervals."""
    from openmimo.alone import run_eval

    run_eval(source, problems, out, recipe, overrides or (), console())


@app.command()
def export(
    source: Source,
    out: Out,
    profile: Annotated[str, typer.Option(help="mimo, qwen2 or llama")] = "qwen2",
    dtype: Annotated[Optional[str], typer.Option(help="float32, bfloat16 or float16")] = None,  # noqa: UP045
):
    """Write a checkpoint in another layout, for the engine you use."""
    from openmimo.release.export import export as export_checkpoint

    console().print(f"wrote {export_checkpoint(source, out, profile, dtype)}")


@app.command()
def simulate(
    scenario: Annotated[Optional[Path], typer.Argument(help="For example recipes/scenarios/report.toml")] = None,  # noqa: UP045
    replay: Annotated[Path | None, typer.Option(help="A run's folder or its stage's, in place of a scenario")] = None,  # noqa: UP045
    policy: Annotated[
        list[str] | None,
        typer.Option(help="Of static, naive, continuous, async, early; speed-ups need naive (default: all)"),
    ] = None,  # noqa: UP045
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
):
    """Run the rollout policy on a virtual clock: the report's Table 2 for a cluster, or "what if" on your own run."""
    from openmimo.rl.rollout.whatif import run_simulation

    run_simulation(scenario, replay, policy or [], overrides or (), as_json, console())


@app.command()
def trace(
    folder: Annotated[Path, typer.Argument(help="A run's folder, or its stage's: runs/tiny", show_default=False)],
    step: Annotated[Optional[int], typer.Option(min=1, help="Whose launches are listed [default: the last]")] = None,  # noqa: UP045
    out: Annotated[Optional[Path], typer.Option("--chrome", help="Write a trace for ui.perfetto.dev here")] = None,  # noqa: UP045
    as_json: Annotated[bool, typer.Option("--json")] = False,
):
    """Show where a run's rollouts spent their time, and why each task was started."""
    from openmimo.rl.rollout.summary import run_trace

    run_trace(folder, step, out, as_json, console())


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A run's folder, for example runs/tiny", show_default=False)]):
    """Write report.html from a run's logs, whole or in part."""
    from openmimo.report.page import write_report

    console().print(f"wrote {write_report(folder)}")


@app.command()
def chat(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint folder, for example runs/tiny/rl")],
    ask: Annotated[Optional[str], typer.Option(help="One question; without it, a conversation")] = None,  # noqa: UP045
    temperature: Annotated[float, typer.Option(min=0.0)] = 0.6,
    max_tokens: Annotated[int, typer.Option(min=1)] = 256,
    seed: int = 0,
):
    """Ask a checkpoint; its reasoning and answer are streamed."""
    from openmimo.infer.chat import chat as start_chat

    start_chat(checkpoint, ask, temperature, max_tokens, seed, console())


@app.command()
def generate(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint folder: Qwen2, Llama or MiMo", show_default=False)],
    prompts: Annotated[Path, typer.Option(help="JSONL of {prompt}, {messages} or {token_ids}")],
    max_tokens: Annotated[int, typer.Option(min=1)] = 256,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the most likely token")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0)] = 1.0,
    seed: int = 0,
    mtp: Annotated[int, typer.Option(min=0, help="Tokens that the MTP layers draft a step; the text is the same")] = 0,
):
    """Answer a file of prompts: JSONL on stdout in the same order, a summary on stderr."""
    import json

    from openmimo.infer.generate import generate_file

    summary = generate_file(checkpoint, prompts, max_tokens, temperature, top_p, seed, mtp, sys.stdout)
    print(json.dumps(summary), file=sys.stderr)


@app.command()
def serve(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint folder: Qwen2, Llama or MiMo", show_default=False)],
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes any free one")] = 8000,
    name: Annotated[Optional[str], typer.Option(help="The model's name [default: the folder's]")] = None,  # noqa: UP045
    slots: Annotated[int, typer.Option(min=1, help="Responses decoded side by side")] = 64,
    mtp: Annotated[int, typer.Option(min=0, help="Tokens that the MTP layers draft a step; the text is the same")] = 0,
):
    """Serve a checkpoint to OpenAI's clients: chat and completions, /health, /metrics."""
    from openmimo.infer.serve import serve as start_server

    start_server(checkpoint, host, port, name, slots, mtp, console())


app.add_typer(groups.judge_app, name="judge")


def main() -> None:
    """Runs the command; a user's error is one line and exit code 2, an interruption says how to go on."""
    from openmimo.runs import StageFailed

    try:
        code = app(standalone_mode=False) or 0  # typer makes 130 of Ctrl-C
    except UserError as error:
        print(f"openmimo: {error}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except StageFailed as error:
        print(f"openmimo: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if full := disk_full(error, error.filename or "output"):
            print(f"openmimo: {full}", file=sys.stderr)
        elif isinstance(error, PermissionError | NotADirectoryError | IsADirectoryError):
            print(f"openmimo: {error.filename}: {error.strerror}; check the path and its permissions", file=sys.stderr)
        else:
            raise
        sys.exit(2)
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's, of which typer has a copy of its own
            raise
        if message := error.format_message():
            print(f"openmimo: {message.rstrip('.')}; see `openmimo --help`", file=sys.stderr)
        sys.exit(2)
    if code == 130:
        print(
            "\nopenmimo: stopped. What was begun is kept: the same command goes on from the last checkpoint.",
            file=sys.stderr,
        )
    sys.exit(code)


if __name__ == "__main__":
    main()
