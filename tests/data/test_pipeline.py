"""Pipelines over files: every format in, the same documents as in memory out, for any workers and files; errors of one line."""

import gzip
import io
import json
import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("datatrove")

from conftest import openmimo
from rich.console import Console

from openmimo.data.document import Document, document_from_dict
from openmimo.data.extract import extract_documents
from openmimo.data.overlap.decontaminate import decontaminate
from openmimo.data.overlap.dedup import dedup
from openmimo.data.overlap.urls import dedup_urls
from openmimo.data.pack import TokenStore
from openmimo.data.pipeline.files import read_file, write_file
from openmimo.data.pipeline.run import _publish_index, run_pipeline
from openmimo.data.pipeline.settings import Input, load_pipeline, parse_pipeline
from openmimo.data.tags.tag import tag_documents
from openmimo.errors import UserError
from openmimo.model.tokenizer import Tokenizer, train_bpe

WORDS = [f"word{i}" for i in range(400)]
ITEM = "what is the largest number that divides both of the numbers seven hundred and nine hundred and four"


def pages(count=60, seed=0):
    """HTML pages and texts, with near copies, repeated URLs and one contaminated text."""
    rng, found = random.Random(seed), []
    for i in range(count):
        text = " ".join(rng.choices(WORDS, k=80))
        found.append(Document(f"h{i}", f"http://e.com/{i}", "", f"<p>{text}</p>", "web", {"format": "html"}))
        if i % 3 == 0:
            found.append(Document(f"n{i}", f"http://other.com/{i}", "", text + " one more", "text", {}))
        if i % 4 == 0:
            found.append(Document(f"u{i}", f"https://e.com/{i}/?utm_source=x", "", text[:40], "text", {}))
        if i % 5 == 0:
            found.append(Document(f"c{i}", "", "", f"x = {i}\n" * 30, "text", {"language": "python"}))
    found.append(Document("bad", "", "", f"Question: {ITEM}? Who knows. " + " ".join(WORDS[:60]), "text", {}))
    found.append(Document("thin", "", "", "Not much here.", "text", {}))
    rng.shuffle(found)
    return found


def in_memory(documents):
    documents, _ = extract_documents(documents)
    documents, _ = dedup_urls(documents)
    documents, _ = dedup(documents)
    documents, _ = tag_documents(documents)
    return [d for d in decontaminate(documents, [ITEM])[0] if d.meta["tags"]["domain"] != "thin"]


def pipeline(folder, files, *steps, **more):
    return parse_pipeline(
        {"input": {"files": [str(f) for f in files]}, "steps": list(steps), "output": {"folder": str(folder)}, **more},
        "p",
    )


def carry_out(*args, **more):
    out = io.StringIO()
    return run_pipeline(pipeline(*args, **more), Console(file=out, width=200)), out.getvalue()


def written(folder):
    return [d for path in sorted((folder / "documents").iterdir()) for d in read_file(str(path))]


def spread(folder, documents, files):
    for i in range(files):
        write_file(f"{folder}/{i}.jsonl.gz", documents[i::files])
    return [f"{folder}/*.jsonl.gz"]


def all_steps(tmp_path):
    write_file(f"{tmp_path}/items.jsonl", [Document("1", "", "", ITEM, "")])
    return [
        {"name": "extract"}, {"name": "url-dedup"}, {"name": "near-dedup"}, {"name": "tag"},
        {"name": "decontaminate", "against": [f"{tmp_path}/items.jsonl"]},
        {"name": "filter", "tag": "domain", "drop": ["thin"]},
    ]  # fmt: skip


def by_id(documents):
    return {d.id: d for d in documents}


def test_the_output_is_what_the_functions_give_for_any_files(tmp_path):
    documents, steps = pages(), all_steps(tmp_path)
    expected = by_id(in_memory(documents))
    assert 40 < len(expected) < len(documents) - 30 and "bad" not in expected
    for files in (1, 3):
        found = spread(tmp_path / f"in{files}", documents, files)
        counts, _ = carry_out(tmp_path / f"{files}", found, *steps)
        assert by_id(written(tmp_path / f"{files}")) == expected
        assert counts["steps"]["write"] == {"documents": len(expected)}


def same_bytes(first, second):
    """Whether two folders hold the same files with the same content."""
    names = {p.relative_to(first) for p in first.rglob("*") if p.is_file()}
    assert names == {p.relative_to(second) for p in second.rglob("*") if p.is_file()} and names
    return all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_workers_change_nothing(tmp_path):
    files = spread(tmp_path / "in", pages(), 3)
    for workers in (1, 2):
        carry_out(
            tmp_path / str(workers),
            files,
            {"name": "near-dedup"},
            run={"workers": workers, "options": {"start_method": "fork"}},
        )
    assert same_bytes(tmp_path / "1", tmp_path / "2")


def test_every_document_dropped_is_counted(tmp_path):
    documents = pages()
    counts, text = carry_out(tmp_path / "out", spread(tmp_path / "in", documents, 2), *all_steps(tmp_path))
    alive = counts["steps"]["read"]["documents"]
    assert alive == len(documents)
    for number, name in enumerate(["extract", "url-dedup", "near-dedup", "tag", "decontaminate", "filter"], 1):
        step = counts["steps"][f"{number} {name}"]
        gone = sum(n for reason, n in step.items() if reason.startswith(("dropped", "removed")))
        assert gone > 0 or name in ("extract", "tag")
        assert all(reason in text and f"{n:,}" in text for reason, n in step.items())
        alive -= gone
    assert alive == counts["steps"]["write"]["documents"] == len(written(tmp_path / "out"))


def test_the_same_pipeline_again_does_nothing_and_another_one_is_refused(tmp_path):
    files = spread(tmp_path / "in", pages(10), 1)
    first, _ = carry_out(tmp_path / "out", files, {"name": "exact-dedup"})
    again, text = carry_out(tmp_path / "out", files, {"name": "exact-dedup"})
    assert again == first and "nothing to do" in text
    with pytest.raises(UserError, match="holds the output of another pipeline"):
        carry_out(tmp_path / "out", files, {"name": "near-dedup"})


def test_a_new_dump_against_the_index_of_an_old_one(tmp_path):
    documents = extract_documents(pages())[0]
    old, new = documents[:70], documents[70:]
    step = {"name": "near-dedup"}
    carry_out(tmp_path / "old", spread(tmp_path / "a", old, 2), step)
    index = str(tmp_path / "old" / "index" / "near-dedup")
    counts, _ = carry_out(tmp_path / "new", spread(tmp_path / "b", new, 2), {**step, "index": [index]})
    met = counts["steps"]["1 near-dedup"]["dropped, in the index"]
    assert met > 5 and len(dedup(documents)[0]) == len(written(tmp_path / "old")) + len(written(tmp_path / "new"))
    with pytest.raises(UserError, match="no such index"):
        carry_out(tmp_path / "x", spread(tmp_path / "b", new, 2), {**step, "index": [str(tmp_path)]})


def test_what_a_killed_task_left_does_not_enter_the_index(tmp_path):
    for name in ("00000-00000", ".00001-00000.77"):
        (tmp_path / "sketches" / name).mkdir(parents=True)
        (tmp_path / "sketches" / name / "tie.npy").write_bytes(b"x")
    _publish_index(tmp_path / "sketches", tmp_path / "out" / "index")
    assert [p.name for p in (tmp_path / "out" / "index").iterdir()] == ["00000-00000"]


def test_packed_tokens_are_those_of_the_documents(tmp_path):
    documents = pages(20)
    train_bpe([d.text for d in documents], 400, tmp_path / "tokenizer")
    steps = [{"name": "extract"}, {"name": "tag"}, {"name": "pack", "tokenizer": str(tmp_path / "tokenizer")}]
    counts, _ = carry_out(tmp_path / "out", spread(tmp_path / "in", documents, 3), *steps)
    store, tokenizer = TokenStore(tmp_path / "out" / "shards"), Tokenizer.load(tmp_path / "tokenizer")
    expected: dict = {}
    for document in written(tmp_path / "out"):
        expected.setdefault(document.meta["tags"]["domain"], []).append(tokenizer.encode(document.text))
    assert store.ids.keys() == expected.keys() and len(expected) > 1
    for name, texts in expected.items():
        assert len(store.docs[name]) == len(texts) + 1
        for i, ids in enumerate(texts):
            assert np.array_equal(store.document(name, i)[0], [*ids, tokenizer.document_id])
        assert counts["steps"]["3 pack"][f"tokens, {name}"] == store.tokens(name)


def test_every_format_gives_the_same_documents(tmp_path):
    documents = [*pages(5), Document("s", "", "t", "lone \ud800 surrogate, 日本", "s", {"a": [1, {"b": None}]})]
    for ending in ("jsonl", "jsonl.gz", "jsonl.zst", "parquet"):
        path = f"{tmp_path}/d.{ending}"
        some = documents[:-1] if ending == "parquet" else documents
        assert write_file(path, some) == len(some)
        assert list(read_file(path)) == some
        first = open(path, "rb").read()
        write_file(path, some)
        assert open(path, "rb").read() == first  # no time or name in it
    double = tmp_path / "two.jsonl.zst"  # two frames in a file, as `cat` makes them
    double.write_bytes((tmp_path / "d.jsonl.zst").read_bytes() * 2)
    assert list(read_file(str(double))) == documents * 2


def test_rows_of_others(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [
        {"text": "a", "id": "1", "metadata": {"url": "http://u/", "lang": "en"}},  # datatrove's
        {"content": "b", "link": "http://v/", "stars": 3},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    first = next(read_file(str(path)))
    assert (first.id, first.url, first.meta, first.source) == ("1", "http://u/", {"lang": "en"}, "input")
    settings = Input(files=["x"], text="content", url="link", source="crawl", html=True, skip_bad=True)
    (second,) = read_file(str(path), settings)
    assert (second.text, second.url, second.source) == ("b", "http://v/", "crawl")
    assert second.meta == {"stars": 3, "format": "html"} and len(second.id) == 16


def response(url, body, kind="text/html; charset=utf-8", status="200 OK", encoding=None):
    more = f"Content-Encoding: {encoding}\r\n" if encoding else ""
    http = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}\r\n".encode() + body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
        "WARC-Record-ID: <urn:uuid:12345678-1234-1234-1234-123456789abc>\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return head.encode() + http + b"\r\n\r\n"


def test_pages_of_a_warc(tmp_path):
    records = [
        response("http://a/", "<p>caf\u00e9</p>".encode()),
        response("http://b/", b"\x89PNG", kind="image/png"),
        response("http://c/", b"gone", status="404 Not Found"),
        response("http://d/", gzip.compress(b"<p>zipped</p>"), encoding="gzip"),
        response("http://e/", '<meta charset="latin1"><p>\u00e9</p>'.encode("latin1"), kind="text/html"),
    ]
    path = tmp_path / "crawl.warc.gz"
    path.write_bytes(b"".join(map(gzip.compress, records)))
    counts, _ = carry_out(tmp_path / "out", [path], {"name": "extract"})
    found = written(tmp_path / "out")
    assert [(d.url, d.text) for d in found] == [
        ("http://a/", "caf\u00e9"),
        ("http://d/", "zipped"),
        ("http://e/", "\u00e9"),
    ]
    assert counts["steps"]["read"] == {"documents": 3, "dropped, no HTML page": 2}


def test_other_filesystems_in_and_out(tmp_path):
    import fsspec

    write_file("memory://in/0.jsonl.zst", pages(8))
    write_file("memory://in/1.jsonl.zst", pages(8, seed=1))
    with pytest.raises(UserError, match=r"give output\.work"):
        carry_out("memory://out", ["memory://in/*.zst"], {"name": "extract"})
    output = {"folder": "memory://out", "work": str(tmp_path / "work"), "format": "parquet"}
    carry_out("memory://out", ["memory://in/*.zst"], {"name": "extract"}, {"name": "exact-dedup"}, output=output)
    assert fsspec.filesystem("memory").isfile("/out/counts.json")
    assert len(list(read_file("memory://out/documents/00001.parquet"))) > 10
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"inptu": {}}, "unknown key 'inptu'; did you mean 'input'"),
        ({"input": {"file": ["x"]}}, "unknown key 'input.file'; did you mean 'files'"),
        ({"steps": [{"name": "near_dedup"}]}, "step 1: unknown name 'near_dedup'; did you mean 'near-dedup'"),
        (
            {"steps": [{"name": "near-dedup", "treshold": 1}]},
            r"step 1 \(near-dedup\): unknown key 'treshold'; did you mean",
        ),
        ({"steps": [{"name": "near-dedup", "threshold": 3}]}, "threshold: Input should be less than or equal to 1"),
        ({"steps": [{"name": "filter", "tag": "domain"}]}, "give one of keep, drop"),
        (
            {"steps": [{"name": "pack", "tokenizer": "x"}, {"name": "tag"}]},
            "pack writes tokens, so it is the last step",
        ),
        ({"steps": "tag"}, "write each step as a table"),
        ({"run": {"executor": "dask"}}, "run.executor"),
    ],
)
def test_a_wrong_pipeline_is_one_line(change, message):
    data = {"input": {"files": ["x"]}, "steps": [], "output": {"folder": "y"}} | change
    with pytest.raises(UserError, match=message) as error:
        parse_pipeline(data, "p.toml")
    assert "\n" not in str(error.value) and str(error.value).startswith("p.toml")


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.jsonl", b'{"text": "x"}\n{oops}\n', r"a\.jsonl:2: not JSON"),
        ("a.jsonl", b'{"txt": "x"}\n', r"a\.jsonl:1: column 'text' is missing .* input\.text"),
        ("a.jsonl", b"[1]\n", "expected a JSON object"),
        ("a.jsonl.gz", b"no gzip", "damaged"),
        ("a.jsonl.zst", b"no zstandard", "damaged"),
        ("a.parquet", b"no parquet", "not a Parquet file"),
        ("a.warc.gz", gzip.compress(b"WARC/1.0")[:-3], "damaged"),
        ("a.warc", b"no archive", "damaged"),
        ("a.txt", b"x", "its name ends in none of"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_half_written(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        carry_out(tmp_path / "out", [tmp_path / name], {"name": "tag"})
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "out").glob("documents/*")) and not (tmp_path / "out" / "counts.json").exists()


def test_empty_files_and_nothing_left(tmp_path):
    write_file(f"{tmp_path}/in/0.jsonl.gz", [])
    write_file(f"{tmp_path}/in/1.jsonl.gz", [Document("1", "", "", "Not much.", "s", {})])
    names = ("extract", "url-dedup", "exact-dedup", "near-dedup", "tag")
    steps = [*({"name": name} for name in names), {"name": "filter", "tag": "domain", "drop": ["thin"]}]
    counts, _ = carry_out(tmp_path / "out", [f"{tmp_path}/in/*"], *steps)
    assert counts["steps"]["write"] == {"documents": 0} and written(tmp_path / "out") == []
    assert counts["steps"]["6 filter"] == {"dropped, domain thin": 1}


def test_bad_rows_are_counted_where_that_is_asked_for(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{oops}\n[1]\n{"text": 3}\n')
    files = {"files": [str(tmp_path / "a.jsonl")], "skip_bad": True}
    counts, _ = carry_out(tmp_path / "out", [], input=files)
    assert counts["steps"]["read"] == {"documents": 1, "dropped, bad row": 3}


def test_the_command(tmp_path):
    spread(tmp_path / "in", pages(6), 2)
    (tmp_path / "p.toml").write_text(
        '[input]\nfiles = ["in/*.gz"]\n[[steps]]\nname = "extract"\n[output]\nfolder = "out"\nformat = "jsonl"\n'
    )
    found = openmimo("data", "run", "p.toml", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "1 extract" in found.stdout and found.stderr == ""
    lines = (tmp_path / "out" / "documents" / "00000.jsonl").read_text().splitlines()
    assert all(document_from_dict(json.loads(line)).id for line in lines)
    alone = openmimo(
        "data", "step", "near-dedup", "out/documents/*", "--out", "alone", "--set", "threshold=0.9", cwd=tmp_path
    )
    assert alone.returncode == 0 and "1 near-dedup" in alone.stdout, alone.stderr
    wrong = openmimo("data", "step", "near-dedup", "out/documents/*", "--out", "b", "--set", "treshold=1", cwd=tmp_path)
    assert wrong.returncode == 2 and "did you mean 'threshold'" in wrong.stderr
    missing = openmimo("data", "run", "nothing.toml", cwd=tmp_path)
    assert missing.returncode == 2 and missing.stderr.count("\n") == 1 and "no such file" in missing.stderr


def test_without_datatrove_one_line_says_what_to_install(tmp_path, monkeypatch):
    for name in [
        m
        for m in sys.modules
        if m.startswith(("datatrove", "openmimo.data.pipeline.phases", "openmimo.data.pipeline.blocks"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "datatrove", None)
    with pytest.raises(UserError, match=r"pip install 'openmimo\[data\]'"):
        carry_out(tmp_path / "out", spread(tmp_path / "in", pages(2), 1), {"name": "tag"})


SBATCH = """#!{python}
import os, re, subprocess, sys
text = open(sys.argv[-1]).read()
last = int((re.search(r"--array=0-(\\d+)", text) or [0, 0])[1])
for i in range(last + 1):
    more = {{"SLURM_ARRAY_TASK_ID": str(i), "SLURM_JOB_ID": "7", "SLURM_NODELIST": "here", "RUN_OFFSET": "0"}}
    subprocess.run(["bash", sys.argv[-1]], env=os.environ | more, check=True, stdout=2)
print("Submitted batch job 7")
"""


@pytest.mark.proof
def test_slurm_jobs_do_the_same_work(tmp_path, monkeypatch):
    """datatrove's Slurm executor in earnest, on a stand-in for `sbatch` that carries out each job when it is submitted."""
    tools = tmp_path / "bin"
    tools.mkdir()
    scripts = {
        "sbatch": SBATCH.format(python=sys.executable),
        "scontrol": "#!/bin/sh\necho here\n",
        "srun": '#!/bin/sh\nshift 3\nexec "$@"\n',
    }
    for name, text in scripts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    files, step = spread(tmp_path / "in", extract_documents(pages())[0], 2), {"name": "exact-dedup"}
    slurm = {"executor": "slurm", "workers": 2, "options": {"time": "1:00:00", "partition": "cpu"}}
    counts, text = carry_out(tmp_path / "slurm", files, step, run=slurm)
    assert counts is None and "submitted 3 Slurm jobs" in text
    counts, _ = carry_out(tmp_path / "slurm", files, step, run=slurm)
    assert counts == carry_out(tmp_path / "local", files, step)[0]
    assert same_bytes(tmp_path / "slurm", tmp_path / "local")
    with pytest.raises(UserError, match="run.options: .*'partiton'"):
        carry_out(tmp_path / "x", files, step, run={**slurm, "options": {"time": "1", "partiton": "cpu"}})


def test_a_pipeline_file_that_is_no_toml(tmp_path):
    (tmp_path / "p.toml").write_text("[input\n")
    with pytest.raises(UserError, match="not TOML"):
        load_pipeline(tmp_path / "p.toml")
