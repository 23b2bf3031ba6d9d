"""HTML for the report: every value is escaped unless it is `Html`, text that was built here and is safe already."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any


class Html(str):
    """Markup that must not be escaped again. Nothing read from a log may become one without `safe`."""


def safe(value: Any) -> Html:
    """A value as markup: Html as it is, all else escaped (also quotes, so it may stand in an attribute)."""
    return value if isinstance(value, Html) else Html(html.escape(str(value), quote=True))


def join(parts: Iterable[Any], between: str = "") -> Html:
    """The parts one after another, each made safe."""
    return Html(between.join(safe(part) for part in parts))


def element(tag: str, *content: Any, **attributes: Any) -> Html:
    """<tag>content</tag>. Attributes: a trailing `_` is dropped, other `_` become `-`; None and False are left out."""
    text = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{safe(value)}"'
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{tag}{text}>{join(content)}</{tag}>")


def paragraph(*content: Any, class_: str | None = None) -> Html:
    """<p>."""
    return element("p", *content, class_=class_)


def figure(title: str, picture: Html, *words: Any) -> Html:
    """A titled picture with, under it, what one sees in plain words."""
    return element("figure", element("h3", title), picture, element("figcaption", *words))


def grid(figures: Sequence[Html], wide: bool = False) -> Html:
    """Figures side by side as far as the screen allows: up to two (wide) or three in a row."""
    return element("div", *figures, class_="grid wide" if wide else "grid") if figures else Html("")


def table(caption: Any, head: Sequence[Any], rows: Iterable[Sequence[Any]], class_: str | None = None) -> Html:
    """A table whose first column names its rows."""
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    return element(
        "div",
        element(
            "table",
            element("caption", caption),
            element("thead", element("tr", *(element("th", cell, scope="col") for cell in head))),
            element("tbody", *body),
            class_=class_,
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption,
    )


def section(name: str, title: str, *content: Any) -> Html:
    """A section that the page's navigation points at."""
    return element(
        "section", element("h2", title, id=f"{name}-title"), *content, id=name, aria_labelledby=f"{name}-title"
    )
