"""Rows of public benchmarks in their real shapes, hand-made, and the real rows of MBPP+."""

import base64
import gzip
import json
import os
import pickle
import random
import zlib
from pathlib import Path

import pytest

from openmimo.errors import UserError
from openmimo.judge.formats import detect, read_problems
from openmimo.judge.pool import Judge

MBPP = Path(__file__).parents[3] / "shared" / "data" / "mbpp_plus.jsonl.gz"


@pytest.fixture(scope="module")
def judge():
    with Judge(2) as judge:
        yield judge


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def read(tmp_path, judge, *rows, name="rows.jsonl", **more):
    path = tmp_path / name
    if name.endswith(".parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    else:
        text = json.dumps(rows) if ".json" in path.suffixes else "".join(json.dumps(row) + "\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return read_problems(path, judge, **more)


def verdicts(judge, problem, program):
    return [v.verdict for v in judge.judge_many([(problem, program)])[0]]


def packed(value) -> str:
    """As LiveCodeBench packs its private tests."""
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


STDIN_TESTS = [{"input": "3\n1 2 3\n", "output": "6", "testtype": "stdin"}]
HALF = [{"input": "1\n5\n", "output": "2.50\n", "testtype": "stdin"}]


def livecodebench(**more):
    row = {
        "question_title": "Sum", "question_content": "Add them.", "platform": "atcoder", "question_id": "abc301_a",
        "contest_id": "abc301", "contest_date": "2023-05-13T00:00:00", "starter_code": "", "difficulty": "easy",
        "public_test_cases": json.dumps(STDIN_TESTS), "private_test_cases": packed(json.dumps(HALF)), "metadata": "{}",
    }  # fmt: skip
    return row | more


def functional(input_text, output_text):
    return {"input": input_text, "output": output_text, "testtype": "functional"}


def test_livecodebench_stdin(judge, tmp_path):
    (problem,) = read(tmp_path, judge, livecodebench())
    assert problem.id == "abc301_a" and [t.id for t in problem.tests] == ["public/0", "private/0"]
    program = "n = int(input())\nxs = list(map(int, input().split()))\nprint(sum(xs) if n > 1 else xs[0] / 2)"
    assert verdicts(judge, problem, program) == ["AC", "AC"]  # 2.5 is 2.50
    assert verdicts(judge, problem, program.replace("/ 2", "/ 2 + 1e-9")) == ["AC", "WA"]


def test_livecodebench_functional(judge, tmp_path):
    row = livecodebench(
        platform="leetcode", starter_code="class Solution:\n    def pairs(self, xs: List[int], k: int) -> List[int]:\n",
        public_test_cases=json.dumps([functional("[1, 2]\n3", "[3, 6]")]),
        private_test_cases=json.dumps([functional("[]\n3", "[]"), functional('["a"]\n2', '["aa"]')]),
        metadata=json.dumps({"func_name": "pairs"}),
    )  # fmt: skip
    (problem,) = read(tmp_path, judge, row)
    method = "class Solution:\n    def pairs(self, xs: List[int], k: int):\n        return tuple(x * k for x in xs)"
    plain = "from __future__ import annotations\ndef pairs(xs, k):\n    return [x * k for x in xs]"
    assert verdicts(judge, problem, method) == verdicts(judge, problem, plain) == ["AC"] * 3
    assert verdicts(judge, problem, "def pairs(xs, k):\n    return Counter(xs)") == ["WA", "WA", "WA"]
    assert verdicts(judge, problem, "class Solution:\n    pass") == ["RE"] * 3


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil-was-here",)


@pytest.mark.parametrize(
    "text",
    [packed(Evil()), packed([1]), packed(json.dumps(HALF))[:-8], "!!", "[", packed("no json"), "", packed(b"[]")],
)
def test_hostile_private_tests_run_nothing(judge, tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="rows.jsonl:1: the tests are neither JSON"):
        read(tmp_path, judge, livecodebench(private_test_cases=text))
    assert not (tmp_path / "evil-was-here").exists()
    pickle.loads(zlib.decompress(base64.b64decode(packed(Evil()))))  # the control: the trap works
    assert (tmp_path / "evil-was-here").exists()


def apps(**more):
    return {
        "problem_id": 7, "question": "Double it.", "solutions": json.dumps(["print(2 * int(input()))"]),
        "input_output": json.dumps({"inputs": ["4\n", ["5", ""]], "outputs": ["8\n", ["10"]]}), "difficulty": "interview",
        "url": "https://example.org", "starter_code": "",
    } | more  # fmt: skip


def test_apps_stdin(judge, tmp_path):
    (problem,) = read(tmp_path, judge, apps())
    assert problem.id == "7" and problem.limits.cpu_s == 4 and verdicts(judge, problem, problem.golden) == ["AC", "AC"]
    assert verdicts(judge, problem, "print(8)") == ["AC", "WA"]
    (untested,) = read(tmp_path, judge, apps(input_output="", solutions=""))
    assert untested.tests == [] and untested.golden is None


def test_apps_calls(judge, tmp_path):
    wrapped = {"fn_name": "f", "inputs": [[[1, 2]], [[]]], "outputs": [[[2, 1]], [[]]]}
    plain = {"fn_name": "f", "inputs": [["ab"], ["c"]], "outputs": ["ba", "c"]}
    keyed = {"fn_name": "f", "inputs": [[{"1": 2}]], "outputs": [{"2": 1}]}
    problems = read(
        tmp_path,
        judge,
        *(apps(input_output=json.dumps(data), id=None, problem_id=None) for data in (wrapped, plain, keyed)),
    )
    assert [p.id for p in problems] == ["0", "1", "2"]
    assert verdicts(judge, problems[0], "def f(xs):\n    return xs[::-1]") == ["AC", "AC"]
    assert verdicts(judge, problems[1], "class Solution:\n    def f(self, s):\n        return s[::-1]") == ["AC", "AC"]
    assert verdicts(judge, problems[2], "def f(d):\n    return {v: k for k, v in d.items()}") == ["AC"]


def test_taco(judge, tmp_path):
    row = apps(
        time_limit="2.5 seconds", memory_limit="256.0 megabytes", name="Double", source="codeforces", tags="[]",
        raw_tags="[]", skill_types="[]", picture_num=None, date=None, input_output=json.dumps({"inputs": ["3"], "outputs": ["1e0"]}),
    )  # fmt: skip
    del row["problem_id"]
    (problem,) = read(tmp_path, judge, row)
    assert problem.id == "0" and problem.source == "codeforces"
    assert (problem.limits.cpu_s, problem.limits.memory_mb) == (2.5, 256)
    assert verdicts(judge, problem, "print(1.000001)") == ["AC"] and verdicts(judge, problem, "print(1.001)") == ["WA"]
    with pytest.raises(UserError, match="rows.jsonl:1: the limit 'soon'"):
        read(tmp_path, judge, row | {"time_limit": "soon"})


CODE_CONTESTS = {
    "name": "1_A. Words", "description": "Echo.", "public_tests": {"input": ["a b\n"], "output": ["a b\n"]},
    "private_tests": {"input": ["c\n"], "output": ["c\n"]}, "generated_tests": {"input": ["d"], "output": ["d"]},
    "source": 2, "difficulty": 7, "solutions": {"language": [2, 3], "solution": ["int main(){}", "print(input())"]},
    "incorrect_solutions": {"language": [3], "solution": ["print()"]}, "time_limit": {"seconds": 1, "nanos": 500000000},
    "memory_limit_bytes": 256000000, "input_file": "", "output_file": "",
}  # fmt: skip


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.jsonl.gz", "rows.json.gz", "rows.parquet"])
def test_code_contests_in_every_kind_of_file(judge, tmp_path, name):
    (problem,) = read(tmp_path, judge, CODE_CONTESTS, name=name)
    assert problem.id == "1_A. Words" and (problem.limits.cpu_s, problem.limits.memory_mb) == (1.5, 244)
    assert [t.id for t in problem.tests] == ["public/0", "private/0", "generated/0"]
    assert verdicts(judge, problem, problem.golden) == ["AC"] * 3
    assert verdicts(judge, problem, "print('A B')") == ["WA"] * 3


def test_humaneval(judge, tmp_path):
    row = {
        "task_id": "HumanEval/0", "prompt": "import math\n\ndef half(x):\n    '''half'''\n", "entry_point": "half",
        "canonical_solution": "    return x / 2 + math.pi * 0\n", "base_input": [[1], [2]], "plus_input": [[3.5]], "atol": 0,
        "contract": "", "test": "",
    }  # fmt: skip
    (problem,) = read(tmp_path, judge, row)
    assert [t.output for t in problem.tests] == [0.5, 1.0, 1.75]
    assert verdicts(judge, problem, "def half(x):\n    return x // 2 if x == 2 else x * 0.5 + 1e-7") == ["AC"] * 3
    assert verdicts(judge, problem, "def half(x):\n    return x * 0.5 + 1e-5") == ["WA"] * 3
    with pytest.raises(UserError, match="golden solution has RE on test base/0"):
        read(tmp_path, judge, row | {"canonical_solution": "    return x / 0\n"})


def test_our_own_rows(judge, tmp_path):
    tests = [{"id": "a", "kind": "call", "input": [1], "output": {"$tuple": [1]}}]
    row = {
        "id": "p",
        "kind": "code",
        "messages": [{"role": "user", "content": "?"}],
        "entry_point": "f",
        "tests": tests,
    }
    (problem,) = read(tmp_path, judge, row, row | {"id": "q"}, only={"q"})
    assert problem.id == "q" and verdicts(judge, problem, "def f(x):\n    return (x,)") == ["AC"]
    with pytest.raises(UserError, match="comes twice"):
        read(tmp_path, judge, row, row)


def test_bad_files_are_user_errors(judge, tmp_path):
    for name, data, message in [
        ("a.jsonl", b"", "no rows"),
        ("b.jsonl", b'{"input_output": 1}\n{', "b.jsonl:1: not a row of the format apps"),
        ("c.jsonl", b'{"public_tests": {}}\n', "c.jsonl:1: a row of no known format"),
        ("d.jsonl", b"[1]\n", "no known format"),
        ("e.jsonl", b"{\n", "e.jsonl:1: not JSON"),
        ("f.jsonl.gz", b"{}", "not a whole gzip file"),
        ("g.jsonl", b"\xff\n", "not UTF-8"),
        ("h.json", b"{}", "must hold a list"),
        ("i.parquet", b"{}", "not a Parquet file"),
    ]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=message):
            read_problems(tmp_path / name, judge)
    with pytest.raises(UserError, match="no such file"):
        read_problems(tmp_path / "none.jsonl", judge)


def mbpp_rows():
    if not MBPP.is_file():
        pytest.skip("../shared/data/mbpp_plus.jsonl.gz is not here")
    with gzip.open(MBPP, "rt") as lines:
        return [json.loads(line) for line in lines]


def test_every_mbpp_row_is_told(judge):
    assert {detect(row, "row") for row in mbpp_rows()} == {"evalplus"}


CONVERTED = {"Mbpp/106", "Mbpp/124", "Mbpp/252", "Mbpp/278", "Mbpp/580", "Mbpp/720", "Mbpp/722"}
ORACLES = {"Mbpp/2", "Mbpp/737", "Mbpp/794", "Mbpp/579"}


def test_mbpp_golden_solutions(judge, tmp_path):
    """A sample of rows, and those whose arguments or results are not plain JSON; with what must be refused."""
    names = [row["task_id"] for row in mbpp_rows()]
    slow = {"Mbpp/255", "Mbpp/599", "Mbpp/389", "Mbpp/583", "Mbpp/630"}
    some = {*random.Random(1).sample(sorted(set(names) - slow), 10), *CONVERTED, *ORACLES}
    problems = read_problems(MBPP, judge, only=some)
    assert len(problems) == len(some)
    for problem, found in zip(problems, judge.judge_many([(p, p.golden) for p in problems]), strict=True):
        assert {v.verdict for v in found} == {"AC"}, problem.id
    of = {p.id: p for p in problems}
    as_list = "def add_lists(test_list, test_tup):\n    return list(test_tup) + test_list"
    assert "AC" not in verdicts(judge, of["Mbpp/106"], as_list)
    assert "AC" not in verdicts(judge, of["Mbpp/252"], "def convert(z):\n    return (abs(z), 9.0)")
    truthy = "def similar_elements(a, b):\n    return [x for x in a if x in b]"
    assert set(verdicts(judge, of["Mbpp/2"], truthy)) == {"AC"}
    again = read_problems(MBPP, None, only={"Mbpp/106"})  # kept on disk: no judge is needed
    assert again == [of["Mbpp/106"]]


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_all_mbpp_golden_solutions(judge):
    mbpp_rows()
    problems = read_problems(MBPP, judge)
    assert len(problems) == 378 and sum(len(p.tags.get("left_out", [])) for p in problems) == 5
    assert sum(len(p.tests) for p in problems) == 41_015 - 5
    for problem, found in zip(problems, judge.judge_many([(p, p.golden) for p in problems]), strict=True):
        assert {v.verdict for v in found} == {"AC"}, problem.id
