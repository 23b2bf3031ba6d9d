"""The demo's claims, measured: seconds, memory, and the differences of the report's Table 5, for one or more seeds.

    python bench/demo.py --seeds 0 1                    # about 10 minutes a seed on two cores
    python bench/demo.py --recipe recipes/smoke.toml    # does it run? (its scores mean nothing)

Runs `openmimo run RECIPE --set seed=N` in a fresh folder and samples the memory of the whole process tree. Prints a
table; the last line is JSON: one row a seed, and whether every row reaches the figures asked for.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil


def tree_memory(process: psutil.Process) -> int:
    """Bytes held by a process and its descendants; pages shared between them count once (USS where known)."""
    total = 0
    for p in [process, *process.children(recursive=True)]:
        try:
            total += p.memory_full_info().uss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def run(recipe: str, seed: int, out: Path) -> dict:
    """One run: wall seconds, peak memory in MB, and what results.json says."""
    command = [sys.executable, "-m", "openmimo.cli", "run", recipe, "--set", f"seed={seed}", "--out", str(out)]
    began, peak = time.perf_counter(), 0
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    process, over = psutil.Process(child.pid), threading.Event()

    def watch():
        nonlocal peak
        while not over.wait(1.0):
            try:
                peak = max(peak, tree_memory(process))
            except psutil.NoSuchProcess:
                return

    threading.Thread(target=watch, daemon=True).start()
    code = child.wait()
    over.set()
    if code:
        sys.exit(f"the run of seed {seed} ended with code {code}")
    results = json.loads((out / "results.json").read_text())
    row = {"seed": seed, "seconds": round(time.perf_counter() - began, 1), "peak_memory_mb": round(peak / 1e6)}
    row |= {name: round(100 * results[name]["avg8"], 1) for name in ("base", "rl-zero", "sft", "rl")}
    for name, difference in results["differences"].items():
        key = name.replace(" - ", "_minus_").replace("-", "_")
        row[key] = round(100 * difference["difference"], 1)
        row[f"{key}_apart"] = difference["intervals_apart"]
    return row


def reaches(row: dict) -> bool:
    """The figures asked of the demo."""
    best = max(row[name] for name in ("base", "rl-zero", "sft", "rl"))
    return (
        row["rl_minus_sft"] >= 10
        and row["rl_minus_sft_apart"]
        and row["rl_zero_minus_base"] >= 15
        and row["rl_zero_minus_base_apart"]
        and row["rl"] == best
        and row["rl_zero_minus_base"] > row["rl_minus_sft"]
        and row["seconds"] <= 900
        and row["peak_memory_mb"] <= 4000
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="recipes/tiny.toml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, help="keep the runs here (default: a temporary folder)")
    args = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}"
    )
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for seed in args.seeds:
            rows.append(run(args.recipe, seed, (args.out or Path(temporary)) / f"seed{seed}"))
            print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    print(json.dumps({"rows": rows, "all_reached": all(map(reaches, rows))}))


if __name__ == "__main__":
    main()
