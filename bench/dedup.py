"""Near-dedup: signatures against rensa, datasketch and datatrove; recall and precision against all pairs; a million documents.

    bash bench/peers/dedup.sh               # once: datasketch, spaCy and xxhash under .bench/dedup
    python bench/dedup.py                   # about 8 minutes; --rows signatures recall million, one or some

`signatures`: 5,000 documents, half of them pieces of the standard library's sources and half edited copies, to signatures of
word 5-grams, arrays included, on one thread; the sides in turn, `--rounds` times, the median counts. rensa is fed Python
strings in bulk, as it documents; datasketch by update_batch; datatrove's own step as shipped (spaCy), and with str.split.
`recall`: the same documents; a pair is true where the Jaccard similarity of its sets of n-gram strings is >= .8, counted for
all pairs. Ours: pairs in one cluster (after closure) and pairs that were joined. Peers: what their LSH index returns at .8.
`million`: 1,000,000 documents of 40-80 words in 8 files, a fifth of them copies, by `openmimo data run`, two workers:
time, peak memory (PSS of all processes); and a tenth of them with 1 and 2 workers and in other files: the same result.
A peer that is not there is null. Prints a table; the last line is JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from openmimo.data.document import Document
from openmimo.data.overlap import join
from openmimo.data.overlap.shingles import word_ngrams
from openmimo.data.overlap.sketch import BANDS, ROWS, near_sketch, signatures

PEERS = Path(__file__).resolve().parents[1] / ".bench"
HASHES, SEED, THRESHOLD = BANDS * ROWS, 1, 0.8


def corpus(count: int = 5_000, seed: int = 0) -> list[str]:
    """count / 2 pieces of 1.5-6 kB of the standard library's sources, and an edited copy of each: some words replaced, a part cut
    or added, so that similarities spread over .4 to 1."""
    root, rng = Path(sysconfig.get_path("stdlib")), random.Random(seed)
    pieces: dict[str, None] = {}
    for path in sorted(p for p in root.rglob("*.py") if "site-packages" not in p.parts):
        text, at = path.read_text(encoding="utf-8", errors="replace"), 0
        while at < len(text):
            size = rng.randint(1_500, 6_000)
            if len(text) - at > 1_000:
                pieces[text[at : at + size]] = None
            at += size
    chosen = rng.sample(sorted(pieces), count // 2)
    return [t for text in chosen for t in (text, edited(text, rng))]


def edited(text: str, rng: random.Random) -> str:
    kind, words = rng.random(), re.split(r"(\s+)", text)
    if kind < 0.6:  # words here and there
        for _ in range(int(rng.uniform(0, 0.12) * len(words) / 2)):
            words[2 * rng.randrange(len(words) // 2)] = rng.choice(("changed", "other", "x1", "new_name"))
        return "".join(words)
    if kind < 0.8:  # a part is missing
        size = int(rng.uniform(0, 0.35) * len(words))
        at = rng.randrange(len(words) - size)
        return "".join(words[:at] + words[at + size :])
    more = " ".join(f"extra{rng.randrange(500)}" for _ in range(int(rng.uniform(0, 0.3) * len(words) / 2)))
    return f"{more}\n{text}".upper() if kind < 0.9 else f"{text}\n{more}"


def sides() -> dict[str, Callable[[list[str]], np.ndarray] | None]:
    """Name -> function that makes a (documents, HASHES) matrix of signatures; None where it is not installed."""
    return {
        "ours": lambda texts: signatures(texts, SEED)[0],
        "rensa": _rensa(),
        "datasketch": _datasketch(),
        **_datatrove(),
    }


def grams_of(texts: list[str]) -> list[list[str]]:
    return [list(word_ngrams(text)) for text in texts]


def _rensa():
    from rensa import RMinHash

    def make(texts):
        return np.array(RMinHash.digest_matrix_from_token_sets(grams_of(texts), HASHES, SEED).to_rows(), np.uint32)

    return make


def _datasketch():
    if not (PEERS / "dedup" / ".ready").exists():
        return None
    sys.path.append(str(PEERS / "dedup"))
    from datasketch import MinHash

    def make(texts):
        rows = []
        for grams in grams_of(texts):
            sketch = MinHash(num_perm=HASHES)
            sketch.update_batch([gram.encode("utf-8", "surrogatepass") for gram in grams])
            rows.append(sketch.hashvalues)
        return np.array(rows)

    return make


def _datatrove() -> dict:
    names = ("datatrove", "datatrove, str.split")
    try:
        import spacy  # noqa: F401
        import xxhash  # noqa: F401
        from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    except ImportError:
        return dict.fromkeys(names)

    def side(split: bool):
        folder = PEERS / "dedup-datatrove"
        step = MinhashDedupSignature(str(folder), MinhashConfig(n_grams=5, num_buckets=BANDS, hashes_per_bucket=ROWS))
        if split:
            step.word_tokenizer = type("Split", (), {"word_tokenize": staticmethod(str.split)})()
        return lambda texts: np.array([np.concatenate(step.get_signature(step.get_shingles(t))) for t in texts])

    return {name: side(split) for name, split in zip(names, (False, True), strict=True)}


def measure_signatures(texts: list[str], rounds: int) -> dict:
    """Medians of documents per second; slow sides see a part of the documents."""
    found: dict[str, list[float]] = {}
    makers = {name: make for name, make in sides().items() if make}
    size = sum(len(t.encode("utf-8", "surrogatepass")) for t in texts) / len(texts) / 1e6
    for make in makers.values():
        make(texts[:50])
    for _ in range(rounds):
        for name, make in makers.items():
            some = texts[:: 1 if name in ("ours", "rensa") else 20 if name == "datatrove" else 5]
            began = time.perf_counter()
            matrix = make(some)
            found.setdefault(name, []).append(len(some) / (time.perf_counter() - began))
            assert matrix.shape == (len(some), HASHES)
    rates = {name: statistics.median(found[name]) if name in found else None for name in sides()}
    print(f"signatures of {len(texts):,} documents of {1e3 * size:.1f} kB, {HASHES} hashes, {rounds} rounds")
    for name, rate in rates.items():
        print(f"  {name:22}" + (f"{rate:8,.0f} documents/s {rate * size:6.2f} MB/s   ours is {rates['ours'] / rate:5.1f}x" if rate else "   not installed"))  # fmt: skip
    ratio = {name: round(rates["ours"] / rate, 2) if rate else None for name, rate in rates.items() if name != "ours"}
    return {"ours_docs_s": round(rates["ours"]), "ours_mb_s": round(rates["ours"] * size, 1),
            **{f"ratio_{name.split(',')[0]}{'_split' * ('split' in name)}": value for name, value in ratio.items()}}  # fmt: skip


def true_pairs(texts: list[str]) -> set[tuple[int, int]]:
    """All pairs whose sets of n-gram strings have a Jaccard similarity >= THRESHOLD: every common n-gram counted."""
    sets = [word_ngrams(t) for t in texts]
    places: dict[str, list[int]] = {}
    for i, grams in enumerate(sets):
        for gram in grams:
            places.setdefault(gram, []).append(i)
    common = np.zeros((len(texts), len(texts)), np.int32)
    for where in places.values():
        if len(where) > 1:
            common[np.ix_(where, where)] += 1
    sizes = np.array([len(s) for s in sets])
    similar = np.triu(common >= THRESHOLD * (sizes[:, None] + sizes[None] - common), 1) & (common > 0)
    return set(zip(*(axis.tolist() for axis in np.nonzero(similar)), strict=True))


def clustered(names) -> set[tuple[int, int]]:
    by_name: dict[int, list[int]] = {}
    for i, name in enumerate(names.tolist()):
        by_name.setdefault(name, []).append(i)
    return {(a, b) for members in by_name.values() for i, a in enumerate(members) for b in members[i + 1 :]}


def measure_recall(texts: list[str]) -> dict:
    true = true_pairs(texts)
    sketch = near_sketch([Document(str(i), "", "", t, "") for i, t in enumerate(texts)])
    whole = join.Sketches([sketch])
    joined = {tuple(sorted(p)) for line in range(BANDS) for p in join.near_pairs(whole, line, THRESHOLD).tolist()}
    joined |= {tuple(sorted(p)) for p in join.equal_pairs(whole, BANDS).tolist()}
    found = {"ours, joined": joined, "ours, one cluster": clustered(join.near_clusters([sketch], THRESHOLD).name)}
    found |= {"datasketch's LSH": _datasketch_lsh(texts), "rensa's LSH": _rensa_lsh(texts)}
    print(f"{len(true):,} pairs of {len(texts):,} documents have a similarity of {THRESHOLD} or more")
    parent = np.arange(len(texts))
    join.connect(parent, np.array(sorted(true)))
    closed = clustered(join.roots(parent, np.arange(len(texts))))
    rows = {}
    for name, pairs in found.items():
        if pairs is None:
            continue
        hit = len(pairs & true)
        rows[name] = (round(hit / len(true), 4), round(hit / max(1, len(pairs)), 4))
        print(f"  {name:22} recall {rows[name][0]:.4f}  precision {rows[name][1]:.4f}  {len(pairs):,} pairs")
    clusters = found["ours, one cluster"]
    hit = len(clusters & closed)
    rows["closure"] = (round(hit / len(closed), 4), round(hit / len(clusters), 4))
    print(
        f"  ours, one cluster, against the true pairs' closure: recall {rows['closure'][0]}, precision {rows['closure'][1]}"
    )
    keys = {
        "closure": "closure",
        "ours, joined": "joined",
        "ours, one cluster": "cluster",
        "datasketch's LSH": "datasketch",
        "rensa's LSH": "rensa",
    }
    return {"true_pairs": len(true)} | {f"{part}_{keys[n]}": v for n, r in rows.items() for part, v in zip(("recall", "precision"), r, strict=True)}  # fmt: skip


def _datasketch_lsh(texts: list[str]) -> set | None:
    if _datasketch() is None:
        return None
    from datasketch import MinHash, MinHashLSH

    index, sketches = MinHashLSH(threshold=THRESHOLD, num_perm=HASHES), []
    for i, grams in enumerate(grams_of(texts)):
        sketch = MinHash(num_perm=HASHES)
        sketch.update_batch([gram.encode("utf-8", "surrogatepass") for gram in grams])
        sketches.append(sketch)
        index.insert(i, sketch)
    return {(min(i, j), max(i, j)) for i, s in enumerate(sketches) for j in index.query(s) if i != j}


def _rensa_lsh(texts: list[str]) -> set:
    from rensa import RMinHash, RMinHashLSH

    index, sketches = RMinHashLSH(threshold=THRESHOLD, num_perm=HASHES, num_bands=BANDS), []
    for i, grams in enumerate(grams_of(texts)):
        sketch = RMinHash(num_perm=HASHES, seed=SEED)
        sketch.update(grams)
        sketches.append(sketch)
        index.insert(i, sketch)
    return {(min(i, j), max(i, j)) for i, s in enumerate(sketches) for j in index.query(s) if i != j}


def write_million(folder: Path, count: int, files: int) -> int:
    """Short documents, every fifth an edited copy of an earlier one; returns their bytes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng, words, total, last = np.random.default_rng(0), [f"term{i}" for i in range(20_000)], 0, None
    outs = [(folder / f"{i}.jsonl").open("w") for i in range(files)]
    for i in range(count):
        if i % 5 == 4 and last is not None:
            picked = last.copy()
            picked[rng.integers(len(picked), size=rng.integers(0, 3))] = rng.integers(20_000)
        else:
            picked = (20_000 * rng.random(rng.integers(40, 81)) ** 2).astype(np.int64)
        last = picked
        text = " ".join([words[w] for w in picked])
        outs[i % files].write(json.dumps({"id": str(i), "text": text}) + "\n")
        total += len(text)
    for out in outs:
        out.close()
    return total


def run_pipeline(folder: Path, name: str, workers: int) -> tuple[float, float, dict, str]:
    """(seconds, peak MB over all processes, counts of near-dedup, hash of the set of kept ids and their cluster sizes)."""
    out, toml = folder.parent / f"{folder.name}-{name}", folder.parent / f"{folder.name}-{name}.toml"
    shutil.rmtree(out, ignore_errors=True)
    toml.write_text(f'[input]\nfiles = ["{folder}/*.jsonl"]\n[[steps]]\nname = "near-dedup"\n[output]\nfolder = "{out}"\n[run]\nworkers = {workers}\n')  # fmt: skip
    began, peak = time.perf_counter(), [0.0]
    child = subprocess.Popen(
        [sys.executable, "-m", "openmimo.cli", "data", "run", str(toml)], stdout=subprocess.DEVNULL
    )
    watcher = threading.Thread(target=_watch, args=(child, peak))
    watcher.start()
    if child.wait():
        sys.exit(f"{toml}: failed")
    seconds = time.perf_counter() - began
    watcher.join()
    from openmimo.data.pipeline.files import read_file

    kept = sorted(
        (d.id, d.meta["cluster_size"]) for p in sorted((out / "documents").iterdir()) for d in read_file(str(p))
    )
    counts = json.loads((out / "counts.json").read_text())["steps"]["1 near-dedup"]
    shutil.rmtree(out)
    return seconds, peak[0], counts, hashlib.sha256(json.dumps(kept).encode()).hexdigest()


def _watch(child, peak: list[float]) -> None:
    while child.poll() is None:
        used = 0
        for process in psutil.Process().children(recursive=True):
            try:
                used += process.memory_full_info().pss
            except psutil.Error:
                continue
        peak[0] = max(peak[0], used / 2**20)
        time.sleep(0.5)


def measure_million(count: int) -> dict:
    folder = PEERS / "dedup-million"
    size = write_million(folder, count, 8)
    seconds, peak, counts, _ = run_pipeline(folder, "out", 2)
    print(
        f"{count:,} documents, {size / 1e6:,.0f} MB of text, two workers: {seconds:.0f} s, peak {peak:,.0f} MB; {counts}"
    )
    write_million(folder, count // 10, 8)
    hashes = {run_pipeline(folder, f"w{workers}", workers)[3] for workers in (1, 2)}
    write_million(folder, count // 10, 3)
    hashes.add(run_pipeline(folder, "three", 2)[3])
    print(
        f"a tenth of them with 1 and 2 workers, and in 3 files instead of 8: {'the same result' if len(hashes) == 1 else 'DIFFERENT RESULTS'}"
    )
    shutil.rmtree(folder)
    return {
        "documents": count,
        "seconds": round(seconds, 1),
        "peak_mb": round(peak),
        "kept": counts["kept"],
        "same": len(hashes) == 1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=["signatures", "recall", "million"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=1_000_000, help="of the row million")
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {len(os.sched_getaffinity(0))} cores")
    texts = corpus() if {"signatures", "recall"} & set(args.rows) else []
    rows: dict[str, dict] = {}
    if "signatures" in args.rows:
        rows["signatures"] = measure_signatures(texts, args.rounds)
    if "recall" in args.rows:
        rows["recall"] = measure_recall(texts)
    if "million" in args.rows:
        rows["million"] = measure_million(args.documents)
    print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    os.environ.setdefault("RAYON_NUM_THREADS", "1")  # rensa's
    main()
