"""Writes an element as Markdown with LaTeX: the second half of extraction [R 2.1].

    python -c "from openmimo.data.extract.markdown import to_markdown; from openmimo.data.extract.html_tree import parse; print(to_markdown(parse('<h1>a</h1><ul><li>b').root))"

Our choices, for text a language model reads: code stands character for character at the margin, even inside lists and
quotes (strict Markdown would indent it); emphasis and link addresses go; nothing is escaped but `|` in tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from openmimo.data.extract.blocks import Block, CodeSpan, inline_text, one_paragraph, prefixed, render
from openmimo.data.extract.code_blocks import code_text, fence, gutter_kind, is_gutter, language_of
from openmimo.data.extract.formulas import Formula, formula_of, may_be_formula
from openmimo.data.extract.html_tree import Element
from openmimo.data.extract.tables import is_data_table, markdown_table

_BLOCKS = frozenset(
    """address article aside blockquote body center dd details div dl dt fieldset figcaption figure footer form header
    hr html legend li main ol p pre section summary table tbody td tfoot th thead tr ul h1 h2 h3 h4 h5 h6 caption""".split()
)
_HEADINGS = {f"h{n}": n for n in range(1, 7)}
_PYDOC_HEADINGS = {("strong", "title"): 1, ("td", "section-title"): 2}
_INLINE_CODE = frozenset(["code", "tt", "kbd", "samp"])
_NUMBER = re.compile(r"\d{1,6}")
_NUMBERS_ALONE = re.compile(r"(?:[ \t]*\d+[ \t]*\n?)+")  # the gutter of a listing
_BY_TAG = _INLINE_CODE | {"math", "script", "img", "mjx-container", "pre", "sup", "sub"}
_LEFT = _BLOCKS | {"sup", "sub", "strong"}
_MAX_FRAMES = 24  # lists, quotes and tables nested deeper than this add no further indentation


@dataclass
class Frame:
    """What collects blocks: the page, a list item, a quote, a table, a cell."""

    element: Element | None
    kind: str = "page"
    blocks: list[Block] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


def to_markdown(root: Element, rewrite: Callable[[str], str] | None = None) -> str:
    """Markdown of the element's content; elements marked `skip` are left out. rewrite: applied to its text, not to code."""
    writer = _Writer()
    inline, enter, leave = writer.inline, writer.enter, writer.leave
    stack: list = [root]
    while stack:
        node = stack.pop()
        kind = node.__class__
        if kind is str:
            if rewrite:
                node = rewrite(node)
            text = " ".join(node.split())  # U+00A0 too
            if not text:
                inline.append(" " if node else "")
                continue
            if node[0].isspace():
                text = " " + text
            inline.append(text + " " if node[-1].isspace() else text)
        elif kind is tuple:
            leave(node[0])
        elif not (node.skip and node is not root) and enter(node):
            if node.tag in _LEFT:
                stack.append((node,))
            stack += node.children[::-1]
    writer.flush()
    while len(writer.frames) > 1:
        writer.leave_frame()
    return render(writer.frames[0].blocks)


class _Writer:
    """The state of one walk: `inline` is the paragraph being collected, `frames` the open containers."""

    def __init__(self):
        self.inline: list[str] = []
        self.frames: list[Frame] = [Frame(None)]
        self.lists: list[tuple[bool, int, bool]] = []  # numbered?, next number, no item yet? of each open list
        self.has_spans = False
        self.marks: list[tuple[Element, int]] = []  # where an open <sup> or <sub> began

    def enter(self, element: Element) -> bool:
        """Writes what the element is by itself; True where its children are to be read too."""
        tag = element.tag
        if tag == "br":
            self.inline.append("\n")
            return False
        if tag not in _BY_TAG and _is_plain(element.written):
            return self.enter_block(element) if tag in _BLOCKS else True
        formula = formula_of(element)
        if formula is not None:
            self.formula(formula)
            return False
        if tag == "pre":
            self.code_block(element)
            return False
        if tag in _INLINE_CODE or (tag == "span" and "code" in element.classes):
            self.monospace(element)
            return False
        if is_gutter(element):
            return False
        if tag in ("sup", "sub"):
            self.marks.append((element, len(self.inline)))
        elif tag in _BLOCKS or (tag, "title") in _PYDOC_HEADINGS:
            return self.enter_block(element)
        return True

    def enter_block(self, element: Element) -> bool:
        tag = element.tag
        kind = ""
        if heading_level(element):
            kind = "heading"
        elif tag in ("li", "blockquote", "dd"):
            kind = tag
        elif tag == "table" and is_data_table(element):
            kind = "table"
        elif tag in ("td", "th") and any(f.kind == "table" for f in self.frames[-2:]):
            kind = "cell"
        elif tag in _BLOCKS:
            self.flush()
        if tag in ("ul", "ol"):
            start = element.attrs.get("start", "") if "start" in element.written else ""
            self.lists.append((tag == "ol", int(start) if _NUMBER.fullmatch(start) else 1, True))
        elif tag == "tr" and self.frames[-1].kind == "table":
            self.frames[-1].rows.append([])
        if kind and len(self.frames) < _MAX_FRAMES:
            self.flush()
            self.frames.append(Frame(element, kind))
        return True

    def leave(self, element: Element) -> None:
        tag = element.tag
        if tag in ("sup", "sub"):
            self.script(*self.marks.pop())
        elif self.frames[-1].element is element:
            self.flush()
            self.leave_frame()
        elif tag in _BLOCKS:
            self.flush()
        if tag in ("ul", "ol"):
            self.lists.pop()

    def leave_frame(self) -> None:
        """Closes the innermost container: its blocks become the parent's, prefixed as its kind asks."""
        frame = self.frames.pop()
        parent, element, blocks = self.frames[-1], frame.element, frame.blocks
        if frame.kind == "cell":
            text = " ".join(render(blocks).split()).replace("|", "\\|")
            span = element.attrs.get("colspan", "1")
            if parent.rows:
                parent.rows[-1] += [text] + [""] * (min(int(span), 50) - 1 if re.fullmatch(r"\d{1,4}", span) else 0)
        elif frame.kind == "table":
            parent.blocks += blocks  # a caption, text between rows
            parent.blocks.append(Block(markdown_table(frame.rows)))
        elif frame.kind == "heading":
            level, text = heading_level(element), " ".join(render(blocks).split())
            if text:
                parent.blocks.append(Block("#" * level + " " + text))
        elif frame.kind == "li":
            marker, is_first = self.list_marker()
            parent.blocks += prefixed(blocks, marker, "  ", tight=not is_first)
        elif frame.kind == "blockquote":
            parent.blocks += prefixed(blocks, "> ", "> ", tight=False)
        elif frame.kind == "dd":
            parent.blocks += prefixed(blocks, "    ", "    ", tight=True)

    def list_marker(self) -> tuple[str, bool]:
        """The marker of the list item that ends here, and whether it is its list's first."""
        if not self.lists:
            return "- ", True
        numbered, number, is_first = self.lists[-1]
        self.lists[-1] = (numbered, number + 1, False)
        return (f"{number}. " if numbered else "- "), is_first

    def flush(self) -> None:
        """Ends the paragraph that is being collected."""
        if self.marks:
            self.marks = [(element, 0) for element, _ in self.marks]
        if not self.inline:
            return
        pieces = self.inline[:]
        self.inline.clear()
        has_spans, self.has_spans = self.has_spans, False
        blocks = self.frames[-1].blocks
        if (
            has_spans
            and self.frames[-1].kind != "cell"
            and all(isinstance(p, CodeSpan) or not p.strip() for p in pieces)
        ):
            line = "".join(pieces).rstrip()
            if line.strip() or (blocks and blocks[-1].code_line):
                blocks.append(Block(line, code=True, code_line=True))
            return
        text = inline_text(pieces) if has_spans else one_paragraph("".join(pieces))
        if text:
            blocks.append(Block(text))

    def formula(self, formula: Formula) -> None:
        if not formula.latex:
            return
        if formula.display:
            self.flush()
            self.frames[-1].blocks.append(Block(f"$$\n{formula.latex}\n$$"))
        else:
            self.inline.append(f"${formula.latex}$")

    def code_block(self, element: Element) -> None:
        self.flush()
        code = code_text(element)
        if code.strip() and not _NUMBERS_ALONE.fullmatch(code):
            self.frames[-1].blocks.append(Block(fence(code, language_of(element)), code=True))

    def monospace(self, element: Element) -> None:
        """Inline code; or lines of code; or what pydoc writes: prose with fixed line breaks and indentation."""
        code = code_text(element, preformatted=False)
        lines = re.sub(r"[ \t]+\n", "\n", code).strip("\n").rstrip()
        if "\n" not in lines:
            is_prose = element.tag == "span" or (element.tag == "tt" and "\xa0" in element.text())
            self.has_spans = self.has_spans or not is_prose
            self.inline.append(code if is_prose else CodeSpan(code))
            return
        self.flush()
        if element.tag == "code":
            language = language_of(element)
            if language:
                self.frames[-1].blocks.append(Block(fence(lines, language), code=True))
            else:  # may be a part of a listing by lines
                self.frames[-1].blocks += [Block(line, code=True, code_line=True) for line in lines.split("\n")]
        else:
            self.frames[-1].blocks.append(Block(lines))

    def script(self, element: Element, start: int) -> None:
        """Superscript -> ^, subscript -> _; ordinals stay text and reference marks go."""
        pieces = self.inline[start:]
        del self.inline[start:]
        text = "".join(pieces).strip()
        if not text or re.fullmatch(r"\[[\w\s]{1,12}\]", text) or "reference" in element.classes:
            return
        if element.tag == "sup" and re.fullmatch(r"st|nd|rd|th|e|er|ème|TM|SM|®|™|©|o|a|\*+", text):
            self.inline.append(text)
        else:
            mark = "^" if element.tag == "sup" else "_"
            self.inline.append(mark + (text if len(text) == 1 or text.isdigit() and len(text) < 2 else f"{{{text}}}"))


@lru_cache(maxsize=16384)
def _is_plain(written: str) -> bool:
    """Whether such attributes leave an element what its tag says: no formula, no code, no part of a listing, no heading."""
    return not (may_be_formula(written) or "code" in written.lower() or "title" in written or gutter_kind(written))


def heading_level(element: Element) -> int:
    """1 to 6 of a heading, pydoc's too; 0 for any other element."""
    level = _HEADINGS.get(element.tag, 0)
    for name in element.classes if not level and "title" in element.written and element.tag in ("strong", "td") else ():
        level = level or _PYDOC_HEADINGS.get((element.tag, name), 0)
    return level
