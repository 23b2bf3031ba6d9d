"""Trains the block classifier of extraction and writes openmimo/data/extract/block_model.json; cross-validates it first.

    bash bench/peers/extract.sh && .bench/extract/bin/python bench/train_blocks.py [--folds] [--out openmimo/data/extract/block_model.json]

Gold: bench/extract_gold.py (articles, forums, news) and the documentation packages that are not reported (extract_docs.TRAIN). A block is
content where most of its 4-word shingles are in the gold. Two rounds of gradient-boosted trees: the second sees what the first said of the
blocks around. Word weights and first-round probabilities are made without the block's own site, so that training sees what a new site
shows. --folds: the five models of the cross-validation too, as .bench/block_model.N.json, for bench/extract.py.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same sums, and no waiting for each other on a busy machine

import numpy as np
from extract_gold import FOLDS, GoldPage, f1, magic, scrapinghub
from sklearn.ensemble import HistGradientBoostingClassifier

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from openmimo.data.extract.block_features import WORD_COLUMNS, context_features, features, word_features  # noqa: E402
from openmimo.data.extract.html_tree import parse  # noqa: E402
from openmimo.data.extract.main_content import choose, skip_by_markup  # noqa: E402
from openmimo.data.extract.text_blocks import Blocks, class_words, find_blocks, text_words  # noqa: E402

TREES = {"max_iter": 80, "learning_rate": 0.1, "max_leaf_nodes": 12, "min_samples_leaf": 60, "l2_regularization": 10.0, "max_features": 0.3, "max_bins": 96}  # fmt: skip
SECOND = TREES | {"max_iter": 40}
LEAST_SITES = 3  # that a word must be seen on
SMOOTH = 0.4
_WORD = re.compile(r"[\u3040-\u9fff\uac00-\ud7af]|\w+")


@dataclass
class Row:
    page: GoldPage
    site: str
    blocks: Blocks
    labels: np.ndarray
    words: np.ndarray
    base: np.ndarray  # features without word weights


def row_of(page: GoldPage) -> Row | None:
    tree = parse(page.html)
    skip_by_markup(tree)
    blocks = find_blocks(tree)
    if not blocks.texts:
        return None
    gold = _WORD.findall(page.text.lower())
    joined, grams = f" {' '.join(gold)} ", set(zip(gold, gold[1:], gold[2:], gold[3:], strict=False))
    labels, counts = [], []
    for text in blocks.texts:
        words = _WORD.findall(text.lower())
        counts.append(len(words))
        if len(words) >= 4:
            mine = list(zip(words, words[1:], words[2:], words[3:], strict=False))
            labels.append(sum(g in grams for g in mine) / len(mine))
        else:
            labels.append(float(bool(words) and f" {' '.join(words)} " in joined))
    host = (urlsplit(page.url).hostname or page.set).removeprefix("www.")
    site = ".".join(host.split(".")[-2:])
    return Row(page, site, blocks, np.array(labels), np.array(counts), features(blocks, {}))


def word_masses(rows: list[Row]) -> dict[str, dict[str, tuple[float, float]]]:
    """site -> word -> (mass in content, mass in boilerplate), a page counting once for each word."""
    pages: dict[str, list] = defaultdict(list)
    for row in rows:
        good, bad = defaultdict(float), defaultdict(float)
        elements, names, seen = row.blocks.page.elements, row.blocks.names, {}
        for i, text, label, count in zip(
            row.blocks.elements, row.blocks.texts, row.labels, np.log1p(row.words), strict=True
        ):
            words, j = set(text_words(text)), i
            while j >= 0:
                if names[j]:
                    if j not in seen:
                        seen[j] = class_words(names[j])
                    words.update(seen[j])
                j = elements[j].parent_index
            for word in words:
                good[word] += label * count
                bad[word] += (1 - label) * count
        whole = {w: good[w] + bad[w] + 1e-9 for w in good}
        pages[row.site].append(
            {w: (good[w] / whole[w] * min(1, whole[w] / 10), bad[w] / whole[w] * min(1, whole[w] / 10)) for w in good}
        )
    out = {}
    for site, found in pages.items():
        sums: dict[str, list] = defaultdict(lambda: [0.0, 0.0, 0])
        for page in found:
            for word, (good, bad) in page.items():
                s = sums[word]
                s[0], s[1], s[2] = s[0] + good, s[1] + bad, s[2] + 1
        out[site] = {w: (g / n, b / n) for w, (g, b, n) in sums.items()}
    return out


class Words:
    """Log odds of words over a set of sites, with or without one of them."""

    def __init__(self, masses: dict, sites: set[str]):
        sums: dict[str, list] = defaultdict(lambda: [0.0, 0.0, 0])
        for site in sorted(sites):
            for word, (good, bad) in masses[site].items():
                s = sums[word]
                s[0], s[1], s[2] = s[0] + good, s[1] + bad, s[2] + 1
        self.masses = masses
        self.sums = {w: s for w, s in sorted(sums.items()) if s[2] >= LEAST_SITES}

    def weights(self, without: str | None = None) -> dict[str, float]:
        mine = self.masses.get(without, {}) if without else {}
        out = {}
        for word, (good, bad, sites) in self.sums.items():
            if word in mine:
                if sites - 1 < LEAST_SITES:
                    continue
                good, bad = good - mine[word][0], bad - mine[word][1]
            out[word] = round(float(np.log((good + SMOOTH) / (bad + SMOOTH))), 3)
        return out


def with_words(row: Row, weights: dict[str, float]) -> np.ndarray:
    x = row.base.copy()
    x[:, WORD_COLUMNS] = word_features(row.blocks, weights)
    return x


def fit(x: list[np.ndarray], rows: list[Row], trees: dict) -> HistGradientBoostingClassifier:
    """Every page has the same weight; in it a block has that of the root of its words."""
    weights = [np.sqrt(r.words + 0.3) / np.sqrt((r.words + 0.3).sum()) for r in rows]
    weights = np.concatenate(weights)
    labels = np.concatenate([r.labels > 0.5 for r in rows])
    chooser = HistGradientBoostingClassifier(**trees, random_state=0, early_stopping=False)
    return chooser.fit(np.concatenate(x), labels, sample_weight=weights / weights.mean())


def train(rows: list[Row], masses: dict) -> tuple:
    """(first round, second round, word weights)."""
    rows = sorted(rows, key=lambda r: (r.site, r.page.name))
    words = Words(masses, {r.site for r in rows})
    x, weights, last = [], {}, None
    for row in rows:
        if row.site != last:
            weights, last = words.weights(row.site), row.site
        x.append(with_words(row, weights))
    chances: dict[int, np.ndarray] = {}
    for half in (0, 1):
        inside = [i for i, r in enumerate(rows) if r.page.fold % 2 != half]
        partial = fit([x[i] for i in inside], [rows[i] for i in inside], TREES)
        for i, r in enumerate(rows):
            if r.page.fold % 2 == half:
                chances[i] = partial.predict_proba(x[i])[:, 1]
    first = fit(x, rows, TREES)
    both = [np.hstack([x[i], context_features(r.blocks, chances[i])]) for i, r in enumerate(rows)]
    return first, fit(both, rows, SECOND), words.weights()


def predict(model: tuple, row: Row) -> np.ndarray:
    x = with_words(row, model[2])
    first = model[0].predict_proba(x)[:, 1]
    return model[1].predict_proba(np.hstack([x, context_features(row.blocks, first)]))[:, 1]


def plain(chooser: HistGradientBoostingClassifier) -> dict:
    """The trees as lists; a leaf is its own child."""
    trees = []
    for (predictor,) in chooser._predictors:
        nodes = predictor.nodes
        leaf = nodes["is_leaf"].astype(bool)
        at = np.arange(len(nodes))
        trees.append({
            "feature": np.where(leaf, 0, nodes["feature_idx"]).tolist(),
            "threshold": [float(f"{t:.6g}") for t in np.where(leaf, 0, nodes["num_threshold"])],
            "left": np.where(leaf, at, nodes["left"]).tolist(), "right": np.where(leaf, at, nodes["right"]).tolist(),
            "value": [float(f"{v:.5g}") for v in np.where(leaf, nodes["value"], 0)],
        })  # fmt: skip
    depth = max(int(p.nodes["depth"].max()) for (p,) in chooser._predictors)
    return {"base": float(f"{float(np.ravel(chooser._baseline_prediction)[0]):.6g}"), "depth": depth, "trees": trees}


def write(model: tuple, path: Path) -> None:
    first, second, words = model
    data = {"words": words, "rounds": [plain(first), plain(second)]}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data, separators=(",", ":"), ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=str(ROOT / "openmimo" / "data" / "extract" / "block_model.json"))
    parser.add_argument("--folds", action="store_true")
    parser.add_argument("--no-docs", action="store_true", help="without documentation pages (no docutils)")
    args = parser.parse_args()
    gc.disable()
    pages = magic("article") + magic("forum") + scrapinghub()
    if not args.no_docs:
        from extract_docs import TRAIN, pydoc_pages
        from extract_docs import pages as docs

        for package in (*TRAIN, "pydoc"):
            found = pydoc_pages() if package == "pydoc" else docs((package,), 30)
            for i, page in enumerate(found):
                page.fold, page.url = i % FOLDS, f"https://{package}.example/"
            pages += found
    rows = [r for r in map(row_of, pages) if r is not None]
    masses = word_masses(rows)
    print(f"{len(rows)} pages, {sum(len(r.labels) for r in rows)} blocks", flush=True)
    write(train(rows, masses), Path(args.out))
    if args.folds:
        scores = defaultdict(list)
        for fold in range(FOLDS):
            model = train([r for r in rows if r.page.fold != fold], masses)
            write(model, ROOT / ".bench" / f"block_model.{fold}.json")
            for row in rows:
                if row.page.fold == fold:
                    keep = choose(row.blocks, predict(model, row))
                    scores[row.page.set].append(
                        f1(row.page.text, "\n".join(t for t, k in zip(row.blocks.texts, keep, strict=True) if k))
                    )
            print(fold, {k: round(float(np.mean(v)), 4) for k, v in scores.items()}, flush=True)


if __name__ == "__main__":
    main()
