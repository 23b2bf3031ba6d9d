"""Byte-level BPE trained on the corpus, digits split singly, ChatML special tokens [R 2.1]; and chat templates.

    from openmimo.model.tokenizer import Tokenizer
    Tokenizer.load("runs/smoke/base").encode_chat([{"role": "user", "content": "2 + 2 ="}])

Saved as a standard `tokenizer.json` + `tokenizer_config.json` with the chat template inside, so transformers and the
serving engines read it. Any HF folder that has a tokenizer.json loads; its own chat template is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from openmimo.errors import UserError
from openmimo.model.config import SPECIAL_TOKENS

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Words as Qwen2's tokenizer cuts them, digits singly: engines that see model_type qwen2 cut text this way whatever
# tokenizer.json says, so the ids agree everywhere.
QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
REASONING_TAGS = ("<think>", "</think>")  # one token each, and text to the decoder


def train_bpe(texts: Iterable[str], vocab_size: int, folder: Path) -> None:
    """Trains the tokenizer and writes its files into `folder`. Deterministic for the same texts in the same order."""
    from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Core

    core = Core(models.BPE())
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(REASONING_TAGS),
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in REASONING_TAGS])
    folder.mkdir(parents=True, exist_ok=True)
    core.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def read_json(path: Path) -> dict:
    """The object in a file of the tokenizer. Raises UserError for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error}); copy the checkpoint again") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a JSON object; copy the checkpoint again")
    return value


class Tokenizer:
    """Text <-> ids, chat -> ids. `eos_id` ends a turn, `document_id` ends a document."""

    def __init__(self, core, config: dict, where: str):
        self.core = core
        self.where = where
        self.template = config.get("chat_template") or CHAT_TEMPLATE
        self.eos_id = self._token(config.get("eos_token"), "<|im_end|>", "</s>", "<|endoftext|>")
        self.document_id = self._token("<|endoftext|>", config.get("pad_token"), config.get("eos_token"), "</s>")
        self.texts = {name: _text(config.get(name)) for name in ("bos_token", "eos_token")}
        self.vocab_size = core.get_vocab_size()

    @classmethod
    def load(cls, folder: str | Path) -> Tokenizer:
        """Reads tokenizer.json and tokenizer_config.json of an HF folder."""
        from tokenizers import Tokenizer as Core

        folder = Path(folder)
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise UserError(f"{folder}: no tokenizer.json there; give a checkpoint folder with its tokenizer")
        try:
            core = Core.from_file(str(path))
        except Exception as error:  # the library raises bare Exception for any damage
            raise UserError(f"{path}: not a tokenizer ({error}); copy the checkpoint again") from None
        config_path, config = folder / "tokenizer_config.json", {}
        if config_path.is_file():
            config = read_json(config_path)
        if (folder / "chat_template.jinja").is_file():
            config["chat_template"] = (folder / "chat_template.jinja").read_text()
        return cls(core, config, str(path))

    def _token(self, *candidates) -> int:
        for candidate in candidates:
            if (name := _text(candidate)) and (number := self.core.token_to_id(name)) is not None:
                return number
        raise UserError(f"{self.where}: no end token among {candidates}; set eos_token in tokenizer_config.json")

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; special tokens written in the text are recognised, none is added."""
        return self.core.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Ids of many texts, on several threads."""
        return [e.ids for e in self.core.encode_batch(texts, add_special_tokens=False)]

    def encode_offsets(self, texts: list[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """For each text its ids and their (begin, end) in characters."""
        return [(e.ids, e.offsets) for e in self.core.encode_batch(texts, add_special_tokens=False)]

    def decode(self, ids: list[int]) -> str:
        """Text of ids, special tokens left out."""
        return self.core.decode(ids, skip_special_tokens=True)

    def render_chat(self, messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The chat template's text. Raises UserError where the template refuses the messages."""
        try:
            return _template(self.template).render(
                messages=messages, add_generation_prompt=add_generation_prompt, **self.texts
            )
        except jinja2.TemplateError as error:
            raise UserError(f"{self.where}: the chat template refuses these messages ({error})") from None

    def encode_chat(self, messages: list[dict[str, str]]) -> list[int]:
        """Ids of a prompt, up to where the assistant begins to speak."""
        return self.encode(self.render_chat(messages))


def _text(token: str | dict | None) -> str:
    """A token of tokenizer_config.json as text; it may be written as an object."""
    return (token.get("content") if isinstance(token, dict) else token) or ""


@lru_cache(maxsize=8)
def _template(text: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _refuse
    return environment.from_string(text)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)
