"""A conversation in the terminal: reasoning and answer streamed as they are sampled."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from openmimo.errors import UserError
from openmimo.infer.engine import Engine, Request
from openmimo.model.hub import load_checkpoint
from openmimo.model.tokenizer import Tokenizer


def chat(checkpoint: Path, ask: str | None, temperature: float, max_tokens: int, seed: int, console: Console) -> None:
    """One answer with `ask`, else questions until an empty line or Ctrl-D. Every question stands alone."""
    tokenizer = Tokenizer.load(checkpoint)
    engine = Engine(
        load_checkpoint(checkpoint), [tokenizer.eos_id], slots=1, vocab_size=tokenizer.vocab_size, consume=True
    )
    if ask is not None:
        answer(engine, tokenizer, ask, temperature, max_tokens, seed, console)
        return
    console.print("Ask it a problem of the kinds it was trained on; an empty line ends.", style="dim")
    turn = 0
    while True:
        try:
            question = console.input("[bold]> [/]").strip()
        except EOFError:
            return
        if not question:
            return
        answer(engine, tokenizer, question, temperature, max_tokens, seed + turn, console)
        turn += 1


def answer(
    engine: Engine, tokenizer: Tokenizer, question: str, temperature: float, limit: int, seed: int, console: Console
) -> str:
    """Streams one answer and returns its text."""
    prompt = tuple(tokenizer.encode_chat([{"role": "user", "content": question}]))
    room = engine.model.config.max_length - len(prompt)
    if room < 1:
        raise UserError(f"chat: the question has {len(prompt)} tokens, all that the model can hold; ask a shorter one")
    limit = min(limit, room)
    engine.add(Request(prompt, limit, ("chat",), temperature, 0.95, seed, stream=True))
    ids: list[int] = []
    shown = ""
    while engine.busy:
        for event in engine.step():
            ids += event.token_ids
            text = tokenizer.decode(ids)
            if event.finish_reason or not text.endswith("\ufffd"):  # half of a character waits for the other half
                rest = text[len(shown) :]
                console.print(rest, end="", style="cyan", highlight=False, markup=False, emoji=False, soft_wrap=True)
                shown = text
    console.print()
    return shown
