"""``rollouts.jsonl``: every answer that a policy wrote to learn from, with its reward or the reason why it has none."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from critic.run.folder.results import replace_text

FILE = "rollouts.jsonl"


def append(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows to the end of the file in ``folder``."""
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def keep(folder: Path, steps: int) -> None:
    """Drop what was written after step ``steps``: it is written again."""
    rows = [row for row in read(folder) if row["step"] <= steps]
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / FILE, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of the file in ``folder``, oldest first; a last line that was cut off is left out."""
    file = folder / FILE
    lines = file.read_text("utf-8").split("\n")[:-1] if file.is_file() else []
    return [json.loads(line) for line in lines]
