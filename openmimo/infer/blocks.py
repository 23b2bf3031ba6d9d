"""Who owns which block of the paged key-value cache, and the prefix cache over them. Imports no torch.

A full block is named by its own 16 tokens and by the name of the block before it, so a name stands for all tokens from
the start. The index is a dictionary with (name before, tokens) as keys: hashed to find, compared on a hit.
A block that nobody holds any more stays in the index until its room is needed, the least recently used first.
"""

from __future__ import annotations

from collections import OrderedDict

from openmimo.infer.sequence import Sequence

Key = tuple[int, tuple[int, ...]]  # name of the block before (0: none), the tokens of this one


class BlockPool:
    """Blocks 1..count; block 0 belongs to nobody and fills the unused ends of block tables."""

    def __init__(self, count: int, size: int):
        self.count, self.size = count, size
        self.holders = [0] * (count + 1)
        self.blank = list(range(count, 0, -1))  # free and not in the index; the lowest number is on top
        self.spare: OrderedDict[int, None] = OrderedDict()  # free, and in the index
        self.index: dict[Key, int] = {}
        self.pending: dict[Key, int] = {}  # what this step computes: others may share it in the same step
        self.keys: dict[int, Key] = {}  # of blocks in the index or pending
        self.names: dict[int, int] = {}
        self.last_name = 0

    @property
    def free(self) -> int:
        return len(self.blank) + len(self.spare)

    def take(self) -> int:
        """A free block, now held once; from the index only where no other is free."""
        if self.blank:
            block = self.blank.pop()
        else:
            block, _ = self.spare.popitem(last=False)
            self._forget(block)
        self.holders[block] = 1
        return block

    def hold(self, block: int) -> None:
        """One more holder of a block that the index or another sequence has."""
        if not self.holders[block]:
            del self.spare[block]
        self.holders[block] += 1

    def release(self, blocks: list[int]) -> None:
        """Gives up a sequence's blocks; its last ones will be the first to be reused."""
        for block in reversed(blocks):
            self.holders[block] -= 1
            assert self.holders[block] >= 0, "a block was released twice"
            if not self.holders[block]:
                if block in self.keys:
                    self.spare[block] = None
                else:
                    self.blank.append(block)

    def reserve(self, sequence: Sequence, length: int) -> bool:
        """Gives the sequence blocks for `length` positions; False, and nothing changes, where they are not free."""
        missing = -(-length // self.size) - len(sequence.blocks)
        if missing > self.free:
            return False
        sequence.blocks += [self.take() for _ in range(missing)]
        return True

    def match(self, sequence: Sequence) -> None:
        """Lets a sequence without blocks hold the longest indexed prefix of its tokens, in full blocks, at least one
        token short of all: the last one is computed, for its logits."""
        tokens, size = sequence.tokens, self.size
        for start in range(0, len(tokens) - size, size):
            key = (sequence.chain, tuple(tokens[start : start + size]))
            block = self.index.get(key) or self.pending.get(key)
            if block is None:
                break
            self.hold(block)
            sequence.blocks.append(block)
            sequence.chain, sequence.indexed = self.names[block], sequence.indexed + 1
        sequence.computed = len(sequence.blocks) * size

    def enter(self, sequence: Sequence, length: int, index: dict[Key, int]) -> None:
        """Enters the sequence's full blocks within its first `length` tokens. Equal content keeps one name."""
        for n in range(sequence.indexed, length // self.size):
            key = (sequence.chain, tuple(sequence.tokens[n * self.size : (n + 1) * self.size]))
            known = self.index.get(key) or self.pending.get(key)
            if known is None:
                known = sequence.blocks[n]
                index[key] = known
                self.last_name += 1
                self.keys[known], self.names[known] = key, self.last_name
            sequence.chain, sequence.indexed = self.names[known], n + 1

    def settle(self) -> None:
        """What was pending has been computed."""
        self.index |= self.pending
        self.pending.clear()

    def drop(self, blocks: list[int]) -> None:
        """Takes blocks out of the index, whoever holds them."""
        for block in blocks:
            if block in self.keys:
                self._forget(block)
                if block in self.spare:
                    del self.spare[block]
                    self.blank.append(block)

    def _forget(self, block: int) -> None:
        key = self.keys.pop(block)
        del self.names[block]
        self.index.pop(key, None)
        self.pending.pop(key, None)
