"""Reads a run's logs and writes `report.html`: one file that asks the network for nothing and runs no script.

    python -m openmimo.report.page runs/tiny

Works on a whole run, one that is under way (what is missing is named), and the folder of a single stage.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from openmimo.report.answers import answers_section
from openmimo.report.costs import costs_section, counts_section, duration, megabytes
from openmimo.report.curves import pretrain_section, rl_section, sft_section
from openmimo.report.logs import STAGES, Run, read_run
from openmimo.report.markup import Html, element, join, paragraph
from openmimo.report.rollout import rollout_section
from openmimo.report.scores import bars_section, pass_at_k_section, results_section
from openmimo.report.style import CSS

# No script, no image, no font, no connection: even markup that slipped through could do nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
NAVIGATION = {
    "results": "Results",
    "bars": "Scores",
    "passk": "pass@k",
    "pretrain": "Pre-training",
    "sft": "SFT",
    "rl": "RL",
    "rollout": "Rollout",
    "answers": "Reasoning",
    "costs": "Cost",
    "data": "Data",
}


def write_report(run_folder: str | Path) -> Path:
    """Writes report.html into the folder, whole or not at all; returns its path."""
    run = read_run(run_folder)
    path = run.folder / "report.html"
    part = path.with_name(path.name + ".part")
    part.write_bytes(render(run).encode("utf-8", "replace"))
    part.replace(path)
    return path


def render(run: Run) -> str:
    """The whole page as text; control characters from the logs are shown as replacement characters."""
    sections = [
        results_section(run) if run.evaluations or not run.alone else Html(""),
        bars_section(run),
        pass_at_k_section(run),
        pretrain_section(run),
        sft_section(run),
        rl_section(run),
        rollout_section(run),
        answers_section(run),
        costs_section(run),
        counts_section(run),
    ]
    body = join(filter(None, sections))
    links = [element("a", title, href=f"#{name}") for name, title in NAVIGATION.items() if f'id="{name}"' in body]
    name = run.results["recipe"]
    page = join(
        [
            Html('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
            Html('<meta name="color-scheme" content="light dark">'),
            element("title", f"openmimo: {name}"),
            element("style", Html(CSS)),
            Html("</head><body>"),
            element("a", "Skip to the results", href="#main", class_="skip"),
            element("header", _header(run)),
            element("nav", *links, aria_label="Sections"),
            element("main", body, id="main"),
            element("footer", _footer()),
            Html("</body></html>\n"),
        ]
    )
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "\ufffd", page)


def _header(run: Run) -> Html:
    results = run.results
    title = f"{STAGES[next(iter(run.logs))]} of {results['recipe']}" if run.alone and run.logs else results["recipe"]
    what = (
        "One stage of the MiMo-7B recipe, run by itself. "
        if run.alone
        else "One run of the MiMo-7B recipe, from raw pages to a reasoning model: pre-training in stages gives Base, "
        "fine-tuning on worked solutions gives SFT, and reinforcement learning on problems that can be checked gives "
        "RL-Zero (from Base) and RL (from SFT). "
    )
    questions = max((results[model]["questions"] for model in results["models"]), default=None)
    facts = {
        "seed": results["seed"],
        "commit": _short(results["commit"]) if isinstance(results["commit"], str) else results["commit"],
        "time of all stages": duration(results["total_seconds"]) if results["stages"] else None,
        "peak memory": megabytes(results["peak_memory_mb"]) if results["peak_memory_mb"] is not None else None,
        "held-out problems": f"{questions:,}" if questions else None,
    }
    items = [
        element("div", element("dt", key), element("dd", value)) for key, value in facts.items() if value is not None
    ]
    return join(
        [
            paragraph("openmimo report", class_="kicker"),
            element("h1", title),
            paragraph(what, "Everything below is read from the run's own logs."),
            element("p", element("b", "Note. "), results["note"], class_="note") if results["note"] else "",
            _missing(run),
            element("dl", *items, class_="facts") if items else "",
        ]
    )


def _short(commit: str) -> str:
    """The first 12 digits of a commit, and its `+` where the source was changed."""
    return commit[:12] + ("+" if commit.endswith("+") and len(commit) > 12 else "")


def _missing(run: Run) -> Html:
    if not run.missing:
        return Html("")
    items = [element("li", line) for line in run.missing]
    return element("div", element("b", "This run is not complete."), element("ul", *items), class_="note missing")


def _footer() -> Html:
    return join(
        [
            element("h2", "How to read the figures"),
            paragraph(
                "With m the share of right answers to a question and M its mean over Q questions, the interval of M is "
                "M ∓ 1.96 · √( Σ (m − M)² / (Q − 1) / Q ), clipped to 0 and 1. A difference of two models uses the same "
                "formula on the differences question by question, so what makes a question hard for both cancels. pass@k "
                "of a question with c right answers of n is 1 − C(n − c, k) / C(n, k)."
            ),
        ]
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m openmimo.report.page RUN_FOLDER")
    print(write_report(sys.argv[1]))
