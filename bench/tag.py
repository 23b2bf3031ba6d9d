"""Taggers on real pages: good math and code pages kept, junk turned away, beside the heuristic filters in common use.

    bash bench/peers/tag.sh && python bench/tag.py      # about 3 minutes after the peers are there

Pages are labelled by where they are from (bench/tag_pages.py): nobody rated them, and a manual's page may be a dull one.
The student is trained on packages and sites that none of the test pages is of. Compared on the same test pages: the
rules of openmimo/data/tags/tag.py, the student, fasttext, and datatrove's FineWeb, Gopher and C4 filters, which see each page
twice: as our extractor has it and as trafilatura has it. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from tag_pages import BENCH, Page, pages

from openmimo.data.document import Document
from openmimo.data.tags.agreement import accuracy, calibration, confusion, confusion_lines, interval, kappa
from openmimo.data.tags.rubric import Rubric
from openmimo.data.tags.student import Student, train
from openmimo.data.tags.tag import tag
from openmimo.errors import UserError

torch.set_num_threads(1)
LABELS = ["math", "code", "news", "thin"]
RULES = {
    "math": "math",
    "code": "code",
    "reference": "code",
    "news": "news",
}  # the rule tagger's domain -> label, else thin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--pages", type=Path, help="keep the extracted pages in this file, and read them from it if it is there"
    )
    kept = parser.parse_args().pages
    began = time.perf_counter()
    try:
        found = (
            [Page(**json.loads(line)) for line in kept.read_text().splitlines()] if kept and kept.is_file() else pages()
        )
    except UserError as error:
        print(f"skipped: {error}")
        return
    if kept and not kept.is_file():
        kept.write_text("".join(json.dumps(vars(p)) + "\n" for p in found))
    print(f"{len(found)} pages read and extracted in {time.perf_counter() - began:.0f} s")
    learn, test = [p for p in found if p.side == "train"], [p for p in found if p.side == "test"]
    for side, some in (("train", learn), ("test", test)):
        print(f"{side}: {dict(Counter(p.label for p in some))}")
    began = time.process_time()
    student = train([p.text for p in learn], [{"domain": p.label} for p in learn], Rubric.load())
    trained = time.process_time() - began
    with tempfile.TemporaryDirectory() as folder:
        student.save(Path(folder) / "s.npz")
        size = (Path(folder) / "s.npz").stat().st_size
        student = Student.load(Path(folder) / "s.npz")
    began = time.process_time()
    chances = student.probabilities([p.text for p in test])["domain"]
    predicted = time.process_time() - began
    values = next(h for h in student.heads if h.name == "domain").values
    columns = [values.index(label) for label in LABELS]
    guesses = {"student": [LABELS[i] for i in chances[:, columns].argmax(1)]}
    guesses["rules"] = [RULES.get(tag(Document("", "", "", p.text, ""))["domain"], "thin") for p in test]
    majority = Counter(p.label for p in learn).most_common(1)[0][0]
    guesses["majority"] = [majority] * len(test)
    peer = run_peer(found)
    if peer:
        guesses["fasttext"] = [peer["fasttext"][p.id] for p in test]
    truth = [p.label for p in test]
    mb = sum(len(p.text.encode()) for p in test) / 1e6
    report = {"train": len(learn), "test": len(test), "student_train_cpu_s": round(trained, 1), "student_mb": round(size / 1e6, 1),
              "student_pages_per_s": round(len(test) / predicted), "student_mb_per_s": round(mb / predicted, 1), "agreement": {}}  # fmt: skip
    print(f"student: {trained:.1f} CPU s to train, {len(test) / predicted:.0f} pages/s, {size / 1e6:.1f} MB" + (
        f"; fasttext: {peer['fasttext_train_s']:.1f} s, {len(test) / peer['fasttext_predict_s']:.0f} pages/s" if peer else ""))  # fmt: skip
    print(f"\n{'labels held out':<18}{'accuracy':>10}{'95 % interval':>18}{'kappa':>8}{'95 % interval':>18}")
    for name, guess in guesses.items():
        pairs = (np.array(truth), np.array(guess))
        acc = interval(lambda i, pairs=pairs: float((pairs[0][i] == pairs[1][i]).mean()), len(test))
        kap = interval(
            lambda i, pairs=pairs: kappa(pairs[0][i].tolist(), pairs[1][i].tolist(), LABELS), len(test), draws=300
        )
        row = {"accuracy": round(accuracy(truth, guess), 4), "accuracy_95": [round(v, 4) for v in acc],
               "kappa": round(kappa(truth, guess, LABELS), 4), "kappa_95": [round(v, 4) for v in kap]}  # fmt: skip
        report["agreement"][name] = row
        print(f"{name:<18}{row['accuracy']:>10.3f}{f'{acc[0]:.3f} - {acc[1]:.3f}':>18}{row['kappa']:>8.3f}{f'{kap[0]:.3f} - {kap[1]:.3f}':>18}")  # fmt: skip
    print("\nthe student's confusion, truth in rows:")
    print("\n".join(confusion_lines(confusion(truth, guesses["student"], LABELS), LABELS)))
    right = np.array([t == g for t, g in zip(truth, guesses["student"], strict=True)])
    error, table = calibration(chances[:, columns].max(1), right)
    report["calibration_error"] = round(error, 4)
    print(f"calibration error {error:.3f}: " + ", ".join(f"{r['confidence']:.2f} -> {r['right']:.2f} ({r['rows']})" for r in table))  # fmt: skip
    good = chances[:, [values.index("math"), values.index("code")]].sum(1)
    threshold = strict_threshold(learn)
    report["strict_threshold"] = round(threshold, 4)
    report["kept"] = keep_table(test, guesses, peer, good, threshold)
    print(json.dumps(report))


def strict_threshold(learn) -> float:
    """The chance of math or code above which 2.5 % of the training pages' junk stays, each page judged by a student of the
    other four fifths: chosen without a look at the test pages."""
    order, good = np.random.default_rng(0).permutation(len(learn)), np.zeros(len(learn))
    for fold in np.array_split(order, 5):
        rest = np.setdiff1d(order, fold)
        student = train([learn[i].text for i in rest], [{"domain": learn[i].label} for i in rest], Rubric.load())
        values = next(h for h in student.heads if h.name == "domain").values
        chances = student.probabilities([learn[i].text for i in fold])["domain"]
        good[fold] = chances[:, [values.index("math"), values.index("code")]].sum(1)
    return float(np.quantile(good[[p.label == "thin" for p in learn]], 0.975))


def keep_table(test, guesses, peer, good, threshold) -> dict:
    """Share of the good pages kept, of junk and of news turned away, by each way of choosing; and what the student keeps
    where it turns away as much junk as that way does (`at_equal_rejection`: its threshold is then set on the test pages)."""
    keeps = {name: [g in ("math", "code") for g in guess] for name, guess in guesses.items() if name != "majority"}
    keeps["student, strict"] = (good > threshold).tolist()
    junk = np.sort(good[[p.label == "thin" for p in test]])
    is_good = np.array([p.label in ("math", "code") for p in test])
    if peer:
        filters = list(next(iter(peer["filters"].values()))["given"])
        for kind in ("given", "trafilatura"):
            for which in (*([f] for f in filters), filters):
                name = ("all four" if len(which) > 1 else which[0]) + (
                    " (trafilatura's text)" if kind == "trafilatura" else " (our text)"
                )
                keeps[name] = [
                    all((seen := peer["filters"][p.id]).get(kind, seen["given"])[f] for f in which) for p in test
                ]
    groups = {"math": "math", "code": "code", "junk": "thin", "news": "news"}
    print(
        f"\n{'':<38}{'math kept':>11}{'code kept':>11}{'junk dropped':>14}{'news dropped':>14}{'student at that':>18}"
    )
    table = {}
    for name, kept in keeps.items():
        shares = {
            g: np.mean([k for k, p in zip(kept, test, strict=True) if p.label == label]) for g, label in groups.items()
        }
        mine = [k for k, p in zip(kept, test, strict=True) if p.label in ("math", "code")]
        allowed = sum(k for k, p in zip(kept, test, strict=True) if p.label == "thin")  # junk that this way keeps
        cut = junk[len(junk) - 1 - allowed] if allowed < len(junk) else -1.0
        equal = float((good[is_good] > cut).mean())
        table[name] = {"good_kept": round(float(np.mean(mine)), 4), "math_kept": round(float(shares["math"]), 4), "code_kept": round(float(shares["code"]), 4),
                       "junk_dropped": round(1 - float(shares["junk"]), 4), "news_dropped": round(1 - float(shares["news"]), 4), "good_pages": len(mine), "student_good_kept_at_equal_rejection": round(equal, 4)}  # fmt: skip
        row = table[name]
        print(f"{name:<38}{row['math_kept']:>11.1%}{row['code_kept']:>11.1%}{row['junk_dropped']:>14.1%}{row['news_dropped']:>14.1%}{equal:>18.1%}")  # fmt: skip
    for what, label, wrong in (
        ("junk that the student keeps", "thin", True),
        ("good pages that it drops", None, False),
    ):
        some = [
            p.id
            for p, k in zip(test, keeps["student"], strict=True)
            if k == wrong and (p.label == label if label else p.label in ("math", "code"))
        ]
        print(f"{what}: {', '.join(i if len(i) < 70 else '...' + i[-60:] for i in some[:30])}")
    return table


def run_peer(found) -> dict | None:
    python = BENCH / "datatrove" / "bin" / "python"
    if not python.is_file():
        print("datatrove is not here (bash bench/peers/tag.sh): its filters and fasttext are left out")
        return None
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "pages.jsonl", Path(folder) / "answer.json"
        given.write_text("".join(json.dumps(vars(p)) + "\n" for p in found))
        subprocess.run([python, Path(__file__).parent / "peers" / "tag_peer.py", given, answer], check=True)
        return json.loads(answer.read_text())


if __name__ == "__main__":
    sys.exit(main())
