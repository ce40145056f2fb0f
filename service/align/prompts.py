"""The prompts of the chain, split in two by the hash of each: so a prompt is never on both sides, nor changes sides."""

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from base.errors import InputError
from critic.files.inputs import read_prompts
from critic.files.once import hold_out, once
from critic.files.shapes import naming
from critic.records import Line, Quarantined
from critic.run.folder.results import replace_text

MAX_CHARACTERS = 32_000


def read(source: str, limit: int | None, columns: str | None = None) -> tuple[list[Line], list[Quarantined]]:
    """Return the prompts of ``source``, and the rows that are none or come again. Raises `InputError`."""
    rows = read_prompts(source, max_chars=MAX_CHARACTERS, truncate=False, columns=naming(columns))
    told = list(once(islice(rows, limit)))
    lines = [row for row in told if isinstance(row, Line)]
    return lines, [row for row in told if isinstance(row, Quarantined)]


def split(lines: Iterable[Line], share: float) -> tuple[list[Line], list[Line]]:
    """Return the prompts to learn from, and about ``share`` of all that are held out. Raises `InputError`."""
    sides = hold_out(lines, lambda line: line.item.prompt, share, "held out")
    if not all(sides):
        raise InputError(
            f"there are {len(sides[0])} prompts to learn from and {len(sides[1])} held out",
            where="--prompts",
            fix="give more prompts, or another --held-out",
        )
    return sides


def write_refused(rows: Iterable[Quarantined], file: Path) -> None:
    """Name the rows that can't be used."""
    replace_text(file, "".join(row.model_dump_json() + "\n" for row in rows))


def write(lines: Iterable[Line], file: Path) -> None:
    """Write prompts as `cai generate` reads them."""
    rows = []
    for line in lines:
        rows.append(
            {
                "id": line.item.prompt.id or line.where,
                "prompt": [message.model_dump() for message in line.item.prompt.messages],
                "tags": list(line.item.prompt.tags),
            }
        )
    replace_text(file, "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows))
