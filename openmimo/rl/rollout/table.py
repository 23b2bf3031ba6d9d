"""Table 2 and its ratios from what was measured, live or simulated: the definitions that fit the report's own arithmetic.

- normalised idle time = (idle ratio / naive's idle ratio) / rollout speed-up;
- overall speed-up = 1 / ((1 - f) + f / rollout speed-up), f the share of the rollout in a naive step;
- waste = (valid groups complete - groups trained) / groups trained;
- idle ratio: 1 - slot-seconds of tasks not aborted / (slots x seconds); busy idle ratio: the same by replicas, busy
  while any task that is not aborted holds a slot. Both count aborted work as idle, as the report does.
"""

from __future__ import annotations

from openmimo.rl.rollout.simulate import Measured


def table(found: dict[str, Measured], replicas: int, slots: int, share: float) -> dict[str, dict[str, float]]:
    """{schedule: {column: value}}. Speed-ups are against `naive`, where it is among them."""
    naive = found.get("naive")
    rows: dict[str, dict[str, float]] = {}
    for name, m in found.items():
        row = {
            "seconds": m.seconds,
            "idle_ratio": 1 - m.slot_s / (replicas * slots * m.seconds),
            "busy_idle_ratio": 1 - m.busy_s / (replicas * m.seconds),
            "waste_ratio": (m.valid - m.trained) / m.trained if name != "static" else 0.0,
            "invalid_ratio": 1 - m.valid / m.complete,
            "aborted_token_ratio": m.aborted_tokens / m.tokens if m.tokens else 0.0,
            "kept": sum(map(sum, m.valids)) / m.used,
            "tasks": m.started,
        }
        if naive:
            speedup = naive.seconds / m.seconds
            row["rollout_speedup"] = speedup
            row["overall_speedup"] = 1 / ((1 - share) + share / speedup)
            for kind, capacity in (("idle_ratio", "slot_s"), ("busy_idle_ratio", "busy_s")):
                size = replicas * (slots if capacity == "slot_s" else 1) * naive.seconds
                base = 1 - getattr(naive, capacity) / size
                row["normalized_" + kind.replace("_ratio", "")] = row[kind] / base / speedup
        rows[name] = row
    return rows
