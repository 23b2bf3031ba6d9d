"""Runs in .bench/datatrove: verdicts of datatrove's heuristic filters, and a fasttext classifier, on bench/tag.py's pages.

    .bench/datatrove/bin/python bench/peers/tag_peer.py IN.jsonl OUT.json

The filters see two texts of each page: the one given, and trafilatura's of the HTML, as FineWeb's pipeline has it.
"""

import json
import os
import sys
import tempfile
import time

import fasttext
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from trafilatura import extract

FILTERS = {"fineweb": FineWebQualityFilter(), "gopher quality": GopherQualityFilter(), "gopher repetition": GopherRepetitionFilter(),
           "c4": C4QualityFilter(filter_no_terminal_punct=False)}  # fmt: skip


def verdicts(text):
    """Filter -> whether it keeps the text."""
    found = {}
    for name, rule in FILTERS.items():
        kept = rule.filter(Document(text=text, id="0"))
        found[name] = bool(kept[0] if isinstance(kept, tuple) else kept)
    return found


def line(text):
    return " ".join(text.split())[:8000]


rows = [json.loads(row) for row in open(sys.argv[1])]
out = {"filters": {}, "fasttext": {}}
for row in rows:
    if row["side"] == "test":
        seen = {"given": row["text"]}
        if row["html"] is not None:
            seen["trafilatura"] = (
                extract(row["html"], favor_precision=True, include_comments=False, deduplicate=True) or ""
            )
        out["filters"][row["id"]] = {
            kind: verdicts(text) if text else dict.fromkeys(FILTERS, False) for kind, text in seen.items()
        }
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "train.txt")
    with open(path, "w") as file:
        for row in rows:
            if row["side"] == "train":
                file.write(f"__label__{row['label']} {line(row['text'])}\n")
    began = time.perf_counter()
    model = fasttext.train_supervised(
        path, dim=64, wordNgrams=2, epoch=25, lr=0.5, thread=1, seed=0, verbose=0, bucket=200_000
    )
    out["fasttext_train_s"] = time.perf_counter() - began
began = time.perf_counter()
for row in rows:
    if row["side"] == "test":
        ((_, label),) = model.f.predict(line(row["text"]) + "\n", 1, 0.0, "strict")
        out["fasttext"][row["id"]] = label.removeprefix("__label__")
out["fasttext_predict_s"] = time.perf_counter() - began
json.dump(out, open(sys.argv[2], "w"))
