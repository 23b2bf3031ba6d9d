"""Documentation pages with gold from their own sources: Sphinx pages of Debian packages, the .rst beside them in `_sources`.

    python bench/extract_docs.py        # needs docutils and bench/peers/extract.sh; prints what is there

The source is read with docutils. Roles give their text, directives of objects their signature and content, admonitions their title
as Sphinx words it. Pages whose text comes from elsewhere (autodoc, included files, notebooks, lists of links) are left out.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst import Directive, directives, roles
from extract_gold import GoldPage

DOCS = Path(__file__).parents[1] / ".bench" / "docs"
TEST = ("python3.11-doc", "python-sympy-doc", "python-statsmodels-doc", "python-mpmath-doc")
TRAIN = ("sphinx-doc", "python-brian-doc")  # what the block classifier may see
_ELSEWHERE = re.compile(r"^\s*\.\. (auto|toctree|include|literalinclude|plot|currentmodule:: sympy|only|raw|nbinfo|bibliography|graphviz|inheritance|program-output|table::|csv-table|ifconfig|tabularcolumns|ipython)", re.M)  # fmt: skip
_TITLES = {"versionadded": "New in version", "versionchanged": "Changed in version", "deprecated": "Deprecated since version", "deprecated-removed": "Deprecated since version"}  # fmt: skip
_NOTHING = "index highlight module currentmodule moduleauthor sectionauthor tabularcolumns role default-role default-domain program meta py:module py:currentmodule testsetup testcleanup availability audit-event audit-event-table".split()  # fmt: skip
_OBJECTS = """function class method attribute data exception classmethod staticmethod describe option cmdoption envvar decorator
decoratormethod opcode pdbcommand 2to3fixer object confval event directive rst:directive rst:role coroutinemethod coroutinefunction
awaitablemethod awaitablefunction abstractmethod cfunction cmember cmacro ctype cvar""".split()
_DOMAINS = ("", "py:", "c:", "cpp:", "js:", "rst:", "std:")
_CODE = "code-block sourcecode code testcode testoutput doctest parsed-literal highlight productionlist ipython".split()
_ROLES = """func meth class mod exc attr data const obj ref doc term keyword envvar option file samp kbd program command dfn pep rfc
guilabel menuselection mimetype newsgroup regexp token source issue gh bpo abbr any download numref eq c:func c:type c:data c:macro c:member
py:func py:meth py:class py:mod py:exc py:attr py:data py:const py:obj keyword opcode pdbcmd makevar manpage mailheader confval rst:dir rst:role
event dir dudir durole js:func cpp:func cpp:class cite cite:t cite:p user""".split()


def _text_role(name, rawtext, text, lineno, inliner, options=None, content=None):
    text = text.replace("\x00", "")
    match = re.fullmatch(r"(.*?)\s*<[^<>]*>", text, re.S)
    if match and match[1]:
        text = match[1]
    elif text.startswith("~"):
        text = text.rpartition(".")[2].lstrip("~")
    text = text.lstrip("!")
    if name.split(":")[-1] in ("func", "meth", "pdbcmd") and not text.endswith(")") and not match:
        text += "()"
    prefix = {"pep": "PEP ", "rfc": "RFC "}.get(name, "") if not match else ""
    return [nodes.inline(rawtext, prefix + text)], []


class _Object(Directive):
    has_content, required_arguments, optional_arguments, final_argument_whitespace = True, 0, 1, True
    option_spec = None

    def run(self):
        signatures = re.sub(r"\\\n\s*", " ", self.arguments[0] if self.arguments else "").split("\n")
        out = [
            nodes.paragraph("", re.sub(r"\\(.)", r"\1", s.strip()))
            for s in signatures
            if s.strip() and not s.strip().startswith(":")
        ]
        body = nodes.block_quote()
        self.state.nested_parse(self.content, self.content_offset, body)
        return [*out, body]


class _Titled(_Object):
    def run(self):
        head, _, rest = (self.arguments[0] if self.arguments else "").partition("\n")
        version, _, first = head.partition(" ")
        title = f"{_TITLES[self.name]} {version}: {first} {rest}"
        if self.name == "deprecated-removed":
            removal, _, first = first.partition(" ")
            title = f"Deprecated since version {version}, will be removed in version {removal}: {first} {rest}"
        inline, _ = self.state.inline_text(title, self.lineno)
        body = nodes.block_quote()
        self.state.nested_parse(self.content, self.content_offset, body)
        return [nodes.paragraph("", "", *inline), body]


class _Admonition(_Object):
    def run(self):
        title = {"seealso": "See also", "impl-detail": "CPython implementation detail:"}.get(
            self.name, self.name.capitalize()
        )
        if self.name in ("admonition", "topic", "rubric", "centered"):
            title = self.arguments[0] if self.arguments else ""
        out = [nodes.paragraph("", title)]
        body = nodes.block_quote()
        if self.arguments and not title == self.arguments[0]:
            inline, _ = self.state.inline_text(self.arguments[0], self.lineno)
            body += nodes.paragraph("", "", *inline)
        self.state.nested_parse(self.content, self.content_offset, body)
        return [*out, body]


class _Code(_Object):
    option_spec = {k: directives.unchanged for k in ("linenos", "caption", "emphasize-lines", "name", "lineno-start", "dedent", "force", "options", "hide", "pyversion", "class", "group", "trim-doctest-flags", "no-trim-doctest-flags")}  # fmt: skip

    def run(self):
        text = "\n".join(self.content).rstrip()
        if "hide" in self.options:
            return []
        caption = [nodes.paragraph("", self.options["caption"])] if self.options.get("caption") else []
        kind = nodes.literal_block if self.name not in ("parsed-literal", "productionlist") else nodes.comment
        return [*caption, kind(text, text)]


class _Nothing(_Object):
    def run(self):
        return []


class _Glossary(_Object):
    def run(self):
        body = nodes.block_quote()
        self.state.nested_parse(self.content, self.content_offset, body)
        return [body]


def _register() -> None:
    for name in _ROLES:
        roles.register_local_role(name, _text_role)
    for domain in _DOMAINS:
        for name in _OBJECTS:
            directives.register_directive(domain + name, _Object)
    for names, kind in ((_NOTHING, _Nothing), (_TITLES, _Titled), (_CODE, _Code), (["seealso", "impl-detail", "note", "warning", "tip", "important", "caution", "hint", "danger", "attention", "error", "topic", "admonition", "rubric"], _Admonition), (["glossary", "container", "compound", "cssclass", "rst-class", "hlist", "sidebar"], _Glossary)):  # fmt: skip
        for name in names:
            directives.register_directive(name, kind)


def gold_of(source: str) -> tuple[str, list[str], list[str]] | None:
    """(main text, code blocks of two lines or more, formulas) of a .rst; None where docutils cannot read all of it."""
    settings = {
        "report_level": 5,
        "halt_level": 5,
        "file_insertion_enabled": False,
        "raw_enabled": False,
        "smart_quotes": False,
    }
    tree = publish_doctree(source, settings_overrides=settings)
    problems = list(tree.findall(nodes.system_message)) + list(tree.findall(nodes.problematic))
    if any(
        "Unknown directive" in p.astext()
        or "unknown interpreted" in p.astext().lower()
        or "No role entry" in p.astext()
        for p in problems
    ):
        return None
    code, math = [], []
    for node in list(tree.findall()):
        if isinstance(node, (nodes.literal_block, nodes.doctest_block)):
            text = re.sub(r"[ \t]*#\s*doctest:.*", "", node.astext()).rstrip()
            text = re.sub(r"^\s*<BLANKLINE>$", "", text, flags=re.M)
            if text.count("\n"):
                code.append(text)
        elif isinstance(node, (nodes.math, nodes.math_block)):
            math.append(node.astext())
    for node in list(
        tree.findall(
            lambda n: isinstance(
                n,
                (
                    nodes.comment,
                    nodes.system_message,
                    nodes.problematic,
                    nodes.substitution_definition,
                    nodes.target,
                    nodes.docinfo,
                ),
            )
        )
    ):
        if node.parent is not None:
            node.parent.remove(node)
    return tree.astext(), code, math


def pages(packages: tuple[str, ...], limit: int) -> list[GoldPage]:
    """A fixed sample of at most `limit` pages of each package."""
    _register()
    out = []
    for package in packages:
        found = []
        sources = [p for p in (DOCS / package).rglob("_sources/**/*") if p.name.endswith((".rst.txt", ".txt", ".rst"))]
        for source in sorted(sources, key=lambda p: hashlib.sha256(p.name.encode()).digest()):
            root = next(p for p in source.parents if p.name == "_sources")
            relative = source.relative_to(root).as_posix()
            html = root.parent / (re.sub(r"(\.rst)?\.txt$", "", relative).removesuffix(".rst") + ".html")
            if not html.is_file() or len(found) >= limit:
                continue
            text = source.read_text(encoding="utf-8", errors="replace")
            if _ELSEWHERE.search(text) or "|version|" in text or len(text) < 1500:
                continue
            gold = gold_of(text)
            if gold is None:
                continue
            page = html.read_text(encoding="utf-8", errors="replace")
            found.append(GoldPage("docs", f"{package}/{relative}", "", page, gold[0], 0, gold[1], gold[2]))
        out += found
    return out


def pydoc_pages() -> list[GoldPage]:
    """Pages that pydoc renders of modules of the standard library, gold from its plain text of the same modules."""
    import importlib
    import pydoc

    html, out = pydoc.HTMLDoc(), []
    for name in "bisect calendar cmd colorsys configparser csv difflib fnmatch fractions gettext heapq numbers quopri sched textwrap".split():
        module = importlib.import_module(name)
        text = pydoc.plaintext.document(module).split("\nFILE\n")[0]
        gold = name + "\n" + re.sub(r"^ [ |]*", "", text, flags=re.M)
        out.append(GoldPage("docs", f"pydoc/{name}", "", html.page(name, html.document(module, name)), gold, 0))
    return out


if __name__ == "__main__":
    for package in TEST + TRAIN:
        got = pages((package,), 60)
        print(package, len(got), "pages", sum(len(p.code) for p in got), "code", sum(len(p.math) for p in got), "math")
