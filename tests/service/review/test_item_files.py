"""Items from files: a file ends by rows and by bytes, however small it is packed, and reading it can be given up."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from service.review import item_files
from service.review.item_files import items_of, known_items_of

PAIR = {"prompt": "Name a river.", "chosen": "The Po.", "rejected": "Paris."}
READERS: list[Callable[..., Any]] = [items_of, known_items_of]


def file(folder: Path, rows: int, text: str = "") -> Path:
    """A packed file of pairs."""
    path = folder / "pairs.jsonl.gz"
    lines = [
        json.dumps({**PAIR, "prompt": f"{PAIR['prompt']} {number}", "chosen": f"The Po. {text}"})
        for number in range(rows)
    ]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def nothing() -> None:
    """Look at nothing."""


@pytest.mark.parametrize("read", READERS)
def test_items_end_by_rows_and_by_bytes(
    read: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packed file of 16 MB may hold gigabytes of text, all of which was in memory before anybody looked at it."""
    read(file(tmp_path, 3), "comparison", nothing)
    monkeypatch.setattr(item_files, "MOST_BYTES", 100_000)
    packed = file(tmp_path, 3, "and so on " * 5000)
    assert packed.stat().st_size < 2000
    with pytest.raises(InputError, match="more than 100,000 bytes"):
        read(packed, "comparison", nothing)
    monkeypatch.setattr(item_files, "MOST_ITEMS", 3)
    with pytest.raises(InputError, match="more than 3 rows"):
        read(file(tmp_path, 4), "comparison", nothing)


@pytest.mark.parametrize("read", READERS)
def test_reading_ends_where_nobody_waits_for_it(read: Callable[..., Any], tmp_path: Path) -> None:
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        read(file(tmp_path, 9), "comparison", look)
    assert looks == 2
