"""Spreadsheets: CSV, and the first sheet of XLSX, with the names of the columns that hold what; XLSX out.

A row is a prompt, one or more responses, and what one annotator said of them: any of ``choice``, ``ranks``,
``ratings``, ``thumbs``, ``critique``, ``demonstration``. An empty cell says nothing. Where the responses' models are
named, a row's responses are put in the order of the models' names, with the labels turned along: sheets show each rater
an order of their own, and so a pair is one item. The order in which they were shown is lost.

Written are the tables of a data set, a column each: a prompt of one turn as text in ``prompt``, any other, and one that
a cell can't say as itself, as JSON in ``messages``; lists as JSON. A sheet that has these columns (``chosen`` and
``rejected``, ``completion``, or ``responses`` and ``ranks``) and none of those named for responses is read back so.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Self

from pydantic import Field, model_validator

from critic.feedback import Feedback, Scale, Source
from critic.feedback.base import Columns
from critic.feedback.from_file import GIVEN
from critic.feedback.kinds.rating import FIVE
from critic.files.containers.delimited import NO_VALUE
from critic.files.containers.nested import refuse_lists, unfolded
from critic.files.inputs import RowError
from critic.files.naming import Naming
from critic.files.row_messages import prompt_messages
from critic.files.shapes import shaped
from critic.records import Record
from service.formats.base import (
    DATA_TABLES,
    Entry,
    Format,
    Found,
    Reading,
    Table,
    broken,
    count_lost,
    is_plain,
    present,
    read_rows,
)
from service.formats.jsonl import from_own
from service.formats.parts.columns import OWN_COLUMNS
from service.formats.parts.xlsx import Cell, XlsxWriter

_BOUND = ("sources", "annotators", "principles", "constitutions", "constitution_hashes")
_LISTS = ("messages", "tags", "responses", "ranks", "scale", "by_principle", "deciding", *_BOUND)
_NUMBERS = ("probability", "weight", "rating")
_OWN = ({"chosen", "rejected"}, {"completion"}, {"responses", "ranks"})


class Meaning(Record):
    """What a word in the ``choice`` column says: see `critic.feedback.ComparisonLabel`."""

    choice: str
    strength: int | None = None
    levels: int | None = None


def _words() -> dict[str, Meaning]:
    words = dict.fromkeys(("tie", "equal", "same"), Meaning(choice="tie"))
    words |= {name: Meaning(choice=name) for name in ("both_good", "both_bad", "unsure")}
    for choice, names in {"first": ("a", "first", "1", "text_a"), "second": ("b", "second", "2", "text_b")}.items():
        words |= dict.fromkeys(names, Meaning(choice=choice))
        words[f"{names[0]}-is-better"] = Meaning(choice=choice, strength=2, levels=2)
        words[f"{names[0]}-is-slightly-better"] = Meaning(choice=choice, strength=1, levels=2)
    return words


class SpreadsheetFormat(Format):
    """Which columns hold what; ``responses`` and the columns beside them are one for each response.

    Where there is no column ``prompt``, each response's text begins with it, up to and with ``prompt_ends``. ``words``
    says what the words in ``choice`` mean; those of ``thumbs`` are yes and no, up and down, true and false, 1 and 0.
    """

    name: ClassVar[str] = "spreadsheet"
    title: ClassVar[str] = "Spreadsheets"
    suffixes: ClassVar[tuple[str, ...]] = (".xlsx", ".csv")
    reads: ClassVar[tuple[str, ...]] = ("comparison", "ranking", "rating", "thumbs", "critique", "demonstration")
    tables: ClassVar[Mapping[Table, tuple[str, ...]]] = MappingProxyType(
        {table: ("prompt", "messages", *OWN_COLUMNS[table][1:]) for table in DATA_TABLES}
    )
    loses: ClassVar[str] = (
        "The columns that a run exports in addition to those of a data set. Left out are rows with a text of more than "
        "32,767 characters or with characters that XML can't hold, an answer that a cell can't say as itself (nan, or "
        "a chat in JSON), rows after the 1,048,575th, and prompts whose history calls tools."
    )

    prompt: str | None = "prompt"
    prompt_ends: str = ""
    prompt_id: str | None = None
    responses: tuple[str, ...] = ("response_1", "response_2")
    models: tuple[str, ...] = ()
    annotator: str | None = None
    group: str | None = None
    choice: str | None = None
    words: dict[str, Meaning] = Field(default_factory=_words)
    ranks: tuple[str, ...] = ()
    ratings: tuple[str, ...] = ()
    scale: Scale = FIVE
    thumbs: tuple[str, ...] = ()
    critique: str | None = None
    demonstration: str | None = None

    @model_validator(mode="after")
    def _one_column_a_response(self) -> Self:
        for name in ("models", "ranks", "ratings", "thumbs"):
            if getattr(self, name) and len(getattr(self, name)) != len(self.responses):
                raise ValueError(f"{name} names {len(getattr(self, name))} columns for {len(self.responses)} responses")
        if self.prompt is None and not self.prompt_ends:
            raise ValueError("without a column prompt, prompt_ends says where in a response the prompt ends")
        return self

    def read(self, path: Path, source: Source = "human") -> Reading:
        """Yield what each row's annotator said."""
        return read_rows(path, source, self._from_row, self._named())

    def _named(self) -> Naming:
        """Return which columns are read."""
        single = (self.prompt, self.prompt_id, self.annotator, self.group, self.choice)
        said = (self.critique, self.demonstration, *self.ranks, *self.ratings, *self.thumbs)
        names = {*single, *said, *self.responses, *self.models, *(name for own in _OWN for name in own)}
        return Naming(lambda name: name in names)

    def save(self, table: Table, entries: Iterable[Entry], path: Path) -> Counter[str]:
        """Write the entries as one sheet; see the module's docstring."""
        lost: Counter[str] = Counter()
        with XlsxWriter(path) as sheet:
            sheet.write(self.tables[table])
            for entry in entries:
                assert isinstance(entry, dict)
                why = _unlike_a_row(entry) or sheet.write(_cells(entry, self.tables[table]))
                if why is None:
                    count_lost(entry, OWN_COLUMNS[table], lost)
                else:
                    lost[f"skipped_{why}"] += 1
        return lost

    def _from_row(self, columns: Columns, where: str, source: Source) -> Iterator[Found]:
        columns = present(columns)
        if columns.keys().isdisjoint(self.responses) and any(own <= columns.keys() for own in _OWN):
            yield from from_own(_values(columns), where, source)
            return
        prompt, texts = self._texts(columns)
        models = [columns.get(name) or GIVEN for name in self.models] if self.models else [GIVEN] * len(texts)
        common = {
            "prompt": {"messages": prompt, "id": _cell(columns, self.prompt_id)},
            "responses": [{"text": text, "model": model} for text, model in zip(texts, models, strict=False)],
            "source": source,
            "annotator": _cell(columns, self.annotator),
            "group": _cell(columns, self.group),
            "where": where,
        }
        said = False
        for kind, read in _LABELS.items():
            try:
                for label in read(self, columns):
                    said = True
                    yield self._turned(Feedback.model_validate({**common, "kind": kind, "label": label}))
            except RowError as error:
                yield broken(where, error)
                said = True
            except ValueError as error:
                yield broken(where, error)
        if not said:
            raise RowError("no_label", "none of the columns that hold labels says anything")

    def _texts(self, columns: Columns) -> tuple[object, list[str]]:
        """Return the prompt's messages and the responses' texts."""
        missing = [name for name in self.responses if name not in columns]
        if missing and (self.prompt is None or set(missing) != set(self.responses)):
            raise RowError("no_responses", f"the column {missing[0]!r} is empty or missing")
        texts = [] if missing else [columns[name] for name in self.responses]
        if self.prompt is not None:
            return prompt_messages({"prompt": columns.get(self.prompt)}), texts
        split = [text.partition(self.prompt_ends) for text in texts]
        befores = {before for before, _, _ in split}
        if len(befores) != 1 or not all(end for _, end, _ in split):
            raise RowError("no_shared_prompt", f"the responses don't begin alike, up to {self.prompt_ends!r}")
        return prompt_messages({"prompt": split[0][0]}), [text for _, _, text in split]

    def _turned(self, feedback: Feedback) -> Feedback:
        if not self.models:
            return feedback
        ordered = sorted(feedback.responses, key=lambda response: (response.model, response.text))
        return feedback.in_order_of([response.text for response in ordered])


def _unlike_a_row(entry: Columns) -> str | None:
    """Return why a row has no place in a sheet; None where it has."""
    if not is_plain(entry["prompt"]):
        return "tool_turns"
    texts: Columns = {
        name: entry[name][-1]["content"] for name in ("chosen", "rejected", "completion") if name in entry
    }
    try:
        refuse_lists(texts)
    except RowError:
        return "unlike_a_cell"
    return None if all(map(_stays, texts.values())) else "unlike_a_cell"


def _stays(text: str) -> bool:
    """Whether a text in a cell is read as itself: a chat in JSON, and what stands for no value, are not."""
    if text in NO_VALUE:
        return False
    asked = {"prompt": text}
    try:
        return shaped(unfolded(asked), labels=False) == asked
    except RowError:
        return False


def _cells(entry: Columns, names: tuple[str, ...]) -> list[Cell]:
    """Return the cells of a data set's row."""
    prompt = entry["prompt"]
    alone = len(prompt) == 1 and prompt[0]["role"] == "user" and _stays(prompt[0]["content"])
    asked = {"prompt": prompt[0]["content"] if alone else None, "messages": None if alone else prompt}
    answers = {name: entry[name][-1]["content"] for name in ("chosen", "rejected", "completion") if name in entry}
    row = entry | asked | answers
    return [_written(row.get(name)) for name in names]


def _written(value: object) -> Cell:
    """Return a value as a cell; an empty list says nothing."""
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False) if value else None
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _values(columns: Columns) -> Columns:
    """Return a sheet's row with its lists and numbers as such. Raises `RowError`."""
    row = dict(columns)
    for name in _LISTS:
        if isinstance(row.get(name), str) and row[name].startswith("["):
            try:
                row[name] = json.loads(row[name])
            except (ValueError, RecursionError):
                raise RowError("broken_line", f"{name} begins as a list and is not JSON") from None
    for name in _NUMBERS:
        if isinstance(row.get(name), str):
            try:
                row[name] = float(row[name])
            except ValueError:
                raise RowError(f"bad_{name}", f"{name} is {row[name][:40]!r}; expected a number") from None
    return row


def _cell(columns: Columns, name: str | None) -> str | None:
    return None if name is None else columns.get(name)


def _choice(sheet: SpreadsheetFormat, columns: Columns) -> Iterator[Columns]:
    word = _cell(columns, sheet.choice)
    if word is None:
        return
    meaning = sheet.words.get(word.strip()) or sheet.words.get(word.strip().lower())
    if meaning is None:
        raise RowError("bad_choice", f"{word[:40]!r} is none of the words {', '.join(sheet.words)[:200]}")
    yield meaning.model_dump()


def _ranks(sheet: SpreadsheetFormat, columns: Columns) -> Iterator[Columns]:
    cells = [columns.get(name) for name in sheet.ranks]
    if any(cell is not None for cell in cells):
        yield {"ranks": cells}


def _ratings(sheet: SpreadsheetFormat, columns: Columns) -> Iterator[Columns]:
    for response, name in enumerate(sheet.ratings):
        if name in columns:
            yield {"value": columns[name], "scale": sheet.scale, "response": response}


def _thumbs(sheet: SpreadsheetFormat, columns: Columns) -> Iterator[Columns]:
    words = {
        "yes": "up",
        "up": "up",
        "true": "up",
        "1": "up",
        "no": "down",
        "down": "down",
        "false": "down",
        "0": "down",
    }
    for response, name in enumerate(sheet.thumbs):
        if name in columns:
            yield {"value": words.get(columns[name].strip().lower(), columns[name]), "response": response}


def _critique(sheet: SpreadsheetFormat, columns: Columns) -> Iterator[Columns]:
    if (text := _cell(columns, sheet.critique)) is not None:
        yield {"text": text}


def _demonstration(sheet: SpreadsheetFormat, columns: Columns) -> Iterator[Columns]:
    if (text := _cell(columns, sheet.demonstration)) is not None:
        yield {"text": text}


_LABELS = {
    "comparison": _choice,
    "ranking": _ranks,
    "rating": _ratings,
    "thumbs": _thumbs,
    "critique": _critique,
    "demonstration": _demonstration,
}
