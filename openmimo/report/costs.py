"""What the run cost, stage by stage, and what its data stage counted."""

from __future__ import annotations

from typing import Any

from openmimo.report.logs import Run
from openmimo.report.markup import Html, element, paragraph, section, table


def costs_section(run: Run) -> Html:
    """Seconds and peak memory of each stage, as a table with bars."""
    stages = run.results["stages"]
    if not stages:
        return section("costs", "Time and memory", paragraph("No stage has written its manifest yet.", class_="absent"))
    longest = max((stage["seconds"] or 0 for stage in stages.values()), default=0) or 1
    rows = []
    for name, stage in stages.items():
        seconds, memory = stage["seconds"], stage["peak_memory_mb"]
        width = 100 * (seconds or 0) / longest
        bar = element("span", style=f"width:{width:.1f}%", class_="bar", aria_hidden="true")
        time = element("span", "–" if seconds is None else duration(seconds))
        timed = element("div", time, element("span", bar, class_="track"), class_="timed")
        rows.append([name, timed, megabytes(memory)])
    rows.append(["all", element("b", duration(run.results["total_seconds"])), megabytes(run.results["peak_memory_mb"])])
    return section(
        "costs",
        "Time and memory",
        table("Each finished stage", ["stage", "time", "peak memory"], rows, class_="costs"),
        paragraph(
            "As each stage's manifest says. A stage that is not finished has none yet. Stages may run side by side, so "
            "their times can add up to more than the clock showed."
        ),
    )


def counts_section(run: Run) -> Html:
    """Free-form counts of the data stages, one small table each; nothing where none were kept."""
    if not run.counts:
        return Html("")
    tables = [table(name, ["what", "value"], flatten(data), class_="counts") for name, data in run.counts.items()]
    words = paragraph("What came in, what each filter removed, and what was left, as the stages counted it.")
    return section("data", "Data", words, element("div", *tables, class_="tables"))


def flatten(data: Any, name: str = "") -> list[tuple[str, str]]:
    """Nested counts as (`outer / inner`, value) rows; a list becomes one row."""
    if isinstance(data, dict):
        return [row for key, value in data.items() for row in flatten(value, f"{name} / {key}" if name else str(key))]
    if isinstance(data, list):
        shown = ", ".join(_plain(value) for value in data[:8])
        return [(name, f"{shown}, … ({len(data):,} in all)" if len(data) > 8 else shown)]
    return [(name, _plain(data))]


def duration(seconds: float) -> str:
    """4000 -> `1 h 6 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds % 60:.0f} s"


def megabytes(size: float | None) -> str:
    """2048 -> `2.0 GB`, None -> `–`."""
    if size is None:
        return "–"
    return f"{size / 1024:.1f} GB" if size >= 1024 else f"{size:.0f} MB"


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
