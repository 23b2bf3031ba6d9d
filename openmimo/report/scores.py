"""The report's scores: the table of [R 3.5, Table 5], what reinforcement learning added, bars and pass@k curves."""

from __future__ import annotations

from typing import Any

import numpy as np

from openmimo.eval.metrics import average
from openmimo.eval.results import columns, half_interval, last_pass, points, table_rows, title_of
from openmimo.report.logs import Run
from openmimo.report.markup import Html, element, figure, grid, join, paragraph, section, table
from openmimo.report.plot import DASHES, MARKERS, Line, bar_picture, line_picture, percent

INTERVAL_WORDS = (
    "± is half of a 95 % interval. It is clustered by question: the answers to one question are not independent, so "
    "only the spread between questions counts."
)
COMPARISONS = {
    "rl - sft": "What reinforcement learning added to the fine-tuned model",
    "rl-zero - base": "What reinforcement learning added to the base model, with no fine-tuning between",
}


def colour_of(model: str) -> str:
    """The colour's name that a checkpoint keeps through the page."""
    return model if model in DASHES else "accent"


def badge(model: str) -> Html:
    """A checkpoint's name with its colour."""
    return element("span", title_of(model), class_=f"badge {colour_of(model)}")


def results_section(run: Run) -> Html:
    """Headline, differences and the table; a sentence instead where nothing is evaluated."""
    summaries = {model: run.results[model] for model in run.results["models"]}
    if not summaries:
        return section("results", "Results", paragraph("No checkpoint of this run is evaluated yet.", class_="absent"))
    n = next(iter(summaries.values()))["samples"]
    words = paragraph(
        f"Each checkpoint answered each held-out problem {n} times. avg@{n} is the share of right answers, pass@{n} "
        f"the share of problems with at least one right answer in {n}. The best of a row is bold. ",
        INTERVAL_WORDS,
    )
    cards = [_difference_card(pair, d) for pair, d in run.results["differences"].items()]
    return section(
        "results",
        "Results",
        paragraph(_order_of_table_5(summaries), class_="lead"),
        element("div", *cards, class_="cards") if cards else "",
        _table(summaries, n),
        words,
    )


def bars_section(run: Run) -> Html:
    """avg@n with intervals: everything and by family, and by difficulty."""
    summaries = {model: run.results[model] for model in run.results["models"]}
    if not summaries:
        return Html("")
    groups = [
        (title, [(title_of(m), colour_of(m), average(s), *s["ci95"]) for m, s in cells.items()])
        for title, cells in table_rows(summaries)
    ]
    hard = [group for group in groups[1:] if group[0].startswith("difficulty ")]
    groups = [("all problems", groups[0][1]), *(group for group in groups[1:] if group not in hard)]
    by_family = figure(
        "All problems and by family",
        bar_picture(_spoken("Share of right answers", summaries), groups),
        "A bar is the share of right answers, the thin line across its end the 95 % interval: where two lines do not "
        "overlap, the difference is unlikely to be chance. Families differ in how much a model can gain.",
    )
    by_difficulty = figure(
        "By difficulty",
        bar_picture("Share of right answers by difficulty, from easy to hard", hard),
        _difficulty_words(summaries),
    )
    return section("bars", "Scores in pictures", grid([by_family, by_difficulty], wide=True))


def pass_at_k_section(run: Run) -> Html:
    """pass@k against k, over all problems and for each family."""
    summaries = {model: run.results[model] for model in run.results["models"]}
    if not summaries:
        return Html("")
    rows = [row for row in table_rows(summaries) if not row[0].startswith("difficulty ")]
    figures = []
    for title, cells in rows:
        lines = [_pass_line(model, summary) for model, summary in cells.items()]
        alt = f"pass@k for k from 1, {title}: " + ", ".join(
            f"{title_of(m)} {percent(s['pass_at_k']['1'])} to {percent(last_pass(s))}" for m, s in cells.items()
        )
        picture = line_picture(alt, lines, "k answers drawn", y_range=(0, 1.02), y_format=percent, whole_x=True)
        figures.append(figure("All problems" if title == "all" else title, picture, _pass_words(title, cells)))
    words = paragraph(
        "pass@k is the chance that at least one of k answers to a problem is right (unbiased estimate). At k = 1 it is "
        "the score above. A curve that climbs steeply belongs to a model that can solve a problem but does not do so "
        "reliably. Reinforcement learning typically turns such luck into habit: its curves start higher and climb less."
    )
    return section("passk", "pass@k", words, legend(list(summaries)), grid(figures))


def legend(models: list[str]) -> Html:
    """Colour, line and marker of each checkpoint, for all pictures of a section."""
    dashes = {"base": "1.5 2.2", "rl-zero": "8 3", "sft": "10 3 2 3"}
    items = []
    for model in models:
        stroke = f'stroke="var(--{colour_of(model)})" stroke-width="2.6" stroke-dasharray="{dashes.get(model, "none")}"'
        swatch = element("svg", Html(f'<path d="M1 6H37" {stroke}/>'), viewBox="0 0 38 12", aria_hidden="true")
        items.append(element("li", swatch, title_of(model)))
    return element("ul", *items, class_="legend")


def _table(summaries: dict[str, Any], n: int) -> Html:
    models, rows = columns(summaries), []
    for title, cells in table_rows(summaries):
        best = max(average(summary) for summary in cells.values())
        rows.append([title, *(_cell(cells.get(model), best) for model in models)])
    last = {model: last_pass(summary) for model, summary in summaries.items()}
    rows.append([f"pass@{n}", *(_bold(last[m], max(last.values())) if m in last else "–" for m in models)])
    questions = next(iter(summaries.values()))["questions"]
    caption = f"avg@{n} on {questions:,} held-out problems, in points (100 = all right)"
    return table(caption, [element("span", "problems", class_="hidden"), *map(badge, models)], rows, class_="scores")


def _cell(summary: dict[str, Any] | None, best: float) -> Html | str:
    if summary is None:
        return "–"
    half = element("small", f"± {points(half_interval(summary))}")
    return join([_bold(average(summary), best), half], " ")


def _bold(value: float, best: float) -> Html:
    return element("b" if value == best else "span", points(value))


def _difference_card(pair: str, difference: dict[str, Any]) -> Html:
    one, other = pair.split(" - ")
    low, high = (f"{100 * bound:+.1f}" for bound in difference["ci95"])
    relation = "do not overlap" if difference["intervals_apart"] else "overlap"
    return element(
        "div",
        element("p", badge(one), " − ", badge(other)),
        element("p", f"{100 * difference['difference']:+.1f}", element("small", " points"), class_="big"),
        element("p", COMPARISONS[pair], "."),
        element("p", f"95 % interval {low} to {high}, paired by question; the two models' own intervals {relation}."),
        class_="card",
    )


def _order_of_table_5(summaries: dict[str, Any]) -> str:
    """Says whether the four scores have the order of the paper's Table 5: RL highest, RL-Zero grows most."""
    scores = {model: 100 * average(summary) for model, summary in summaries.items()}
    top = max(scores, key=scores.get)
    if len(scores) == 1:
        return f"{title_of(top)} scores {scores[top]:.1f} points of 100."
    words = f"{title_of(top)} scores highest, {scores[top]:.1f} points of 100"
    if not {"base", "rl-zero", "sft", "rl"} <= scores.keys():
        return f"{words}, of the checkpoints evaluated so far."
    zero, tuned = scores["rl-zero"] - scores["base"], scores["rl"] - scores["sft"]
    grows = "RL-Zero" if zero > tuned else "RL"
    as_in_paper = top == "rl" and zero > tuned
    return (
        f"{words}; reinforcement learning adds {zero:+.1f} from Base and {tuned:+.1f} from SFT, so {grows} grows most. "
        f"This is {'the' if as_in_paper else 'not the'} order of the paper's Table 5 (RL highest, RL-Zero grows most)."
    )


def _difficulty_words(summaries: dict[str, Any]) -> str:
    parts = []
    for model, summary in summaries.items():
        levels = summary["by_difficulty"]
        easiest, hardest = (average(levels[d]) for d in (min(levels, key=int), max(levels, key=int)))
        parts.append(f"{title_of(model)} {percent(easiest)} → {percent(hardest)}")
    return (
        "From the easiest to the hardest problems: "
        + ", ".join(parts)
        + ". The intervals are wide where a difficulty has few problems."
    )


def _pass_line(model: str, summary: dict[str, Any]) -> Line:
    k = np.array([int(key) for key in summary["pass_at_k"]], dtype=float)
    values = np.array(list(summary["pass_at_k"].values()))
    dash = DASHES.get(model, "-")
    return Line(title_of(model), colour_of(model), k, values, dash, MARKERS.get(model, "o"))


def _pass_words(title: str, cells: dict[str, Any]) -> str:
    gains = {model: last_pass(s) - s["pass_at_k"]["1"] for model, s in cells.items()}
    most = max(gains, key=gains.get)
    n = next(iter(cells.values()))["samples"]
    return f"From k = 1 to {n}, {title_of(most)} gains most: {100 * gains[most]:+.0f} points."


def _spoken(what: str, summaries: dict[str, Any]) -> str:
    return f"{what}, all problems: " + ", ".join(f"{title_of(m)} {percent(average(s))}" for m, s in summaries.items())
