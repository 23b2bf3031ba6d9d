"""A pipeline as phases: what one pass over the files can do, up to where a step needs to have seen all documents.

Deduplication ends a phase: the documents and their sketches are written, the sketches joined (near duplicates in a task for
each band), and the next phase begins with the documents that stay. A phase's folder is named by a hash of the input and
of all steps up to it, so that a changed step redoes what depends on it and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from datatrove.pipeline.base import PipelineStep

from openmimo.data.overlap.sketch import BANDS
from openmimo.data.pipeline import settings as s
from openmimo.data.pipeline.blocks import (
    EXACT,
    INDEXED,
    NEAR,
    Account,
    Apply,
    Clusters,
    Pairs,
    Read,
    Sketches,
    Unique,
    Write,
)
from openmimo.data.pipeline.files import is_local
from openmimo.data.pipeline.steps import batch_of, function_of
from openmimo.errors import UserError

KINDS = {s.UrlDedup: "url", s.ExactDedup: "text", s.NearDedup: "near"}


@dataclass(frozen=True)
class Phase:
    """blocks: datatrove steps, carried out for ranks 0..tasks-1. folder: logs, counts, progress."""

    name: str
    title: str
    blocks: list[PipelineStep]
    tasks: int
    folder: Path


class Builder:
    """`phases` is the pipeline's; `key` names it: the input's files and every step; `index`: the last near-dedup's sketches."""

    def __init__(self, pipeline: s.Pipeline, files: list[str], work: Path):
        self.work, self.files, self.phases = work, files, []
        self.key = _hash(pipeline.input.model_dump_json(), *map(_stamp, files))
        self.blocks: list = []
        self.last: list[Phase] = []
        self.index: Path | None = None
        self.begin = Read(files, pipeline.input)
        for number, step in enumerate(pipeline.steps, 1):
            self.key = _hash(self.key, step.title, step.model_dump_json(), *_read_by(step))
            name = f"{number} {step.title}"
            if type(step) in KINDS:
                self._deduplicate(step, name)
            elif isinstance(step, s.Pack):
                self._pack(step, name, pipeline.output)
            else:
                self.blocks.append(Apply(name, function_of(step), batch_of(step)))
        self.key = _hash(self.key, pipeline.output.format)
        write = Write(f"{pipeline.output.folder}/documents", pipeline.output.format)
        self._phase("documents", [write], len(files))
        self.phases += self.last

    def _phase(self, title: str, end: list, tasks: int, folder: Path | None = None) -> Path:
        folder = folder or self._folder(title)
        blocks = [self.begin, *self.blocks, *end]
        if isinstance(self.begin, Read):
            self.begin.progress = folder / "progress"
        counted = [b for b in blocks if not isinstance(b, Read) or b.name == "read"]
        self.phases.append(Phase(folder.name, title, [*blocks, Account(counted, folder / "counts")], tasks, folder))
        return folder

    def _folder(self, title: str) -> Path:
        return self.work / f"{len(self.phases):02d}-{re.sub('[^a-z]+', '-', title.lower()).strip('-')}-{self.key[:8]}"

    def _alone(self, title: str, block, tasks: int) -> Phase:
        folder = self._folder(title)
        return Phase(folder.name, title, [block, Account([block], folder / "counts")], tasks, folder)

    def _deduplicate(self, step: s.Step, name: str) -> None:
        kind, folder = KINDS[type(step)], self._folder(name[2:])
        old = [Path(p) for p in getattr(step, "index", ())]
        sketches, documents, pairs, clusters = (folder / n for n in ("sketches", "documents", "pairs", "clusters"))
        self._phase(f"{name}: keys", [Sketches(name, kind, sketches, getattr(step, "seed", 1)), Write(str(documents), name="between")], len(self.files), folder)  # fmt: skip
        folders = [*old, sketches]
        if kind == "near":
            self.phases.append(self._alone(f"{name}: pairs", Pairs(name, folders, step.threshold, pairs), BANDS))
        self.phases.append(self._alone(f"{name}: clusters", Clusters(name, kind, folders, pairs, clusters), 1))
        files = [str(documents / f"{rank:05d}.jsonl.zst") for rank in range(len(self.files))]
        self.begin = Read(files, s.Input(files=files), name="between")
        reasons = {EXACT: "exact copy", NEAR: "near copy", INDEXED: "in the index"}
        if kind == "url":
            reasons = dict.fromkeys(reasons, "same URL")
        self.blocks = [Unique(name, clusters, reasons, sizes=kind != "url")]
        if kind == "near":
            self.index = sketches

    def _pack(self, step: s.Pack, name: str, output: s.Output) -> None:
        from openmimo.data.pipeline.pack import Merge, Tokens

        if not is_local(output.folder):
            raise UserError(f"output.folder {output.folder}: pack writes memory-mapped shards; give a local folder")
        folder = self.work / f"{len(self.phases):02d}-tokens-{self.key[:8]}"
        self.blocks.append(Tokens(name, step.tokenizer, step.by, folder / "tokens"))
        merge = Merge(name, folder / "tokens", Path(output.folder) / "shards")
        merged = folder.with_name(folder.name.replace("tokens", "shards"))
        self.last = [Phase(merged.name, "shards", [merge, Account([merge], merged / "counts")], 1, merged)]


def _read_by(step: s.Step) -> list[str]:
    """What a step reads beside its settings, so that a changed file is a changed step."""
    from openmimo.data.pipeline.files import list_files

    if isinstance(step, s.Decontaminate):
        return [_stamp(path) for path in list_files(step.against)]
    if isinstance(step, s.NearDedup):
        for path in map(Path, step.index):
            if not path.is_dir() or not any(path.glob("*/name.npy")):
                raise UserError(
                    f"near-dedup: index {path}: no such index; give a folder index/near-dedup of a finished run"
                )
        return [_stamp(str(p)) for path in map(Path, step.index) for p in sorted(path.glob("*/name.npy"))]
    if isinstance(step, s.Pack):
        path = Path(step.tokenizer) / "tokenizer.json"
        if not path.is_file():
            raise UserError(f"pack: tokenizer {step.tokenizer}: no tokenizer.json there; give a folder that has one")
        return [_stamp(str(path))]
    return []


def _stamp(path: str) -> str:
    """A file's name, size and time of change; of a remote one its name."""
    if not is_local(path):
        return path
    found = os.stat(path.removeprefix("file://"))
    return f"{path} {found.st_size} {found.st_mtime_ns}"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
