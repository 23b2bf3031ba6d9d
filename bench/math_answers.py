"""Math answers judged a second, without the short-circuit: what `bench/judge.py` prints as `math_answers_per_s`.

    python bench/math_answers.py [--workers 1] [--count 2000]

Gold answers of MATH (../shared/data/math_train.json; procedural ones where it is not there), each in one rewriting of
its own, none twice; Math-Verify's processes are warm. Last line: JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

from openmimo.judge.maths import MathJudge

DATA = Path(__file__).parents[2] / "shared" / "data" / "math_train.json"


def pairs_of(count: int) -> list[tuple[str, str]]:
    """(answer, gold) pairs, all different: an equal form, or the next row's answer, in turn."""
    if DATA.is_file():
        golds = list(dict.fromkeys(row["answer"] for row in json.loads(DATA.read_text()) if row["answer"]))
    else:
        draw = random.Random(0)
        golds = [rf"\frac{{{draw.randint(1, 999)}}}{{{draw.randint(1, 999)}}}" for _ in range(count)]
    some = (golds * (count // len(golds) + 1))[:count]
    return [(f"{gold} " if n % 2 else some[n - 1], gold) for n, gold in enumerate(some)]


def math_answers_per_s(workers: int = 1, count: int = 2000) -> float:
    """Verdicts a second of a pool of `workers` processes, every pair through Math-Verify."""
    pairs = pairs_of(count)
    with MathJudge(workers) as judge:
        judge.judge_many([(f"0.{n}", f"{n}/10") for n in range(1, 2 * workers + 1)], short_circuit=False)  # warm
        began = time.perf_counter()
        judge.judge_many(pairs, short_circuit=False)
        return len(set(pairs)) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--count", type=int, default=2000)
    args = parser.parse_args()
    rate = math_answers_per_s(args.workers, args.count)
    print(f"{args.workers} worker(s), {args.count} answers: {rate:.0f} a second")
    print(json.dumps({"workers": args.workers, "math_answers_per_s": round(rate, 1)}))


if __name__ == "__main__":
    main()
