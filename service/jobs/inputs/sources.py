"""The rows that a job is given, from wherever its request names them, as files of the job's own.

They are copied when the job is submitted: so what a job reads can't change under it, and every worker reads the same.
"""

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from base.errors import InputError
from critic.files.containers.packed import ending
from service.jobs.inputs.artifacts import UPLOADS, Artifacts, input_of, of_job
from service.jobs.inputs.unpacked import check_unpacked
from service.jobs.requests import JobRequest, Source
from service.store.disk import dataset_folder

R = TypeVar("R", bound=JobRequest)


def sources(request: JobRequest) -> dict[str, Source]:
    """What ``request`` reads, by the name (without ending) that it has among the job's files.

    That is the name of the field, with a number behind it where the field is a list of sources.
    """
    named: dict[str, Source] = {}
    for field, value in request:
        if isinstance(value, Source):
            named[field] = value
        elif isinstance(value, list):
            named |= {f"{field}-{number}": one for number, one in enumerate(value) if isinstance(one, Source)}
    return named


def with_sources(request: R, named: Mapping[str, Source]) -> R:
    """Return the request with other sources, by the names that `sources` gives."""
    change: dict[str, Any] = {}
    for field, value in request:
        if isinstance(value, Source):
            change[field] = named[field]
        elif isinstance(value, list) and any(isinstance(one, Source) for one in value):
            change[field] = [named.get(f"{field}-{number}", one) for number, one in enumerate(value)]
    return request.model_copy(update=change)


def origins(request: JobRequest) -> list[str]:
    """What ``request`` reads, in words that stay when the files are copied: ``dataset NAME@VERSION``, ``job ID`` ..."""
    return [_origin(source) for source in sources(request).values()]


def _origin(source: Source) -> str:
    if source.dataset is not None:
        return f"dataset {source.dataset}@{source.version}"
    if source.job is not None:
        return f"job {source.job}"
    return "rows" if source.upload is None else f"upload {source.upload}"


def gather(request: R, default: str | None, job: str, artifacts: Artifacts, data: Path) -> R:
    """Copy what ``request`` reads to where the worker of ``job`` finds it; return the request that names the copies.

    ``default`` is the file of an earlier job, or of a data set, that is read where a source names none. ``data`` is the
    service's data folder. A data set must be named with a version that there is. Raises `InputError` for what is not
    there.
    """
    named = sources(request)
    copies = {name: _copy(name, source, default, job, artifacts, data) for name, source in named.items()}
    own = {name: Source(job=job, file=f"input/{file}", columns=named[name].columns) for name, file in copies.items()}
    return with_sources(request, own)


def _copy(name: str, source: Source, default: str | None, job: str, artifacts: Artifacts, data: Path) -> str:
    if source.rows is not None:
        artifacts.write(io.BytesIO(_lines(source.rows)), input_of(job), f"{name}.jsonl")
        return f"{name}.jsonl"
    if source.dataset is not None:
        place = dataset_folder.folder(data, source.dataset, source.version or 0)
        file = _wanted(source, default, sorted(path.name for path in place.glob("*.jsonl")))
        artifacts.link(place / file, input_of(job), f"{name}.jsonl")
        return f"{name}.jsonl"
    folder, file = _found(source, default, artifacts)
    target = name + "".join(ending(file))
    check_unpacked(artifacts.root / folder / file)
    artifacts.copy(folder, file, input_of(job), target)
    return target


def _lines(rows: Iterable[Any]) -> bytes:
    """Rows as JSON Lines. Raises `InputError` for a number like 1e999, which is JSON and beyond all floats."""
    try:
        return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows).encode()
    except ValueError:
        raise InputError("a row holds a number that is too large", where="rows", fix="Leave it out.") from None


def _found(source: Source, default: str | None, artifacts: Artifacts) -> tuple[str, str]:
    if source.upload is not None:
        listed = [artifact.name for artifact in artifacts.listing(UPLOADS)]
        named = [name for name in listed if name.partition(".")[0] == source.upload]
        return UPLOADS, _one(named, "upload", source.upload, "POST /v1/uploads takes files.")
    folder = _folder(source)
    return folder, _wanted(source, default, [artifact.name for artifact in artifacts.listing(folder)])


def _folder(source: Source) -> str:
    """The folder of the job that ``source`` names, as far as it may be one."""
    name = source.job or ""
    if not (name.isascii() and name.isalnum()):
        raise InputError(f"there is no job {name!r}", where="job", fix="GET /v1/jobs lists them.")
    return of_job(name)


def _wanted(source: Source, default: str | None, listed: list[str]) -> str:
    there = f"It has: {', '.join(listed[:20]) or 'nothing yet'}."
    name = source.file or default
    if name is None:
        raise InputError("which file is meant?", where="file", fix=there)
    return _one([one for one in listed if one == name], "file", name, there)


def _one(names: Iterable[str], what: str, name: str, fix: str) -> str:
    for one in names:
        return one
    raise InputError(f"there is no {what} {name!r}", where=what, fix=fix)
