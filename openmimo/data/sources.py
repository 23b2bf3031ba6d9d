"""Real text that every Python brings: the standard library's source code, and its documentation as HTML pages [R 2.1].

    python -c "from openmimo.data.sources import pydoc_pages; print(next(pydoc_pages(limit=1)).text[:300])"

So that the whole recipe runs without a download. Both are functions of the seed and the Python version: paths of the
machine and memory addresses are taken out.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import sysconfig
import threading
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from openmimo.data.document import Document, document_id
from openmimo.errors import UserError

_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_SKIP_FOLDERS = frozenset(
    "test tests idlelib lib2to3 turtledemo site-packages dist-packages __pycache__ pydoc_data _bundled encodings msilib distutils ensurepip idle_test".split()
)
_SKIP_FILES = re.compile(r"^(_sysconfigdata_.*|_pydecimal|_pyio|__phello__.*|__hello__|.*_pb2)\.py$")
_SKIP_MODULES = frozenset(  # they open a window or a browser, or print the machine's own state
    "antigravity this idlelib lib2to3 test turtle turtledemo tkinter sys site sysconfig os posix nt platform msilib "
    "winreg winsound ensurepip venv pip setuptools encodings __main__ curses distutils pydoc_data crypt nis".split()
)
_SECONDS_A_MODULE = 20.0


def stdlib_sources(limit: int | None = None, seed: int = 0) -> Iterator[Document]:
    """The standard library's .py files (tests, generated and empty files apart) in an order shuffled by `seed`.

    limit: at most so many. source `stdlib-code`, title the path under Lib, text the file as written.
    """
    root = Path(sysconfig.get_path("stdlib"))
    paths = _library_paths(root)
    random.Random(seed).shuffle(paths)
    for path in paths[:limit]:
        with tokenize.open(root / path) as lines:
            text = lines.read()
        url = f"https://github.com/python/cpython/blob/{_VERSION}/Lib/{path}"
        yield Document(document_id("stdlib-code", url), url, path, text, "stdlib-code", {"language": "python"})


def pydoc_modules() -> list[str]:
    """Names of the standard library's public modules and submodules, sorted; nothing is imported."""
    root = Path(sysconfig.get_path("stdlib"))
    names = {name for name in sys.stdlib_module_names if name.isidentifier()}
    names |= {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in _library_paths(root)}
    public = (n for n in names if not any(part.startswith("_") for part in n.split(".")))
    return sorted(
        n for n in public if n.split(".")[0] not in _SKIP_MODULES and n.split(".")[0] in sys.stdlib_module_names
    )


def pydoc_pages(
    modules: Iterable[str] | None = None, limit: int | None = None, seed: int = 0, counts: Counter | None = None
) -> Iterator[Document]:
    """Raw HTML pages (meta `format: "html"`) of modules' documentation, rendered by pydoc in a child process.

    modules: their names, in this order; without it, all of `pydoc_modules()` shuffled by `seed`. limit: at most so
    many pages are asked for; a module that cannot be imported gives none. counts: receives `kept` and, for each
    failure, `failed, REASON`. source `pydoc-html`, url as on docs.python.org.
    """
    if modules is None:
        names = pydoc_modules()
        random.Random(seed).shuffle(names)
    else:
        names = list(modules)
    counts = Counter() if counts is None else counts
    for name, html, error in _render(names[:limit]):
        if html is None:
            counts[f"failed, {error.split(':')[0]}"] += 1
            continue
        counts["kept"] += 1
        url = f"https://docs.python.org/{_VERSION}/library/{name}.html"
        meta = {"format": "html", "module": name}
        yield Document(
            document_id("pydoc-html", url), url, f"{name} (Python {_VERSION})", _portable(html), "pydoc-html", meta
        )


def _library_paths(root: Path) -> list[str]:
    """Paths of the .py files under Lib, with /, sorted."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in _SKIP_FOLDERS and not f.startswith("config-"))
        found += [
            Path(folder, f).relative_to(root).as_posix()
            for f in files
            if f.endswith(".py") and not _SKIP_FILES.match(f)
        ]
    return sorted(found)


def _render(names: list[str]) -> Iterator[tuple[str, str | None, str]]:
    """(name, html, error) for each name; a child that dies or hangs is replaced, and its module has failed."""
    while names:
        answered = 0
        for answer in _render_in_one_child(names):
            yield answer
            answered += 1
        if not answered:
            raise UserError(f"pydoc: {sys.executable} -s -P -S cannot run; is this Python complete (pydoc, json)?")
        names = names[answered:]


def _render_in_one_child(names: list[str]) -> Iterator[tuple[str, str | None, str]]:
    """The answers of one child, the last of them a failure if it died over a module.

    The child sees neither our environment (the pages of modules show it) nor our folders and packages, as with -I; but
    its hash seed is fixed, which -I forbids: sets are printed in hash order.
    """
    environment = {"PYTHONHASHSEED": "0", **{k: os.environ[k] for k in ("SYSTEMROOT",) if k in os.environ}}
    command = [sys.executable, "-s", "-P", "-S", "-B", str(Path(__file__).with_name("render_pydoc.py"))]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment, cwd=os.sep
    ) as child:
        watchdog = _Watchdog(child, _SECONDS_A_MODULE)
        try:
            with suppress(BrokenPipeError), child.stdin:  # a child that died at once answers nothing: see _render
                child.stdin.write(json.dumps(names).encode())
            current = None
            for line in child.stdout:
                watchdog.restart()
                answer = json.loads(line)
                current = answer.get("start")
                if current is None:
                    yield answer["module"], answer.get("html"), answer.get("error", "")
            if current is not None:
                yield current, None, "timeout" if watchdog.fired else "crash"
        finally:  # the reader may have had enough
            watchdog.stop()
            child.kill()


class _Watchdog:
    """Kills a child that says nothing for so many seconds."""

    def __init__(self, child: subprocess.Popen, seconds: float):
        self.child, self.seconds, self.fired = child, seconds, False
        self.timer: threading.Timer | None = None
        self.restart()

    def restart(self) -> None:
        self.stop()
        self.timer = threading.Timer(self.seconds, self._fire)
        self.timer.daemon = True
        self.timer.start()

    def stop(self) -> None:
        if self.timer:
            self.timer.cancel()

    def _fire(self) -> None:
        self.fired = True
        self.child.kill()


def _portable(html: str) -> str:
    """Without the paths of this machine and addresses in memory."""
    for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}:
        html = html.replace(path, "Lib")
    for path in sorted({sys.base_prefix, sys.prefix} - {"/usr", "/"}, key=len, reverse=True):
        html = html.replace(path, "")
    return re.sub(r"(\bat(?: |&nbsp;)|\bhandle )(?:0x)?[0-9a-fA-F]{6,16}\b", r"\g<1>0x0", html)
