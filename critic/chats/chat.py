"""Chats to token ids: the ids of the model's own template's rendering, and no control token out of any content.

A chat is rendered whole and encoded whole (`critic.chats.rendering`, `critic.chats.encoder`). Where a message
spells a control token, as ``<|im_end|>``, it stays text; all else is what ``apply_chat_template`` gives. Only where the
template itself acts on such a string in a way that can't be followed does the rendering differ from the template's.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from transformers import PreTrainedTokenizerBase

from base.errors import InputError
from critic.calls.waiting import log
from critic.chats.encoder import EncodedText, TextEncoder
from critic.chats.reasoning import Splitter
from critic.chats.rendering import MARKUP, Dropped, Owner, Rendering, TemplateTurns, render
from critic.chats.template import Template, Turn
from critic.chats.template_options import NO_OPTIONS, TemplateOptions
from critic.engine import EngineError
from critic.engine_kinds.capabilities import CHATS, DIFFERENT
from critic.records import Message

End = Literal["opened", "continued", "closed"]
"""Where a chat ends: as the assistant is to speak, within its last message, or as a whole."""

_PROBE = (Message(role="user", content="Question"), Message(role="assistant", content="Answer"))
_SYSTEM = Message(role="system", content="System")
_CACHED = 1024


@dataclass(frozen=True, slots=True)
class WholeChat:
    """A chat's tokens, and which of them come from its messages."""

    tokens: EncodedText
    rendering: Rendering
    ids: tuple[int, ...]

    def own(self, first: int) -> list[int]:
        """Return the indices of the tokens that come from the messages from the ``first`` on."""
        places: dict[int, None] = {}
        for start, end, owner in self.rendering.spans:
            if owner // 2 >= first:
                places |= dict.fromkeys(self.tokens.within(start, end))
        return [k for k in places if k < len(self.ids)]


class Chat:
    """Encodes chats for one tokenizer. Raises `InputError` where the tokenizer has no usable chat template.

    ``padding`` is the id that the model takes for padding: a reward model does not look at it at a chat's end.
    ``options`` are for the template: see `critic.chats.template_options`.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        where: str,
        padding: int | None = None,
        options: TemplateOptions = NO_OPTIONS,
    ) -> None:
        self._encoder = TextEncoder(tokenizer, where)
        self._template = Template(tokenizer, where, options)
        self._where, self._padding = where, padding
        self._splitter = Splitter(tokenizer)
        self._said: dict[str, str] = {}
        self._choice = lru_cache(maxsize=_CACHED)(self._find_choice)

    def tell(self, capabilities: dict[str, str]) -> None:
        """Note in ``capabilities``, now and later, that chats were rendered otherwise than the template writes them."""
        capabilities |= self._said
        self._said = capabilities

    def prove(self) -> None:
        """Raise `InputError` where no row could be encoded, because the template takes no chat of ours."""
        try:
            self.encode(_PROBE[:1])
        except EngineError as error:
            raise InputError(
                f"its chat template can't write a user's question: {error}",
                where=self._where,
                fix="choose a model that chats in text; templates that take pictures alone leave text out",
            ) from error

    @cached_property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """What of this chat changes an engine's numbers beside the model: part of the engine's identity."""
        options = {f"template.{name}": json.dumps(value) for name, value in self._template.variables.items()}
        if self._folds_system:
            options["system"] = "in the first user turn"
        return tuple(sorted(options.items()))

    def encode(self, messages: Iterable[Message]) -> tuple[int, ...]:
        """Encode a chat up to the point where the assistant speaks, or goes on where the last message is its own."""
        messages = tuple(messages)
        continued = bool(messages) and messages[-1].role == "assistant"
        return self.whole(messages, "continued" if continued else "opened").ids

    def whole(self, messages: Sequence[Message], end: End, before: WholeChat | None = None) -> WholeChat:
        """Encode a chat. A message of the role before it continues that turn.

        ``before`` is another chat: where both begin alike, that is not encoded twice. A closed chat ends before the
        padding that many templates write at its end. Raises `EngineError` where the template does not take the chat.
        """
        if not messages:
            raise EngineError("there is nothing to answer: the chat has no message")
        rendering = self._render(messages, end == "opened")
        if end == "continued":
            rendering = _cut(rendering, len(messages) - 1)
        if not rendering.exact:
            self._note_difference()
        tokens = self._encoder.encode(rendering, before.tokens if before else None)
        ids = tokens.ids
        while end == "closed" and ids and ids[-1] == self._padding:
            ids = ids[:-1]
        return WholeChat(tokens, rendering, tuple(ids))

    def end_of_turn(self) -> tuple[int, ...]:
        """Return the tokens that the template writes after an answer at a chat's end; none where it writes no end."""
        rendering = self._render(_PROBE, opened=False)
        tokens = self._encoder.encode(rendering)
        last = max(end for _, end, owner in rendering.spans if owner // 2 == 1)
        return tuple(i for i, start in zip(tokens.ids, tokens.starts, strict=True) if start >= last)

    def stop_id(self) -> int | None:
        """Return the token that ends an answer by the template: the first control token after it, if there is one."""
        return next((i for i in self.end_of_turn() if i in self._encoder.control), None)

    def content(self, text: str) -> tuple[int, ...]:
        """Encode ``text`` as data alone: no id of a control token comes out. Raises `EngineError` where it can't."""
        return self._encoder.content(text)

    def choice(self, text: str) -> int:
        """Return the one token that ``text`` is as the assistant's first. Raises `EngineError` where it is not one."""
        return self._choice(text)

    def split(self, prompt: Sequence[int], ids: Sequence[int]) -> tuple[str, str | None]:
        """Return the answer in ``ids``, which were written after ``prompt``, and what was thought before it."""
        return self._splitter.split(prompt, ids)

    def thinks(self) -> bool:
        """Whether the model is to think before it answers, as far as its template tells."""
        return self._splitter.thinks(self.encode(_PROBE[:1]))

    def _note_difference(self) -> None:
        if CHATS not in self._said:
            self._said[CHATS] = DIFFERENT
            log.warning("%s: %s: %s", self._where, CHATS, DIFFERENT)

    def _find_choice(self, text: str) -> int:
        """Find the token in an answer that is ``text``, as it follows what opens the assistant's turn."""
        ids = self.content(text)
        if text and text == text.strip():
            opened = self.encode(_PROBE[:1])
            answered = self.whole((_PROBE[0], Message(role="assistant", content=text)), "continued")
            own = answered.own(1)
            # Else the answer's first letter joins with what opens the turn: then the text alone has to do.
            if own and answered.ids[: own[0]][: len(opened)] == opened:
                ids = tuple(answered.ids[k] for k in own)
        if len(ids) != 1:
            raise EngineError(f"the choice {text!r} is {len(ids)} tokens in this model's vocabulary; it must be one")
        return ids[0]

    def _render(self, messages: Sequence[Message], opened: bool) -> Rendering:
        if self._folds_system:
            return render(self._template, _turns(messages, "first"), opened)
        try:
            return render(self._template, _turns(messages), opened)
        except Dropped as dropped:
            if dropped.role != "system":
                raise
            # Mistral's third writes the system text into the last user turn, and only where no answer follows it.
            return render(self._template, _turns(messages, "last" if self._system_stands_last else "first"), opened)

    @cached_property
    def _folds_system(self) -> bool:
        """Whether the template takes no system message, so that its text stands at the head of the user's turn."""
        if self._takes(_turns((_SYSTEM, _PROBE[0]))):
            return False
        return self._takes(_turns((_SYSTEM, _PROBE[0]), "first"))  # else it takes no question either: see `prove`

    @cached_property
    def _system_stands_last(self) -> bool:
        """Whether the template moves the system text behind the first user turn."""
        try:
            spans = render(self._template, _turns((_SYSTEM, *_PROBE, _PROBE[0])), opened=True).spans
        except EngineError:
            return False
        return spans[0][2] != 0

    def _takes(self, turns: TemplateTurns) -> bool:
        try:
            render(self._template, turns, opened=True)
        except EngineError:
            return False
        return True


def _turns(messages: Sequence[Message], system_in: Literal["first", "last"] | None = None) -> TemplateTurns:
    """Join the messages of each turn; and the system's text, where asked for, with the first or last user turn."""
    numbered = list(enumerate(messages))
    heading: list[tuple[str, Owner]] = []
    if system_in is not None:
        for i, message in numbered:
            if message.role == "system":
                heading += [(message.content, 2 * i), ("\n\n", MARKUP)]
        numbered = [(i, message) for i, message in numbered if message.role != "system"]
    turns: list[Turn] = []
    parts: list[list[tuple[str, Owner]]] = []
    for i, message in numbered:
        if turns and _is_one_turn(turns[-1], message):
            parts[-1].append((message.content, 2 * i))
        else:
            turns.append({"role": message.role} | _tool_fields(message))
            parts.append([(message.content, 2 * i)])
    if heading:
        asked = [place for place, turn in enumerate(turns) if turn["role"] == "user"]
        if asked:
            place = asked[0 if system_in == "first" else -1]
            parts[place] = heading + parts[place]
        else:
            turns.insert(0, {"role": "user"})
            parts.insert(0, heading[:-1])
    return TemplateTurns(tuple(turns), tuple(tuple(part) for part in parts))


def _is_one_turn(turn: Turn, message: Message) -> bool:
    """Whether ``message`` goes on with ``turn``. Tool results and calls are apart: each has its own id."""
    return turn == {"role": message.role} and message.role != "tool" and not _tool_fields(message)


def _tool_fields(message: Message) -> Turn:
    """Return what a tool turn has beside its content, with arguments as objects, as templates expect them."""
    turn = message.tools
    for call in turn.get("tool_calls", ()):
        call["function"]["arguments"] = _object(call["function"]["arguments"])
    return turn


def _object(arguments: str) -> object:
    try:
        value: object = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return value if isinstance(value, dict) else arguments


def _cut(rendering: Rendering, last: int) -> Rendering:
    """Return ``rendering`` up to the end of the last message's content."""
    ends = [end for _, end, owner in rendering.spans if owner == 2 * last]
    if not ends:
        raise EngineError("the model's chat template drops the last message of this chat")
    return rendering.until(max(ends))
