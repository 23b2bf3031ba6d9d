"""A small student of labels: a linear model over hashed words and letters, trained in seconds on a CPU [R 2.1].

    openmimo data tag pages.jsonl --labels labels.jsonl --student student.npz     # trains, and reports on a fifth held out

A page becomes counts of hashed words, pairs of words and runs of four bytes (so that layout, code and formulas show)
and a few numbers of its shape; one linear layer gives every head of the rubric its logits. Probabilities are scaled by
a temperature fitted on a part of the training pages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from openmimo.data.overlap.hashes import mixed, ngrams
from openmimo.data.overlap.words import words_of
from openmimo.data.tags.rubric import Head, Rubric
from openmimo.errors import UserError

BITS = 17  # of the table of features
READ = 8_000  # characters of a page that are read: its first half and its last
_BATCH, _STEPS = 256, 150  # pages a step; fewer where there are few, so that there are that many steps
_SHAPE = 12


@dataclass
class Features:
    """Of some pages: hashed features with weights (each page's have norm 1), and numbers of the shape (pages, 12)."""

    index: np.ndarray
    weight: np.ndarray
    first: np.ndarray
    shape: np.ndarray

    def take(self, pages: np.ndarray) -> Features:
        counts = np.diff(self.first)[pages]
        at = (
            np.concatenate([np.arange(self.first[p], self.first[p + 1]) for p in pages])
            if len(pages)
            else np.zeros(0, int)
        )
        return Features(self.index[at], self.weight[at], np.concatenate([[0], np.cumsum(counts)]), self.shape[pages])


def features(texts: Sequence[str]) -> Features:
    """Features of any number of texts, a few at a time."""
    parts = [_features(texts[i : i + 64]) for i in range(0, len(texts), 64)] or [_features([])]
    firsts, offset = [np.zeros(1, np.int64)], 0
    for part in parts:
        firsts.append(part.first[1:] + offset)
        offset += part.first[-1]
    return Features(np.concatenate([p.index for p in parts]), np.concatenate([p.weight for p in parts]), np.concatenate(firsts),
                    np.concatenate([p.shape for p in parts]))  # fmt: skip


def _features(texts: Sequence[str]) -> Features:
    texts = [t if len(t) <= READ else t[: READ // 2] + "\n" + t[-READ // 2 :] for t in texts]
    words = words_of(texts)
    owner = np.repeat(np.arange(len(texts)), np.diff(words.first))
    pairs = ngrams(words.hash, 2)
    inside = words.inside(np.arange(len(pairs)), 2)
    raw = [t.replace("\0", " ").encode("utf-8", "replace") for t in texts]
    data = np.frombuffer(b"\0".join([*raw, b"\0" * 8]), np.uint8)
    lengths = np.array([len(r) for r in raw], np.int64)
    begin = np.concatenate([[0], np.cumsum(lengths + 1)])[:-1].astype(np.int64)
    four = np.ndarray((max(0, len(data) - 3),), "<u4", data, strides=(1,)).astype(np.uint64)
    owner4 = np.repeat(np.arange(len(texts)), np.maximum(lengths - 3, 0))
    place4 = np.concatenate(
        [np.arange(b, b + max(n - 3, 0)) for b, n in zip(begin, lengths, strict=True)] or [np.zeros(0, int)]
    )
    with np.errstate(over="ignore"):
        runs = mixed(four[place4] + np.uint64(0x9E3779B97F4A7C15))
    hashes = np.concatenate([words.hash, pairs[inside], runs])
    owners = np.concatenate([owner, owner[: len(pairs)][inside], owner4]).astype(np.uint64)
    keys, counts = np.unique(owners << np.uint64(BITS) | hashes >> np.uint64(64 - BITS), return_counts=True)
    page = (keys >> np.uint64(BITS)).astype(np.int64)
    weight = np.log1p(counts)
    norm = np.sqrt(np.bincount(page, weight**2, len(texts)))
    first = np.searchsorted(page, np.arange(len(texts) + 1))
    index = (keys & np.uint64((1 << BITS) - 1)).astype(np.int64)
    shape = np.array([_shape(r) for r in raw]).reshape(len(texts), _SHAPE)
    return Features(index, (weight / np.maximum(norm[page], 1e-9)).astype(np.float32), first, shape.astype(np.float32))


_CLASSES = [
    b"0123456789",
    bytes(range(65, 91)),
    b" ",
    b"\n",
    b"{}[]();",
    b"\\$^_",
    b"=<>+-*/",
    b".,!?",
    b"|#`",
    b"\"':",
]


def _shape(text: bytes) -> list[float]:
    """The log of its length, words a line, and how much of it is digits, capitals, blanks, lines, brackets, LaTeX, ..."""
    size = max(1, len(text))
    shares = [np.sqrt((size - len(text.translate(None, members))) / size) for members in _CLASSES]
    return [np.log1p(len(text)) / 10, np.log1p(len(text.split()) / (1 + text.count(b"\n"))) / 3, *shares]


class Student:
    """Weights (features + shape + 1, outputs) for the heads of a rubric, and a temperature a head."""

    def __init__(self, heads: Sequence[Head], table: torch.Tensor, dense: torch.Tensor, temperature: dict[str, float]):
        self.heads, self.table, self.dense, self.temperature = tuple(heads), table, dense, temperature

    def logits(self, found: Features) -> torch.Tensor:
        """(pages, outputs)."""
        offsets = torch.from_numpy(found.first[:-1].copy())
        bag = F.embedding_bag(torch.from_numpy(found.index), self.table, offsets, mode="sum",
                              per_sample_weights=torch.from_numpy(found.weight)) if len(found.index) else 0  # fmt: skip
        shape = torch.from_numpy(found.shape)
        return bag + torch.cat([shape, torch.ones(len(shape), 1)], 1) @ self.dense

    @torch.no_grad()
    def probabilities(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Head -> (pages, values)."""
        logits, at, found = self.logits(features(texts)), 0, {}
        for head in self.heads:
            mine = logits[:, at : at + len(head.values)] / self.temperature.get(head.name, 1.0)
            found[head.name] = torch.softmax(mine, 1).numpy()
            at += len(head.values)
        return found

    def tag(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """For each page and head the likeliest value; of scales the expected one, to two decimals."""
        found = self.probabilities(texts)
        rows: list[dict[str, Any]] = [{} for _ in texts]
        for head in self.heads:
            chances = found[head.name]
            values = np.round(chances @ np.arange(6), 2).tolist() if head.kind == "scale" else [head.values[i] for i in chances.argmax(1)]  # fmt: skip
            for row, value in zip(rows, values, strict=True):
                row[head.name] = value
        return rows

    def save(self, path: str | Path) -> None:
        """One .npz file."""
        heads = [{"name": h.name, "kind": h.kind, "values": list(h.values), "question": h.question} for h in self.heads]
        meta = json.dumps({"heads": heads, "temperature": self.temperature, "bits": BITS})
        path = Path(path)
        part = path.with_name(path.name + ".part")
        with part.open("wb") as out:
            np.savez_compressed(out, table=self.table.half().numpy(), dense=self.dense.numpy(), meta=np.array(meta))
        part.replace(path)

    @staticmethod
    def load(path: str | Path) -> Student:
        try:
            with np.load(path) as data:
                meta = json.loads(str(data["meta"]))
                table, dense = torch.from_numpy(data["table"]).float(), torch.from_numpy(data["dense"])
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; train a student by `openmimo data tag --labels`") from None
        except (ValueError, KeyError, OSError) as error:
            raise UserError(
                f"{path}: not a student ({str(error)[:80]}); train one by `openmimo data tag --labels`"
            ) from None
        heads = [Head(h["name"], h["kind"], tuple(h["values"]), h["question"]) for h in meta["heads"]]
        return Student(heads, table, dense, meta["temperature"])


def train(
    texts: Sequence[str],
    labels: Sequence[dict[str, Any]],
    rubric: Rubric,
    seed: int = 0,
    epochs: int = 30,
    lr: float = 0.02,
) -> Student:
    """A student of labelled pages. labels: head -> value; a head that a page has no label for is left out there, and
    one that no page has is no head of the student's. A tenth of the pages sets the temperatures."""
    heads = [h for h in rubric.heads if sum(row.get(h.name) is not None for row in labels) > 0]
    if not heads or len(texts) < 10:
        raise UserError(f"student: {len(texts)} labelled pages are too few to learn from; give 10 or more")
    found = features(texts)
    used, found.index = np.unique(found.index, return_inverse=True)  # what no page has keeps the weight 0
    targets = {
        h.name: np.array([h.values.index(r[h.name]) if r.get(h.name) is not None else -100 for r in labels])
        for h in heads
    }
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(texts), generator=generator).numpy()
    aside, learn = order[: len(texts) // 10], order[len(texts) // 10 :]
    outputs = sum(len(h.values) for h in heads)
    table = torch.zeros(len(used), outputs, requires_grad=True)
    dense = torch.zeros(_SHAPE + 1, outputs, requires_grad=True)
    student = Student(heads, table, dense, {})
    optimiser = torch.optim.Adam([{"params": [table], "lr": lr}, {"params": [dense], "lr": 5 * lr}])
    rates, size = [group["lr"] for group in optimiser.param_groups], min(_BATCH, max(16, len(learn) * epochs // _STEPS))
    for epoch in range(epochs):
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - epoch / epochs)
        mix = learn[torch.randperm(len(learn), generator=generator).numpy()]
        for start in range(0, len(mix), size):
            pages = mix[start : start + size]
            loss = _loss(student, found.take(pages), {n: t[pages] for n, t in targets.items()})
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    student.table, student.dense = table.detach(), dense.detach()
    _set_temperatures(student, found.take(aside), {n: t[aside] for n, t in targets.items()})
    student.table = torch.zeros(1 << BITS, outputs).index_copy(0, torch.from_numpy(used), student.table)
    return student


def _loss(student: Student, found: Features, targets: dict[str, np.ndarray]) -> torch.Tensor:
    """Mean cross-entropy of each head over the pages that have its label, summed over heads."""
    logits, at, total = student.logits(found), 0, 0.0
    for head in student.heads:
        target = torch.from_numpy(targets[head.name])
        if (target >= 0).any():
            total = total + F.cross_entropy(logits[:, at : at + len(head.values)], target, ignore_index=-100)
        at += len(head.values)
    return total


@torch.no_grad()
def _set_temperatures(student: Student, found: Features, targets: dict[str, np.ndarray]) -> None:
    """For each head the temperature under which the pages set aside are likeliest."""
    logits, at = student.logits(found), 0
    for head in student.heads:
        target, mine = torch.from_numpy(targets[head.name]), logits[:, at : at + len(head.values)]
        at += len(head.values)
        if (target >= 0).sum() >= 10:
            grid = [2.0 ** (k / 4) for k in range(-8, 13)]
            losses = [float(F.cross_entropy(mine / t, target, ignore_index=-100)) for t in grid]
            student.temperature[head.name] = grid[int(np.argmin(losses))]
