"""The step pack: documents -> token ids by source, the memory-mapped shards that pre-training draws its mix from.

Each task writes the tokens of its file; one more task puts them together in the files' order, see `data/pack.py`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from datatrove.data import Document as Row

from openmimo.data.pack import TokenStore
from openmimo.data.pipeline.blocks import Block
from openmimo.errors import UserError
from openmimo.model.tokenizer import Tokenizer

_BATCH = 256


class Tokens(Block):
    """Token ids of a rank's documents, a document end after each, in FOLDER/RANK/SOURCE.ids.npy and .docs.npy."""

    def __init__(self, name: str, tokenizer: str, by: str, folder: Path):
        super().__init__(name)
        self.tokenizer, self.by, self.folder = tokenizer, by, folder

    def run(self, data: Iterable[Row], rank: int = 0, world_size: int = 1) -> Iterator[Row]:
        tokenizer = Tokenizer.load(self.tokenizer)
        sources: dict[str, list[np.ndarray]] = {}
        batch: list[Row] = []

        def encode():
            for row, ids in zip(batch, tokenizer.encode_batch([r.text for r in batch]), strict=True):
                found = np.array([*ids, tokenizer.document_id], np.uint32)
                sources.setdefault(self._source(row), []).append(found)
            batch.clear()

        for row in data:
            batch.append(row)
            if len(batch) == _BATCH:
                encode()
            yield row
        encode()
        part, target = self.folder / f".{rank:05d}.{os.getpid()}", self.folder / f"{rank:05d}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name, documents in sorted(sources.items()):
            starts = np.concatenate(([0], np.cumsum([len(ids) for ids in documents])))
            np.save(part / f"{name}.ids.npy", np.concatenate(documents))
            np.save(part / f"{name}.docs.npy", np.stack((starts, np.zeros_like(starts)), axis=1))
            self.count(Counter({f"tokens, {name}": int(starts[-1])}))
        if target.exists():
            shutil.rmtree(part)
        else:
            part.rename(target)

    def _source(self, row: Row) -> str:
        tags = row.metadata.get("tags")
        name = tags.get(self.by) if isinstance(tags, dict) else None
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
            raise UserError(f"pack: document {row.id!r} has no tag {self.by!r} that can name a source; tag it before")
        return name


class Merge(Block):
    """One store of all tasks' tokens, source by source."""

    def __init__(self, name: str, folder: Path, out: Path):
        super().__init__(name)
        self.folder, self.out = folder, out

    def run(self, data: Iterable[Row] | None = None, rank: int = 0, world_size: int = 1) -> Iterator[Row]:
        tasks = sorted(p for p in self.folder.iterdir() if p.name[0] != ".")
        names = sorted({p.name.removesuffix(".ids.npy") for task in tasks for p in task.glob("*.ids.npy")})
        for name in names:
            TokenStore.merge(self.out, name, [task for task in tasks if (task / f"{name}.ids.npy").exists()])
        return iter(())
