"""The steps as datatrove's PipelineSteps: Lego for anybody's datatrove pipeline, and what `openmimo data run` puts together.

    from openmimo.data.pipeline.blocks import Apply, Read, Write     # needs `pip install 'openmimo[data]'`

Between blocks go datatrove's Documents (url, title and source in their metadata), so its own blocks fit in between. A
task is one input file, its rank the file's number. Every file that a block writes appears when it is whole and has the
same bytes whenever it is written again: a task that was killed is simply run again.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.data import Document as Row
from datatrove.pipeline.base import PipelineStep

from openmimo.data.document import Document, in_batches
from openmimo.data.overlap import join
from openmimo.data.overlap.sketch import BANDS, Sketch, key_sketch, load_sketch, near_sketch, save_sketch, text_key
from openmimo.data.overlap.urls import url_key
from openmimo.data.pipeline.files import read_file, whole_file, write_file
from openmimo.data.pipeline.settings import Input
from openmimo.data.pipeline.steps import Function
from openmimo.errors import UserError

PART, PART_CHARACTERS = 50_000, 128 << 20  # documents in a sketch: what a task holds in memory
KEPT, EXACT, NEAR, INDEXED = range(4)
_EVERY_S = 1.0


def to_row(document: Document) -> Row:
    return Row(
        document.text, document.id,
        metadata={"url": document.url, "title": document.title, "source": document.source, **document.meta},
    )  # fmt: skip


def from_row(row: Row) -> Document:
    meta = dict(row.metadata)
    url, title, source = (str(meta.pop(name, "")) for name in ("url", "title", "source"))
    return Document(row.id, url, title, row.text, source, meta)


class Block(PipelineStep):
    """A block that counts: `counts` says what became of the documents of its task, by reason."""

    type = "openmimo"

    def __init__(self, name: str):
        self.name = name
        super().__init__()
        self.counts: Counter = Counter()

    def count(self, counts: Counter) -> None:
        self.counts.update(counts)
        for reason, number in counts.items():
            self.stat_update(reason, value=number)


class Read(Block):
    """The file of this rank. progress: a folder in which a file of this rank's name says how many documents were read."""

    def __init__(self, files: list[str], settings: Input, progress: Path | None = None, name: str = "read"):
        super().__init__(name)
        self.files, self.settings, self.progress = files, settings, progress

    def run(self, data: Iterable[Row] | None = None, rank: int = 0, world_size: int = 1) -> Iterator[Row]:
        if data:
            yield from data
        number, shown, dropped = 0, time.monotonic(), Counter()
        for number, document in enumerate(read_file(self.files[rank], self.settings, dropped), 1):
            yield to_row(document)
            if time.monotonic() - shown > _EVERY_S and self.progress:
                shown = time.monotonic()
                (self.progress / f"{rank:05d}").write_text(str(number))
        self.count(Counter({"documents": number}) + dropped)


class Apply(Block):
    """A function of `steps`, batch by batch."""

    def __init__(self, name: str, function: Function, batch: int = 64):
        super().__init__(name)
        self.function, self.batch = function, batch

    def run(self, data: Iterable[Row], rank: int = 0, world_size: int = 1) -> Iterator[Row]:
        for batch in in_batches(data, self.batch):
            with self.track_time("batch"):
                kept, counts = self.function([from_row(row) for row in batch])
            self.count(counts)
            yield from map(to_row, kept)


class Sketches(Block):
    """Writes the sketches of what passes: a folder RANK-PART for each PART documents."""

    def __init__(self, name: str, kind: str, folder: Path, seed: int = 1):
        super().__init__(name)
        self.kind, self.folder, self.seed = kind, folder, seed

    def run(self, data: Iterable[Row], rank: int = 0, world_size: int = 1) -> Iterator[Row]:
        part: list[Document] = []
        number = characters = 0
        for row in data:
            part.append(from_row(row))
            characters += len(row.text)
            yield row
            if len(part) == PART or characters >= PART_CHARACTERS:
                self._save(part, rank, number)
                part, characters, number = [], 0, number + 1
        self._save(part, rank, number)

    def _save(self, documents: list[Document], rank: int, number: int) -> None:
        target = self.folder / f"{rank:05d}-{number:05d}"
        if target.exists():  # whole, since it was renamed into place
            return
        with self.track_time("part"):
            sketch = self._sketch(documents)
            part = target.with_name(f".{target.name}.{os.getpid()}")
            shutil.rmtree(part, ignore_errors=True)
            save_sketch(part, sketch)
            part.rename(target)

    def _sketch(self, documents: list[Document]) -> Sketch:
        if self.kind == "near":
            return near_sketch(documents, self.seed)
        if self.kind == "text":
            return key_sketch(documents, [text_key(d.text) for d in documents])
        return key_sketch(documents, [self._url(d.url) for d in documents])

    def _url(self, url: str) -> bytes | None:
        if not url.strip():
            self.count(Counter({"without a URL": 1}))
            return None
        try:
            return text_key(url_key(url))
        except UserError:
            self.count(Counter({"malformed URL": 1}))
            return text_key(url.strip())


class Pairs(Block):
    """Task i finds the pairs of near duplicates of band i."""

    def __init__(self, name: str, folders: list[Path], threshold: float, out: Path):
        super().__init__(name)
        self.folders, self.threshold, self.out = folders, threshold, out

    def run(self, data: Any = None, rank: int = 0, world_size: int = BANDS) -> Iterator[Row]:
        sketches, old = load_all(self.folders)
        whole = join.Sketches(sketches, old)
        pairs = join.near_pairs(whole, rank, self.threshold, np.arange(whole.total))
        _save_array(self.out / f"{rank:02d}.npy", pairs)
        return iter(())


class Clusters(Block):
    """Joins the pairs to clusters; for each task of the sketches a file (documents, 2): copies, and what becomes of it."""

    def __init__(self, name: str, kind: str, folders: list[Path], pairs: Path, out: Path):
        super().__init__(name)
        self.kind, self.folders, self.pairs, self.out = kind, folders, pairs, out

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Row]:
        sketches, old = load_all(self.folders)
        if self.kind == "near":
            whole = join.Sketches(sketches, old)
            parent = join.old_clusters(whole)
            for path in sorted(self.pairs.glob("*.npy")):
                join.connect(parent, np.load(path))
            clusters = join.finish(whole, parent)
        else:
            clusters = join.key_clusters(sketches)
        starts = np.concatenate(([0], np.cumsum([len(s["tie"]) for s in sketches])))
        indexed = np.isin(clusters.name, np.unique(clusters.name[: starts[old]])) if old else np.zeros(starts[-1], bool)
        fate = np.where(clusters.stays, KEPT, np.where(indexed, INDEXED, np.where(clusters.repeat, EXACT, NEAR)))
        by_task: dict[str, list[np.ndarray]] = {}
        for folder, begin, end in zip(sketch_folders(self.folders[-1]), starts[old:-1], starts[old + 1 :], strict=True):
            _save_array(folder / "name.npy", clusters.name[begin:end])
            rows = np.stack((clusters.copies[begin:end], fate[begin:end]), axis=1)
            by_task.setdefault(folder.name[:5], []).append(rows)
        for task, parts in by_task.items():
            _save_array(self.out / f"{task}.npy", np.concatenate(parts))
        return iter(())


class Unique(Block):
    """Passes the documents that stay. reasons: what a dropped one is counted as, by its fate."""

    def __init__(self, name: str, folder: Path, reasons: dict[int, str], sizes: bool = True):
        super().__init__(name)
        self.folder, self.reasons, self.sizes = folder, reasons, sizes

    def run(self, data: Iterable[Row], rank: int = 0, world_size: int = 1) -> Iterator[Row]:
        fates = np.load(self.folder / f"{rank:05d}.npy")
        counts: Counter = Counter(kept=0)
        for row, (copies, fate) in zip(data, fates.tolist(), strict=True):
            if fate == KEPT:
                counts["kept"] += 1
                if self.sizes:
                    row.metadata["cluster_size"] = copies
                yield row
            else:
                counts[f"dropped, {self.reasons[fate]}"] += 1
        self.count(counts)


class Write(Block):
    """A file of documents for each rank."""

    def __init__(self, folder: str, ending: str = "jsonl.zst", name: str = "write"):
        super().__init__(name)
        self.folder, self.ending = folder, ending

    def run(self, data: Iterable[Row], rank: int = 0, world_size: int = 1) -> Iterator[Row]:
        path = f"{self.folder}/{rank:05d}.{self.ending}"
        self.count(Counter({"documents": write_file(path, map(from_row, data))}))
        return iter(())


class Account(Block):
    """The last block of a phase: writes what the others counted to FOLDER/RANK.json."""

    def __init__(self, blocks: list[Block], folder: Path):
        super().__init__("account")
        self.blocks, self.folder = blocks, folder

    def run(self, data: Iterable[Row], rank: int = 0, world_size: int = 1) -> Iterator[Row]:
        for _ in data or ():
            pass
        counts = [[block.name, dict(block.counts)] for block in self.blocks]
        with whole_file(str(self.folder / f"{rank:05d}.json")) as out:
            out.write(json.dumps(counts).encode())
        return iter(())


def sketch_folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name[:1].isdigit())


def load_all(folders: list[Path]) -> tuple[list[Sketch], int]:
    """(sketches of all folders, how many are of an index: of all folders but the last)."""
    sketches = [[load_sketch(p) for p in sketch_folders(folder)] for folder in folders]
    return [s for some in sketches for s in some], sum(map(len, sketches[:-1]))


def _save_array(path: Path, array: np.ndarray) -> None:
    with whole_file(str(path)) as out:
        np.save(out, array)
