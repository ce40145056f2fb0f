"""What a chat template writes, and which of its characters come from the messages.

Whether a control string in the text is markup or a message's own can't be seen in the text. So the chat is rendered
again with marks in the messages, which no template looks at:

1. Marks stand around each content (around its white space, or inside of it where the template trims). Where all
   else comes out as before, what stands between two marks is content: true of nearly all chats.
2. A template may look into contents, as for ``</think>`` in earlier answers. Then every character of the contents has
   a stand-in, except white space and the strings that the template knows, which have marks around them.
3. Where that does not give the template's own text either, all strings in the contents are hidden from the template.
   The text is then another than the template's own, and `Rendering.exact` is False.

Stand-ins and marks are characters of Unicode's private planes that occur neither in the template nor in the messages.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from critic.chats.template import Template, Turn
from critic.engine import EngineError

# Templates print these otherwise than they stand in a message where they write JSON.
_KEPT = frozenset('"\\')
_PRIVATE = range(0xF0000, 0x10FFFE)
# What a mark before and after a string stands for, with the string itself behind it.
_OPEN, _CLOSE = "(", ")"
_FIRST = chr(_PRIVATE.start)

Owner = int
"""Whose a character is: 2i for the content of part i, 2i + 1 for its tool calls."""
MARKUP: Owner = -1


@dataclass(frozen=True, slots=True)
class TemplateTurns:
    """Messages as the template gets them: each content in parts, each with its owner."""

    turns: tuple[Turn, ...]
    parts: tuple[tuple[tuple[str, Owner], ...], ...]

    def with_contents(self, contents: Sequence[str]) -> list[Turn]:
        """Return the turns with other contents."""
        return [turn | {"content": content} for turn, content in zip(self.turns, contents, strict=True)]

    @property
    def contents(self) -> list[str]:
        """The content of each turn, its parts joined."""
        contents = []
        for parts in self.parts:
            contents.append("".join(text for text, _ in parts))
        return contents


@dataclass(frozen=True, slots=True)
class Rendering:
    """The text, and ``spans`` of it that come from messages: (start, end, owner), in order, white space among them.

    ``exact`` says whether it is what the template itself writes.
    """

    text: str
    spans: tuple[tuple[int, int, Owner], ...]
    exact: bool = True

    def until(self, end: int) -> "Rendering":
        """Return the text up to ``end``."""
        spans = tuple((a, min(b, end), owner) for a, b, owner in self.spans if a <= end)
        return Rendering(self.text[:end], spans, self.exact)


class Dropped(EngineError):
    """The template leaves out what a turn of ``role`` says."""

    def __init__(self, role: str) -> None:
        super().__init__(f"the model's chat template drops what {role!r} says in this chat")
        self.role = role


def render(template: Template, turns: TemplateTurns, opened: bool) -> Rendering:
    """Render a chat. Raises `critic.chats.template.TemplateRefusal` where the template refuses it, `EngineError` where
    it leaves a message out."""
    contents = turns.contents
    plain = template.render(turns.with_contents(contents), opened)
    if not any(turn.keys() - {"role", "content"} for turn in turns.turns):
        for trimmed in (False, True):
            if spans := _between_marks(template, turns, opened, plain, trimmed):
                return Rendering(plain, tuple(spans))
    return _stood_in(template, turns, opened, plain)


def _between_marks(
    template: Template, turns: TemplateTurns, opened: bool, plain: str, trimmed: bool
) -> list[tuple[int, int, Owner]] | None:
    """Return the contents' spans in ``plain``, or None where marks around them don't tell."""
    contents = turns.contents
    open_mark, close_mark = islice(_unused(template, contents), 2)
    before = [len(text) - len(text.lstrip()) if trimmed else 0 for text in contents]
    cores = [text.strip() if trimmed else text for text in contents]
    if trimmed and cores == contents:
        return None  # they were tried already
    marked = []
    for text, core, start in zip(contents, cores, before, strict=True):
        marked.append(f"{text[:start]}{open_mark}{core}{close_mark}{text[start + len(core) :]}")
    rendered = template.render(turns.with_contents(marked), opened)
    if rendered.count(open_mark) != len(contents) or rendered.count(close_mark) != len(contents):
        return None
    pieces = re.split(f"[{open_mark}{close_mark}]", rendered)
    if "".join(pieces) != plain:
        return None
    order = _order(pieces[1::2], cores)
    if order is None:
        return None
    spans: list[tuple[int, int, Owner]] = []
    for place, turn in enumerate(order):
        start = sum(map(len, pieces[: 2 * place + 1]))
        spans += _parts(turns.parts[turn], start - before[turn], start, start + len(cores[turn]))
    return spans


def _order(rendered: list[str], cores: list[str]) -> list[int] | None:
    """Return which turn's content each of ``rendered`` is: in order, or with one of them moved back, as systems are."""
    if rendered == cores:
        return list(range(len(cores)))
    for moved in range(len(cores)):
        others = [i for i in range(len(cores)) if i != moved]
        for place in range(len(cores)):
            order = [*others[:place], moved, *others[place:]]
            if [cores[i] for i in order] == rendered:
                return order
    return None


def _parts(parts: tuple[tuple[str, Owner], ...], at: int, first: int, last: int) -> Iterator[tuple[int, int, Owner]]:
    """Yield the spans of a turn's parts, whose content begins ``at``, within its characters ``first`` to ``last``."""
    for text, owner in parts:
        end = at + len(text)
        if owner != MARKUP:
            start = min(max(at, first), last)
            yield start, max(start, min(end, last)), owner
        at = end


def _stood_in(template: Template, turns: TemplateTurns, opened: bool, plain: str) -> Rendering:
    """Find the contents by stand-ins for their characters: see 2 and 3 in the module's docstring."""
    contents = turns.contents

    def is_there(text: str) -> bool:
        return any(text in content for content in contents)

    known = [text for text in template.strings if is_there(text)]
    disguise = _Disguise(template, turns, known)
    hidden = _Disguise(template, turns, [])
    hidden_text, hidden_owners = hidden.undo(template.render(hidden.turns, opened))
    _refuse_losses(turns, set(hidden_owners))
    text, owners = disguise.undo(template.render(disguise.turns, opened))
    # The marks can keep white space from being trimmed; characters are what decides.
    if _solid(text) == _solid(plain):
        moved = iter([owner for char, owner in zip(text, owners, strict=True) if not char.isspace()])
        labels = [MARKUP if char.isspace() else next(moved) for char in plain]
        return Rendering(plain, tuple(_spans(plain, labels)))
    return Rendering(hidden_text, tuple(_spans(hidden_text, hidden_owners)), exact=hidden_text == plain)


def _is_hidden(char: str) -> bool:
    return not (char.isspace() or char in _KEPT)


def _solid(text: str) -> str:
    return "".join(text.split())


def _refuse_losses(turns: TemplateTurns, shown: set[Owner]) -> None:
    """Raise `EngineError` where a message, or its tool calls, are in no character of what was rendered."""
    for turn, parts in zip(turns.turns, turns.parts, strict=True):
        owners = {owner for text, owner in parts if any(map(_is_hidden, text))}
        if owners and not owners & shown:
            raise Dropped(turn["role"])
        if "tool_calls" in turn and not {parts[0][1] + 1} & shown:
            raise EngineError("the model's chat template drops tool calls, and this chat's history holds one")


class _Disguise:
    """Turns whose contents are stand-ins, but for white space and the strings in ``known``."""

    def __init__(self, template: Template, turns: TemplateTurns, known: Sequence[str]) -> None:
        self._free = _unused(template, [*turns.contents, str(turns.turns)])
        self._stand_ins: dict[tuple[str, Owner], str] = {}
        self._meant: dict[str, tuple[str, Owner]] = {}
        self._names: dict[str, str] = {}
        self._known = re.compile("|".join(map(re.escape, known))) if known else None
        self.turns: list[Turn] = []
        for turn, parts in zip(turns.turns, turns.parts, strict=True):
            content = "".join(self._cover(text, owner) for text, owner in self._joined(parts))
            self.turns.append(turn | {"content": content} | self._tools(turn, parts[0][1] + 1))

    def undo(self, text: str) -> tuple[str, list[Owner]]:
        """Return ``text`` with the characters themselves, and whose each is."""
        chars: list[str] = []
        owners: list[Owner] = []
        marks: list[tuple[int, str, Owner]] = []
        for char in text:
            meant, owner = self._meant.get(char, (char, MARKUP))
            if len(meant) > 1:
                marks.append((len(chars), meant, owner))
            else:
                chars.append(meant)
                owners.append(owner)
        whole = "".join(chars)
        for at, mark, owner in marks:
            # A mark speaks for its own string only: what the template writes beside it is no content.
            known = mark[1:]
            start = at if mark[0] == _OPEN else at - len(known)
            if start >= 0 and whole.startswith(known, start):
                owners[start : start + len(known)] = [owner] * len(known)
        return whole, owners

    def _joined(self, parts: tuple[tuple[str, Owner], ...]) -> Iterator[tuple[str, Owner]]:
        """Yield the parts; where a known string lies across two, they are one, owned by the later."""
        whole = "".join(text for text, _ in parts)
        if self._known is None or len(parts) == 1:
            yield from parts
            return
        crossed = [match.span() for match in self._known.finditer(whole)]
        at, kept = 0, ""
        for text, owner in parts:
            kept += text
            at += len(text)
            if not any(start < at < end for start, end in crossed):
                yield kept, owner
                kept = ""

    def _cover(self, text: str, owner: Owner) -> str:
        """Return stand-ins for ``text``, and each known string in it as it is, between marks."""
        if self._known is None:
            return self._hide(text, owner)
        covered, at = "", 0
        for match in self._known.finditer(text):
            marks = [self._stand_in(kind + match.group(), owner) for kind in (_OPEN, _CLOSE)]
            covered += self._hide(text[at : match.start()], owner) + marks[0] + match.group() + marks[1]
            at = match.end()
        return covered + self._hide(text[at:], owner)

    def _hide(self, text: str, owner: Owner) -> str:
        return "".join(self._stand_in(c, owner) if _is_hidden(c) else c for c in text)

    def _tools(self, turn: Turn, owner: Owner) -> Turn:
        """Return the tool fields of ``turn`` with stand-ins for all that a model or a tool has written."""
        fields = {name: self._name(turn[name], owner) for name in ("tool_call_id", "name") if name in turn}
        calls = []
        for call in turn.get("tool_calls", ()):
            function = call["function"]
            arguments = _all(function["arguments"], lambda text: self._hide(text, owner))
            covered = call | {"function": {"name": self._name(function["name"], owner), "arguments": arguments}}
            calls.append(covered | ({"id": self._name(call["id"], owner)} if "id" in call else {}))
        return fields | ({"tool_calls": calls} if calls else {})

    def _name(self, text: str, owner: Owner) -> str:
        """Return the same stand-ins for the same name: templates look up by it which call a result answers."""
        if text not in self._names:
            self._names[text] = self._hide(text, owner)
        return self._names[text]

    def _stand_in(self, meant: str, owner: Owner) -> str:
        key = (meant, owner)
        if key not in self._stand_ins:
            try:
                self._stand_ins[key] = next(self._free)
            except StopIteration:
                raise EngineError("the chat holds more different characters than can be told apart") from None
            self._meant[self._stand_ins[key]] = key
        return self._stand_ins[key]


def _all(value: Any, change: Callable[[str], str]) -> Any:
    """Return JSON-like ``value`` with all its strings changed, keys among them: they are the caller's words, too."""
    if isinstance(value, dict):
        return {change(key): _all(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_all(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def _spans(text: str, owners: Sequence[Owner]) -> Iterator[tuple[int, int, Owner]]:
    """Yield the stretches of one owner each; white space and quotes between two of its characters belong to them."""
    start, end, current = 0, 0, MARKUP
    for i, owner in enumerate(owners):
        if owner == MARKUP and not _is_hidden(text[i]):
            continue
        if owner != current:
            if current != MARKUP:
                yield start, end, current
            start, current = i, owner
        end = i + 1
    if current != MARKUP:
        yield start, end, current


def _unused(template: Template, texts: Sequence[str]) -> Iterator[str]:
    """Yield characters of the private planes that are neither in the template nor in ``texts``."""
    texts = [text for text in texts if not text.isascii() and max(text) >= _FIRST]
    taken = {char for text in (template.source_if_private, *texts) for char in text if char >= _FIRST}
    return (char for char in map(chr, _PRIVATE) if char not in taken)
