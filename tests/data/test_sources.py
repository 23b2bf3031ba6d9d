"""Documents of every Python: real, deterministic, and without a trace of the machine."""

import os
import sys
import sysconfig
from collections import Counter

import pytest

from openmimo.data import sources
from openmimo.data.document import Document, document_id, read_documents, write_documents
from openmimo.data.extract import extract_documents
from openmimo.data.sources import pydoc_modules, pydoc_pages, stdlib_sources
from openmimo.errors import UserError


def test_stdlib_sources_are_real_code_in_a_seeded_order():
    documents = list(stdlib_sources())
    titles = [d.title for d in documents]
    assert len(documents) > 250 and len(set(titles)) == len(titles)
    assert {"json/decoder.py", "heapq.py"} < set(titles)
    assert not any(
        "test" in title.split("/") or title.startswith(("idlelib", "lib2to3", "site-packages")) for title in titles
    )
    heapq = documents[titles.index("heapq.py")]
    assert "def heappush(" in heapq.text and heapq.source == "stdlib-code" and heapq.url.endswith("/Lib/heapq.py")
    assert list(stdlib_sources(5, seed=3)) == list(stdlib_sources(9, seed=3))[:5]
    assert list(stdlib_sources(5, seed=3)) != list(stdlib_sources(5, seed=4))


def test_pydoc_pages_are_html_that_extracts():
    counts = Counter()
    pages = list(pydoc_pages(["bisect", "fractions", "no_such_module", "email.message"], counts=counts))
    assert [p.meta["module"] for p in pages] == ["bisect", "fractions", "email.message"]
    assert counts == {"kept": 3, "failed, ModuleNotFoundError": 1}
    assert all(
        p.text.startswith("<!DOCTYPE") and p.meta["format"] == "html" and p.source == "pydoc-html" for p in pages
    )
    documents, _ = extract_documents(pages)
    assert (
        documents[1].text.startswith("# fractions\n")
        and "limit_denominator(self, max_denominator=1000000)\n    " in documents[1].text
    )
    assert documents[1].url.endswith("/library/fractions.html")


def test_pydoc_pages_are_a_function_of_the_seed():
    first = list(pydoc_pages(limit=8, seed=5))
    assert first and first == list(pydoc_pages(limit=8, seed=5))
    assert list(pydoc_pages(limit=8, seed=6)) != first


def test_pages_show_neither_addresses_nor_environment_nor_paths(monkeypatch):
    monkeypatch.setenv("OPENMIMO_SECRET", "hunter2")
    text = "".join(page.text for page in pydoc_pages(["os", "ftplib", "ctypes", "difflib", "sysconfig"]))
    assert "environ" in text and "hunter2" not in text
    assert sysconfig.get_path("stdlib") not in text and os.getcwd() not in text
    assert "0x7f" not in text and "0x0" in text


def test_a_module_that_dies_or_hangs_costs_only_itself(monkeypatch, tmp_path):
    script = (sources.Path(sources.__file__).with_name("render_pydoc.py")).read_text()
    evil = {
        "evil_exit": "import os; os._exit(3)",
        "evil_hang": "import time; time.sleep(60)",
        "evil_print": "print('x'); raise SystemExit(4)",
    }
    for name, code in evil.items():
        (tmp_path / f"{name}.py").write_text(code)
    (tmp_path / "render_pydoc.py").write_text(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{script}")
    monkeypatch.setattr(sources, "__file__", str(tmp_path / "sources.py"))
    monkeypatch.setattr(sources, "_SECONDS_A_MODULE", 2.0)
    counts = Counter()
    pages = list(pydoc_pages(["evil_exit", "bisect", "evil_hang", "evil_print", "heapq", "evil_exit"], counts=counts))
    assert [p.meta["module"] for p in pages] == ["bisect", "heapq"]
    assert counts == {"kept": 2, "failed, crash": 2, "failed, timeout": 1, "failed, SystemExit": 1}


def test_modules_are_listed_without_importing_them():
    before = set(sys.modules)
    names = pydoc_modules()
    assert (
        len(names) > 150 and names == sorted(names) and {"json", "email.message", "xml.etree.ElementTree"} < set(names)
    )
    assert not {"antigravity", "this", "sys"} & set(names) and not any(
        part.startswith("_") for n in names for part in n.split(".")
    )
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    "count", [1, 20_000]
)  # the second is more than a pipe holds: the child is gone before it is read
def test_no_python_is_a_user_error(monkeypatch, count):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match="cannot run"):
        list(pydoc_pages(["bisect"] * count))


def test_documents_survive_jsonl(tmp_path):
    path = tmp_path / "d.jsonl"
    documents = [
        Document("1", "http://e.com", "Ü", "a\n\u2028b\t", "s", {"tags": {"domain": "math"}}),
        Document("2", "", "", "", "s"),
    ]
    assert write_documents(path, documents) == 2
    assert list(read_documents(path)) == documents
    assert document_id("a", "b") == document_id("a", "b") != document_id("ab", "")


@pytest.mark.parametrize(
    "line, problem",
    [
        ('{"id": 1}', "'id'"),
        ("[]", "object"),
        ('{"id":"1","url":"","title":"","text":"","source":"","txt":""}', "'txt'"),
    ],
)
def test_a_bad_document_names_its_line(tmp_path, line, problem):
    path = tmp_path / "d.jsonl"
    path.write_text('{"id":"1","url":"","title":"","text":"","source":""}\n' + line)
    with pytest.raises(UserError, match=problem) as error:
        list(read_documents(path))
    assert f"{path}:2" in str(error.value)
