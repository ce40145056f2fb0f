"""Chats to token ids, for any Hugging Face chat template: markup is control, content is data.

The template is rendered with sentinels in place of contents and cut at them. What the template wrote (the markup) is
encoded with the tokenizer's control tokens; what the messages hold is encoded by a copy of the tokenizer that knows
no added token at all. So no text in a prompt or a response can open or close a turn, whatever it spells.

Every part of a chat is encoded apart from its neighbours. A chat that is cut into the nodes of a tree anywhere
between two messages therefore has the ids of the whole chat.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from jinja2.exceptions import TemplateError
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from constitution.errors import InputError
from critic.engines.base import EngineError
from critic.engines.reasoning import Splitter
from critic.records import Message, Role

_CACHED_PARTS = 4096
_CACHED_PART_CHARACTERS = 16_384
# Llama 3's templates print today's date unless they are given one: then the same request would change overnight.
_DATE = "26 Jul 2024"

Turns = tuple[Role, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens that follow some point of a chat. ``content`` marks those that come from messages, not from markup."""

    ids: tuple[int, ...]
    content: tuple[bool, ...]
    turns: Turns
    """The roles of all turns so far, these included: the last one is still open."""


class Chat:
    """Encodes chats for one tokenizer. Raises `InputError` where the tokenizer has no usable chat template.

    ``padding`` is the id that the model takes for padding: a reward model does not look at it at a chat's end.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, where: str, padding: int | None = None) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise InputError("its tokenizer has no tokenizer.json", where=where, fix="choose a model that has one")
        if not tokenizer.chat_template:
            raise InputError(
                "its tokenizer has no chat template", where=where, fix="choose an instruction-tuned (chat) model"
            )
        self._tokenizer, self._padding = tokenizer, padding
        self._control = frozenset(int(i) for i in tokenizer.added_tokens_decoder)
        self._plain = _without_added_tokens(backend)
        self._splitter = Splitter(tokenizer)
        self._markup = lru_cache(maxsize=_CACHED_PARTS)(self._render_markup)
        self._content = lru_cache(maxsize=_CACHED_PARTS)(self._encode_content)

    def extend(self, turns: Turns, messages: Iterable[Message]) -> Part:
        """Encode ``messages`` as they follow a chat with ``turns``. A message of the last turn's role continues it."""
        ids: list[int] = []
        content: list[bool] = []
        for message in messages:
            if turns[-1:] != (message.role,):
                turns = (*turns, message.role)
                opening = self._markup(turns, "before")
                ids += opening
                content += [False] * len(opening)
            own = self.content(message.content)
            ids += own
            content += [True] * len(own)
        return Part(tuple(ids), tuple(content), turns)

    def opening(self, turns: Turns) -> tuple[int, ...]:
        """Return the tokens after which the assistant speaks: none where its turn is open already."""
        return () if turns[-1:] == ("assistant",) else self._markup(turns, "open")

    def closing(self, turns: Turns) -> tuple[int, ...]:
        """Return the tokens that end a whole chat, as templates write them for training, up to the last that is read.

        transformers' classifiers read at the last token that is not padding, and many templates end with just that.
        """
        ids = self._markup(turns, "after")
        while ids and ids[-1] == self._padding:
            ids = ids[:-1]
        return ids

    def encode(self, messages: Iterable[Message]) -> tuple[int, ...]:
        """Encode a whole chat, up to the point where the assistant speaks."""
        part = self.extend((), messages)
        return part.ids + self.opening(part.turns)

    def content(self, text: str) -> tuple[int, ...]:
        """Encode ``text`` as data: no id of an added token comes out. Raises `EngineError` where it can't."""
        return self._content(text) if len(text) <= _CACHED_PART_CHARACTERS else self._encode_content(text)

    def choice(self, text: str) -> int:
        """Return the one token that ``text`` is. Raises `EngineError` where it is none or several."""
        ids = self.content(text)
        if len(ids) != 1:
            raise EngineError(f"the choice {text!r} is {len(ids)} tokens in this model's vocabulary; it must be one")
        return ids[0]

    def split(self, prompt: Sequence[int], ids: Sequence[int]) -> tuple[str, str | None]:
        """Return the answer in ``ids``, which were written after ``prompt``, and what was thought before it."""
        return self._splitter.split(prompt, ids)

    def thinks(self) -> bool:
        """Whether the model is to think before it answers, as far as its template tells."""
        return self._splitter.thinks(self.encode((Message(role="user", content="Hello"),)))

    def decode(self, ids: list[int]) -> str:
        """Return the text of generated ``ids``, without control tokens."""
        text = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def _render_markup(self, turns: Turns, place: Literal["before", "after", "open"]) -> tuple[int, ...]:
        """Return the markup before the last of ``turns``, after it, or after it up to where the assistant speaks."""
        if not turns:
            raise EngineError("there is nothing to answer: the chat has no message")
        # Many templates print the system message inside the first user turn, so it can't be rendered alone.
        rendered = (*turns, "user") if turns[-1] == "system" and place == "before" else turns
        sentinels = [f"\ue000{i}\ue001" for i in range(len(rendered))]
        chat = [{"role": role, "content": mark} for role, mark in zip(rendered, sentinels, strict=True)]
        try:
            text = self._tokenizer.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=place == "open", date_string=_DATE
            )
        except TemplateError as error:
            raise EngineError(f"the model's chat template refuses the roles {', '.join(turns)}: {error}") from error
        assert isinstance(text, str)
        edges = _edges(text, sentinels)
        start, end = edges[len(turns) - 1] if place == "before" else edges[-1]
        return tuple(self._tokenizer.encode(text[start:end], add_special_tokens=False))

    def _encode_content(self, text: str) -> tuple[int, ...]:
        """Encode ``text``; where a control id comes out all the same (a word of the vocabulary), cut it in two."""
        ids: list[int] = []
        pending = [text]
        while pending:
            piece = pending.pop()
            encoding = self._plain.encode(piece, add_special_tokens=False)
            bad = [span for i, span in zip(encoding.ids, encoding.offsets, strict=True) if i in self._control]
            if not bad:
                ids += encoding.ids
                continue
            if any(end - start < 2 for start, end in bad):
                raise EngineError(f"the model's vocabulary has no token for some of the text {piece[:40]!r}")
            cuts = [0, *((start + end) // 2 for start, end in bad), len(piece)]
            pending += reversed([piece[a:b] for a, b in pairwise(cuts)])
        return tuple(ids)


def _edges(text: str, sentinels: list[str]) -> list[tuple[int, int]]:
    """Return where the markup lies: before each sentinel, and after the last. Each must occur once, in order."""
    edges, start = [], 0
    for mark in sentinels:
        at = text.find(mark, start)
        if at < 0 or text.count(mark) != 1:
            raise EngineError("the model's chat template drops, repeats or reorders messages of this chat")
        edges.append((start, at))
        start = at + len(mark)
    return [*edges, (start, len(text))]


def _without_added_tokens(backend: Tokenizer) -> Tokenizer:
    """Return a copy of ``backend`` that finds no control token in any text and adds none around it."""
    spec = json.loads(backend.to_str())
    spec |= {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
    return Tokenizer.from_str(json.dumps(spec))
