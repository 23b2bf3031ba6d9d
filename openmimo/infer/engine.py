"""Continuous batching over one model: everything that generates text goes through here [R 3.4.2].

    engine = Engine(model, stop_ids=[tokenizer.eos_id]); engine.add(Request(prompt, max_tokens=64, key=("demo",)))
    while engine.busy: events = engine.step()

A prompt that several requests share is prefilled once. Sampling is counter-based (see sampling), so a request's random
numbers depend on (seed, key, position) only.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch

from openmimo.errors import UserError
from openmimo.infer.cache import PrefillCache, SlotCache
from openmimo.infer.sampling import sample, stream_of, uniforms
from openmimo.model.transformer import Transformer, token_logprobs


@dataclass(frozen=True)
class Request:
    """prompt: token ids; key: names the random stream, e.g. (step, task, sample); stream: an event for every token."""

    prompt: tuple[int, ...]
    max_tokens: int
    key: tuple = ()
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    stream: bool = False


@dataclass(frozen=True)
class Event:
    """What a request got: new token ids with their log-probabilities (natural log, unfiltered, temperature 1), and why
    it ended: `stop`, `length`, or None while it runs. Without `stream` there is one event, at the end."""

    id: int
    token_ids: list[int]
    logprobs: list[float]
    finish_reason: str | None
    version: int = 0


@dataclass
class Running:
    """A request in a slot."""

    id: int
    request: Request
    stream: int


class Engine:
    """slots: responses decoded side by side; further requests wait in order."""

    def __init__(self, model: Transformer, stop_ids: list[int], slots: int = 256, vocab_size: int | None = None):
        weight = model.lm_head.weight
        self.model, self.device = model.eval(), weight.device
        self.stop_ids = torch.tensor(stop_ids, device=self.device)
        self.vocab_size = vocab_size or model.config.vocab_size  # ids beyond the tokenizer's are never sampled
        self.cache = SlotCache(model.config, slots, 64, weight.dtype, self.device)
        self.waiting: deque[tuple[int, Request]] = deque()
        self.running: list[Running] = []
        self.slots, self.version, self.next_id = slots, 0, 0
        self._allocate(64)

    def _allocate(self, width: int) -> None:
        """Per-row state. tokens and logprobs: (slots, width) of the response so far."""
        old = getattr(self, "tokens", None)
        tokens = torch.zeros(self.slots, width, dtype=torch.long, device=self.device)
        logprobs = torch.zeros(self.slots, width, device=self.device)
        if old is None:
            state = {"lengths": torch.long, "counts": torch.long, "limits": torch.long, "last": torch.long}
            for name, dtype in state.items():
                setattr(self, name, torch.zeros(self.slots, dtype=dtype, device=self.device))
            self.temperature = torch.ones(self.slots, device=self.device)
            self.top_p = torch.ones(self.slots, device=self.device)
            self.streams = np.zeros(self.slots, dtype=np.uint64)
        else:
            tokens[:, : old.shape[1]], logprobs[:, : old.shape[1]] = old, self.logprobs
        self.tokens, self.logprobs = tokens, logprobs

    @property
    def busy(self) -> bool:
        return bool(self.running or self.waiting)

    def add(self, request: Request) -> int:
        """Queues a request and returns its id. Raises UserError for an empty prompt or one that does not fit."""
        check_length(request.prompt, request.max_tokens, self.model.config.max_length, "request", "max_tokens")
        self.next_id += 1
        self.waiting.append((self.next_id, request))
        return self.next_id

    @torch.inference_mode()
    def abort(self, request_id: int) -> None:
        """Drops a request, waiting or running; no event follows."""
        self.waiting = deque(item for item in self.waiting if item[0] != request_id)
        rows = [row for row, r in enumerate(self.running) if r.id == request_id]
        self._release(rows)

    def update_weights(self, state: dict[str, torch.Tensor], version: int) -> None:
        """New weights between steps. Running responses would mix versions, so there must be none."""
        assert not self.running, "update_weights while responses are running"
        self.model.load_state_dict(state)
        self.version = version

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Starts what fits, then decodes one token of every running response; returns the events."""
        events = self._admit() if self.waiting and len(self.running) < self.slots else []
        if not self.running:
            return events
        n = len(self.running)
        longest = int(self.lengths[:n].max())
        self.cache.grow(-(-(longest + 1) // 64) * 64)
        mask = self.cache.begin(self.lengths[:n], longest)
        hidden = self.model(self.last[:n, None], self.lengths[:n, None], mask, self.cache)
        self.lengths[:n] += 1
        return events + self._sampled(self.model.logits(hidden[:, 0]), list(range(n)))

    def _admit(self) -> list[Event]:
        """Prefills waiting requests into free slots (each distinct prompt once) and samples their first token."""
        first = len(self.running)
        while self.waiting and len(self.running) < self.slots:
            request_id, request = self.waiting.popleft()
            self.running.append(Running(request_id, request, stream_of(request.seed, request.key)))
        new = self.running[first:]
        prompts = list(dict.fromkeys(r.request.prompt for r in new))
        width = max(map(len, prompts))
        ids = torch.tensor([p + (0,) * (width - len(p)) for p in prompts], device=self.device)
        prefill = PrefillCache()
        hidden = self.model(ids, torch.arange(width, device=self.device).expand_as(ids), None, prefill)
        last = torch.tensor([len(p) - 1 for p in prompts], device=self.device)
        logits = self.model.logits(hidden[torch.arange(len(prompts), device=self.device), last])
        place = {prompt: i for i, prompt in enumerate(prompts)}
        sources = torch.tensor([place[r.request.prompt] for r in new], device=self.device)
        rows = torch.arange(first, len(self.running), device=self.device)
        self.cache.grow(-(-(width + 1) // 64) * 64)
        self.cache.insert(prefill, sources, rows, width)
        self._set(rows, last[sources] + 1, new)
        return self._sampled(logits[sources], rows.tolist())

    def _set(self, rows: torch.Tensor, lengths: torch.Tensor, new: list[Running]) -> None:
        requests = [r.request for r in new]
        self.lengths[rows], self.counts[rows] = lengths, 0
        self.limits[rows] = torch.tensor([r.max_tokens for r in requests], device=self.device)
        self.temperature[rows] = torch.tensor([float(r.temperature) for r in requests], device=self.device)
        self.top_p[rows] = torch.tensor([float(r.top_p) for r in requests], device=self.device)
        self.streams[rows.cpu().numpy()] = np.array([r.stream for r in new], dtype=np.uint64)
        if (widest := max(r.max_tokens for r in requests)) > self.tokens.shape[1]:
            self._allocate(widest)

    def _sampled(self, logits: torch.Tensor, rows: list[int]) -> list[Event]:
        """Samples one token for `rows` (a contiguous range), stores it, and releases the rows that ended."""
        at = slice(rows[0], rows[-1] + 1)
        logits = logits.float()
        numbers = torch.from_numpy(uniforms(self.streams[at], self.counts[at].cpu().numpy())).to(self.device)
        tokens = sample(logits[:, : self.vocab_size], numbers, self.temperature[at], self.top_p[at])
        logprobs = token_logprobs(logits, tokens)
        span = torch.arange(rows[0], rows[-1] + 1, device=self.device)
        self.tokens[span, self.counts[at]] = tokens
        self.logprobs[span, self.counts[at]] = logprobs
        self.counts[at] += 1
        self.last[at] = tokens
        stopped = torch.isin(tokens, self.stop_ids)
        ended = stopped | (self.counts[at] >= self.limits[at])
        finished = (ended.nonzero().flatten() + rows[0]).tolist()
        reasons = {row: "stop" if stopped[row - rows[0]] else "length" for row in finished}
        events = [self._event(row, reasons[row]) for row in finished]
        events += [self._event(row, None) for row in rows if self.running[row].request.stream and row not in reasons]
        self._release(finished)
        return events

    def _event(self, row: int, reason: str | None) -> Event:
        running, count = self.running[row], int(self.counts[row])
        begin = count - 1 if running.request.stream else 0
        tokens, logprobs = self.tokens[row, begin:count].tolist(), self.logprobs[row, begin:count].tolist()
        return Event(running.id, tokens, logprobs, reason, self.version)

    def _release(self, rows: list[int]) -> None:
        """Frees rows; the last running ones move into the holes, so that running rows stay the first ones."""
        if not rows:
            return
        keep, gone = len(self.running) - len(rows), set(rows)
        holes = [row for row in rows if row < keep]
        movers = [row for row in range(keep, len(self.running)) if row not in gone]
        if movers:
            source, target = torch.tensor(movers, device=self.device), torch.tensor(holes, device=self.device)
            self.cache.move(source, target, int(self.lengths[source].max()))
            for name in ("lengths", "counts", "limits", "last", "temperature", "top_p", "tokens", "logprobs"):
                values = getattr(self, name)
                values[target] = values[source]
            self.streams[holes] = self.streams[movers]
            for mover, hole in zip(movers, holes, strict=True):
                self.running[hole] = self.running[mover]
        del self.running[keep:]


def check_length(prompt: tuple[int, ...], max_tokens: int, max_length: int, where: str, key: str) -> None:
    """Raises UserError where a prompt and its response cannot fit the model's positions. key: what to lower."""
    if not prompt or max_tokens < 1:
        raise UserError(f"{where}: the prompt and {key} must not be empty; give at least one token each")
    if len(prompt) + max_tokens > max_length:
        raise UserError(
            f"{where}: prompt ({len(prompt)} tokens) + {key} ({max_tokens}) exceeds the model's {max_length} positions; "
            f"{key} may be at most {max(0, max_length - len(prompt))}"
        )


def generate(engine: Engine, requests: list[Request]) -> list[Event]:
    """Runs requests to their end; their final events in the order given."""
    ids = [engine.add(request) for request in requests]
    done: dict[int, Event] = {}
    while len(done) < len(ids):
        done |= {event.id: event for event in engine.step() if event.finish_reason}
    return [done[i] for i in ids]
