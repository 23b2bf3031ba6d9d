"""Where the time went, by hand: sums of a step, the Chrome trace, the verb, the picture's two sides."""

import json

import pytest
from conftest import openmimo

from openmimo.report.rollout import gantt_picture, idle
from openmimo.rl.rollout.gantt import compared
from openmimo.rl.rollout.timeline import chrome, covered, spans, sums, traces_of

# Two workers of two slots, groups of one sample. 0 is kept, 1 dropped, 2 kept, 3 aborted; a second of judging each.
LIVES = [
    {"n": 0, "problem": "a", "from_pool": False, "start": 100.0, "reason": "r", "forecast": 0.5, "worker": 0,
     "began": 100.0, "prefilled": 100.5, "done": 104.0, "slot_s": 4.0, "lengths": [8], "judge": 104.0, "judge_s": 1.0,
     "judged": 105.0, "valid": True, "end": "kept", "ended": 105.0},
    {"n": 1, "problem": "b", "from_pool": True, "start": 100.0, "reason": "r", "worker": 1, "began": 101.0,
     "prefilled": 101.5, "done": 102.0, "slot_s": 1.0, "lengths": [2], "judge": 102.0, "judge_s": 1.0,
     "judged": 103.0, "valid": False, "end": "dropped", "ended": 103.0},
    {"n": 2, "problem": "c", "from_pool": False, "start": 102.0, "reason": "r", "worker": 1, "began": 102.0,
     "prefilled": 102.5, "done": 106.0, "slot_s": 4.0, "lengths": [8], "judge": 107.0, "judge_s": 1.0,
     "judged": 108.0, "valid": True, "end": "kept", "ended": 108.0},
    {"n": 3, "problem": "d", "from_pool": False, "start": 104.0, "reason": "r", "worker": 0, "end": "aborted",
     "ended": 108.0},
]  # fmt: skip
ROW = {
    "schedule": "early", "batch": 2, "group": 1, "workers": 2, "slots": 2, "max_tasks": None, "judges": 1,
    "began": 100.0, "ended": 108.0, "used": 3, "started": 4,
    "decode": [[[1, 1, 4.0], [1, 1, 4.0]], [[1, 1, 1.0], [1, 1, 4.0]]],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "rl").mkdir()
    rows = [{"step": 0} | row for row in [*LIVES, ROW]]
    (tmp_path / "rl" / "trace.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_where_the_time_went_by_hand(folder):
    (step,) = traces_of(folder)["rl"]
    assert spans(step)[3] == (0, 4.0, 8.0, "aborted")
    found = sums(step)
    # Worker 0 counts from 0 to 4, worker 1 from 1 to 6; judging covers 2-3, 4-5 and 7-8.
    assert {k: v for k, v in found.items() if not k.startswith("slots")} == {
        "seconds": 8.0, "all workers": 3.0, "some workers": 3.0, "judging only": 1.0, "nothing": 1.0
    }  # fmt: skip
    # 13 slot-seconds were decoded, 9 of them for groups that completed, of 2 x 2 x 8.
    assert [found[f"slots {k}"] for k in ("kept", "dropped", "surplus", "aborted", "idle")] == [
        8.0,
        1.0,
        0.0,
        4.0,
        19.0,
    ]


def test_the_union_of_intervals():
    assert covered([(3, 4), (0, 2), (1, 2.5), (2.5, 2.7)]) == [(0, 2.7), (3, 4)]


def test_the_chrome_trace_by_hand(folder):
    events = chrome(traces_of(folder))["traceEvents"]
    times = {e["name"]: (e["pid"], e["tid"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"}
    assert times["step 1"] == (0, 0, 0.0, 8e6)
    assert times["prefill 0"] == (1, 0, 0.0, 0.5e6) and times["decode 0 (kept)"] == (1, 0, 0.5e6, 3.5e6)
    assert times["queued 1"] == (2, 0, 0.0, 1e6) and times["decode 2 (kept)"] == (2, 0, 2.5e6, 3.5e6)
    assert times["judged 2"][0] == 3 and times["queued 3"][:2] == (1, 0)
    assert {e["args"]["name"] for e in events if e["ph"] == "M"} == {
        "rl: steps", "rl: worker 0", "rl: worker 1", "rl: judges"
    }  # fmt: skip


def test_the_chrome_trace_keeps_to_the_trace_event_format(folder):
    """Complete events have microseconds from 0 on and a duration; those of one thread are apart."""
    events = json.loads(json.dumps(chrome(traces_of(folder))))["traceEvents"]
    threads: dict[tuple, list] = {}
    for e in events:
        assert e["ph"] in "XM" and e["name"] and {type(e["pid"]), type(e["tid"])} == {int}
        assert e["ph"] == "M" or (e["ts"] >= 0 and 0 <= e["dur"] < 1e8)
        if e["ph"] == "X":
            threads.setdefault((e["pid"], e["tid"]), []).append((e["ts"], e["ts"] + e["dur"]))
    for of_one in map(sorted, threads.values()):
        assert all(end <= began for (_, end), (began, _) in zip(of_one, of_one[1:], strict=False))
    assert {e["pid"] for e in events if e["ph"] == "X"} <= {e["pid"] for e in events if e["ph"] == "M"}


def test_the_picture_has_naive_beside_what_ran(folder):
    """Naive of the same tasks: rounds of 2, judged one after another; the recorded side is idle 7 of 16 seconds."""
    naive, early = compared(folder / "rl")
    assert (naive.schedule, early.schedule, early.seconds) == ("naive", "early", 8.0)
    assert idle(early) == pytest.approx(7 / 16) and naive.seconds > 4
    assert {s.end for s in naive.tasks} <= {"kept", "dropped", "surplus"}
    assert gantt_picture("RL", [naive, early]).count("<path") > 8


def test_the_verb(folder):
    found = openmimo("trace", folder, "--chrome", folder / "t.json")
    assert found.returncode == 0, found.stderr
    assert "no gradient" in found.stdout and "b pool" in found.stdout and "ui.perfetto.dev" in found.stdout
    assert json.loads((folder / "t.json").read_text())["traceEvents"]
    assert json.loads(openmimo("trace", folder, "--json").stdout)["rl"][0]["seconds"] == 8.0
    found = openmimo("trace", folder, "--step", "9")
    assert found.returncode == 2 and "it has steps 1 to 1" in found.stderr
    found = openmimo("trace", folder / "nothing")
    assert found.returncode == 2 and "no trace.jsonl" in found.stderr
