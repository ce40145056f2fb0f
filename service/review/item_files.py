"""Items for a project from a file that somebody has, in whatever shape its rows are: see `critic.files`."""

from itertools import islice
from pathlib import Path

from pydantic import BaseModel

from base.errors import InputError
from critic.feedback import KINDS, Kind
from critic.files.inputs import read_answers, read_prompts
from critic.files.packed import ending
from critic.records import Quarantined
from service.labels.project_items import MOST_ITEMS, ItemForm

LONGEST_TEXT = 1_000_000  # characters
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


def items_of(path: Path, kind: Kind) -> ItemsOfFile:
    """Read a file. One bad row costs itself only.

    Raises `InputError` where the file can't be read as a whole, holds no row that can be used, or too many.
    """
    if KINDS[kind].fewest_responses:
        lines = read_answers(str(path), max_chars=LONGEST_TEXT)
    else:
        lines = read_prompts(str(path), max_chars=LONGEST_TEXT, truncate=False)
    items: list[ItemForm] = []
    left_out: list[LeftOut] = []
    count = 0
    for line in islice(lines, 10 * MOST_ITEMS):
        if isinstance(line, Quarantined):
            count += 1
            if len(left_out) < NAMED:
                left_out.append(LeftOut(where=line.where, problem=line.detail))
            continue
        items.append(ItemForm.model_validate(line.item.model_dump()))
        if len(items) > MOST_ITEMS:
            raise InputError(
                f"the file has more than {MOST_ITEMS:,} rows",
                where="file",
                fix="Split it: the items of another file can be added afterwards.",
            )
    if not items:
        why = f"{left_out[0].where}: {left_out[0].problem}" if left_out else "it is empty"
        raise InputError(f"no row of the file can be used ({why})", where="file", fix="See docs/SHAPES.md.")
    return ItemsOfFile(items=items, left_out=left_out, left_out_count=count)
