"""A conversation in the terminal shows what the engine gives, token by token."""

import io
import re
from types import SimpleNamespace

import pytest
from miniature import CONFIG, checkpoint_folder
from rich.console import Console

from openmimo.infer.chat import answer, chat
from openmimo.infer.engine import Engine, Event, Request, generate
from openmimo.model.hub import load_checkpoint
from openmimo.model.tokenizer import Tokenizer

QUESTION = "What is 2 + 2?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint_folder(tmp_path_factory.mktemp("chat") / "model")


def console_of(width: int = 20) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=width), out


def engines_text(folder, seed: int, limit: int) -> str:
    tokenizer = Tokenizer.load(folder)
    engine = Engine(load_checkpoint(folder), [tokenizer.eos_id], 1, tokenizer.vocab_size)
    prompt = tuple(tokenizer.encode_chat([{"role": "user", "content": QUESTION}]))
    (event,) = generate(engine, [Request(prompt, limit, ("chat",), 0.6, 0.95, seed)])
    return tokenizer.decode(event.token_ids)


class Scripted:
    """An engine that says the given ids, `size` an event."""

    def __init__(self, ids: list[int], size: int = 1):
        self.ids, self.size, self.model = list(ids), size, SimpleNamespace(config=CONFIG)

    busy = property(lambda self: bool(self.ids))

    def add(self, request: Request) -> int:
        self.request = request
        return 1

    def step(self) -> list[Event]:
        now, self.ids = self.ids[: self.size], self.ids[self.size :]
        return [Event(1, now, [0.0] * len(now), None if self.ids else "stop")]


@pytest.mark.parametrize("seed", range(6))
def test_the_stream_is_the_engines_text(folder, seed):
    """Characters of a random model: halves of characters, and a cut in the middle of one."""
    console, out = console_of()
    chat(folder, QUESTION, 0.6, 20, seed, console)
    text = engines_text(folder, seed, 20)
    assert text and visible(out.getvalue()) == visible(text + "\n")


def visible(text: str) -> str:
    """What rich leaves of control characters; tabs are spaces."""
    return re.sub("[ \t]+", " ", re.sub("[\x07\x08\x0b\x0c\r]", "", text))


TEXTS = [
    "<think>\n2 + 2 = 4\n</think>\n\\boxed{4}",
    "def f(xs):\n    return xs[:x:] + [/red] [bold]",
    "d = {'a':smile:1}  \n\n\n  naïve ∑ 数学 🙂",
    "one long line that is far wider than the console is, and must not be broken by it",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("left_out", [0, 1])
def test_text_is_shown_verbatim(folder, text, left_out):
    """No markup, no emoji codes, no line breaks of ours, whether the tokens come one by one or many at once."""
    tokenizer = Tokenizer.load(folder)
    ids = tokenizer.encode(text)[: -left_out or None]
    for size in (1, 1000):
        console, out = console_of()
        assert answer(Scripted(ids, size), tokenizer, QUESTION, 0.6, 50, 0, console) == tokenizer.decode(ids)
        assert out.getvalue() == tokenizer.decode(ids) + "\n"


def test_half_a_character_at_the_end_is_shown(folder):
    tokenizer = Tokenizer.load(folder)
    console, out = console_of()
    assert answer(Scripted(tokenizer.encode("a 数")[:-1]), tokenizer, QUESTION, 0.6, 50, 0, console) == "a \ufffd"
    assert out.getvalue() == "a \ufffd\n"


def test_the_answer_fits_behind_the_question(folder):
    tokenizer, engine = Tokenizer.load(folder), Scripted([5])
    answer(engine, tokenizer, QUESTION, 0.0, 10_000, 4, console_of()[0])
    prompt = tuple(tokenizer.encode_chat([{"role": "user", "content": QUESTION}]))
    assert engine.request == Request(prompt, CONFIG.max_length - len(prompt), ("chat",), 0.0, 0.95, seed=4, stream=True)


@pytest.mark.parametrize("end", ["", EOFError()])
def test_a_conversation_ends_with_an_empty_line_or_the_end_of_input(folder, monkeypatch, end):
    console, out = console_of()
    lines = ["What is 1 + 1?", "What is 1 + 1?", end]

    def read(*_):
        line = lines.pop(0)
        if isinstance(line, EOFError):
            raise line
        return line

    monkeypatch.setattr(console, "input", read)
    chat(folder, None, 1.5, 8, 0, console)
    assert lines == []
    hint, *answers = out.getvalue().split("ends.\n")
    assert "Ask it a problem" in hint and answers[0].count("\n") >= 2
