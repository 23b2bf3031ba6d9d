"""Seconds a step of GRPO on a tiny model: `openmimo rl` against TRL's GRPOTrainer, one core each.

    bash bench/peers/trl.sh; python bench/grpo_peer.py --from runs/tiny/release/qwen2/sft --problems runs/tiny/curate/problems.jsonl

The same checkpoint (Qwen2 layout), math problems, groups a step, responses a group, limit of 96 tokens, one update a step,
fp32, one thread; the sides take turns. TRL has no dynamic sampling: groups without a gradient stay in its batch, so
seconds for each group that has one are compared too. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def ours(args: argparse.Namespace, problems: Path, folder: Path) -> dict[str, float]:
    settings = {"steps": args.steps, "batch": args.batch, "minibatch": args.batch, "group": args.group, "lr": 3e-5,
                "max_tokens": 96, "easy_alpha": 0.0, "micro_batch": 64, "reward": "strict"}  # fmt: skip
    sets = [part for key, value in settings.items() for part in ("--set", f"rl.{key}={json.dumps(value)}")]
    command = [
        sys.executable,
        "-m",
        "openmimo.cli",
        "rl",
        "--from",
        args.source,
        "--problems",
        problems,
        "--out",
        folder / "ours",
    ]
    subprocess.run([*map(str, command), *sets], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    rows = [json.loads(line) for line in (folder / "ours" / "log.jsonl").read_text().splitlines()][
        1:
    ]  # the first warms up
    seconds = statistics.median(row["rollout_s"] + row["train_s"] for row in rows)
    return {"seconds_a_step": seconds, "groups_with_gradient": statistics.fmean(row["batch"] for row in rows),
            "groups_a_step": statistics.fmean(row["started"] for row in rows)}  # fmt: skip


def peer(args: argparse.Namespace, problems: Path) -> dict[str, float]:
    python = ROOT / ".bench" / "trl" / "bin" / "python"
    if not python.exists():
        raise SystemExit("TRL is not here: bash bench/peers/trl.sh")
    command = [python, ROOT / "bench" / "grpo_child.py", args.source, problems, args.steps, args.batch, args.group]
    found = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    if found.returncode:
        raise SystemExit("TRL's side failed, see above")
    row = json.loads(found.stdout.splitlines()[-1])
    flat = statistics.fmean(row["flat"])
    return {"seconds_a_step": statistics.median(row["seconds"][1:]), "groups_with_gradient": args.batch * (1 - flat),
            "groups_a_step": float(args.batch)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", required=True)
    parser.add_argument("--problems", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--group", type=int, default=16)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        maths = [line for line in args.problems.read_text().splitlines() if json.loads(line)["kind"] == "math"]
        (folder / "math.jsonl").write_text("\n".join(maths) + "\n")
        sides = {"ours": ours(args, folder / "math.jsonl", folder), "trl": peer(args, folder / "math.jsonl")}
    for name, row in sides.items():
        row["seconds_a_gradient_group"] = row["seconds_a_step"] / max(row["groups_with_gradient"], 1e-9)
        print(f"{name:5} {row['seconds_a_step']:.2f} s a step, {row['groups_with_gradient']:.1f} of "
              f"{row['groups_a_step']:.1f} groups with a gradient, {row['seconds_a_gradient_group']:.3f} s for each")  # fmt: skip
    ratios = {key: sides["trl"][key] / sides["ours"][key] for key in ("seconds_a_step", "seconds_a_gradient_group")}
    print(json.dumps({"sides": sides, "trl_over_ours": ratios}))


if __name__ == "__main__":
    main()
