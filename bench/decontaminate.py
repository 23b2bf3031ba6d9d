"""Decontamination on GSM8K's and MATH's training sets: planted overlaps, rewordings, false hits, speed.

    python bench/decontaminate.py                 # about 20 s; --phrases prints what template_phrases.txt is made of

2,000 of the problems are the benchmark, the others are the corpus. Copies of benchmark items are planted in rows of the
corpus, as they are and reworded by one class at a time. Whatever else is found is a hit on a row that nobody planted:
either a near copy that the sets really hold (3-gram Jaccard >= .5 by plain Python), or a false hit. Beside it, in the
same run: the report's rule alone, 16-grams of words in a Python set, as it is commonly written.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections import Counter
from pathlib import Path

from openmimo.data.overlap.benchmarks import RULES, Index

DATA = Path(__file__).parents[2] / "shared" / "data"
BENCHMARK, PLANTED, SEED = 1_000, 400, 7
WORDS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()


def problems() -> dict[str, list[str]]:
    gsm8k = [json.loads(line)["question"] for line in (DATA / "gsm8k_train.jsonl").read_text().splitlines()]
    return {"gsm8k": gsm8k, "math": [row["problem"] for row in json.loads((DATA / "math_train.json").read_text())]}


# the classes of rewording: text -> text, or None where the class has nothing to change


def other_case(text: str, rng: random.Random) -> str | None:
    return rng.choice([text.upper, text.lower, text.title])() if "\\" not in text else text.swapcase() if "\\" not in text else text.lower()  # fmt: skip


def other_numbers(text: str, rng: random.Random) -> str | None:
    def spelled(match: re.Match) -> str:
        number = match[0]
        if len(number) > 3 and not number.startswith("0"):
            return f"{int(number):,}" if rng.random() < 0.5 else f"{int(number):,}".replace(",", "{,}")
        if "." in text[match.start() - 1 : match.end() + 1] or "," in text[match.start() - 1 : match.end() + 1]:
            return number
        if number.startswith("0") or len(number) > 2 or rng.random() < 0.5 or "\\" in text or "^" in text:
            return number + ".00" if rng.random() < 0.5 else number + ".0"
        value = int(number)
        return f" {WORDS[value]} " if value < 20 else f" {TENS[value // 10]}" + (f"-{WORDS[value % 10]} " if value % 10 else " ")  # fmt: skip

    changed = re.sub(r"(?<![\w.,{}\\^-])\d+(?![\w{}]|\.\d|,\d)", spelled, text)
    return changed if changed != text else None


def other_punctuation(text: str, rng: random.Random) -> str | None:
    plain = re.split(r"(\$[^$]*\$)", text)  # formulas keep theirs
    how = rng.randrange(3)
    for i in range(0, len(plain), 2):
        if how == 0:
            plain[i] = re.sub(r"[.,;:!?](?=\s|$)", "", plain[i])
        elif how == 1:
            plain[i] = re.sub(r", ", " — ", re.sub(r"[.?](?=\s|$)", "!", plain[i]))
        else:
            plain[i] = re.sub(r"(?<=[a-z]) (?=[a-z])", lambda m: rng.choice([" ", "  ", "; ", "\n"]), re.sub("['\"]", "’", plain[i]))  # fmt: skip
    changed = "".join(plain)
    return changed if changed != text else None


def swapped_sentences(text: str, rng: random.Random) -> str | None:
    parts = re.split(r"(?<=[.?!])\s+(?=[A-Z$])", text.strip())
    if len(parts) < 2:
        return None
    i, j = sorted(rng.sample(range(len(parts)), 2))
    parts[i], parts[j] = parts[j], parts[i]
    return " ".join(parts) if parts[i] != parts[j] else None


def other_latex(text: str, rng: random.Random) -> str | None:
    changed = text
    for pattern, new in [
        (r"\\[dt]?frac", lambda m: rng.choice(["\\frac", "\\dfrac", "\\tfrac"])), (r"\\le(?![a-z])", r"\\leq"),
        (r"\\leq(?![a-z])", r"\\le"), (r"\\ge(?![a-z])", r"\\geq"), (r"\\cdot(?![a-z])", r"\\times"), (r"\^(\w)", r"^{\1}"),
        (r"\\left *(?=[(\[|])", ""), (r"\\right *(?=[)\]|])", ""), (r"\\text\{([^{}]*)\}", r"\\mbox{\1}"), (r"\\ldots", "..."),
        (r"\$\$?([^$]+)\$\$?", lambda m: rng.choice([f"\\({m[1]}\\)", f"\\[ {m[1]} \\]", f"$ {m[1]} $"])),
        (r"(?<=[\w}])([+=<>])(?=[\w\\{])", r" \1\\; "), (r"\\\\\n", r"\\\\ "),
    ]:  # fmt: skip
        changed = re.sub(pattern, new, changed)
    return changed if changed != text else None


CLASSES = {"case": other_case, "numbers": other_numbers, "punctuation": other_punctuation, "swapped": swapped_sentences, "latex": other_latex}  # fmt: skip


def planted(item: str, carrier: str, rng: random.Random) -> str:
    """The item in a longer text, at its beginning, in its middle or at its end."""
    before, after = carrier[: len(carrier) // 2].rsplit(" ", 1)[0] + ".", "Solution. " + carrier[len(carrier) // 2 :]
    return {0: f"{item}\n{after}", 1: f"{before}\n\n{item}\n{after}", 2: f"{before} {item}"}[rng.randrange(3)]


def python_words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def jaccard(a: str, b: str) -> float:
    """Of word 3-grams; of the words themselves where there are fewer than three."""
    sets = []
    for text in (a, b):
        words = python_words(text)
        sets.append(set(zip(words, words[1:], words[2:], strict=False)) or set(words))
    return len(sets[0] & sets[1]) / max(1, len(sets[0] | sets[1]))


def sixteen_grams(text: str) -> set[str]:
    words = python_words(text)
    return {" ".join(words[i : i + 16]) for i in range(len(words) - 15)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--phrases", action="store_true", help="print the package's stop list, as its rule makes it")
    parser.add_argument("--n", type=int, default=16)
    args = parser.parse_args()
    if not (DATA / "gsm8k_train.jsonl").is_file():
        print(f"skipped: {DATA} is absent; GSM8K's and MATH's training sets are needed there")
        return
    sets, rng = problems(), random.Random(SEED)
    if args.phrases:
        found = Index({"math": sets["math"]}, n=13, template=6, phrases=[]).coverage["math"].phrases
        for phrase, items in sorted(found.items(), key=lambda pair: (-pair[1], pair[0])):
            if items >= 6 and len(phrase.split()) <= 40:
                print(phrase)
        return
    benchmark, corpus = {}, []
    for name, texts in sets.items():
        shuffled = rng.sample(texts, len(texts))
        benchmark[name], rest = shuffled[:BENCHMARK], shuffled[BENCHMARK:]
        corpus += [text for text in rest if text not in set(benchmark[name])]
    rng.shuffle(corpus)
    began = time.perf_counter()
    index = Index(benchmark, args.n)
    built = time.perf_counter() - began
    report: dict = {"n": args.n, "index_s": round(built, 2), "benchmark_items": sum(map(len, benchmark.values()))}
    items = [(name, i, text) for name, texts in benchmark.items() for i, text in enumerate(texts)]

    print(f"{'planted':<22}{'found':>8}{'of':>6}{'share':>9}   16-gram set alone    of those < 16 words: found / of")
    table, missed = {}, []
    theirs = {gram for texts in benchmark.values() for text in texts for gram in sixteen_grams(text)}
    for label, reword in {"as they are": lambda text, rng: text, **CLASSES}.items():
        rows, originals = [], []
        for _, _, text in rng.sample(items, len(items)):
            changed = reword(text, rng)
            if changed is not None and len(rows) < (len(items) if label == "as they are" else PLANTED):
                rows.append(planted(changed, rng.choice(corpus), rng))
                originals.append(text)
        hits = index.find(rows)
        found = sum(hit is not None for hit in hits)
        alone = sum(bool(sixteen_grams(row) & theirs) for row in rows)
        short = [hit is not None for hit, text in zip(hits, originals, strict=True) if len(python_words(text)) < 16]
        table[label] = {"found": found, "of": len(rows), "sixteen_gram_set": alone, "short_found": sum(short), "short_of": len(short)}  # fmt: skip
        missed += [(label, row) for row, hit in zip(rows, hits, strict=True) if hit is None]
        print(f"{label:<22}{found:>8}{len(rows):>6}{found / len(rows):>9.1%}{alone / len(rows):>14.1%}{sum(short):>26} / {len(short)}")  # fmt: skip
    for label, row in missed[:8]:
        print(f"  missed ({label}): {row[:300]!r}")

    hits, rules = index.find(corpus), Counter()
    near, false = 0, []
    for row, hit in zip(corpus, hits, strict=True):
        if hit is not None:
            item = benchmark[hit.benchmark][hit.item]
            rules[hit.rule] += 1
            if jaccard(row, item) >= 0.5:
                near += 1
            else:
                false.append((hit, row, item))
    print(f"\n{len(corpus)} rows that nobody planted: {sum(rules.values())} hits ({', '.join(f'{r} {rules[r]}' for r in RULES)}): "
          f"{near} near copies (3-gram Jaccard >= .5), {len(false)} others")  # fmt: skip
    plain_hits = [row for row in corpus if sixteen_grams(row) & theirs]
    of_gram = {gram: text for texts in benchmark.values() for text in texts for gram in sixteen_grams(text)}
    plain_near = sum(any(jaccard(row, of_gram[g]) >= 0.5 for g in sixteen_grams(row) & theirs) for row in plain_hits)
    bare = sum(hit is not None for hit in Index(benchmark, args.n, template=0, phrases=[]).find(corpus))
    print(f"on the same rows: the plain set of 16-grams {len(plain_hits)} hits, {plain_near} of them near copies; ours without any "
          f"template rule {bare} hits (the package's stop list was made from MATH's training set, so it is at home here)")  # fmt: skip
    for hit, row, item in false[:12]:
        print(
            f"  {hit.rule}: {row[:160]!r}\n     ~ {item[:160]!r}" + (f"\n     by {hit.shared!r}" if hit.shared else "")
        )
    for name, c in index.coverage.items():
        print(f"{name}: no {args.n}-gram covers {c.uncovered:.2%}; nothing but a row of its own shows {c.unseen:.2%}; "
              f"{len(c.phrases)} template phrases, such as {c.phrases.most_common(1)}")  # fmt: skip

    text = [*corpus] * 4
    size = sum(len(t.encode()) for t in text) / 1e6
    seconds = min(_time(lambda: index.find(text)) for _ in range(3))
    plain = _time(lambda: [bool(sixteen_grams(t) & theirs) for t in corpus]) * 4
    print(f"\n{size:.1f} MB: {size / seconds:.1f} MB/s a core (CPU time), the plain Python set of 16-grams {size / plain:.1f} MB/s: {plain / seconds:.1f}x")  # fmt: skip
    report |= {
        "planted": table,
        "exact_share": _share(table["as they are"]),
        "reworded_share": {c: _share(table[c]) for c in CLASSES},
    }
    report |= {"unplanted_rows": len(corpus), "unplanted_hits": sum(rules.values()), "near_copies": near, "false_hits": len(false),
               "plain_hits": len(plain_hits), "plain_near_copies": plain_near, "hits_without_templates": bare,
               "uncovered": {name: round(c.uncovered, 4) for name, c in index.coverage.items()},
               "unseen": {name: round(c.unseen, 4) for name, c in index.coverage.items()},
               "mb_per_s": round(size / seconds, 1), "python_mb_per_s": round(size / plain, 1)}  # fmt: skip
    print(json.dumps(report))


def _share(row: dict) -> float:
    return round(row["found"] / row["of"], 4)


def _time(call) -> float:
    """CPU seconds."""
    began = time.process_time()
    call()
    return time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
