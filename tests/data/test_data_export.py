"""Exports: rows as each trainer documents them, nothing lost; what cannot be told is counted. (bench/export.py loads them
by the trainers' own code.)"""

import json

import pyarrow.parquet as pq
import pytest
from conftest import openmimo

from openmimo.data.export import WRITERS, export
from openmimo.errors import UserError
from openmimo.rows import Problem, Test, write_rows

ASK = [{"role": "system", "content": "Think."}, {"role": "user", "content": "What is 3/4 of 8?"}]
MATH = Problem("m", "math", ASK, answer="6", source="s")
CALL = Problem("c", "code", ASK[1:], entry_point="f", tests=[Test("0", "call", [[1, 2], "a"], {"k": 1.5}), Test("1", "call", [[], ""], 0.25)])  # fmt: skip
STDIN = Problem("i", "code", ASK[1:], tests=[Test("0", "stdin", "3\n", "6\n")])
CHECKER = Problem("k", "code", ASK[1:], tests=[Test("0", "checker", "3\n", ["6\n", "-6\n"])])
BARE = Problem("b", "code", ASK[1:], entry_point="f")


def rows_of(problems, to, folder):
    counts = export(problems, to, folder / "rows.jsonl")
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()], counts


def test_verl(tmp_path):
    rows, counts = rows_of([MATH, CALL, STDIN, CHECKER, BARE], "verl", tmp_path)
    assert counts == {
        "written": 3,
        "left out, tests with several accepted outputs": 1,
        "left out, code without tests": 1,
    }
    assert [r["data_source"] for r in rows] == ["lighteval/MATH", "apps", "apps"]
    assert rows[0]["prompt"] == ASK and rows[0]["reward_model"] == {"style": "rule", "ground_truth": "6"}
    truth = json.loads(rows[1]["reward_model"]["ground_truth"])
    assert truth["fn_name"] == "f" and [[json.loads(line) for line in i.split("\n")] for i in truth["inputs"]] == [
        [[1, 2], "a"],
        [[], ""],
    ]
    assert [json.loads(o) for o in truth["outputs"]] == [{"k": 1.5}, 0.25]
    assert json.loads(rows[2]["reward_model"]["ground_truth"]) == {"inputs": ["3\n"], "outputs": ["6\n"]}
    assert [r["extra_info"]["index"] for r in rows] == [0, 1, 2] and rows[1]["extra_info"]["id"] == "c"


def test_open_instruct_assertions_hold_for_right_programs_alone(tmp_path):
    rows, _ = rows_of([MATH, CALL, STDIN], "open-instruct", tmp_path)
    assert [r["dataset"] for r in rows] == ["math", "code", "code_stdio"] and rows[0]["ground_truth"] == "6"
    assertions = json.loads(rows[1]["ground_truth"])
    for result, right in (({"k": 1.5}, True), ({"k": 2}, False)):
        scope = {"f": lambda xs, s, result=result: result if xs else 0.25 + 1e-9}
        try:
            for line in assertions:
                exec(line, scope)
            assert right
        except AssertionError:
            assert not right
    assert json.loads(rows[2]["ground_truth"]) == [{"input": "3\n", "output": "6\n"}]


def test_trl_verifiers_slime(tmp_path):
    rows, _ = rows_of([MATH, CALL], "trl", tmp_path)
    assert rows[0]["prompt"] == ASK and rows[0]["solution"] == "$\\boxed{6}$" and len(json.loads(rows[1]["tests"])) == 2
    rows, _ = rows_of([MATH, CALL, CHECKER], "verifiers", tmp_path)
    assert rows[0]["answer"] == "6" and json.loads(rows[2]["info"])["tests"][0]["output"] == ["6\n", "-6\n"]
    rows, _ = rows_of([MATH, CALL], "slime", tmp_path)
    assert (
        rows[0]["label"] == "6"
        and rows[0]["metadata"]["rm_type"] == "math"
        and json.loads(rows[1]["label"])[0]["input"] == [[1, 2], "a"]
    )


@pytest.mark.parametrize("to", WRITERS)
def test_parquet_holds_the_same_rows(tmp_path, to):
    """Each column has one type over math and code."""
    export([MATH, CALL, STDIN], to, tmp_path / "rows.parquet")
    plain, _ = rows_of([MATH, CALL, STDIN], to, tmp_path)
    table = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [{k: v for k, v in row.items() if k != "metadata"} for row in table] == [
        {k: v for k, v in row.items() if k != "metadata"} for row in plain
    ]


def test_what_cannot_be_written_is_said(tmp_path):
    for problems, to, name, text in [([BARE], "verl", "x.jsonl", "no problem"), ([MATH], "vrl", "x.jsonl", "not one of verl"), ([MATH], "trl", "x.csv", "parquet or .jsonl")]:  # fmt: skip
        with pytest.raises(UserError, match=text):
            export(problems, to, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    endless = Problem("e", "code", ASK[1:], entry_point="f", tests=[Test("0", "call", [1], float("inf"))])
    assert rows_of([endless, MATH], "open-instruct", tmp_path)[1]["left out, tests that JSON cannot hold"] == 1


def test_the_command(tmp_path):
    write_rows(tmp_path / "p.jsonl", [MATH, CHECKER])
    found = openmimo("data", "export", tmp_path / "p.jsonl", "--to", "verl", "--out", tmp_path / "v.parquet")
    assert found.returncode == 0 and "written: 1" in found.stdout and "several accepted outputs: 1" in found.stdout
    assert pq.read_table(tmp_path / "v.parquet").num_rows == 1
    assert openmimo("data", "export", tmp_path / "p.jsonl", "--to", "nobody", "--out", tmp_path / "v").returncode == 2
