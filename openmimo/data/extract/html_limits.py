"""Bounds on what a page may cost, so that no markup takes more than 2 s or 1 GB [R 2.1].

    python -c "from openmimo.data.extract.html_limits import within_limits; print(len(within_limits('<div>' * 10_000_000)))"

Ordinary pages pass unchanged: all limits lie far above theirs. Of a larger page the beginning is read, without scripts, styles and
comments; of a page with suspect markup, tags that would cost a parser the square of its length are left out, their text kept.
"""

from __future__ import annotations

import re

MAX_CHARACTERS = 8_000_000  # of a page are looked at
MAX_MARKUP = 1_500_000  # characters, once scripts, styles, comments and data: URLs are out
MAX_TAGS = 80_000
MAX_ELEMENTS = 30_000  # of the repaired tree, those inside <pre> and <math> aside
MAX_DEPTH = 1_000  # opening tags below this depth are dropped: parsers walk the open elements again and again
MAX_FORMATTING = 20  # open <b>, <font> ... : a parser opens all of them again in each paragraph that follows
_LARGE = 1_000_000  # characters
_SUSPECT_TAGS = 8_000  # fewer tags are parsed as they are
_COSTLY = 200_000  # open formatting elements x tags: as many elements a parser may make
_LONG_FORMULA = 20_000  # bytes
_LONG = 60_000  # bytes: shorter pages cannot hold too many attributes
_TAG = re.compile(r"""<(/?)([a-zA-Z][^\s/>]*)((?:[^>"']++|"[^"]*+"|'[^']*+'|["'])*+)>?""")
_MANY_ATTRIBUTES = re.compile(  # a parser compares each with all others
    rb"""<[a-zA-Z](?:[^\s"'>/]++(?:"[^"]*+"|'[^']*+')?+|[\s/]++|["']){2000,}+"""
)
_NAME = re.compile(r"<(/?[a-zA-Z][^\s/>]*)")
_RAW = re.compile(r"<(script|style|svg|!--)", re.I)
_DATA_URL = re.compile(r"data:[\w./+;=-]{0,60},[A-Za-z0-9+/=%]{1000,}")
_FORMATTING = frozenset("a b big code em font i nobr s small strike strong tt u".split())
_FORMATTING_TAG = re.compile(rb"<(?:[bBiIuUsS]|(?i:tt|em|big|font|code|nobr|small|strike|strong))[\s/]")
_CLOSED_BY_OTHERS = frozenset(
    "p li dt dd tr td th thead tbody tfoot option optgroup colgroup rp rt "
    "br img hr input meta link col area base embed source track wbr param".split()
)


def within_limits(html: str) -> bytes:
    """The page itself as UTF-8, or as much of it as the limits allow; without NULs."""
    html = html[:MAX_CHARACTERS]
    if len(html) > _LARGE:
        html = _without_raw(html.replace("\0", ""))
        html = _DATA_URL.sub("data:", html)[:MAX_MARKUP]
    data = html.encode("utf-8", "replace")
    if b"\0" in data:
        html, data = html.replace("\0", ""), data.replace(b"\0", b"")
    tags = data.count(b"<")
    if tags > MAX_TAGS:
        html = "<".join(html.split("<", MAX_TAGS)[:MAX_TAGS])
        data, tags = html.encode("utf-8", "replace"), MAX_TAGS
    many = tags - (_in_formulas(data) if tags > _SUSPECT_TAGS else 0)
    if many > _SUSPECT_TAGS or _open_formatting(data) * tags > _COSTLY or _has_many_attributes(data):
        bare = _without_raw(html)  # what a script writes between quotes is no tag
        if _is_suspect(bare) or _has_many_attributes(bare.encode("utf-8", "replace")):
            data = _tame(bare).encode("utf-8", "replace")
    return data


def _in_formulas(data: bytes) -> int:
    """Tags inside MathML formulas of ordinary length, which are cheap."""
    formulas = [piece[:_LONG_FORMULA] for piece in data.split(b"<math")[1:]]
    return sum(piece.count(b"<", 0, max(piece.find(b"</math>"), 0)) for piece in formulas)


def _open_formatting(data: bytes) -> int:
    """At most so many formatting elements are open at a time that a parser opens again, as no three others are like them."""
    return len(_FORMATTING_TAG.findall(data))


def _has_many_attributes(data: bytes) -> bool:
    return len(data) > _LONG and _MANY_ATTRIBUTES.search(data) is not None


def _is_suspect(html: str) -> bool:
    """Too many tags open at a time."""
    open_tags: dict[str, int] = {}
    depth = formatting = 0
    for name in _NAME.findall(html):
        if name in _CLOSED_BY_OTHERS:
            continue
        if name[0] != "/":
            open_tags[name] = open_tags.get(name, 0) + 1
            depth += 1
            formatting += name in _FORMATTING
            if depth > MAX_DEPTH or formatting > MAX_FORMATTING:
                return True
        elif open_tags.get(name[1:]):
            open_tags[name[1:]] -= 1
            depth -= 1
            formatting -= name[1:] in _FORMATTING
    return False


def _without_raw(html: str) -> str:
    """Without scripts (but for formulas), styles, drawings and comments; one that never ends is left to the parser."""
    out, position, lower = [], 0, None
    while match := _RAW.search(html, position):
        name = match[1].lower()
        if name == "script" and "math/" in html[match.end() : match.end() + 60]:
            end = match.end()
            out.append(html[position:end])
            position = end
            continue
        if name == "!--":
            end, closing = html.find("-->", match.end()), 3
        else:
            lower = html.lower() if lower is None else lower
            if len(lower) != len(html):  # a letter that changes its length: İ
                lower = html
            end, closing = lower.find("</" + name, match.end()), 2 + len(name)
        if end < 0:
            out.append(html[position : match.start()])
            position = match.end()
            break
        out.append(html[position : match.start()])
        position = end + closing if name == "!--" else (html.find(">", end) + 1 or len(html))
    return "".join(out) + html[position:]


def _tame(html: str) -> str:
    """Without the tags that would nest too deep, close nothing or carry countless attributes."""
    open_tags: dict[str, int] = {}
    depth = formatting = 0

    def keep(match: re.Match) -> str:
        nonlocal depth, formatting
        closing, tag, attributes = match.groups()
        tag = tag.lower()
        if len(attributes) > 3000 and _MANY_ATTRIBUTES.match(b"<a" + attributes.encode("utf-8", "replace")):
            attributes = ""
        whole = match[0] if attributes else f"<{closing}{tag}>"
        if tag in _CLOSED_BY_OTHERS:
            return whole
        if closing:
            if not open_tags.get(tag):
                return ""
            open_tags[tag] -= 1
            depth -= 1
            formatting -= tag in _FORMATTING
            return whole
        if depth >= MAX_DEPTH or (formatting >= MAX_FORMATTING and tag in _FORMATTING):
            return ""
        open_tags[tag] = open_tags.get(tag, 0) + 1
        depth += 1
        formatting += tag in _FORMATTING
        return whole

    return _TAG.sub(keep, html)
