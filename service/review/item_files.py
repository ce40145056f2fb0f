"""Items for a project from a file that somebody has, in whatever shape its rows are: see `critic.files`."""

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from base.errors import InputError
from critic.feedback import KINDS, Kind
from critic.files.containers.packed import ending
from critic.files.inputs import read_answers, read_prompts
from critic.files.sources import open_source
from critic.records import Item, Line, Quarantined
from critic.rows import Broken
from service.bounds.text_bounds import TextBounds
from service.labels.label_form import ResponseForm
from service.labels.projects.project_items import MOST_ITEMS, ItemForm

LONGEST_TEXT = 1_000_000  # characters
MOST_BYTES = 2**26  # of all items of a file, which are in memory together: a packed file may hold gigabytes
NAMED = 20  # rows that can't be used and are told one by one


class LeftOut(BaseModel):
    """A row that can't be used: where it stands, and why."""

    where: str
    problem: str


class ItemsOfFile(BaseModel):
    """What a file holds for a project: items, and rows that were left out, of which the first are named."""

    items: list[ItemForm]
    left_out: list[LeftOut]
    left_out_count: int


def known_ending(name: str) -> str:
    """The ending by which the format of a file is told, with what packs it."""
    return "".join(ending(Path(name).name))


class _Counted:
    """Items of a file as they are read, by number and bytes."""

    def __init__(self) -> None:
        self._items = self._bytes = 0

    def add(self, item: BaseModel) -> None:
        """Count one more. Raises `InputError` where they become too many."""
        self._items += 1
        self._bytes += TextBounds.size(item)
        if self._items > MOST_ITEMS:
            raise _too_many(f"the file has more than {MOST_ITEMS:,} rows")
        if self._bytes > MOST_BYTES:
            raise _too_many(f"the items of the file have more than {MOST_BYTES:,} bytes")


def _too_many(problem: str) -> InputError:
    return InputError(problem, where="file", fix="Split it: the items of another file can be added afterwards.")


def items_of(path: Path, kind: Kind, look: Callable[[], None] = lambda: None) -> ItemsOfFile:
    """Read a file. One bad row costs itself only. ``look`` is called once a row, and may end it by raising.

    Raises `InputError` where the file can't be read as a whole, holds no row that can be used, or too many.
    """
    if KINDS[kind].fewest_responses:
        lines = read_answers(str(path), max_chars=LONGEST_TEXT)
    else:
        lines = read_prompts(str(path), max_chars=LONGEST_TEXT, truncate=False)
    items: list[ItemForm] = []
    left_out: list[LeftOut] = []
    count, counted = 0, _Counted()
    for line in islice(lines, 10 * MOST_ITEMS):
        look()
        problem = _problem(line, kind)
        if problem is not None or isinstance(line, Quarantined):
            count += 1
            if len(left_out) < NAMED:
                left_out.append(LeftOut(where=line.where, problem=problem or ""))
            continue
        items.append(_item(line.item))
        counted.add(items[-1])
    if not items:
        why = f"{left_out[0].where}: {left_out[0].problem}" if left_out else "it is empty"
        raise InputError(f"no row of the file can be used ({why})", where="file", fix="See docs/SHAPES.md.")
    return ItemsOfFile(items=items, left_out=left_out, left_out_count=count)


def _problem(line: Line | Quarantined, kind: Kind) -> str | None:
    """Why a row can't be an item of this kind."""
    if isinstance(line, Quarantined):
        return line.detail
    try:
        KINDS[kind].fits(line.item.responses)
    except ValueError as error:
        return str(error)
    return None


def _item(item: Item) -> ItemForm:
    """What a model thought is no part of what people label."""
    given = [ResponseForm(text=one.text, model=one.model, finish=one.finish) for one in item.responses]
    return ItemForm(prompt=item.prompt, responses=list(given))


class KnownItem(BaseModel):
    """An item whose right answer is known: gold, or practice. ``expected`` is in the order of its responses."""

    prompt: Any
    responses: list[Any]
    expected: Any
    why: str = ""


def known_items_of(path: Path, kind: Kind, look: Callable[[], None] = lambda: None) -> list[KnownItem]:
    """Read items with their right answers: rows with ``expected`` and, where it helps, ``why``.

    Of a comparison's row with ``chosen`` and ``rejected`` the chosen response is expected. Raises `InputError` for the
    first row without an answer: what can't be marked is no gold.
    """
    known: list[KnownItem] = []
    counted = _Counted()
    for read in open_source(str(path)).unread:
        look()
        row = read()
        if isinstance(row, Broken):
            raise InputError(row.detail, where=row.where, fix="Mend the row.")
        try:
            known.append(_known(row.columns, kind))
            counted.add(known[-1])
        except (KeyError, ValidationError):
            fix = "Give each row prompt, responses and expected (and why, if it helps)"
            fix += ", or prompt, chosen and rejected." if kind == "comparison" else "."
            raise InputError("the row has no right answer", where=row.where, fix=fix) from None
    return known


def _known(columns: Mapping[str, Any], kind: Kind) -> KnownItem:
    why = str(columns.get("why") or "")
    if columns.get("expected") is not None:
        return KnownItem(
            prompt=columns["prompt"], responses=columns["responses"], expected=columns["expected"], why=why
        )
    if kind != "comparison":
        raise KeyError("expected")
    responses = [columns["chosen"], columns["rejected"]]
    return KnownItem(prompt=columns["prompt"], responses=responses, expected="first", why=why)
