"""The life of every task, written as a step ends: trace.jsonl, a row a task and a row a step. Times in seconds.

for step in read_trace(folder / "trace.jsonl"): print(step.row, step.lives)
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = "trace.jsonl"


@dataclass
class Life:
    """A task, of which S expected so much (a probability): started by the policy (with its forecast and reason), first
    sample in a slot (began), its prompt computed (prefilled), last sample complete (done), given to a judge, judged,
    over. slot_s: seconds that its samples held slots; end: kept (trained
    on), dropped (no gradient), surplus (complete, beyond k), aborted. Times that were not reached are None; replayed
    from the journal, there is no worker."""

    n: int
    problem: str
    from_pool: bool
    expected: float = 0.0
    start: float | None = None
    forecast: float = 0.0
    reason: str = ""
    worker: int | None = None
    began: float | None = None
    prefilled: float | None = None
    done: float | None = None
    slot_s: float = 0.0
    lengths: list[int] = field(default_factory=list)
    judge: float | None = None
    judge_s: float = 0.0
    judged: float | None = None
    valid: bool | None = None
    end: str = ""
    ended: float | None = None


@dataclass
class TracedStep:
    """row: step, schedule, batch, group, workers, slots, began, ended, used, and for each worker its decode steps as
    sums over (rows, admitted, seconds)."""

    row: dict
    lives: list[Life]


class Trace:
    """path None: nothing is kept."""

    def __init__(self, path: Path | None):
        if path and path.exists():
            text = path.read_bytes()
            os.truncate(path, text.rfind(b"\n") + 1)  # half a line of a run killed while it wrote
        self.file = path and path.open("a", encoding="utf-8")

    def write(self, step, rl, workers, lives, finish, began, ended, decode_steps) -> None:
        """A step's rows; the step's own comes last, so that a step cut short leaves none."""
        if not self.file:
            return
        rows = [{"step": step} | {k: rounded(v) for k, v in asdict(life).items()} for life in lives]
        rows.append(
            {
                "step": step, "schedule": rl.schedule, "batch": rl.batch, "group": rl.group, "workers": len(workers),
                "slots": workers[0].slots, "max_tasks": rl.max_tasks_per_step, "judges": rl.judges, "began": rounded(began), "ended": rounded(ended), "used": finish.used, "started": len(lives),
                "decode": [[[rows, admitted, rounded(s)] for rows, admitted, s in steps] for steps in decode_steps],
            }
        )  # fmt: skip
        self.file.write("".join(json.dumps(row) + "\n" for row in rows))
        self.file.flush()

    def close(self) -> None:
        if self.file:
            self.file.close()


def rounded(value):
    """Times to a hundredth of a millisecond."""
    return round(value, 5) if isinstance(value, float) else value


def read_trace(path: Path) -> list[TracedStep]:
    """The whole steps of a trace; of a step that was repeated, the last."""
    steps: dict[int, TracedStep] = {}
    lives: dict[int, list[Life]] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        number = row.pop("step")
        if "n" in row:
            lives.setdefault(number, []).append(Life(**row))
        else:
            steps[number] = TracedStep({"step": number, **row}, lives.pop(number)[-row["started"] :])
    return [steps[number] for number in sorted(steps)]
