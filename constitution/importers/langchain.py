"""LangChain-style lists: ``{name, critique_request, revision_request}``, in YAML or JSON; ``name`` may be missing.

Derived: ``compare`` and ``statement``, which such lists don't have, quote the source's requests.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from base.errors import InputError
from constitution.importers.base import Imported, LeftOutPart, build, headline, principle, read_yaml_or_json, slug
from constitution.schema import Principle

COMPARE = 'Which response leaves less to point out under this request: "{critique}"'
STATEMENT = 'The response needs no change under this request: "{revision}"'
_KNOWN = ("name", "critique_request", "revision_request")


def read(sources: Sequence[Path], *, name: str, version: str) -> Imported:
    """Read one or more lists, in order, as one constitution."""
    entries = [(f"{source}[{i}]", entry) for source in sources for i, entry in enumerate(_list(source))]
    if not entries:
        raise InputError("the list is empty", where=", ".join(map(str, sources)))
    principles: list[Principle] = []
    for where, entry in entries:
        principles.append(_principle(where, entry, {p.id for p in principles}))
    extra = Counter(key for _, entry in entries for key in entry if key not in _KNOWN)
    constitution = build(
        name,
        version,
        title=f"{len(principles)} principles from a LangChain-style list",
        summary="Critique and revision requests as they were; comparison questions derived from them.",
        principles=principles,
    )
    why = "a principle has no such field"
    return Imported(constitution, tuple(LeftOutPart(f"key {key!r}", count, why) for key, count in extra.items()))


def _list(source: Path) -> list[dict[str, Any]]:
    data = read_yaml_or_json(source)
    if not isinstance(data, list):
        raise InputError("expected a list of {name, critique_request, revision_request}", where=str(source))
    for i, entry in enumerate(data):
        if not isinstance(entry, dict):
            raise InputError("expected keys and values", where=f"{source}[{i}]")
        for key in _KNOWN[1:]:
            if not isinstance(entry.get(key), str):
                raise InputError(f"{key}: expected text", where=f"{source}[{i}]")
    return data


def _principle(where: str, entry: dict[str, Any], taken: set[str]) -> Principle:
    critique, revision = entry["critique_request"], entry["revision_request"]
    title = str(entry.get("name") or headline(critique))
    stem = id = slug(str(entry.get("name") or "")) or f"principle-{len(taken) + 1}"
    number = 2
    while id in taken:
        id, number = f"{stem}-{number}", number + 1
    return principle(
        where,
        id=id,
        title=title,
        statement=STATEMENT.format(revision=revision.strip()),
        critique=critique,
        revision=revision,
        compare=COMPARE.format(critique=critique.strip()),
    )
