"""Pictures as inline SVG in the page's own colours: lines over steps or tokens, and bars with intervals.

Matplotlib draws with placeholder colours; `inline` turns each into a CSS variable, so one picture serves light and
dark. Text stays text: it takes the page's font, and screen readers and search find it.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from openmimo.report.markup import Html

COLOURS = ("ink", "muted", "grid", "band", "base", "rl-zero", "sft", "rl", "accent", "paper")  # --names in style.py
PLACEHOLDER = {name: f"#0a0b{index:02x}" for index, name in enumerate(COLOURS)}
DASHES = {"base": (0, (1, 1.2)), "rl-zero": (0, (5, 1.6)), "sft": (0, (6, 1.6, 1, 1.6)), "rl": "-"}
MARKERS = {"base": "o", "rl-zero": "s", "sft": "^", "rl": "D"}
WIDTH, WIDE = 4.2, 4.5  # inches; a picture fills a phone's width, and a third (WIDTH) or half (WIDE) of a desktop's
TICK_STEPS = (1, 2, 2.5, 5, 10)
MAX_POINTS = 400
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "openmimo",
    "text.parse_math": False,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": PLACEHOLDER["muted"],
    "axes.labelcolor": PLACEHOLDER["muted"],
    "xtick.color": PLACEHOLDER["muted"],
    "ytick.color": PLACEHOLDER["muted"],
    "text.color": PLACEHOLDER["ink"],
    "grid.color": PLACEHOLDER["grid"],
    "grid.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Line:
    """One curve. colour: a name of COLOURS; smooth: the values faint and their running mean on top."""

    label: str
    colour: str
    x: np.ndarray
    y: np.ndarray
    dash: str | tuple = "-"
    marker: str | None = None
    smooth: bool = False


@dataclass(frozen=True)
class Band:
    """A labelled stretch of the x axis, such as a pre-training stage; every second one is shaded."""

    label: str
    start: float
    end: float


def line_picture(
    alt: str,
    lines: Sequence[Line],
    x_label: str,
    bands: Sequence[Band] = (),
    y_range: tuple[float | None, float | None] = (None, None),
    y_format: Callable[[float], str] | None = None,
    legend: bool = False,
    whole_x: bool = False,
    width: float = WIDTH,
) -> Html:
    """Curves on one pair of axes. alt: what a screen reader says; y_range: None leaves that end to the data; whole_x:
    a tick at every whole number."""
    with canvas(width, height=2.6) as (figure, axes):
        for line in lines:
            _draw(axes, line)
        axes.set_xlabel(x_label)
        axes.xaxis.set_major_locator(MultipleLocator(1) if whole_x else MaxNLocator(5, steps=TICK_STEPS))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=TICK_STEPS))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: (y_format or compact)(value)))
        axes.set_ylim(*y_range)
        _shade(axes, bands)
        if legend:
            axes.legend(loc="best", handlelength=2.2)
        return inline(figure, alt)


def bar_picture(alt: str, groups: Sequence[tuple[str, Sequence[tuple[str, str, float, float, float]]]]) -> Html:
    """Horizontal bars with intervals, in titled groups: (title, [(label, colour, value, low, high), ...]) in [0, 1]."""
    pitch, title_pitch, gap = 1.0, 1.35, 0.5
    places, labels, titles, y = [], [], [], 0.0
    for group, bars in groups:
        titles.append((y + 0.25, group))
        y += title_pitch
        for bar in bars:
            places.append((y, bar))
            labels.append(bar[0])
            y += pitch
        y += gap
    with canvas(WIDE, 0.62 + 0.155 * y, left=0.15) as (figure, axes):
        for place, (_, colour, value, low, high) in places:
            axes.barh(place, value, height=0.78, color=PLACEHOLDER[colour], alpha=0.85)
            axes.plot([low, high], [place, place], color=PLACEHOLDER["ink"], linewidth=1.2, solid_capstyle="butt")
            axes.text(max(high, value) + 0.015, place, f"{100 * value:.0f}", va="center", fontsize=8)
        for place, title in titles:
            axes.text(0.008, place, title, fontweight="bold", va="center")
        axes.set_yticks([place for place, _ in places], labels, fontsize=8)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, 1.06)
        axes.set_ylim(y - gap, -0.5)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f}"))
        axes.set_xlabel("right answers, %")
        return inline(figure, alt)


def compact(value: float) -> str:
    """A number in few characters: 1234567 -> `1.23M`, 0.00025 -> `2.5e-4`, 0.5 -> `0.5`."""
    size = abs(value)
    for bound, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if size >= bound:
            unit = 1e3 if letter == "k" else bound
            return f"{value / unit:.3g}{letter}"
    if 0 < size < 0.01:
        digits, _, exponent = f"{value:.1e}".partition("e")
        return f"{digits.removesuffix('.0')}e{int(exponent)}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.3g}"


def percent(share: float) -> str:
    """0.25 -> `25 %`, 0.0125 -> `1.25 %`, with a space that does not break."""
    return f"{100 * share:.3g}\u00a0%"


def running_mean(y: np.ndarray) -> np.ndarray:
    """Mean over a centred window of a twentieth of the values (shorter at the ends), same length."""
    window = max(1, len(y) // 20) | 1
    kernel = np.ones(min(window, len(y)))
    return np.convolve(y, kernel, "same") / np.convolve(np.ones_like(y), kernel, "same")


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most MAX_POINTS of the points, evenly taken, the last one among them."""
    if len(x) <= MAX_POINTS:
        return x, y
    kept = np.unique(np.linspace(0, len(x) - 1, MAX_POINTS).round().astype(int))
    return x[kept], y[kept]


def _draw(axes: Axes, line: Line) -> None:
    colour, y = PLACEHOLDER[line.colour], line.y
    if line.smooth and len(y) >= 40:
        axes.plot(*_thin(line.x, y), color=colour, linewidth=0.8, alpha=0.3)
        y = running_mean(y)
    marker = line.marker or ("o" if len(y) == 1 else None)
    axes.plot(
        *_thin(line.x, y),
        color=colour,
        linewidth=1.8,
        linestyle=line.dash,
        marker=marker,
        markersize=4.5,
        label=line.label,
    )


def _shade(axes: Axes, bands: Sequence[Band]) -> None:
    """Every second band shaded, each named at the top (upright where it is narrow)."""
    if not bands:
        return
    start, end = bands[0].start, bands[-1].end
    axes.set_xlim(start, end)
    for index, band in enumerate(bands):
        if index % 2:
            axes.axvspan(band.start, band.end, color=PLACEHOLDER["band"], linewidth=0, zorder=0)
        if index:
            axes.axvline(band.start, color=PLACEHOLDER["muted"], linewidth=0.8, linestyle=(0, (2, 2)))
        narrow = (band.end - band.start) < 0.022 * len(band.label) * (end - start)
        axes.text(
            (band.start + band.end) / 2,
            1.0 if not narrow else 0.97,
            band.label,
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="top" if narrow else "bottom",
            rotation=90 if narrow else 0,
            fontsize=8,
            color=PLACEHOLDER["muted"],
        )


@contextmanager
def canvas(width: float, height: float, left: float = 0.13, below: float = 0.42, above: float = 0.2):
    """A figure of width x height inches and its axes, with `below` and `above` inches left for labels."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        FigureCanvasSVG(figure)
        axes = figure.add_axes((left, below / height, 0.975 - left, 1 - (below + above) / height))
        yield figure, axes


def inline(figure: Figure, alt: str) -> Html:
    """The figure as an <svg> to put into the page: themed, ids of its own, nothing that points outside."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    view_box = re.search(r'viewBox="([^"]+)"', svg).group(1)
    body = svg[svg.index("</metadata>") + len("</metadata>") : svg.rindex("</svg>")]
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.S)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.S)
    body = re.sub(r"\s*font-family:[^;\"]*;?", "", body)
    body = re.sub(r"\s*\n\s*", " ", body).replace("xlink:href", "href")
    for name, placeholder in PLACEHOLDER.items():
        body = body.replace(placeholder, f"var(--{name})")
    prefix = f"p{zlib.crc32((alt + body).encode('utf-8', 'replace')):08x}-"
    body = re.sub(r'\bid="', f'id="{prefix}', body)
    body = re.sub(r'(href="|url\()#', rf"\1#{prefix}", body)
    return Html(f'<svg role="img" aria-label="{escape(alt)}" viewBox="{view_box}">{body}</svg>')
