"""Documents as token ids, drawn by a mix and packed into rows [R 2.1, 2.3].

    store = TokenStore("runs/smoke/tokens/shards"); batches = PackedBatches(store, seed=0)
    batch = batches.next(rows=32, length=128, mix={"code": 0.4, "math": 0.6}, stage="stage1")

A row holds several documents, masked from each other by their segment numbers. The source of each document is the one
that lags most behind its share, so the mix is met to within a document; a source's documents come in a seeded order
that is new in every epoch. State is small and JSON-able: a run that resumes draws the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmimo.errors import UserError


@dataclass(frozen=True)
class Batch:
    """ids, labels, segments, positions: int64 (rows, length). labels are the next token of the same document, -100
    where there is none or where no loss is wanted; segment 0 is padding."""

    ids: np.ndarray
    labels: np.ndarray
    segments: np.ndarray
    positions: np.ndarray


class TokenStore:
    """Memory-mapped token ids by source: `NAME.ids.npy` (uint32), `NAME.docs.npy` (documents, 2): where each document
    begins and the offset inside it from which the loss counts. `TokenStore.write` makes one."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        names = sorted(p.name.removesuffix(".ids.npy") for p in self.folder.glob("*.ids.npy"))
        if not names:
            raise UserError(f"{folder}: no token files there; run the data stage again")
        self.ids = {n: np.load(self.folder / f"{n}.ids.npy", mmap_mode="r") for n in names}
        self.docs = {n: np.load(self.folder / f"{n}.docs.npy") for n in names}

    @classmethod
    def of(cls, sources: dict[str, list[tuple[list[int], int]]]) -> TokenStore:
        """A store in memory: source -> [(ids, index of the first id that is a target of the loss)]."""
        store = cls.__new__(cls)
        store.folder = Path("memory")
        arrays = {name: _arrays(documents) for name, documents in sources.items()}
        store.ids = {name: ids for name, (ids, _) in arrays.items()}
        store.docs = {name: docs for name, (_, docs) in arrays.items()}
        return store

    @staticmethod
    def write(folder: Path, name: str, documents: list[tuple[list[int], int]]) -> int:
        """Writes one source; documents as in `of`. Returns the number of tokens."""
        folder.mkdir(parents=True, exist_ok=True)
        ids, docs = _arrays(documents)
        np.save(folder / f"{name}.ids.npy", ids)
        np.save(folder / f"{name}.docs.npy", docs)
        return len(ids)

    @staticmethod
    def merge(folder: Path, name: str, parts: list[Path]) -> int:
        """Writes one source from the stores in `parts`, one after the other, without holding it in memory."""
        folder.mkdir(parents=True, exist_ok=True)
        docs, total = [], 0
        for part in parts:
            own = np.load(part / f"{name}.docs.npy")
            docs.append(own[:-1] + [total, 0])
            total += int(own[-1][0])
        docs.append(np.array([[total, 0]]))
        target = folder / f"{name}.ids.npy.part"
        out = np.lib.format.open_memmap(target, mode="w+", dtype=np.uint32, shape=(total,))
        for part, own in zip(parts, docs, strict=False):
            ids = np.load(part / f"{name}.ids.npy", mmap_mode="r")
            out[own[0][0] : own[0][0] + len(ids)] = ids
        out.flush()
        np.save(folder / f"{name}.docs.npy", np.concatenate(docs))
        target.rename(folder / f"{name}.ids.npy")
        return total

    def tokens(self, name: str) -> int:
        return len(self.ids[name])

    def document(self, name: str, index: int) -> tuple[np.ndarray, int]:
        """(ids, first target) of a document."""
        start, answer = self.docs[name][index]
        return self.ids[name][start : self.docs[name][index + 1][0]], int(answer)


def _arrays(documents: list[tuple[list[int], int]]) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(ids) for ids, _ in documents], dtype=np.int64)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    answers = np.array([start for _, start in documents] + [0], dtype=np.int64)
    flat = np.fromiter((i for ids, _ in documents for i in ids), dtype=np.uint32, count=int(starts[-1]))
    return flat, np.stack((starts, answers), axis=1)


class PackedBatches:
    """Draws documents by the mix and packs them; `state` and `restore` make it resumable; `ledger` counts the tokens
    drawn in each stage, `consumed` says what is in the batches so far."""

    def __init__(self, store: TokenStore, seed: int):
        self.store, self.seed = store, seed
        self.cursor = {name: [0, 0, 0] for name in store.ids}  # epoch, place in the epoch's order, offset in document
        self.carry: list[list] = []  # pieces drawn but not yet placed: [source, document, begin, end]
        self.ledger: dict[str, dict[str, int]] = {}  # stage -> source -> tokens
        self._orders: dict[str, tuple[int, np.ndarray]] = {}

    def state(self) -> dict:
        return {"cursor": self.cursor, "carry": self.carry, "ledger": self.ledger}

    def restore(self, state: dict) -> None:
        self.cursor, self.carry, self.ledger = state["cursor"], state["carry"], state["ledger"]

    def drawn(self, name: str) -> int:
        """Tokens of a source drawn so far: where its cursor stands says it."""
        epoch, place, offset = self.cursor[name]
        starts = self.store.docs[name][:, 0]
        this_epoch = np.diff(starts)[self._order(name, epoch)[:place]].sum() if len(starts) > 1 else 0
        return int(epoch * self.store.tokens(name) + this_epoch + offset)

    def consumed(self) -> dict[str, dict[str, float]]:
        """Source -> tokens in the batches so far (drawn, and not waiting), size of the source, epochs. A function of the
        sampler's state alone: nothing is counted along the way."""
        found = {}
        for name in self.store.ids:
            tokens = self.drawn(name) - sum(end - begin for n, _, begin, end in self.carry if n == name)
            size = self.store.tokens(name)
            found[name] = {"tokens": tokens, "size": size, "epochs": tokens / size if size else 0.0}
        return found

    def next(self, rows: int, length: int, mix: dict[str, float], stage: str) -> Batch:
        """The next batch: best-fit packing of the documents drawn."""
        return self._fill(self.place(rows, length, mix, stage), rows, length)

    def place(self, rows: int, length: int, mix: dict[str, float], stage: str) -> list[list]:
        """What the rows of the next batch hold, as pieces [source, document, begin, end], without reading a token."""
        counts = self.ledger.setdefault(stage, dict.fromkeys(mix, 0))
        free, placed, waiting = [length] * rows, [[] for _ in range(rows)], []
        pieces = (
            (n, d, at, min(at + length, end)) for n, d, begin, end in self.carry for at in range(begin, end, length)
        )
        queue, misses = list(map(list, pieces)), 0  # a shorter length than before cuts what waits
        self.carry = []
        while misses < 8 and sum(free) > rows:
            piece = queue.pop(0) if queue else self._draw(mix, counts, length)
            size = piece[3] - piece[2]
            fits = [(space, row) for row, space in enumerate(free) if space >= size]
            if not fits:
                waiting.append(piece)
                misses += 1
                continue
            _, row = min(fits)
            free[row] -= size
            placed[row].append(piece)
        self.carry = waiting + queue
        return placed

    def _draw(self, mix: dict[str, float], counts: dict[str, int], length: int) -> list:
        """One piece (at most `length` tokens) of the source that lags most behind its share."""
        name = min((n for n in mix if mix[n] > 0), key=lambda n: (counts.get(n, 0) / mix[n], n))
        if name not in self.store.ids or len(self.store.docs[name]) < 2:
            raise UserError(f"{self.store.folder}: the mix asks for source {name!r}, which is empty; change the mix")
        epoch, place, offset = self.cursor[name]
        document = int(self._order(name, epoch)[place])
        ids, _ = self.store.document(name, document)
        end = min(len(ids), offset + length)
        if end < len(ids):
            self.cursor[name] = [epoch, place, end]
        else:
            last = place + 2 == len(self.store.docs[name])
            self.cursor[name] = [epoch + 1, 0, 0] if last else [epoch, place + 1, 0]
        counts[name] = counts.get(name, 0) + end - offset
        return [name, document, offset, end]

    def _order(self, name: str, epoch: int) -> np.ndarray:
        if self._orders.get(name, (None,))[0] != epoch:
            key = [self.seed, epoch, *name.encode()]
            self._orders[name] = epoch, np.random.default_rng(key).permutation(len(self.store.docs[name]) - 1)
        return self._orders[name][1]

    def _fill(self, placed: list[list], rows: int, length: int) -> Batch:
        ids = np.zeros((rows, length), dtype=np.int64)
        labels = np.full((rows, length), -100, dtype=np.int64)
        segments, positions = np.zeros_like(ids), np.zeros_like(ids)
        for row, pieces in enumerate(placed):
            at = 0
            for number, (name, document, begin, end) in enumerate(pieces, 1):
                tokens, answer = self.store.document(name, document)
                size = end - begin
                ids[row, at : at + size] = tokens[begin:end]
                segments[row, at : at + size] = number
                positions[row, at : at + size] = np.arange(size)
                first = max(0, answer - begin - 1)  # the position whose next token is the first target
                if first < size - 1:
                    labels[row, at + first : at + size - 1] = tokens[begin + first + 1 : end]
                at += size
        return Batch(ids, labels, segments, positions)
