"""The report's curves: pre-training over its three stages [R 2.3], SFT [R 3.1], and the two RL runs [R 3.3]."""

from __future__ import annotations

from collections.abc import Sequence

from openmimo.data.ledger import ledger_table
from openmimo.report import panels
from openmimo.report.logs import STAGES, Log, Run
from openmimo.report.markup import Html, element, figure, grid, paragraph, section, table
from openmimo.report.panels import Panel
from openmimo.report.plot import DASHES, WIDE, WIDTH, Band, Line, compact, line_picture
from openmimo.report.scores import legend

SMOOTH_WORDS = "Faint: every step. Strong: the running mean over a twentieth of the steps."
FROM_TO = "From the first to the last tenth of the steps: "


def pretrain_section(run: Run) -> Html:
    """Losses and schedule against tokens, the stages shaded."""
    log = run.logs.get("base")
    if log is None:
        return _absent(run, "pretrain", "Pre-training", "base")
    bands = _bands(log)
    along = ("tokens", "tokens seen") if len(log.column("loss", "tokens")[0]) else ("step", "step")
    main = [_losses(log, along, bands, WIDE)]
    _, rates = log.column("lr", along[0])
    if len(rates):
        words = (
            f"It peaks at {compact(rates.max())} and ends at {compact(rates[-1])}. The paper's shape is a rise from "
            "zero, a plateau, and a decay in two parts."
        )
        main.append(figure("Learning rate", _picture(panels.LEARNING_RATE, [log], along, bands, WIDE), words))
    figures = [
        figure(panel.title, _picture(panel, [log], along, bands), _words(panel, log))
        for panel in panels.SCHEDULE + panels.PRETRAIN
        if len(log.column(panel.key, along[0])[0])
    ]
    words = "One run over all tokens."
    if len(bands) > 1:
        words = (
            f"One run through {len(bands)} stages ({', '.join(band.label for band in bands)}). Dashed lines are the "
            "borders, where the mix of data, the length and the RoPE base may change."
        )
    return section("pretrain", "Pre-training", paragraph(words), grid(main, wide=True), grid(figures), _ledger(run))


def _ledger(run: Run) -> Html:
    """Tokens and epochs of each source; nothing before the stage is done."""
    if run.ledger is None:
        return Html("")
    words = (
        "An epoch is all of a source's tokens once. The stages' shares are those of the recipe, to within a document."
    )
    return element("div", table("What it was trained on", *ledger_table(run.ledger), class_="counts"), paragraph(words))


def sft_section(run: Run) -> Html:
    """Losses, learning rate and speed of fine-tuning."""
    title = "Supervised fine-tuning (SFT)"
    log = run.logs.get("sft")
    if log is None:
        return _absent(run, "sft", title, "sft")
    words = "The base model learns to answer in the chat format from verified worked solutions; only the answers count."
    figures = [
        figure(panel.title, _picture(panel, [log]), _words(panel, log))
        for panel in panels.SFT
        if len(log.column(panel.key)[0])
    ]
    return section("sft", title, paragraph(words), grid([_losses(log), *figures]))


def rl_section(run: Run) -> Html:
    """RL-Zero and RL on shared axes; the six curves that matter open, the rest folded."""
    title = "Reinforcement learning"
    logs = [run.logs[stage] for stage in ("rl-zero", "rl") if stage in run.logs]
    if not logs:
        return _absent(run, "rl", title, "rl")
    gone = [STAGES[stage] for stage in ("rl-zero", "rl") if stage not in run.logs and not run.alone]
    words = paragraph(
        "GRPO: the model answers each problem several times, and answers better than their group's mean become more "
        "likely. RL-Zero starts from the base model, RL from the fine-tuned one. ",
        SMOOTH_WORDS,
        f" Not in this run yet: {', '.join(gone)}." if gone else "",
    )
    details = _rl_grid(panels.RL_DETAILS, logs)
    summary = element("summary", "More curves: health of the training, and time")
    folded = element("details", summary, details) if details else ""
    shown = legend([log.stage for log in logs]) if len(logs) > 1 else ""
    return section("rl", title, words, shown, _rl_grid(panels.RL, logs), folded)


def _rl_grid(shown: Sequence[Panel], logs: list[Log]) -> Html:
    found = [(panel, [log for log in logs if len(log.column(panel.key)[0])]) for panel in shown]
    return grid(
        [figure(p.title, _picture(p, logged), f"{p.words} {_moves(p, logged)}") for p, logged in found if logged]
    )


def _picture(
    panel: Panel,
    logs: list[Log],
    along: tuple[str, str] = ("step", "step"),
    bands: Sequence[Band] = (),
    width: float = WIDTH,
) -> Html:
    """One panel's curve of each log. along: the x axis' key and label."""
    lines = []
    for log in logs:
        x, y = log.column(panel.key, along[0])
        lines.append(Line(STAGES[log.stage], log.stage, x, y, _dash(log, logs), smooth=panel.smooth))
    alt = f"{panel.title} by {along[1]}. {_moves(panel, logs)}"
    y_range = (panel.floor, panel.ceiling)
    return line_picture(alt, lines, along[1], bands, y_range, panel.unit, width=width)


def _dash(log: Log, logs: list[Log]):
    """Line patterns tell the checkpoints apart without colour; a curve on its own needs none."""
    return DASHES[log.stage] if len(logs) > 1 else "-"


def _losses(
    log: Log, along: tuple[str, str] = ("step", "step"), bands: Sequence[Band] = (), width: float = WIDTH
) -> Html:
    lines = [Line("next token", log.stage, *log.column("loss", along[0]), smooth=True)]
    x, y = log.column("mtp_loss", along[0])
    if len(x):
        lines.append(Line("MTP (the token after)", "accent", x, y, (0, (4, 1.5)), smooth=True))
    words = _moves(Panel("loss", "", ""), [log], "Loss of the next token, in nats, from the first to the last tenth: ")
    mtp = " MTP guesses one token further ahead, which is harder." if len(x) else ""
    alt = f"{STAGES[log.stage]} loss by {along[1]}. {words}"
    picture = line_picture(alt, lines, along[1], bands, legend=len(lines) > 1, width=width)
    return figure("Loss", picture, f"{words}{mtp} {SMOOTH_WORDS}")


def _moves(panel: Panel, logs: list[Log], before: str = FROM_TO) -> str:
    """`RL-Zero 0.12 → 0.58, RL 0.63 → 0.81.`: the figures that a caption quotes."""
    ends = {STAGES[log.stage]: log.ends(panel.key) for log in logs}
    moves = {stage: f"{panel.unit(pair[0])} → {panel.unit(pair[1])}" for stage, pair in ends.items() if pair}
    texts = [f"{stage} {move}" for stage, move in moves.items()] if len(moves) > 1 else list(moves.values())
    return f"{before}{', '.join(texts)}." if texts else ""


def _bands(log: Log) -> list[Band]:
    """Each pre-training stage's stretch of tokens, from the rows' own stage names."""
    rows = [row for row in log.rows if row.get("stage") is not None and isinstance(row.get("tokens"), int | float)]
    starts: list[tuple[str, float]] = []
    for row in rows:
        if not starts or starts[-1][0] != str(row["stage"]):
            starts.append((str(row["stage"]), row["tokens"] if starts else 0))
    ends = [*(start for _, start in starts[1:]), *(row["tokens"] for row in rows[-1:])]
    return [Band(name, start, end) for (name, start), end in zip(starts, ends, strict=True)]


def _words(panel: Panel, log: Log) -> str:
    """A panel's words with the values the log holds: each level of a setting, the ends of a measurement."""
    if panel.smooth:
        return f"{panel.words} {_moves(panel, [log])}"
    _, values = log.column(panel.key)
    levels = [compact(value) for i, value in enumerate(values) if i == 0 or value != values[i - 1]]
    if len(levels) > 4:
        levels = list(dict.fromkeys([levels[0], compact(values.max()), levels[-1]]))
    words = f"{panel.words} Here: {' → '.join(levels)}."
    bases = [compact(value) for value in dict.fromkeys(log.column("rope_base")[1])]
    if panel.key == "length" and bases:
        words += f" RoPE base: {' → '.join(bases)}; a larger one keeps distant positions apart."
    return words


def _absent(run: Run, name: str, title: str, stage: str) -> Html:
    """Names a stage that is not in a run's folder; nothing for a folder that holds another stage alone."""
    if run.alone:
        return Html("")
    words = f"Not in this run yet: {stage}/log.jsonl has no step in it, or is not there."
    return section(name, title, paragraph(words, class_="absent"))
