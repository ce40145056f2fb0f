"""Small constitutions for the tests."""

from pathlib import Path
from typing import Any

import yaml

from constitution.schema import Constitution, Principle


def principle(id: str = "be-kind", **fields: Any) -> dict[str, Any]:
    """The keys of one principle, all texts different."""
    texts = {key: f"The {key} of {id}." for key in ("title", "statement", "critique", "revision", "compare")}
    return {"id": id, **texts, **fields}


def header(**fields: Any) -> dict[str, Any]:
    """The keys of a file, with one principle unless given others."""
    return {
        "name": "demo",
        "version": "1.0.0",
        "title": "Demo",
        "summary": "For tests.",
        "license": "Apache-2.0",
        "language": "en",
        "principles": [principle()],
        **fields,
    }


def make(**fields: Any) -> Constitution:
    """A constitution that never was a file."""
    return Constitution.model_validate(header(**fields))


def make_principles(*ids: str) -> tuple[Principle, ...]:
    """Principles of these ids."""
    return tuple(Principle.model_validate(principle(id)) for id in ids)


def write(folder: Path, path: str = "demo.yaml", **fields: Any) -> Path:
    """A constitution file with these keys."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(header(**fields), sort_keys=False), "utf-8")
    return file
