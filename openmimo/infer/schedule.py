"""Which sequences compute how many tokens in the next step: first come, first served, within a budget. Imports no torch.

Running sequences go first, so a long prompt is cut into chunks beside them and they never wait for it. Where blocks run
out, the youngest running sequence is pre-empted: its blocks leave the prefix cache [R 3.4.2], it waits at the front,
and its tokens are computed again later.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from openmimo.infer.blocks import BlockPool
from openmimo.infer.sequence import Sequence


@dataclass(slots=True, eq=False)
class Chunk:
    """`count` tokens of a sequence, from position `start` on. copies: its blocks (first, last + 1) whose keys and values
    are those that `source`, an equal prompt in the same step, computes."""

    sequence: Sequence
    start: int
    count: int
    source: Chunk | None = None
    copies: tuple[int, int] = (0, 0)

    @property
    def samples(self) -> int:
        """Logits wanted: one, and one more for each guess, if this chunk reaches the end of the tokens."""
        guesses = len(self.sequence.draft)
        return 1 + guesses if self.start + self.count == len(self.sequence.tokens) + guesses else 0


class Scheduler:
    """tables: (slots, blocks a sequence) block numbers, a line for each running sequence."""

    def __init__(self, pool: BlockPool, slots: int, budget: int, max_length: int, prefix_cache: bool):
        self.pool, self.slots, self.budget, self.prefix_cache = pool, slots, budget, prefix_cache
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # oldest first
        self.tables = np.zeros((slots, -(-max_length // pool.size)), dtype=np.int64)
        self.rows = list(range(slots - 1, -1, -1))
        self.preemptions = 0

    def plan(self) -> list[Chunk]:
        """The next step's chunks; blocks for them are reserved."""
        chunks, left = [], self.budget
        before = self.preemptions
        for s in list(self.running):
            todo = s.todo
            count = todo if todo < left else left
            if s.row < 0 or not count:  # pre-empted just now, or no budget left
                continue
            while not self._reserve(s, s.computed + count):
                if s.draft:  # guesses are worth no pre-emption
                    s.draft = []
                    count = min(s.todo, left)
                    continue
                self.preempt(self.running[-1])
                if s.row < 0:
                    break
            else:
                chunks.append(Chunk(s, s.computed, count))
                left -= count
        while self.preemptions == before and self.waiting and self.rows and left > 0:
            chunk = self._admit(self.waiting[0], left, chunks[-1] if chunks else None)
            if chunk is None:
                break
            chunks.append(chunk)
            left -= chunk.count
        chunks.sort(key=lambda chunk: (chunk.count > 1, chunk.start))  # attention takes those of one length together
        return chunks

    def _admit(self, s: Sequence, left: int, before: Chunk | None) -> Chunk | None:
        """Starts the first waiting sequence; None where its blocks are not free."""
        if self.prefix_cache:
            self.pool.match(s)
        source, start, copies = None, s.computed, (0, 0)
        twin = before and (before.source or before)
        if self.prefix_cache and twin and twin.sequence.tokens == s.tokens and twin.samples:
            if max(twin.start, s.computed) < len(s.tokens) - 1 and twin.start <= s.computed:
                source, start = twin, len(s.tokens) - 1
                copies = (s.computed // self.pool.size, -(-start // self.pool.size))
        count = min(len(s.tokens) - start, left)
        s.row = self.rows[-1]
        if not self._reserve(s, start + count):
            self._vacate(s)
            return None
        self.rows.pop()
        self.running.append(self.waiting.popleft())
        if self.prefix_cache:
            self.pool.enter(s, start + count, self.pool.pending)
        return Chunk(s, start, count, source, copies)

    def _reserve(self, s: Sequence, length: int) -> bool:
        if length <= len(s.blocks) * self.pool.size:
            return True
        if not self.pool.reserve(s, length):
            return False
        self.tables[s.row, : len(s.blocks)] = s.blocks
        return True

    def computed(self, chunk: Chunk, tokens: int) -> None:
        """The cache now holds the chunk; of its guesses only those within the first `tokens` tokens stay. The next
        step writes over the rest, which no query can see until then."""
        s = chunk.sequence
        s.computed = min(chunk.start + chunk.count, tokens)
        if self.prefix_cache and s.computed >= (s.indexed + 1) * self.pool.size:
            self.pool.enter(s, s.computed, self.pool.index)

    def preempt(self, s: Sequence) -> None:
        """Back to the front of the queue, without its blocks, which leave the prefix cache."""
        self.pool.drop(s.blocks)
        self.remove(s)
        self.waiting.appendleft(s)
        self.preemptions += 1

    def remove(self, s: Sequence) -> None:
        """Frees a running sequence's line and blocks."""
        self.running.remove(s)
        self.rows.append(s.row)
        self._vacate(s)

    def _vacate(self, s: Sequence) -> None:
        self.pool.release(s.blocks)
        self.tables[s.row] = 0
        s.blocks, s.draft, s.computed, s.row, s.chain, s.indexed = [], [], 0, -1, 0, 0
