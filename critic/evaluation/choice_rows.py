"""Evaluation files with right and wrong answers, as they are published (Askell et al. 2021; Bai et al. 2022).

A row has ``prompt`` (a transcript of Human and Assistant, any other text, or chat messages), and ``corrects`` and
``incorrects`` (one or more strings each); other columns are ignored. Where all answers are letters, such as `` (B)``,
the prompt itself lists what they stand for, one option a line: `` (A) Yes``, `` (B) No``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import ValidationError

from critic.evaluation.paper_format import letters, messages_of
from critic.files.inputs import RowError
from critic.files.naming import Naming, read_mapping
from critic.files.sources import Broken, Raw, open_source
from critic.records import Message, Prompt, Quarantined

_is_read = frozenset(("prompt", "corrects", "incorrects")).__contains__
_LETTER = re.compile(r"\s*\(([A-Z])\)\s*")
# An option is a line, or whatever stands in three brackets.
_OPTION = re.compile(r"\n ?\(([A-Z])\) (\[\[\[.*?\]\]\](?=\n|\Z)|[^\n]*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ListedOptions:
    """Options that a prompt lists: their letters, the letter that each answer names, and the options reversed.

    ``reverse`` is None where the text doesn't say for sure where an option ends: such a row is read in one order.
    """

    letters: tuple[str, ...]
    names: Mapping[str, str]
    reverse: Prompt | None


@dataclass(frozen=True, slots=True)
class ChoiceRow:
    """One row. ``listed`` is None where the answers are texts of their own."""

    row: int
    where: str
    prompt: Prompt
    corrects: tuple[str, ...]
    incorrects: tuple[str, ...]
    listed: ListedOptions | None

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Every correct answer with every incorrect one."""
        return tuple(product(self.corrects, self.incorrects))


def read_rows(source: str, column: str | None = None) -> Iterator[ChoiceRow | Quarantined]:
    """Read a file of any kind in `critic.files.sources`; ``column`` maps its names, as in `read_mapping`.

    Raises `InputError` where the whole of it can't be used.
    """
    columns = Naming(_is_read, read_mapping(column, _is_read))
    for number, raw in enumerate(open_source(source, columns).rows):
        if isinstance(raw, Broken):
            yield Quarantined(row=number, where=raw.where, reason=raw.reason, detail=raw.detail)
        else:
            yield _row(number, raw)


def _row(number: int, raw: Raw) -> ChoiceRow | Quarantined:
    try:
        prompt = _prompt(raw.columns.get("prompt"))
        corrects, incorrects = (_answers(raw.columns, name) for name in ("corrects", "incorrects"))
        if len({*corrects, *incorrects}) < len(corrects) + len(incorrects):
            raise RowError("bad_answers", "an answer stands there twice; each is either right or wrong")
        return ChoiceRow(number, raw.where, prompt, corrects, incorrects, _listed(prompt, (*corrects, *incorrects)))
    except RowError as error:
        return Quarantined(row=number, where=raw.where, reason=error.reason, detail=error.detail)


def _prompt(value: object) -> Prompt:
    try:
        if isinstance(value, str):
            return Prompt(messages=messages_of(value))
        if isinstance(value, list):
            return Prompt(messages=tuple(Message.model_validate(message) for message in value))
    except ValidationError as error:
        raise RowError("bad_prompt", error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    raise RowError("bad_prompt", "prompt is neither a string nor a list of messages")


def _answers(columns: dict[str, Any], name: str) -> tuple[str, ...]:
    values = columns.get(name)
    if not isinstance(values, list) or not values or not all(isinstance(v, str) and v.strip() for v in values):
        raise RowError("bad_answers", f"{name} is not a list of one or more strings that say something")
    try:
        return tuple(Message(role="assistant", content=value).content for value in values)
    except ValidationError as error:
        raise RowError("bad_answers", error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def _listed(prompt: Prompt, answers: tuple[str, ...]) -> ListedOptions | None:
    letters = {answer: _LETTER.fullmatch(answer) for answer in answers}
    names = {answer: match[1] for answer, match in letters.items() if match}
    if len(names) < len(answers):
        return None
    if len(set(names.values())) < len(answers):
        raise RowError("bad_answers", "two answers name the same option")
    last = prompt.messages[-1]
    listed, text = _reversed(last.content)
    if text is None:
        return ListedOptions(tuple(sorted(names.values())), names, None)
    if not set(names.values()) <= set(listed):
        raise RowError("bad_answers", f"the prompt lists no other options than {', '.join(listed)}")
    turned = last.model_copy(update={"content": text})
    return ListedOptions(listed, names, prompt.model_copy(update={"messages": (*prompt.messages[:-1], turned)}))


def _reversed(text: str) -> tuple[tuple[str, ...], str | None]:
    """The letters of the options that ``text`` ends with, and the text with their contents in reverse order.

    One line may follow the last option. None where it isn't clear what the options are.
    """
    run: list[re.Match[str]] = []
    for option in _OPTION.finditer(text):
        goes_on = run and run[-1].end() == option.start() and option[1] == letters(len(run) + 1)[-1]
        if goes_on:
            run = [*run, option]
        elif option[1] == "A":
            run = [option]
        else:
            run = []
    names = letters(len(run))
    if len(run) < 2 or "\n" in text[run[-1].end() :].strip():
        return names, None
    pairs = zip(run, reversed(run), strict=True)
    turned = "".join(text[here.start() : here.start(2)] + there[2] for here, there in pairs)
    return names, text[: run[0].start()] + turned + text[run[-1].end() :]
