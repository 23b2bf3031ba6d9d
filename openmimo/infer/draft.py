"""Drafting with the MTP layers: after every step each response gets `k` guesses of its next tokens [R 2.2, 3.4.2].

    drafter = MTPDrafter(2); engine = Engine(model, stop_ids, drafter=drafter); drafter.k = 0   # off, at any step

Slot t of block i reads the main model's hidden state at t (`chained`, i > 0: block i - 1's output) and the token at
t + i + 1, known or guessed. The blocks keep keys and values of their own, by slot, in a cache that no two responses
share. What was computed from guesses is computed again from the true tokens before anything attends to it, so rejected
guesses leave no trace. Where the cache has no room there are no guesses: they change the speed, never the text.

Guesses are sampled as the engine samples, with the same noise for the same place (see speculative.py for the choice).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from openmimo.errors import UserError
from openmimo.infer.batch import Batch, build, place
from openmimo.infer.blocks import BlockPool
from openmimo.infer.cache import PagedCache
from openmimo.infer.schedule import Chunk
from openmimo.infer.sequence import Sequence
from openmimo.infer.speculative import Method, Settings, guess, settings_of, verify
from openmimo.model.config import ModelConfig

PIECE = 1024  # slots of one response that are computed at a time, while it catches up


@dataclass(eq=False)
class Slots:
    """A response as the blocks see it. known: tokens it had when it was last computed, so that block i holds true keys
    and values of the slots before known - 1 - i; blocks: where they lie; probs: (k, V) of its guesses, for rejection."""

    known: int = 0
    blocks: list[int] = field(default_factory=list)
    probs: list[Tensor] = field(default_factory=list)


@dataclass
class View:
    """Stands for a sequence when a batch is laid out: `tokens` are those that its slots read."""

    tokens: list[int]
    row: int
    draft: tuple = ()


def check_drafts(config: ModelConfig, k: int, where: str) -> None:
    """Raises UserError where a model cannot draft `k` tokens: `parallel` needs a layer for each, `chained` can run its
    last layer again on its own output."""
    layers = config.mtp_layers
    if k and not layers:
        raise UserError(f"{where}: {k} drafts asked for, but it has no MTP layer; use --mtp 0")
    if k > layers and config.mtp_mode == "parallel":
        raise UserError(
            f"{where}: {k} drafts asked for, it has {layers} MTP layer(s) that draft in parallel; use --mtp {layers}, "
            f"or add layers with `openmimo mtp extend --layers {k}`"
        )


class MTPDrafter:
    """k: guesses a step, at most `most`, may be changed between steps; method: see speculative.py. counts: of the
    guesses that were verified, by position, those drafted and those accepted."""

    layers = 0  # of the engine's own cache

    def __init__(self, k: int, method: Method = "coupled", argmax: bool = False):
        assert k > 0 and method in ("coupled", "rejection")
        self.k = self.most = k
        self.method, self.argmax = method, argmax
        self.drafted, self.accepted = [0] * k, [0] * k
        self.responses: dict[int, Slots] = {}

    @property
    def counts(self) -> dict[str, list[int]]:
        return {"drafted": list(self.drafted), "accepted": list(self.accepted)}

    def attach(self, engine) -> None:
        """Takes its place beside an engine's cache: as many blocks, and room for the hidden states of every place."""
        config, pool = engine.config, engine.pool
        check_drafts(config, self.most, "the model")
        self.engine, self.config = engine, config
        self.pool = BlockPool(pool.count, pool.size)
        self.cache = PagedCache(config, config.mtp_layers, pool.count, pool.size, engine.cache.kv.dtype, engine.device)
        self.hidden = torch.zeros(engine.cache.kv.shape[2], config.hidden_size, dtype=self.cache.kv.dtype, device=engine.device)  # fmt: skip
        self.tables = np.zeros_like(engine.scheduler.tables)

    def forget(self) -> None:
        """The weights have changed: nothing that was computed holds any more."""
        self._keep(set())

    def count(self, draft: list[int], tokens: list[int]) -> None:
        """Takes note of a verification: the guesses, and the tokens that the main model has put in their places."""
        right = True
        for position, guessed in enumerate(draft):
            right = right and guessed == tokens[position]
            self.drafted[position] += 1
            self.accepted[position] += right

    def verify(self, logits: Tensor, settings: Settings, tokens: Tensor, sequences: list[Sequence]) -> Tensor:
        """Tokens (N,) of the wanted places: the sampled ones, or under rejection what takes or replaces each guess."""
        if self.method == "coupled" or not any(s.draft for s in sequences):
            return tokens
        drafts, probs, at = torch.full((len(tokens),), -1), torch.zeros_like(logits), 0
        for s in sequences:
            for i, token in enumerate(s.draft):
                drafts[at + i] = token
                probs[at + i] = self.responses[s.id].probs[i]
            at += 1 + len(s.draft)
        return verify(logits, settings, tokens, drafts.to(tokens.device), probs)

    def propose(self, batch: Batch, hidden: Tensor, sequences: list[Sequence]) -> None:
        """See engine.Drafter."""
        self.hidden.index_copy_(0, batch.slots, hidden[: len(batch.slots)])
        if batch.copies:
            blocks, (to, of) = self.hidden.view(-1, self.pool.size, hidden.shape[1]), batch.copies
            blocks.index_copy_(0, to, blocks.index_select(0, of))
        self._keep({s.id for s in self.engine.scheduler.running})
        k, work = self.k, []
        for s in sequences if k else ():
            own = self.responses.setdefault(s.id, Slots())
            again = max(0, k - self.config.mtp_layers)  # slots that only guesses reach
            fits = len(s.tokens) + k <= self.config.max_length
            if fits and self.pool.reserve(own, len(s.tokens) - 1 + again):
                self.tables[s.row, : len(own.blocks)] = own.blocks
                work.append((s, own))
        for s, own in work:
            self._catch_up(s, own)
        if work:
            self._draft(work, k)

    def _keep(self, ids: set[int]) -> None:
        """Frees the blocks of all other responses."""
        for i in [i for i in self.responses if i not in ids]:
            self.pool.release(self.responses.pop(i).blocks)

    def _catch_up(self, s: Sequence, own: Slots) -> None:
        """Computes slots whose tokens are known, piece by piece, until the rest is a piece or less."""
        depths, chained = self.config.mtp_layers, self.config.mtp_mode == "chained"
        while len(s.tokens) - own.known > PIECE + depths:
            first = max(0, own.known - depths)
            out = None
            for depth in range(depths):
                out, _ = self._run(
                    depth, [View(s.tokens[depth + 1 :], s.row)], [first], [PIECE], [s], out if chained else None
                )
            own.known = first + PIECE + 1

    def _draft(self, work: list[tuple[Sequence, Slots]], k: int) -> None:
        """Sets the k guesses of every sequence. Block i computes from its first slot that is not true yet."""
        sequences = [s for s, _ in work]
        depths, chained = self.config.mtp_layers, self.config.mtp_mode == "chained"
        shared = [max(0, own.known - depths) for _, own in work]
        settings = settings_of(self.engine, sequences, [s.count for s in sequences])
        out, last = None, None
        for _, own in work:
            own.probs = []
        for i in range(k):
            if i < depths:
                depth, views = i, [View(s.tokens[i + 1 :] + s.draft, s.row) for s in sequences]
                starts = shared if chained else [max(0, own.known - 1 - i) for _, own in work]
                counts = [len(s.tokens) - 1 - start for s, start in zip(sequences, starts, strict=True)]
                given = out if chained else None
            else:  # the last block again, one slot further, on its own output
                depth, again = depths - 1, i - depths + 1
                views = [View(s.tokens[depths:] + s.draft, s.row) for s in sequences]
                starts, counts, given = [len(s.tokens) - 2 + again for s in sequences], [1] * len(work), last
            out, batch = self._run(depth, views, starts, counts, sequences, given)
            last = out.index_select(0, batch.wanted)
            logits = self.engine.model.lm_head(last)[: len(work), : self.engine.vocab_size].float()
            tokens, probs = guess(logits, settings.at(i), self.method, self.argmax)
            for n, (s, own) in enumerate(work):
                s.draft.append(int(tokens[n]))
                if probs is not None:
                    own.probs.append(probs[n])
        for s, own in work:
            own.known = len(s.tokens)

    def _run(
        self, depth: int, views: list[View], starts: list[int], counts: list[int], sequences: list[Sequence],
        given: Tensor | None,
    ) -> tuple[Tensor, Batch]:  # fmt: skip
        """Output (N, D) of a block over `counts` slots of each sequence from `starts` on, and how they are laid out.
        given: what the slots read instead of the main model's hidden states."""
        engine = self.engine
        chunks = []
        for view, start, count in zip(views, starts, counts, strict=True):
            view.tokens = view.tokens[: start + count]
            chunks.append(Chunk(view, start, count))
        batch = build(chunks, self.tables, engine.layout)
        if given is None:
            rows = np.repeat([s.row for s in sequences], counts)
            positions = batch.positions[: len(rows)].cpu().numpy()
            places = place(engine.scheduler.tables, rows, positions, self.pool.size)
            padding = len(batch.ids) - len(rows)
            given = self.hidden[torch.from_numpy(np.pad(places, (0, padding))).to(engine.device)]
            given = engine.model.mtp_tap(given)
        self.cache.batch = batch
        rope = engine._rope(batch.positions)
        out = engine.model.mtp(depth, given[None], batch.ids[None], batch.positions[None], None, self.cache, rope)
        return out[0], batch
