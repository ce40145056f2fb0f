"""What a run reads: prompts, or prompts with the responses to judge. One bad row costs itself only.

A row is read by its shape: see `critic.files.shapes`. A prompt is the first of the columns `PROMPT_COLUMNS` that it
has: a string, or chat messages with earlier turns. ``instruction`` takes a non-empty ``input`` along, after an empty
line. ``tags`` (a list, or a string with commas) and ``id`` are optional. In CSV, ``messages`` and ``responses`` hold
JSON. Other columns are ignored.

Responses are ``responses`` (2 or more), or ``chosen`` and ``rejected``: each a string, an assistant message, or a chat
that ends with one. Such a chat may carry the prompt (TRL's implicit prompt): all before its last message, the same on
every side. Rows of one answer each that follow each other and ask the same are one row with all their answers.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, permutations
from typing import Any, NamedTuple

from base.errors import InputError
from critic import rows as raw_rows
from critic.files.naming import Naming
from critic.files.row_messages import Messages, listed_value, prompt_messages, sides_of
from critic.files.row_prompt import Limit, prompt_of, refuse_characters
from critic.files.shapes import ANSWERS_IN, PROMPTS_IN, gives_answers, gives_prompts, naming, shaped
from critic.files.shapes.base import PROMPTS as PROMPT_COLUMNS
from critic.files.shapes.base import expect_both_sides, number
from critic.files.shapes.chats.demonstration import ends_with_answer
from critic.files.shapes.unread import BY_NAME, refuse_without_answers
from critic.files.sources import open_source
from critic.files.together import answers_together, goodness, is_above, models_of, unlabelled
from critic.files.turns import thoughts_among
from critic.messages import is_blank
from critic.records import Item, Line, Quarantined, Response
from critic.rows import Broken
from critic.rows import RowError as RowError

OWN_NAMES = naming()

Unread = Callable[[], Line | Quarantined]


class _Read(NamedTuple):
    """An item, the characters cut off its prompt, the answers left off (0 or 1), and how many turns lost thoughts."""

    item: Item
    cut: int
    left_off: int
    thoughts: int


class _Reading(NamedTuple):
    """How a command reads rows: what it makes of one, whether it looks at labels, and what a table must have for it."""

    items: Callable[[dict[str, Any], Limit], list[_Read]]
    labels: bool
    answers: bool


def read_prompts(
    source: str, *, max_chars: int, truncate: bool, columns: Naming = OWN_NAMES
) -> Iterator[Line | Quarantined]:
    """Read prompts from a file, ``-`` or a dataset: see `critic.files.sources.open_source`.

    A prompt of more than ``max_chars`` characters, all turns together, is quarantined; with ``truncate`` its last
    user message is cut at its end to fit, and ``Line.cut`` says by how much. Raises `InputError`, at the call, where
    the whole input can't be used; a row that can't is yielded as `Quarantined`. Blank lines are no rows. ``columns``
    says under which names the input has what is read.
    """
    return (read() for read in open_prompts(source, max_chars=max_chars, truncate=truncate, columns=columns))


def open_prompts(source: str, *, max_chars: int, truncate: bool, columns: Naming = OWN_NAMES) -> Iterator[Unread]:
    """Like `read_prompts`, with a function a row that reads it, so that rows can be stepped over."""
    return _open(source, _PROMPTS, Limit(max_chars, truncate), columns)


def read_pairs(
    source: str, *, max_chars: int, truncate: bool, columns: Naming = OWN_NAMES
) -> Iterator[Line | Quarantined]:
    """Read prompts with two or more responses each, as `read_prompts` does.

    A response of more than ``max_chars`` is quarantined even with ``truncate``: a label would be another text's.
    """
    return (read() for read in open_pairs(source, max_chars=max_chars, truncate=truncate, columns=columns))


def open_pairs(source: str, *, max_chars: int, truncate: bool, columns: Naming = OWN_NAMES) -> Iterator[Unread]:
    """Like `read_pairs`, with a function a row that reads it, so that rows can be stepped over."""
    return _open(source, _PAIRS, Limit(max_chars, truncate), columns)


def read_answers(source: str, *, max_chars: int, columns: Naming = OWN_NAMES) -> Iterator[Line | Quarantined]:
    """Read prompts with one response or more each, for people who label: otherwise as `read_pairs`."""
    return (read() for read in _open(source, _ANSWERS, Limit(max_chars, truncate=False), columns))


def read_labelled(source: str, *, max_chars: int, columns: Naming = OWN_NAMES) -> Iterator[Line | Quarantined]:
    """Read prompts with two answers: the one that people called better (``chosen``), then the other (``rejected``).

    Of ranked or rated answers to one prompt, each two that are not equally good are one line.
    """
    for read in open_labelled(source, max_chars=max_chars, columns=columns):
        yield from read()


def open_labelled(
    source: str, *, max_chars: int, columns: Naming = OWN_NAMES
) -> Iterator[Callable[[], list[Line | Quarantined]]]:
    """Like `read_labelled`, with a function a row that reads it, so that rows can be stepped over."""
    limit = Limit(max_chars, truncate=False)
    rows = enumerate(_open_rows(source, _LABELLED, columns))
    return (partial(_lines, row, read, _LABELLED, limit) for row, read in rows)


def _open(source: str, reading: _Reading, limit: Limit, columns: Naming) -> Iterator[Unread]:
    rows = _open_rows(source, reading, columns)
    return (partial(_line, number, read, reading, limit) for number, read in enumerate(rows))


def _open_rows(source: str, reading: _Reading, columns: Naming) -> Iterator[raw_rows.Unread]:
    opened = open_source(source, columns)
    if opened.columns is not None:
        names = columns.of_table(opened.columns, opened.name).values()
        if not (gives_answers(names) if reading.answers else gives_prompts(names)):
            present, wanted = ", ".join(opened.columns), ANSWERS_IN if reading.answers else PROMPTS_IN
            raise InputError(
                f"no column holds {'answers' if reading.answers else 'prompts'}: there are {present}",
                where=opened.name,
                fix=f"Name one of: {wanted}; or say with --column which is which.",
            )
    first = next(opened.unread, None)
    if first is None:
        raise InputError("the input is empty", where=opened.name, fix="Give at least one row.")
    unread: Iterator[raw_rows.Unread] = chain([first], opened.unread)
    return answers_together(unread, reading.labels) if reading.answers else unread


def _line(number: int, read: raw_rows.Unread, reading: _Reading, limit: Limit) -> Line | Quarantined:
    (line,) = _lines(number, read, reading, limit)
    return line


def _lines(number: int, read: raw_rows.Unread, reading: _Reading, limit: Limit) -> list[Line | Quarantined]:
    raw = read()
    if isinstance(raw, Broken):
        return [Quarantined(row=number, where=raw.where, reason=raw.reason, detail=raw.detail)]
    try:
        columns = shaped(raw.columns, labels=reading.labels)
        items = _read_items(columns, reading, limit)
    except RowError as error:
        return [_quarantined(number, raw.where, error.reason, error.detail)]
    except Exception as error:  # whatever a stranger's values make Python raise costs their row, and no other
        return [_quarantined(number, raw.where, "bad_row", f"it can't be read: {type(error).__name__}: {error}")]
    lines: list[Line | Quarantined] = [_read_line(number, raw.where, read) for read in items]
    if reading.labels:
        lacking = unlabelled(columns.get("ranks", columns.get("ratings")))
        lines += [_quarantined(number, raw.where, error.reason, error.detail) for error in lacking]
    return lines


def _read_line(number: int, where: str, read: _Read) -> Line:
    item, cut, left_off, thoughts = read
    if cut or left_off or thoughts:
        return Line(row=number, where=where, item=item, cut=cut, left_off=left_off, thoughts=thoughts)
    return Line(row=number, where=where, item=item)  # as most: each value that is named is looked at


def _read_items(columns: dict[str, Any], reading: _Reading, limit: Limit) -> list[_Read]:
    try:
        return reading.items(_without_null(columns), limit)
    except RowError as error:
        if error.reason == "one_side":
            expect_both_sides(columns)  # which says whether the other is missing, or holds nothing
        raise


def _without_null(columns: dict[str, Any]) -> dict[str, Any]:
    for value in columns.values():
        if value is None:
            return {name: value for name, value in columns.items() if value is not None}
    return columns  # as most rows: a copy of each of millions costs


def _quarantined(number: int, where: str, reason: str, detail: str) -> Quarantined:
    said = detail.replace("\0", "").encode("utf-8", "replace").decode()  # it may quote a key of the row
    return Quarantined(row=number, where=where, reason=reason, detail=said)


def _prompt_items(columns: dict[str, Any], limit: Limit) -> list[_Read]:
    columns, left_off = _without_answer(columns)
    messages = prompt_messages(columns)
    is_whole = isinstance(columns.get("completion"), list)  # a chat that ends with the answer
    if messages is None and (is_whole or "responses" in columns or {"chosen", "rejected"} <= columns.keys()):
        messages = _shared(sides_of(_response_values(columns)), None)
    if messages is None:
        there = ", ".join(str(name)[:40] for name in list(columns)[:12]) or "none"
        expected = f"expected one of {', '.join(PROMPT_COLUMNS)}, or say with --column prompt=NAME which it is"
        raise RowError("no_prompt", f"no prompt among its columns ({there}); {expected}")
    prompt, cut = prompt_of(messages, columns, limit)
    return [_Read(Item(prompt=prompt), cut, left_off, thoughts_among(map(columns.get, PROMPT_COLUMNS)))]


def _without_answer(columns: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Return the row without the answer that its chat ends with, and whether there was one: 0 or 1."""
    if "messages" not in columns or next(name for name in PROMPT_COLUMNS if name in columns) != "messages":
        return columns, 0
    messages = listed_value(columns, "messages")
    if not isinstance(messages, list) or len(messages) < 2 or not ends_with_answer(messages):
        return columns, 0
    return columns | {"messages": messages[:-1]}, 1


def _pairs_items(columns: dict[str, Any], limit: Limit) -> list[_Read]:
    values = _response_values(columns)
    if len(values) < 2:
        there = "1 response" if len(values) == 1 else "no responses"
        raise RowError("too_few_responses", f"{there}; a judgement needs two or more")
    # Of three answers two can be judged, where one says nothing: the run names that one.
    return [_item(columns, values, models_of(columns, len(values)), limit, needed=2)]


def _answers_items(columns: dict[str, Any], limit: Limit) -> list[_Read]:
    values = _response_values(columns)
    if not values:
        raise RowError("too_few_responses", "no responses; a label needs one or more")
    return [_item(columns, values, models_of(columns, len(values)), limit, needed=len(values))]


def _labelled_items(columns: dict[str, Any], limit: Limit) -> list[_Read]:
    """Return each pair of answers that people found one better than the other; the better one comes first."""
    if {"chosen", "rejected"} <= columns.keys():
        values, better = [columns["chosen"], columns["rejected"]], [_preferred(columns)]
    else:
        values = _response_values(columns) if "responses" in columns else []
        better = _better(columns, len(values))
    pairs = []
    for first, second in better:
        models = models_of(columns, len(values))
        read = _item(columns, [values[first], values[second]], [models[first], models[second]], limit, needed=2)
        if read.item.responses[0].text == read.item.responses[1].text:
            raise RowError("equal_sides", "chosen and rejected are the same text")
        pairs.append(read)
    return pairs


def _preferred(columns: dict[str, Any]) -> tuple[int, int]:
    """Return the positions of the better and the worse of ``chosen`` and ``rejected``. Raises `RowError`."""
    said = columns.get("probability", 1)
    chance = number(said)
    if chance is None or not 0 <= chance <= 1:
        raise RowError("bad_probability", f"probability is {said!r:.40}; expected a number from 0 to 1")
    if chance == 0.5:
        raise RowError("tie", "neither answer was called better")
    return (0, 1) if chance > 0.5 else (1, 0)


def _better(columns: dict[str, Any], count: int) -> list[tuple[int, int]]:
    """Return the positions of each better and worse answer, by their ranks or ratings. Raises `RowError`."""
    listed = {name: listed_value(columns, name) for name in ("ranks", "scale") if name in columns}
    places = goodness(columns | listed)
    if "completion" in columns and not columns.keys().isdisjoint(("label", "rating")):
        raise RowError("too_few_responses", "1 response; a comparison needs two")
    if places is None or count == 0 or all(place is None for place in places):
        refuse_without_answers(columns)
        raise RowError("no_label", "expected chosen, the answer that people called better, and rejected")
    if len(places) != count:
        raise RowError("bad_ranks", f"{count} answers, and {len(places)} labels")
    better = [(i, j) for i, j in permutations(range(count), 2) if is_above(places[i], places[j])]
    if not better and None in places:
        raise RowError("no_label", f"{places.count(None)} of {count} answers have no label")
    if not better:
        raise RowError("tie", "no answer was found better than another")
    return better


def _item(columns: dict[str, Any], values: Sequence[Any], models: Sequence[str], limit: Limit, needed: int) -> _Read:
    """Read a prompt and its answers, of which ``needed`` must say something. Raises `RowError`."""
    sides = sides_of(values)
    messages = _shared(sides, prompt_messages(_without_answer(columns)[0]))
    prompt, cut = prompt_of(messages, columns, limit)
    responses, blank = [], 0
    for (_, text), model in zip(sides, models, strict=True):
        refuse_characters(text)
        if len(text) > limit.max_chars:
            said = f"a response of {len(text):,} characters; the limit is {limit.max_chars:,}"
            raise RowError("too_long", said)
        blank += is_blank(text)
        responses.append(Response(text=text, model=model))
    if blank and len(values) - blank < needed:
        raise RowError("empty_answer", f"{blank} of {len(values)} answers is empty, or shows nothing; expected a text")
    thoughts = thoughts_among(map(columns.get, PROMPT_COLUMNS)) + thoughts_among(values)
    return _Read(Item(prompt=prompt, responses=tuple(responses)), cut, 0, thoughts)


def _shared(sides: Sequence[tuple[Messages, str]], messages: Messages | None) -> Messages:
    """Return the prompt: ``messages``, or what all sides say before their answers. Raises `RowError`."""
    if messages is not None and not any([before for before, _ in sides]):
        return messages
    same: Messages | None = None
    for before, _ in sides:
        if before is same:
            continue  # as most sides, whose turns were read once
        same = before
        if before and messages is None:
            messages = before
        if before and before != messages:
            raise RowError(
                "no_shared_prompt", "the turns before the last message differ between the sides, or from the prompt"
            )
    if messages is None:
        raise RowError("no_prompt", f"no prompt; expected one of {', '.join(PROMPT_COLUMNS)}, or chats that carry it")
    if any(bool(before) != bool(sides[0][0]) for before, _ in sides):
        raise RowError("no_shared_prompt", "one side carries the prompt and another doesn't")
    return messages


def _response_values(columns: dict[str, Any]) -> list[Any]:
    if "responses" in columns:
        values = listed_value(columns, "responses")
        if not isinstance(values, list):
            raise RowError("bad_responses", "responses is not a list")
        return values
    if "chosen" in columns and "rejected" in columns:
        return [columns["chosen"], columns["rejected"]]
    if "completion" in columns or _without_answer(columns)[1]:
        return [columns.get("completion")]
    refuse_without_answers(columns)
    raise RowError("no_responses", f"no responses; expected {ANSWERS_IN}; {BY_NAME}")


_PROMPTS = _Reading(_prompt_items, labels=False, answers=False)
_PAIRS = _Reading(_pairs_items, labels=False, answers=True)
_ANSWERS = _Reading(_answers_items, labels=False, answers=True)
_LABELLED = _Reading(_labelled_items, labels=True, answers=True)
