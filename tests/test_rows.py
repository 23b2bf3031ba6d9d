"""Rows: JSONL and Parquet both ways, and errors that name file and line."""

import json

import pytest

from openmimo.errors import UserError
from openmimo.rows import (
    Limits,
    Problem,
    Rollout,
    Test,
    TestVerdict,
    from_dict,
    read_jsonl,
    read_rows,
    to_dict,
    write_rows,
)

CHAT = [{"role": "user", "content": "2 + 2 = ?\nÄ, ∑ and \u2028"}]
PROBLEMS = [
    Problem("m1", "math", CHAT, answer="4", tags={"family": "sums", "difficulty": 1}, golden="2 + 2 = 4"),
    Problem(
        "c1",
        "code",
        CHAT,
        entry_point="add",
        tests=[
            Test("t1", "stdin", "1 2\n", "3\n"),
            Test("t2", "call", [[1, 2], {"key": None}], {"sum": 3.5}),
            Test("t3", "checker", "", ["1", "2"]),
        ],
        limits=Limits(cpu_s=0.5, memory_mb=64),
        split="test",
    ),
]
ROLLOUTS = [
    Rollout(
        "c1", "sft", 3, 2, 1, 0, [5, 6, 7], [-0.5, -0.25, -1e-3], "stop", 0.5, "text", [TestVerdict("t1", "AC", 0.1)]
    ),
    Rollout("m1", "sft", 3, 2, 2, 1, [], [], "length"),
]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize(("rows", "row_type"), [(PROBLEMS, Problem), (ROLLOUTS, Rollout), (ROLLOUTS[::-1], Rollout)])
def test_rows_come_back_as_they_went(tmp_path, suffix, rows, row_type):
    path = tmp_path / f"rows.{suffix}"
    assert write_rows(path, iter(rows)) == len(rows)
    assert list(read_rows(path, row_type)) == rows
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_no_rows_are_rows_too(tmp_path, suffix):
    path = tmp_path / f"rows.{suffix}"
    assert write_rows(path, []) == 0
    assert list(read_rows(path, Problem)) == []


def test_a_jsonl_line_is_one_plain_object(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_rows(path, PROBLEMS)
    lines = path.read_text(encoding="utf-8").split("\n")
    assert len(lines) == 3 and json.loads(lines[1]) == to_dict(PROBLEMS[1])


def test_parquet_opens_without_us(tmp_path):
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    write_rows(path, PROBLEMS)
    table = pq.read_table(path).to_pylist()
    assert [row["id"] for row in table] == ["m1", "c1"]
    assert json.loads(table[1]["tests"])[1] == {
        "id": "t2",
        "kind": "call",
        "input": [[1, 2], {"key": None}],
        "output": {"sum": 3.5},
    }


GOOD = {"id": "m1", "kind": "math", "messages": CHAT, "answer": "4"}
BAD = [
    ("not json", "not JSON"),
    ("[1]", "expected a JSON object, got list"),
    (json.dumps(GOOD | {"anwser": 3}), "unknown field 'anwser'"),
    (json.dumps({"id": "m1", "kind": "math"}), "field 'messages' is missing"),
    (json.dumps(GOOD | {"kind": "essay"}), "kind 'essay' is not known"),
    (json.dumps(GOOD | {"answer": None}), "needs `answer`"),
    (json.dumps(GOOD | {"messages": []}), "messages must be"),
    (json.dumps(GOOD | {"messages": [{"role": "user"}]}), "messages must be"),
    (json.dumps(GOOD | {"tests": [{"id": "t", "kind": "stdin"}]}), "input"),
    (json.dumps(GOOD | {"tests": [{"id": "t", "kind": "pipe", "input": "", "output": ""}]}), "'pipe' is not one of"),
    (json.dumps(GOOD | {"tests": [{"id": "t", "kind": "call", "input": [], "output": 1}]}), "entry_point"),
    (json.dumps(GOOD | {"limits": {"gpu": 1}}), "gpu"),
]


@pytest.mark.parametrize(("line", "message"), BAD)
def test_a_bad_line_is_named_by_its_number(tmp_path, line, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n\n{line}\n")
    rows = read_rows(path, Problem)
    assert next(rows).id == "m1"
    with pytest.raises(UserError) as caught:
        next(rows)
    assert str(caught.value).startswith(f"{path}:3: ") and message in str(caught.value)


def test_files_that_hold_no_rows(tmp_path):
    for name in ("absent.jsonl", "absent.parquet"):
        with pytest.raises(UserError, match="no such file"):
            list(read_rows(tmp_path / name, Problem))
    binary = tmp_path / "binary.jsonl"
    binary.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UserError, match="not UTF-8"):
        list(read_jsonl(binary))
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(UserError, match="damaged.parquet"):
        list(read_rows(damaged, Problem))


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_rows(path, PROBLEMS)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_rows(path, [Problem("x", "math", CHAT, answer="1", tags={"a set": {1}})])
    assert path.read_bytes() == before


def test_missing_limits_are_the_defaults():
    assert from_dict(GOOD | {"limits": None}, Problem).limits == Limits()
    assert from_dict(GOOD | {"limits": {"cpu_s": 2}}, Problem).limits == Limits(cpu_s=2)
