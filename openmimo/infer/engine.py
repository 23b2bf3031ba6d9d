"""Continuous batching over one model: everything that generates text goes through here [R 3.4.2].

    engine = Engine(model, stop_ids=[tokenizer.eos_id]); engine.add(Request(prompt, max_tokens=64, key=("demo",)))
    while engine.busy: events = engine.step()

A step computes some new tokens of many sequences in one pass: the last token of each running response, chunks of
prompts, and guesses of a drafter. What a request gets is a function of the request and the weights alone, to the last
bit, whatever else runs (see cache.py for how).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from openmimo.errors import UserError
from openmimo.infer.batch import Batch, Layout, build
from openmimo.infer.blocks import BlockPool
from openmimo.infer.cache import PagedCache
from openmimo.infer.packed import PackedModel
from openmimo.infer.request import Event, Request, check_length, check_request
from openmimo.infer.sampling import sample, stream_of
from openmimo.infer.schedule import Scheduler
from openmimo.infer.sequence import Sequence
from openmimo.infer.speculative import Settings, settings_of
from openmimo.model.layers import rope_tables
from openmimo.model.transformer import Transformer, token_logprobs

__all__ = ["Engine", "Event", "Request", "check_length", "generate"]

BLOCK = 16  # positions a block
CACHE_BYTES = 1 << 28  # of keys and values, unless the caller says how many tokens


class Drafter(Protocol):
    """Guesses tokens that follow. layers: of keys and values it needs in the cache, after the model's own."""

    layers: int

    def propose(self, batch: Batch, hidden: Tensor, sequences: list[Sequence]) -> None:
        """After a step: may set `draft` of sequences that sampled a token. hidden (N, D): before the final norm, of
        the batch's tokens. The next step scores the guesses; those that are not the sampled tokens are dropped."""

    def attach(self, engine: Engine) -> None:
        """Called once, by the engine it belongs to."""

    def forget(self) -> None:
        """The weights have changed."""

    def count(self, draft: list[int], tokens: list[int]) -> None:
        """A draft was verified: tokens are the main model's in its places, and one more."""

    def verify(self, logits: Tensor, settings: Settings, tokens: Tensor, sequences: list[Sequence]) -> Tensor:
        """The tokens of the wanted places; `tokens` are those that the main model samples."""


class Engine:
    """slots: sequences in one step; tokens: positions that the cache holds (default: 256 MB, at least one request's);
    budget: tokens computed in one step; decode: token ids -> text, needed for stop strings; drafter: see Drafter;
    consume: the model is left without weights, so that they are in memory once."""

    def __init__(
        self,
        model: Transformer,
        stop_ids: list[int],
        slots: int = 256,
        vocab_size: int | None = None,
        *,
        tokens: int | None = None,
        budget: int = 1024,
        prefix_cache: bool = True,
        decode: Callable[[list[int]], str] | None = None,
        drafter: Drafter | None = None,
        consume: bool = False,
    ):
        weight, config = model.lm_head.weight, model.config
        self.config, self.device = config, weight.device
        self.vocab_size = vocab_size or config.vocab_size  # ids beyond the tokenizer's are never sampled
        self.stop_ids, self.decode, self.drafter = frozenset(stop_ids), decode, drafter
        layers = config.layers + (drafter.layers if drafter else 0)
        bytes_a_token = 2 * layers * config.kv_heads * config.head_dim * weight.element_size()
        tokens = tokens or max(min(CACHE_BYTES // bytes_a_token, slots * config.max_length), config.max_length)
        self.pool = BlockPool(-(-tokens // BLOCK), BLOCK)
        self.scheduler = Scheduler(self.pool, slots, budget, config.max_length, prefix_cache)
        self.layout = Layout.of(config, BLOCK, self.device)
        self.cache = PagedCache(config, layers, self.pool.count, BLOCK, weight.dtype, self.device)
        self.packed = PackedModel(config, model.rope_base, weight.dtype, self.device)
        state = model.state_dict()
        if consume:
            for parameter in model.parameters():
                parameter.data = torch.empty(0)
            del weight
        self.packed.load(state, consume)
        self.model = self.packed.model
        self.rope = (torch.empty(0), torch.empty(0))
        self.version, self.next_id = 0, 0
        if drafter:
            drafter.attach(self)

    @property
    def busy(self) -> bool:
        return bool(self.scheduler.running or self.scheduler.waiting)

    def add(self, request: Request) -> int:
        """Queues a request and returns its id. Raises UserError for one that cannot be served."""
        check_request(request, self.config.vocab_size, self.config.max_length)
        need = len(request.prompt) + request.max_tokens - 1
        if need > self.pool.count * BLOCK:
            raise UserError(
                f"request: {need} positions do not fit the engine's cache of {self.pool.count * BLOCK}; "
                "lower max_tokens or give the engine more tokens"
            )
        if request.stop and self.decode is None:
            raise UserError("request: stop strings need an engine with a tokenizer; give Engine(decode=...)")
        self.next_id += 1
        stream = stream_of(request.seed, request.key)
        self.scheduler.waiting.append(Sequence(self.next_id, request, stream, list(request.prompt)))
        return self.next_id

    def abort(self, request_id: int) -> None:
        """Drops a request, waiting or running; no event follows."""
        for s in self.scheduler.running:
            if s.id == request_id:
                self.scheduler.remove(s)
                return
        for s in self.scheduler.waiting:
            if s.id == request_id:
                self.scheduler.waiting.remove(s)
                return

    def update_weights(self, state: dict[str, Tensor], version: int) -> None:
        """New weights between steps, copied from a state dict. Running responses keep their tokens and go on: what the
        cache holds of them is computed again, so each token is what its version samples after the text before it."""
        self._restart()
        self.packed.load(state)
        self.version = version
        if self.drafter:
            self.drafter.forget()

    def _restart(self) -> None:
        """Empties the cache; what ran waits at the front, in order."""
        while self.scheduler.running:
            self.scheduler.preempt(self.scheduler.running[-1])
        self.pool.drop(list(self.pool.keys))

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Computes the scheduler's next chunks and samples where one ends a sequence's tokens; returns the events."""
        if self.pool.pending:  # the step before was interrupted: what it was to compute is not there
            self._restart()
        chunks = self.scheduler.plan()
        if not chunks:
            return []
        batch = build(chunks, self.scheduler.tables, self.layout)
        self.cache.batch = batch
        hidden = self.model(batch.ids[None], batch.positions[None], cache=self.cache, rope=self._rope(batch.positions))
        self.pool.settle()
        sampled = [chunk.sequence for chunk, k in zip(chunks, batch.samples, strict=True) if k]
        tokens, logprobs, tops = self._sample(batch, hidden[0], sampled) if sampled else ([], [], [])
        events, at = [], 0
        for chunk, k in zip(chunks, batch.samples, strict=True):
            s = chunk.sequence
            event = None
            if k:
                if s.draft:
                    self.drafter.count(s.draft, tokens[at : at + k])
                event = self._extend(s, tokens, logprobs, tops, at)
                at += k
            s.draft = []
            self.scheduler.computed(chunk, len(s.tokens) - 1)
            if event:
                events.append(event)
                if event.finish_reason:
                    self.scheduler.remove(s)
        if self.drafter:
            self.drafter.propose(batch, hidden[0], [s for s in sampled if s.row >= 0])
        return events

    def _rope(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Rotary tables of these positions, from tables of all positions so far."""
        if (longest := int(positions.max()) + 1) > len(self.rope[0]):
            every = torch.arange(-(-longest // 512) * 512, device=self.device)
            self.rope = tuple(t[0] for t in rope_tables(every[None], self.config.head_dim, self.model.rope_base))
        return tuple(t.index_select(0, positions)[None] for t in self.rope)

    def _sample(self, batch: Batch, hidden: Tensor, sequences: list[Sequence]) -> tuple[list, list, list]:
        """Tokens, their log-probabilities and alternatives for every wanted position, those after guesses as if the
        guesses were right."""
        count = sum(batch.samples)
        logits = self.model.logits(hidden.index_select(0, batch.wanted))[:count].float()
        owners = [s for s in sequences for _ in range(1 + len(s.draft))]
        places = [s.count + i for s in sequences for i in range(1 + len(s.draft))]
        how, requests = settings_of(self, owners, places), [s.request for s in owners]
        allowed = logits[:, : self.vocab_size]
        tokens = sample(allowed, how.noise(), how.temperature, how.top_k, how.top_p)
        if self.drafter:
            tokens = self.drafter.verify(allowed, how, tokens, sequences)
        tops: list[list[tuple[int, float]]] = []
        if widest := max(r.top_logprobs for r in requests):
            values, ids = logits.log_softmax(dim=-1).topk(widest, dim=-1)
            rows = zip(ids.tolist(), values.tolist(), requests, strict=True)
            tops = [list(zip(i, v, strict=True))[: r.top_logprobs] for i, v, r in rows]
        return tokens.tolist(), token_logprobs(logits, tokens).tolist(), tops

    def _extend(self, s: Sequence, tokens: list[int], logprobs: list[float], tops: list, at: int) -> Event | None:
        """Takes the token sampled at place `at`, and one more for each guess that it equals. The event, if there is
        one."""
        request, reason, stopped_by = s.request, None, None
        last = len(request.prompt) + request.max_tokens
        for i in range(at, at + 1 + len(s.draft)):
            token = tokens[i]
            s.tokens.append(token)
            s.logprobs.append(logprobs[i])
            s.versions.append(self.version)
            if request.top_logprobs:
                s.top_logprobs.append(tops[i])
            if token in self.stop_ids or token in request.stop_ids:
                reason, stopped_by = "stop", token
            elif request.stop and (stopped_by := self._stop_string(s)) is not None:
                reason = "stop"
            elif len(s.tokens) >= last:
                reason = "length"
            if reason or i - at == len(s.draft) or s.draft[i - at] != token:
                break
        if not reason and not s.request.stream:
            return None
        begin, s.sent = s.sent, s.count
        text = s.tokens[len(s.request.prompt) + begin :]
        return Event(s.id, text, s.logprobs[begin:], reason, s.versions[begin:], stopped_by, s.top_logprobs[begin:])

    def _stop_string(self, s: Sequence) -> str | None:
        """The stop string that the response now holds. A string of n bytes lies within its last n tokens and the one
        before, which may end in half a character."""
        window = max(len(text.encode()) for text in s.request.stop) + 4
        text = self.decode(s.tokens[max(len(s.request.prompt), len(s.tokens) - window) :])
        return next((stop for stop in s.request.stop if stop in text), None)


def generate(engine: Engine, requests: list[Request]) -> list[Event]:
    """Runs requests to their end; their final events in the order given. Of a streamed one it is only the last."""
    ids = [engine.add(request) for request in requests]
    done: dict[int, Event] = {}
    while len(done) < len(ids):
        done |= {event.id: event for event in engine.step() if event.finish_reason}
    return [done[i] for i in ids]
