"""Jobs that export: one table of a run or a data set is written in another file format."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow.parquet as pq
from pydantic import ConfigDict, Field

from base.errors import InputError
from service.formats import format_of
from service.jobs.inputs.artifacts import of_job
from service.jobs.kind import JobKind
from service.jobs.requests import JobRequest, Source
from service.jobs.work.work import Work


class ExportRequest(JobRequest):
    """Write a table in another file format."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"kind": "export", "input": {"job": "3f2a9c3f2a9c3f2a", "file": "pairs.jsonl"}, "format": "hh-rlhf"}
            ]
        }
    )

    kind: Literal["export"]
    input: Source = Field(description="Rows of one table: of a job (`pairs.jsonl`) or of a data set.")
    table: Literal["pairs", "rankings", "ratings", "sft"] = "pairs"
    format: Annotated[str, Field(max_length=40)] = "trl"


def _run(work: Work, asked: ExportRequest) -> dict[str, Any]:
    def writing() -> dict[str, Any]:
        [source] = work.inputs()
        format = format_of(asked.format)
        name = f"{asked.table}.{asked.format}{format.suffixes[0]}"
        target = work.folder / name
        lost = format.write(asked.table, _rows(source), target)
        work.parts.artifacts.put(target, of_job(work.id), name)
        return {"file": name, "lost": dict(lost)}

    return work.step("export", writing)


def _rows(source: Path) -> Iterator[dict[str, Any]]:
    if source.suffix == ".parquet":
        with pq.ParquetFile(source) as file:
            for batch in file.iter_batches(64):
                for row in range(batch.num_rows):  # one at a time: as Python's values they take many times more
                    yield batch.slice(row, 1).to_pylist()[0]
        return
    with source.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"not JSON: {error}", where=f"{source.name}:{number}") from None
            if not isinstance(row, dict):
                raise InputError("a row is an object", where=f"{source.name}:{number}")
            yield row


JOB = JobKind(
    request=ExportRequest,
    about="A table of a job or a data set is written in another format.",
    run=_run,
)
