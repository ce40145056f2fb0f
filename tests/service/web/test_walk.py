"""docs/LABELLING.md says what is so: its walk is gone in a real browser, and its pictures are there, and small."""

import re
from pathlib import Path

import pytest

from tests.service.web.site import Site
from tests.service.web.walk import FOLDER, walk

PAGE = FOLDER.parent / "LABELLING.md"
MOST_BYTES = 600_000  # of all pictures


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="session")
async def test_the_walk_can_be_gone(site: Site, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    await walk(site, pictures, tmp_path)
    expected = {file.name for file in FOLDER.iterdir()}
    assert {file.name for file in pictures.iterdir()} == expected


def test_the_pictures_are_those_of_the_page_and_small() -> None:
    shown = re.findall(r"\(labelling/([\w-]+\.png)\)", PAGE.read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(file.name for file in FOLDER.iterdir())
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < MOST_BYTES
