"""Which HTML tables hold data and which only lay a page out; rows of cells as a Markdown table [R 2.1].

python -c "from openmimo.data.extract.tables import markdown_table; print(markdown_table([['a', 'b'], ['1', '2']]))"
"""

from __future__ import annotations

from openmimo.data.extract.html_tree import Element

_LAYOUT_ONLY = frozenset(
    "table pre ul ol dl h1 h2 h3 h4 h5 h6 blockquote hr form article section iframe textarea".split()
)
_LONG_CELL = 400  # characters in an average cell: such a table is a layout


def is_data_table(table: Element) -> bool:
    """At least two rows, two of them with two cells or more, no blocks inside the cells and no long texts."""
    if table.attrs.get("role", "").lower() in ("presentation", "none"):
        return False
    cells_by_row: dict[int, int] = {}
    cells = chars = 0
    for element in table.descendants():
        if element.tag in _LAYOUT_ONLY:
            return False
        chars += sum(len(c) for c in element.children if isinstance(c, str))
        if element.tag in ("td", "th") and not element.skip:
            cells += 1
            cells_by_row[element.parent_index] = cells_by_row.get(element.parent_index, 0) + 1
    wide_rows = sum(n >= 2 for n in cells_by_row.values())
    return wide_rows >= 2 and chars < _LONG_CELL * cells


def markdown_table(rows: list[list[str]]) -> str:
    """Rows of cells -> a Markdown table, padded to its widest row; the first row is the header."""
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    width = max(map(len, rows), default=0)
    if not width:
        return ""
    lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]])
