"""Where a version of a data set lies."""

from pathlib import Path


def folder(data: Path, name: str, version: int) -> Path:
    """Where a version lies. ``name`` and ``version`` must be those of a row of the database."""
    return data / "datasets" / name / str(version)
