"""Rows to be read, and what is made of them: what the tests of inputs share."""

import json
from pathlib import Path

from critic.files.inputs import read_prompts
from critic.records import Line, Quarantined

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "Name a river."},
]


def prompts(path: Path | str, max_chars: int = 100_000, truncate: bool = False) -> list[Line | Quarantined]:
    return list(read_prompts(str(path), max_chars=max_chars, truncate=truncate))


def write_lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def last_texts(lines: list[Line | Quarantined]) -> list[str]:
    return [line.item.prompt.messages[-1].content for line in lines if isinstance(line, Line)]


def refused(line: Line | Quarantined) -> Quarantined:
    assert isinstance(line, Quarantined), line
    return line


def read(line: Line | Quarantined) -> Line:
    assert isinstance(line, Line), line
    return line
