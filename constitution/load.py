"""From a file, or a published name, to a `Constitution`. Every fault is named with file, line and key."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from base.errors import InputError
from base.nearest import nearest
from constitution.faults import MAX_REPORTED, FaultyFile, FileFault, faulty
from constitution.library import CHECKSUMS, content_of, find, is_reference, roots, shipped
from constitution.positions import MAX_BYTES, Document, YamlError, read_yaml
from constitution.schema import Constitution, Example, Group, Include, Principle, Turn

MAX_PRINCIPLES = 10_000  # more don't fit into the values that a file may have, unless each is wrong

_PARTS: dict[str, type[BaseModel]] = {
    "principles": Principle,
    "includes": Include,
    "examples": Example,
    "history": Turn,
    "group": Group,
}


@dataclass(frozen=True, slots=True)
class _Loaded:
    constitution: Constitution
    places: dict[str, str]
    """``FILE:LINE`` of each principle, by id."""


def load(ref: str | Path, *, root: Path | None = None, look: Callable[[], None] = lambda: None) -> Constitution:
    """Load a constitution and those that it includes.

    ``ref`` is a file, or ``NAME@VERSION``, or ``NAME`` (the newest published version). Names are looked up in
    ``root`` and then among the shipped ones; without a ``root``, in the folders of `constitution.library.roots`, before
    which comes the published folder that a file lies in. A published file must be what CHECKSUMS says it is; a file
    given by its path may be edited freely. ``look`` is called at every value of a file given by its path, and may end
    the reading by raising.

    Raises InputError, with ``FILE:LINE`` and key for all faults of a file at once.
    """
    looked_in = roots() if root is None else (root, shipped())
    if isinstance(ref, str) and is_reference(ref):
        return _load_published(ref, looked_in, ()).constitution
    file = Path(ref)
    content = _read(file)
    folder = file.resolve().parent.parent
    if root is None and (folder / CHECKSUMS).is_file():
        looked_in = (folder, *looked_in)
    return _build(file, content, looked_in, (), look).constitution


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)  # one more, so that a longer file is refused and not cut
    except FileNotFoundError:
        raise InputError(
            "there is no such file",
            where=str(file),
            fix="give a file, NAME or NAME@VERSION; `cai constitution list` names the published ones",
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"the file can't be read: {reason}", where=str(file)) from None


def _load_published(ref: str, roots: tuple[Path, ...], above: tuple[str, ...]) -> _Loaded:
    file = find(ref, roots)
    loaded = _build(file, content_of(file), roots, above)
    if loaded.constitution.ref != f"{file.parent.name}@{file.stem}":
        raise InputError(f"the file says that it is {loaded.constitution.ref}", where=str(file))
    return loaded


def _build(
    file: Path,
    content: bytes,
    roots: tuple[Path, ...],
    above: tuple[str, ...],
    look: Callable[[], None] = lambda: None,
) -> _Loaded:
    try:
        document = read_yaml(content, look)
    except YamlError as error:
        raise faulty(file, error.line, error.problem) from None
    own = _validate(file, document)
    return _resolve(file, document, own, roots, above)


def _validate(file: Path, document: Document) -> Constitution:
    if not isinstance(document.data, dict):
        raise faulty(file, 1, "expected a mapping with name, version, title and principles")
    if len(document.data.get("principles") or ()) > MAX_PRINCIPLES:
        line = document.line(("principles", MAX_PRINCIPLES))
        raise faulty(file, line, f"more than {MAX_PRINCIPLES:,} principles")
    faults = _duplicate_ids(document)
    unnamed = 0
    try:
        constitution = Constitution.model_validate(document.data)
    except ValidationError as error:
        # Without a location it can only be the duplicate ids, which are named above with both their lines.
        errors = [e for e in error.errors(include_url=False) if e["loc"]]
        errors.sort(key=lambda e: document.line(tuple(e["loc"])))
        faults += [_fault(document, e) for e in errors[:MAX_REPORTED]]  # to explain one takes a while, and a text may
        unnamed = len(errors[MAX_REPORTED:])  # be wrong in 100,000 places
    if faults:
        raise FaultyFile(file, faults, unnamed=unnamed)
    if not constitution.principles and not constitution.includes:
        raise faulty(file, 1, "no principles and no includes", fix="add at least one principle")
    return constitution


def _duplicate_ids(document: Document) -> list[FileFault]:
    principles = document.data.get("principles")
    first: dict[str, int] = {}
    faults = []
    for i, principle in enumerate(principles if isinstance(principles, list) else []):
        id = principle.get("id") if isinstance(principle, dict) else None
        if not isinstance(id, str):
            continue
        line = document.line(("principles", i, "id"))
        if id in first:
            problem = f"{id!r} is also the id of the principle on line {first[id]}"
            faults.append(FileFault(line, f"principles[{i}].id", problem))
        first.setdefault(id, line)
    return faults


def _fault(document: Document, error: ErrorDetails) -> FileFault:
    path = tuple(error["loc"])
    key = re.sub(r"\.?\[", "[", ".".join(f"[{part}]" if isinstance(part, int) else part for part in path))
    return FileFault(document.line(path), key, _explain(error, path))


def _explain(error: ErrorDetails, path: tuple[str | int, ...]) -> str:
    match error["type"]:
        case "extra_forbidden":
            return _unknown_key(str(path[-1]), _model_at(path[:-1]))
        case "missing":
            return "this key is missing"
        case "float_parsing" | "int_parsing":
            number = "a number" if error["type"] == "float_parsing" else "a whole number"
            return f"expected {number}, found {error['input']!r}"
        case "string_type":
            return "expected text" + (", found nothing" if error["input"] is None else f", found {_kind(error)}")
        case "tuple_type":
            return f"expected a list, found {_kind(error)}"
        case "model_type":
            return f"expected keys and values, found {_kind(error)}"
        case _:
            return error["msg"].removeprefix("Value error, ")


def _kind(error: ErrorDetails) -> str:
    value: Any = error["input"]
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return "a list"
    return "keys and values" if isinstance(value, dict) else "text"


def _model_at(path: tuple[str | int, ...]) -> type[BaseModel]:
    names = [part for part in path if isinstance(part, str)]
    return _PARTS.get(names[-1], Constitution) if names else Constitution


def _unknown_key(key: str, model: type[BaseModel]) -> str:
    near = nearest(key, model.model_fields)
    return "unknown key; " + (f"did you mean {near!r}?" if near else f"expected {', '.join(model.model_fields)}")


def _resolve(
    file: Path, document: Document, own: Constitution, roots: tuple[Path, ...], above: tuple[str, ...]
) -> _Loaded:
    """Append the principles of the includes to the file's own."""
    places = {p.id: f"{file}:{document.line(('principles', i, 'id'))}" for i, p in enumerate(own.principles)}
    principles, includes = list(own.principles), []
    for i, include in enumerate(own.includes):
        line = document.line(("includes", i))
        included = _included(include, file, line, roots, (*above, own.ref))
        for principle in included.constitution.principles:
            if principle.id in places:
                raise faulty(
                    file,
                    line,
                    f"{include.ref} brings a principle {principle.id!r}, which is also at {places[principle.id]}",
                    fix=f"its own place is {included.places[principle.id]}; rename one of them",
                )
            places[principle.id] = included.places[principle.id]
            override = {} if include.priority is None else {"priority": include.priority}
            principles.append(principle.model_copy(update=override) if override else principle)
        includes.append(include.model_copy(update={"digest": included.constitution.digest}))
    resolved = own.model_copy(update={"principles": tuple(principles), "includes": tuple(includes)})
    return _Loaded(resolved, places)


def _included(include: Include, file: Path, line: int, roots: tuple[Path, ...], above: tuple[str, ...]) -> _Loaded:
    if include.ref in above:
        cycle = " -> ".join([*above[above.index(include.ref) :], include.ref])
        raise faulty(file, line, f"the includes form a cycle: {cycle}", fix="take one of them out")
    try:
        loaded = _load_published(include.ref, roots, above)
    except InputError as error:
        if error.where:
            raise
        raise faulty(file, line, error.problem, fix=error.fix) from None
    if include.digest not in (None, loaded.constitution.digest):
        raise faulty(
            file, line, f"{include.ref} has the digest {loaded.constitution.digest}, not the one that is pinned"
        )
    return loaded
