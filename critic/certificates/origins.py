"""Who labelled the rows of a file or a folder, by what the rows say of themselves, and a run's manifest of a judge."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from base.errors import InputError
from critic.certificates.gate import JudgeBuild, RowsOrigin
from critic.files.sources import open_source
from critic.rows import Broken

MANIFEST = "manifest.json"
AGAIN = "Run the command that wrote it again."
MOST = 1000  # different ones, which no honest file has


def origins(source: str) -> tuple[RowsOrigin, ...]:
    """Return the different origins of the rows of a source (see `critic.files.sources.open_source`).

    Rows have their judge's name. Its weights, settings and mode stand in the manifest of the run that wrote the file.
    """
    build = _build(Path(source).expanduser())
    by_origin: dict[RowsOrigin, None] = {}
    for row in open_source(source).rows:
        if isinstance(row, Broken):
            continue  # whoever reads the rows counts it
        for origin in _of(row.columns):
            by_origin[origin if build is None or origin.is_by_people else replace(origin, build=build)] = None
        if len(by_origin) > MOST:
            raise InputError(f"its rows name more than {MOST:,} different judges", where=source)
    return tuple(by_origin)


def _build(source: Path) -> JudgeBuild | None:
    """Return what the judge of a run was made of, where ``source`` is its folder or one of its tables; else None."""
    folder = source if source.is_dir() else source.parent
    file = folder / MANIFEST
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise InputError("it is not JSON", where=str(file), fix=AGAIN) from None
    config = content.get("config") if isinstance(content, dict) else None
    jury = config.get("jury") if isinstance(config, dict) else None
    if not isinstance(jury, list) or len(jury) != 1:  # of a data set, say; a jury is no judge that has a certificate
        return None
    if source != folder and source.name not in _tables(content):
        return None
    try:
        judge, mode = jury[0]["judge"], jury[0]["mode"]
        return JudgeBuild.of(judge["revision"], judge["settings"], mode, content.get("code", {}).get("sha256"))
    except (KeyError, TypeError):
        raise InputError("it does not say which judge labelled", where=str(file), fix=AGAIN) from None


def _tables(manifest: Mapping[str, Any]) -> set[str]:
    return {str(table.get("file")) for table in manifest.get("exports", {}).values()}


def _of(columns: Mapping[str, Any]) -> Iterator[RowsOrigin]:
    """A row of a run names its judge; one of a data set its sources, annotators and constitutions, in lists."""
    sources = _texts(columns, "source") or _texts(columns, "sources") or [None]
    for source in sources:
        judges = _texts(columns, "judge")
        if not judges and source == "ai":
            judges = _texts(columns, "annotator") or _texts(columns, "annotators")
        for judge in judges or [None]:
            for constitution in (
                _texts(columns, "constitution_hash") or _texts(columns, "constitution_hashes") or [None]
            ):
                yield RowsOrigin(
                    source=source,
                    judge=judge,
                    mode=next(iter(_texts(columns, "mode") or _modes(columns)), None),
                    constitution_hash=constitution,
                    templates=next(iter(_texts(columns, "templates")), None),
                )


def _texts(columns: Mapping[str, Any], name: str) -> list[str | None]:
    value = columns.get(name)
    if isinstance(value, list):
        return [one for one in value if isinstance(one, str)]
    return [value] if isinstance(value, str) and value else []


def _modes(columns: Mapping[str, Any]) -> Sequence[str | None]:
    """The modes of a label's own votes."""
    label = columns.get("label")
    votes = label.get("votes") if isinstance(label, dict) else columns.get("votes")
    modes = {vote.get("mode") for vote in votes if isinstance(vote, dict)} if isinstance(votes, list) else set()
    return sorted(mode for mode in modes if isinstance(mode, str))
