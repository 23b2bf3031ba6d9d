"""results.json from a run's folder, and the printed table."""

import io
import json

import pytest
from rich.console import Console

from openmimo.errors import UserError
from openmimo.eval.results import collect, print_table, whole_rows

RIGHT = {"base": 1, "rl-zero": 5, "sft": 4, "rl": 7}  # of 8, on the easy half; two fewer (not below 0) on the hard half


def write_evaluation(folder, model, questions=40, right=None):
    rows = []
    for i in range(questions):
        hard = i % 2
        count = max(0, (RIGHT[model] if right is None else right) - 2 * hard + (i % 3 == 0 and model != "rl"))
        samples = [{"text": "t", "passed": j < count, "finish_reason": "stop", "tokens": 3} for j in range(8)]
        rows.append({"problem_id": f"p{i}", "family": "sums" if i < 20 else "co[d]e", "difficulty": 1 + hard,
                     "kind": "math", "question": "?", "answer": "1", "samples": samples})  # fmt: skip
    path = folder / f"eval-{model}" / "samples.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_manifest(folder, stage, **values):
    (folder / stage).mkdir(parents=True, exist_ok=True)
    (folder / stage / "manifest.json").write_text(json.dumps({"stage": stage, "seed": 3, "commit": "abc", **values}))


@pytest.fixture
def run(tmp_path):
    for model in RIGHT:
        write_evaluation(tmp_path, model)
    for stage, seconds in {"rl": 40.0, "base": 20.0, "eval-rl": 1.0, "corpus": 5.0, "eval-base": 2.0}.items():
        write_manifest(tmp_path, stage, seconds=seconds, peak_memory_mb=100 + seconds)
    (tmp_path / "recipe.json").write_text(json.dumps({"name": "tiny", "note": "for the test", "seed": 3}))
    return tmp_path


def printed(results, width=80):
    out = io.StringIO()
    print_table(results, Console(file=out, width=width))
    return out.getvalue()


def test_collect(run):
    results = collect(run)
    assert results["models"] == ["base", "rl-zero", "sft", "rl"] and results["missing"] == []
    assert results["rl"]["avg8"] == 0.75  # 7 of 8 on the easy half, 5 of 8 on the hard half
    assert results["rl"]["by_difficulty"]["1"]["avg8"] == 0.875
    assert set(results["sft"]["by_family"]) == {"sums", "co[d]e"}
    assert list(results["stages"]) == ["corpus", "base", "rl", "eval-base", "eval-rl"]
    assert results["stages"]["rl"] == {"seconds": 40.0, "peak_memory_mb": 140.0}
    assert results["total_seconds"] == 68.0 and results["peak_memory_mb"] == 140.0
    assert (results["seed"], results["commit"], results["recipe"], results["note"]) == (
        3,
        "abc",
        "tiny",
        "for the test",
    )
    assert json.loads(json.dumps(results)) == results


def test_differences(run):
    differences = collect(run)["differences"]
    assert list(differences) == ["rl - sft", "rl-zero - base"]
    rl = differences["rl - sft"]  # 3 more of 8 on each question, but 2 on every third: (3 * 26 + 2 * 14) / 40 / 8
    assert rl["difference"] == pytest.approx(106 / 320) and rl["intervals_apart"] and rl["questions"] == 40
    assert rl["ci95"][0] < rl["difference"] < rl["ci95"][1]


def test_overlapping_intervals_are_said_to_overlap(run):
    write_evaluation(run, "rl", right=4)
    results = collect(run)
    assert not results["differences"]["rl - sft"]["intervals_apart"]
    assert "the two intervals overlap" in printed(results)


def test_table_has_the_shape_of_table_5(run):
    lines = printed(collect(run)).splitlines()
    head = next(line for line in lines if "RL-Zero" in line)
    assert [head.index(name) for name in ("Base", "RL-Zero", "SFT")] == sorted(
        head.index(n) for n in ("Base", "RL-Zero", "SFT")
    )
    titles = [line[1:].split("│")[0].strip() for line in lines if line.startswith("│")]
    assert titles == ["all", "co[d]e", "sums", "difficulty 1", "difficulty 2", "pass@8"]
    # RL: 20 questions at 7/8, 20 at 5/8: SE = sqrt(40 * (1/8)^2 / 39 / 40) = 0.0200, half interval 3.9 points.
    assert "75.0 ± 3.9" in next(line for line in lines if "│ all" in line)
    assert any(line.startswith("RL - SFT: +33.1 points [") and "apart" in line for line in lines)
    assert max(map(len, lines)) <= 100


def test_a_partial_run_says_what_is_missing(tmp_path):
    write_evaluation(tmp_path, "base")
    results = collect(tmp_path)
    assert results["models"] == ["base"] and results["differences"] == {}
    assert results["missing"][0] == "RL-Zero: not evaluated (no eval-rl-zero/samples.jsonl)"
    assert results["seed"] is None and results["total_seconds"] == 0 and results["recipe"] == tmp_path.name
    text = printed(results)
    assert "SFT: not evaluated" in text and "│ all" in text
    assert "not evaluated" in printed(collect(tmp_path / "eval-base" / "..")), "any spelling of the folder"


def test_different_problems_are_not_compared(run):
    write_evaluation(run, "sft", questions=38)
    results = collect(run)
    assert "rl - sft" not in results["differences"]
    assert results["missing"] == ["RL and SFT answered different problems: no difference"]


def test_stages_that_disagree_are_all_named(run):
    write_manifest(run, "sft", seed=4)
    assert collect(run)["seed"] == [3, 4] and collect(run)["commit"] == "abc"


def test_an_unfinished_last_line_is_not_a_row_yet(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n\n{"step": 2}\n{"ste')
    assert [row["step"] for _, row in whole_rows(path)] == [1, 2]
    path.write_text('{"step": 1}\n{"ste\n{"step": 3}\n')
    with pytest.raises(UserError, match=r"log.jsonl:2: not a JSON object"):
        list(whole_rows(path))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"difficulty": "hard"}, "difficulty 'hard' is not a whole number"),
        ({"samples": [{"text": "t"}]}, "without 'passed'"),
        ({"problem_id": "p0"}, "comes twice"),
    ],
)
def test_a_bad_row_is_named(run, change, words):
    path = run / "eval-rl" / "samples.jsonl"
    lines = path.read_text().splitlines()
    lines[4] = json.dumps(json.loads(lines[4]) | change)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=f"samples.jsonl:5: .*{words}.* evaluate again"):
        collect(run)


def test_a_missing_field_a_broken_manifest_and_no_folder(run):
    (run / "rl" / "manifest.json").write_text("[")
    with pytest.raises(UserError, match="rl/manifest.json: not a JSON object"):
        collect(run)
    (run / "eval-sft" / "samples.jsonl").write_text('{"problem_id": 1}\n')
    with pytest.raises(UserError, match="samples.jsonl:1: no 'family'"):
        collect(run)
    (run / "eval-base" / "samples.jsonl").write_text("")
    with pytest.raises(UserError, match="no answers in it"):
        collect(run)
    with pytest.raises(UserError, match="no such run folder"):
        collect(run / "absent")
